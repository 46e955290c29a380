//! The witnesses of plans, before all judges: each fares before and after as its plan claims, on
//! live data planes too.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use selvage_differential::court::{Known, Matter};
use selvage_differential::fabric::{Fabric, edit, fabric};
use selvage_differential::planes::{Cell, LiveEbpf, LoweredEbpf, LoweredOvs, Plane};
use selvage_differential::seats::{Flow, Route, Seats};
use selvage_differential::sketch;
use selvage_model::Tree;
use selvage_policy::compile::Compiled;
use selvage_policy::plan::{Plan, plan};
use selvage_policy::{Numbers, compile};
use selvage_rules::{Action, Reason, Verdict, proto};

const GROUPS: usize = 4;
const WITNESSES: usize = 1000;

/// Shows the witnesses of `plan` to all judges under one of its two policies.
fn hear(
    (tree, compiled): (&Tree, &Compiled),
    is_before: bool,
    plan: &Plan,
    groups: &[String],
    planes: &mut [&mut dyn Plane],
    ports: &[u32],
) -> Result<usize, String> {
    let table = &compiled.table;
    let seats = Seats::new(table, groups, ports);
    let desired = seats.desired(if is_before { 1 } else { 2 });
    planes.iter_mut().try_for_each(|plane| plane.install(&desired))?;
    let matter = Matter { tree, table, groups, seats };
    let mut heard = 0;
    for (turn, change) in plan.changes.iter().enumerate() {
        let Some(witness) = &change.witness else { continue };
        let place = |dn: &str| groups.iter().position(|group| group == dn);
        let (Some(from), Some(to)) = (place(&witness.from), place(&witness.to)) else { continue };
        let route = Route::ALL[turn % 3];
        let flow = Flow { from, to, route, packet: witness.packet, answers: None };
        if let Some(dissent) = matter.put(planes, &flow, Known::Nothing)? {
            return Err(dissent.to_string());
        }
        let claim = if is_before { &change.before } else { &change.after }.verdict;
        // Where a group does not exist, judges differ in which end they name for it.
        let effect = |v: Verdict| (v.action, v.rule, v.stateful, v.log);
        if effect(matter.table(&flow)) != effect(claim) {
            return Err(format!("{change:?}: the table says {:?}", matter.table(&flow)));
        }
        // What the fabric answers itself never gets as far as the rules.
        let carried = |reason: &Reason| *reason != Reason::Fabric;
        let packet = &witness.packet;
        let discovery = packet.proto == proto::ICMPV6 && (133..=137).contains(&packet.icmp_type);
        if let Some(said) = matter.expected(&flow).map(|said| said.reason).filter(carried)
            && packet.ether.is_ip()
            && !discovery
        {
            heard += 1;
            if said.is_allow() != (claim.action == Action::Permit) {
                return Err(format!("{change:?}: the planes say {said}"));
            }
        }
    }
    Ok(heard)
}

fn both(
    [before, after]: [&Fabric; 2],
    planes: &mut [&mut dyn Plane],
    ports: &[u32],
) -> Result<usize, String> {
    let mut numbers = Numbers::default();
    let groups = before.groups();
    let mut compiled = |fabric: &Fabric| -> Result<(Tree, Compiled), String> {
        let tree = sketch::tree(&fabric.to_string()).map_err(|error| error.to_string())?;
        let compiled = compile(&tree, &mut numbers);
        Ok((tree, compiled))
    };
    let (old, new) = (compiled(before)?, compiled(after)?);
    let plan = plan(&old.1, &new.1);
    let first = hear((&old.0, &old.1), true, &plan, &groups, planes, ports)?;
    let second = hear((&new.0, &new.1), false, &plan, &groups, planes, ports)?;
    Ok(first + second)
}

#[test]
fn every_witness_fares_as_its_plan_claims() {
    let config = Config { cases: 8, failure_persistence: None, ..Config::default() };
    // Small edits, and another fabric altogether.
    let steps = (fabric(), prop_oneof![edit().prop_map(Ok), fabric().prop_map(Err)]);
    let cell = Cell::new("wit", GROUPS * 2).unwrap();
    let heard = cell
        .run(|| {
            let (mut lowered, mut live) =
                (LoweredEbpf::default(), LiveEbpf::open("wit", cell.overlay).unwrap());
            let mut flows = LoweredOvs::default();
            let planes: [&mut dyn Plane; 3] = [&mut lowered, &mut live, &mut flows];
            let planes = std::cell::RefCell::new(planes);
            let heard = std::cell::Cell::new(0);
            while heard.get() < WITNESSES {
                let outcome = TestRunner::new(config.clone()).run(&steps, |(before, step)| {
                    let after = step.map_or_else(|other| other, |edit| before.revised(edit));
                    let fabrics = [&before, &after];
                    let count = both(fabrics, &mut planes.borrow_mut()[..], &cell.ports);
                    heard.set(heard.get() + count.map_err(TestCaseError::fail)?);
                    Ok(())
                });
                outcome.unwrap_or_else(|dissent| panic!("{dissent}"));
            }
            heard.get()
        })
        .unwrap();
    println!("{heard} verdicts on witnesses, as claimed by all judges");
}
