//! Oracle and table over generated fabrics: they must say the same about every flow. This needs no
//! kernel; [`crate::judges`] puts more before all judges.

use std::cell::Cell;

use proptest::test_runner::{Config, TestCaseError, TestRunner};
use selvage_differential::atoms::atoms;
use selvage_differential::compare::compare;
use selvage_differential::fabric::{Feature, fabric_with};
use selvage_differential::sketch;
use selvage_policy::{Numbers, compile};

use crate::regressions::is_open;

/// Features about which oracle and compiler are still to agree: left out of the run. `services` of two
/// tenants find their device by different ways.
const OPEN: [Feature; 1] = [Feature::Services];

/// Fabrics in a run; more by setting `SELVAGE_FABRICS`.
const FABRICS: u32 = 16;

#[test]
fn oracle_and_table_agree_on_every_flow_of_generated_fabrics() {
    let asked = std::env::var("SELVAGE_FABRICS").ok().and_then(|n| n.parse().ok());
    let soak = std::env::var_os("SELVAGE_SOAK").map(|_| 12 * FABRICS);
    let fabrics = asked.or(soak);
    let packets = atoms();
    let features = Feature::ALL.into_iter().filter(|feature| !OPEN.contains(feature)).collect();
    let (flows, allowed) = (Cell::new(0_usize), Cell::new(0_usize));
    let config = Config {
        cases: fabrics.unwrap_or(FABRICS),
        failure_persistence: None,
        max_shrink_iters: 100,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&fabric_with(&features), |fabric| {
        let text = fabric.to_string();
        let tree = sketch::tree(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let table = compile(&tree, &mut Numbers::default()).table;
        let comparison = compare(&tree, &table, &fabric.people(), &packets);
        flows.set(flows.get() + comparison.flows);
        allowed.set(allowed.get() + comparison.allowed);
        let mut news = comparison.disagreements.iter().filter(|found| !is_open(&tree, found));
        match news.next() {
            None => Ok(()),
            Some(first) => {
                let more = news.count();
                Err(TestCaseError::fail(format!("{first}\n  and {more} more")))
            }
        }
    });
    println!("{} flows, {} of them allowed", flows.get(), allowed.get());
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(flows.get() >= 100_000, "only {} flows were judged", flows.get());
}
