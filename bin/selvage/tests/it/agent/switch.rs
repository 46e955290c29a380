//! An agent whose switch is not there, is somebody else's, hangs, or dies: what it says, and what it
//! leaves.

use std::process::Command;
use std::time::{Duration, Instant};

use selvage_testkit::ovs::Ovs;

use super::host::{Host, Plane, Space, eventually};
use super::{Fabric, ip_of, shop};

/// Runs the agent of `host`, which is to refuse; gives what it says.
fn refused(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.stdout.is_empty());
    said.lines().filter(|line| !line.contains(" INFO ")).collect::<Vec<_>>().join("\n")
}

/// A host with Open vSwitch and no agent, and another.
fn alone() -> (Host, Host) {
    super::host::two_hosts_with([Plane::Ovs, Plane::Ebpf])
}

#[test]
fn a_switch_that_is_not_running_is_named_once() {
    let (mut host, _other) = alone();
    let database = host.switch.as_ref().unwrap().database();
    host.switch.as_mut().unwrap().kill_switch().unwrap();
    let said = refused(host.command());
    assert!(said.contains("hint: is ovs-vswitchd running?"), "{said}");
    host.switch.as_mut().unwrap().kill_database().unwrap();
    let said = refused(host.command());
    let path = database.display().to_string();
    assert!(said.contains("ovsdb-server does not answer") && said.contains(&path), "{said}");
    assert!(said.contains("start ovsdb-server and ovs-vswitchd"), "{said}");
    assert_eq!(said.matches("ovsdb-server does not answer").count(), 1, "{said}");
    assert!(host.links().is_empty());
}

#[test]
fn a_bridge_of_somebody_else_is_never_touched() {
    let (host, _other) = alone();
    let switch = host.switch.as_ref().unwrap();
    let vsctl = |words: &[&str]| {
        let remote = format!("--db=unix:{}", switch.database().display());
        let words: Vec<&str> = [&remote[..], "--no-wait"].iter().chain(words).copied().collect();
        switch.tool("ovs-vsctl", &words).unwrap()
    };
    vsctl(&["add-br", "selvage", "--", "set", "bridge", "selvage", "external_ids:of=others"]);
    let before = vsctl(&["list", "bridge", "selvage"]);
    let said = refused(host.command());
    assert!(
        said.contains("bridge `selvage` belongs to somebody else; it was not touched"),
        "{said}"
    );
    assert!(said.contains("hint: choose another name"), "{said}");
    assert_eq!(vsctl(&["list", "bridge", "selvage"]), before);
    assert_eq!(vsctl(&["list-br"]).lines().collect::<Vec<_>>(), ["selvage"]);
    let mut uninstall = host.command();
    uninstall.arg("--uninstall");
    let said = refused(uninstall);
    assert!(said.contains("bridge `selvage` belongs to somebody else"), "{said}");
    assert_eq!(vsctl(&["list", "bridge", "selvage"]), before);
}

#[test]
fn a_switch_that_dies_in_the_middle_of_a_change_is_told_of_and_made_good() {
    let mut fabric = Fabric::start_with([Plane::Ovs, Plane::Ebpf]);
    let (web, db) = (Space::new("web"), Space::new("db"));
    fabric.one.attach("web-1", "shop/store/web", &web).unwrap();
    let view = fabric.two.attach("db-1", "shop/store/db", &db).unwrap();
    let to = ip_of(&view, false);
    eventually("web reaches db", || if web.pings(to) { Ok(()) } else { Err("no echo".into()) });
    let switch = |fabric: &mut Fabric, what: fn(&mut Ovs) -> anyhow::Result<()>| {
        what(fabric.one.switch.as_mut().unwrap()).unwrap();
    };
    // It takes the change in and never answers.
    switch(&mut fabric, |ovs| ovs.hang_switch());
    let mut cut = shop();
    cut.pairs.clear();
    fabric.controller.commit(cut);
    let other = fabric.two.name.clone();
    eventually("the other host enforces the change", || match fabric.controller.applied(&other) {
        Some(revision) if revision.0 == 2 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    switch(&mut fabric, Ovs::kill_switch);
    let fault = eventually("the agent says what is wrong", || {
        let faults = fabric.one.status().faults;
        let said = faults.iter().find(|fault| fault.message.contains("switch"));
        said.cloned().ok_or_else(|| format!("{faults:#?}"))
    });
    assert!(
        fault.message.contains("while changing") || fault.message.contains("vswitch"),
        "{fault:?}"
    );
    assert_ne!(fabric.controller.applied(&fabric.one.name).unwrap().0, 2, "nothing is in force");

    switch(&mut fabric, Ovs::start_switch);
    let name = fabric.one.name.clone();
    eventually("the change is in force", || {
        let (applied, faults) = (fabric.controller.applied(&name), fabric.one.status().faults);
        let done = applied.is_some_and(|revision| revision.0 == 2) && faults.is_empty();
        if done { Ok(()) } else { Err(format!("{applied:?} {faults:#?}")) }
    });
    assert!(!web.pings(to));
    fabric.controller.commit(shop());
    eventually("web reaches db again", || {
        if web.pings(to) { Ok(()) } else { Err(format!("{:#?}", fabric.one.status())) }
    });
}

#[test]
fn what_an_attach_takes_is_printed() {
    let fabric = Fabric::start_with([Plane::Ovs, Plane::Ebpf]);
    for host in [&fabric.one, &fabric.two] {
        let mut times: Vec<Duration> = Vec::new();
        let spaces: Vec<Space> = (0..9).map(|_| Space::new("web")).collect();
        for (number, space) in spaces.iter().enumerate() {
            let start = Instant::now();
            host.attach(&format!("web-{number}"), "shop/store/web", space).unwrap();
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let plane = if host.switch.is_some() { "ovs" } else { "ebpf" };
        println!("{plane}: attach to enforced: median {:?}, most {:?}", times[4], times[8]);
        assert!(host.list().len() == 9);
    }
}
