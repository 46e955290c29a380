//! What came of it, for a reader: the matrix, the drops, the last line.

use std::collections::BTreeMap;

use selvage_agent::local::DropView;
use selvage_rules::EtherType;
use selvage_testkit::probe::{Outcome, What};

use crate::fabric::Applied;
use crate::workloads::{Probed, Workload};

/// How many probes that went otherwise are listed one by one.
const MOST_LISTED: usize = 20;

/// Prints who reaches whom: how many probes of how many, and who says so.
pub fn matrix(results: &[Probed]) {
    let mut cells: BTreeMap<(&str, &str, What), Vec<&Probed>> = BTreeMap::new();
    for probed in results {
        cells.entry((probed.from_tier, probed.to_tier, probed.what)).or_default().push(probed);
    }
    let kinds: Vec<What> = {
        let mut kinds: Vec<What> = results.iter().map(|r| r.what).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    };
    println!(
        "\nreached of probed, and the contract that allows it or the reason that denies it:\n"
    );
    print!("  {:12}", "from -> to");
    kinds.iter().for_each(|what| print!("{:20}", name(*what)));
    println!();
    let tiers = ["web", "app", "db"];
    for from in tiers {
        for to in tiers {
            print!("  {:12}", format!("{from} -> {to}"));
            for what in &kinds {
                print!("{:20}", cells.get(&(from, to, *what)).map_or(String::new(), |c| cell(c)));
            }
            println!();
        }
    }
    let wrong: Vec<&Probed> = results.iter().filter(|r| !r.as_expected()).collect();
    for probed in wrong.iter().take(MOST_LISTED) {
        println!("  OTHERWISE: {}", sentence(probed));
    }
    if wrong.len() > MOST_LISTED {
        println!("  OTHERWISE: and {} more", wrong.len() - MOST_LISTED);
    }
}

fn cell(probes: &[&Probed]) -> String {
    let reached = probes.iter().filter(|p| p.reached()).count();
    let mut because: Vec<&str> = probes.iter().map(|p| p.expected.because.as_str()).collect();
    because.sort_unstable();
    because.dedup();
    let wrong = if probes.iter().all(|p| p.as_expected()) { "" } else { "!! " };
    format!("{wrong}{reached}/{} {}", probes.len(), because.join("+"))
}

fn sentence(probed: &Probed) -> String {
    let family = if probed.family == EtherType::IPV6 { "IPv6" } else { "IPv4" };
    let found = match &probed.outcome {
        Outcome::Reached { by, after } => format!("answered by `{by}` after {after:?}"),
        Outcome::Silent => "no answer".to_owned(),
        Outcome::Failed(why) => why.clone(),
    };
    let should = if probed.expected.reaches { "it should be answered" } else { "none should come" };
    format!(
        "{} -> {} {} over {family}: {found}; {should} ({})",
        probed.from,
        probed.to,
        name(probed.what),
        probed.expected.because
    )
}

fn name(what: What) -> String {
    match what {
        What::Tcp(port) => format!("tcp/{port}"),
        What::Ping => "ping".to_owned(),
    }
}

/// Prints one drop of each kind, as `selvage drops` says it.
pub fn drops(drops: &[DropView]) {
    let mut kinds: BTreeMap<_, (&DropView, usize)> = BTreeMap::new();
    for drop in drops {
        let key = (&drop.src.group, &drop.dst.group, &drop.service, drop.reason);
        kinds.entry(key).or_insert((drop, 0)).1 += 1;
    }
    println!("\n`selvage drops` remembers {} packets; one of each kind:\n", drops.len());
    for (drop, count) in kinds.values() {
        println!("  {count:4} x {}", drop.text);
    }
}

/// Prints what `selvage status` printed.
pub fn status(text: &str) {
    println!("\n`selvage status`:\n");
    text.lines().for_each(|line| println!("  {line}"));
}

/// Prints the line that counts.
pub fn last_line(results: &[Probed], workloads: &[Workload], applied: &Applied) {
    let good = results.iter().filter(|r| r.as_expected()).count();
    let mut attach: Vec<u64> = workloads.iter().filter_map(|w| w.started.attach_us).collect();
    attach.sort_unstable();
    let middle = attach.get(attach.len() / 2).copied().unwrap_or_default();
    let most = attach.last().copied().unwrap_or_default();
    println!(
        "\nattach to enforcement: median {:.1} ms, most {:.1} ms; \
         apply to enforcement: {:.1} ms (revision {}, {} hosts)",
        middle as f64 / 1000.0,
        most as f64 / 1000.0,
        applied.enforced_us as f64 / 1000.0,
        applied.revision,
        applied.enforcing,
    );
    println!(
        "quickstart: {} probes, {good} as the policy says, {} otherwise",
        results.len(),
        results.len() - good
    );
}
