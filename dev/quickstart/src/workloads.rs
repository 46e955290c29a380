//! The nine workloads, and the probes between them.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use selvage_rules::EtherType;
use selvage_testkit::probe::{Outcome, What, probe};

use crate::containers::Containers;
use crate::expect::{Expected, Policy};
use crate::fabric::{Fabric, Started};
use crate::interrupted;
use crate::progress::bar;

pub const TIERS: [&str; 3] = ["web", "app", "db"];
const HOSTS: [&str; 2] = ["qs-h1", "qs-h2"];

/// The ports of the three contracts, and one that no contract names.
pub const PORTS: [u16; 5] = [80, 443, 8080, 5432, 22];

/// How long a probe that policy denies is waited for: longer than any answer takes, shorter than
/// the second SYN that TCP sends after a second (RFC 6298).
const PATIENCE: Duration = Duration::from_millis(900);

/// How long a workload may take until it serves.
const START: Duration = Duration::from_secs(20);

/// One probe: who asked whom for what, what came of it, and what the policy says.
pub struct Probed {
    pub from: String,
    pub to: String,
    pub from_tier: &'static str,
    pub to_tier: &'static str,
    pub what: What,
    pub family: EtherType,
    pub outcome: Outcome,
    pub expected: Expected,
}

/// A workload, and the tier it is in.
pub struct Workload {
    pub tier: &'static str,
    pub started: Started,
}

impl Probed {
    /// Whether what came of it is what the policy says: answered by whom it was sent to, or not
    /// answered at all.
    pub fn as_expected(&self) -> bool {
        match (&self.outcome, self.what) {
            (Outcome::Reached { by, .. }, What::Tcp(_)) => self.expected.reaches && *by == self.to,
            (Outcome::Reached { .. }, What::Ping) => self.expected.reaches,
            (Outcome::Silent, _) => !self.expected.reaches,
            (Outcome::Failed(_), _) => false,
        }
    }

    /// Whether it was answered.
    pub fn reached(&self) -> bool {
        matches!(self.outcome, Outcome::Reached { .. })
    }
}

/// Starts three workloads of each tier, the hosts taking turns, and waits until they serve.
pub fn start(fabric: &Fabric, containers: Option<&Containers>) -> Result<Vec<Workload>> {
    let ports: Vec<String> = PORTS.iter().map(u16::to_string).collect();
    let mut workloads = Vec::new();
    let bar = bar(TIERS.len() * 3, "workloads");
    for tier in TIERS {
        for number in 1..=3 {
            let name = format!("{tier}-{number}");
            let turn = workloads.len() % HOSTS.len();
            let host = HOSTS.get(turn).context("there are two hosts")?;
            let started = match containers {
                Some(containers) => containers.start_one(fabric, host, tier, &name, &ports)?,
                None => fabric.start(host, &format!("shop/store/{tier}"), &name, &ports)?,
            };
            let addresses: Vec<String> = started.addresses.iter().map(IpAddr::to_string).collect();
            bar.suspend(|| eprintln!("   {name} on {}: {}", started.host, addresses.join(" ")));
            workloads.push(Workload { tier, started });
            bar.inc(1);
            interrupted()?;
        }
    }
    bar.finish_and_clear();
    for workload in &workloads {
        wait_until_serving(workload)?;
    }
    Ok(workloads)
}

/// Probes the workload from within itself, until it answers on every port.
fn wait_until_serving(workload: &Workload) -> Result<()> {
    let own: Vec<_> =
        PORTS.iter().map(|port| (IpAddr::V4(Ipv4Addr::LOCALHOST), What::Tcp(*port))).collect();
    let deadline = Instant::now() + START;
    loop {
        let outcomes = probe(&workload.started.netns, &own, PATIENCE)?;
        if outcomes.iter().all(|o| matches!(o, Outcome::Reached { .. })) {
            return Ok(());
        }
        interrupted()?;
        if Instant::now() > deadline {
            bail!("{} does not serve: {outcomes:?}", workload.started.name);
        }
    }
}

/// Probes every ordered pair on every port over both families, all workloads at once.
pub fn probe_all(workloads: &[Workload], policy: &Policy) -> Result<Vec<Probed>> {
    let bar = bar(workloads.len(), "workloads probe the others");
    let results: Result<Vec<Vec<Probed>>> = thread::scope(|scope| {
        let threads: Vec<_> = workloads
            .iter()
            .map(|from| {
                let bar = &bar;
                scope.spawn(move || {
                    let probed = probe_from(from, workloads, policy);
                    bar.inc(1);
                    probed
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(result) => result,
                Err(_) => bail!("a probing thread panicked"),
            })
            .collect()
    });
    bar.finish_and_clear();
    Ok(results?.into_iter().flatten().collect())
}

fn probe_from(from: &Workload, all: &[Workload], policy: &Policy) -> Result<Vec<Probed>> {
    let kinds = || PORTS.iter().map(|port| What::Tcp(*port)).chain([What::Ping]);
    let others = all.iter().filter(|to| to.started.name != from.started.name);
    let planned: Vec<(&Workload, IpAddr, What)> = others
        .flat_map(|to| to.started.addresses.iter().map(move |ip| (to, *ip)))
        .flat_map(|(to, ip)| kinds().map(move |what| (to, ip, what)))
        .collect();
    let targets: Vec<(IpAddr, What)> = planned.iter().map(|(_, ip, what)| (*ip, *what)).collect();
    let outcomes = probe(&from.started.netns, &targets, PATIENCE)?;
    Ok(planned
        .into_iter()
        .zip(outcomes)
        .map(|((to, ip, what), outcome)| {
            let family = if ip.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
            Probed {
                from: from.started.name.clone(),
                to: to.started.name.clone(),
                from_tier: from.tier,
                to_tier: to.tier,
                what,
                family,
                outcome,
                expected: policy.expect(&from.started.group, &to.started.group, what, family),
            }
        })
        .collect())
}
