//! Containers of a real Docker engine as endpoints: Debian's `dockerd`, one a host, started for the
//! test and ended with it. Needs root, docker.io and busybox-static; fails by name where they are
//! missing.

mod engine;

use std::net::IpAddr;

use selvage_agent::local::Stage;

use crate::agent::host::eventually;
use engine::Fabric;

const EPG_WEB: &str = "epg=shop/store/web";
const EPG_DB: &str = "epg=shop/store/db";

#[test]
fn a_container_is_under_policy_from_its_first_packet_and_leaves_nothing() {
    let fabric = Fabric::start();
    let (one, two) = (&fabric.one, &fabric.two);
    one.create_network("web", &["-o", EPG_WEB]).unwrap();
    two.create_network("db", &["-o", EPG_DB]).unwrap();
    let db = two.serve("db-1", "db");
    assert!(db.is_ipv4() && db.to_string().starts_with("10.2.0."), "{db}");

    // One packet, the first thing that the container does.
    let ping = one.docker(&[
        "run",
        "--rm",
        "--network",
        "web",
        "bb",
        "ping",
        "-c1",
        "-W2",
        &db.to_string(),
    ]);
    assert!(ping.as_ref().is_ok_and(|said| said.contains("1 packets received")), "{ping:?}");
    assert_eq!(one.fetch("web", db).unwrap(), "db-1");
    let refused = one.ask("web", db, "22", "-w1");
    assert!(refused.is_err(), "{refused:?}");
    let sentence = "no contract lets web reach db on tcp/22";
    eventually("the drop is told", || {
        let drops: Vec<_> =
            [&fabric.one, &fabric.two].iter().flat_map(|e| e.host.drops()).collect();
        drops.iter().any(|d| d.text.contains(sentence)).then_some(()).ok_or(format!("{drops:#?}"))
    });
    // The gateway is the fabric's, and there is no other way out.
    let routes = two.docker(&["exec", "db-1", "cat", "/proc/net/route"]).unwrap();
    let default = routes.lines().find(|line| line.split_whitespace().nth(1) == Some("00000000"));
    assert!(default.is_some_and(|line| line.contains("0100020A")), "via 10.2.0.1: {routes}");
    let links = two.docker(&["exec", "db-1", "ls", "/sys/class/net"]).unwrap();
    let links: Vec<&str> = links.split_whitespace().collect();
    assert_eq!(links, ["eth0", "lo"], "no second way out");
    let mtu = two.docker(&["exec", "db-1", "cat", "/sys/class/net/eth0/mtu"]).unwrap();
    assert_eq!(mtu, "1450");

    let view = two.host.list();
    assert_eq!((view.len(), view[0].stage), (1, Stage::Ready), "{view:#?}");
    assert_eq!(view[0].addresses[0].ip, db);
    two.docker(&["rm", "-f", "db-1"]).unwrap();
    assert!(one.host.list().is_empty() && two.host.list().is_empty());
    assert!(one.host.links().is_empty() && two.host.links().is_empty());
    one.docker(&["network", "rm", "web"]).unwrap();
    two.docker(&["network", "rm", "db"]).unwrap();
    let networks = one.docker(&["network", "list", "-q", "-f", "driver=selvage"]).unwrap();
    assert_eq!(networks, "");
}

#[test]
fn what_cannot_be_is_said_in_one_line_and_leaves_nothing() {
    let mut fabric = Fabric::start();
    let one = &fabric.one;
    for (options, line) in [
        (
            &["-o", "epg=shop/store/wbe"][..],
            "selvage: no EPG `shop/store/wbe` with a bridge domain and a VRF; \
             hint: `selvage get fvAEPg` lists the EPGs there are",
        ),
        (
            &["-o", "egp=shop/store/web"],
            "selvage: no network option `egp`; hint: did you mean `-o epg=TENANT/APP/EPG`?",
        ),
        (
            &[],
            "selvage: a selvage network needs the EPG it is for; hint: add `-o epg=TENANT/APP/EPG`",
        ),
        (
            &["-o", "epg=web"],
            "selvage: `web` is not the name of an EPG; hint: write TENANT/APP/EPG",
        ),
        (
            &["-o", EPG_WEB, "--subnet", "10.1.0.0/25"],
            "selvage: subnet `10.1.0.0/25` overlaps with `10.1.0.0/24` of bridge domain \
             `uni/tn-shop/BD-web`, but is not it; hint: it has 10.1.0.0/24, 2001:db8:1::/64",
        ),
        (
            &["-o", EPG_WEB, "--subnet", "10.9.0.0/24"],
            "selvage: subnet `10.9.0.0/24` is not of bridge domain `uni/tn-shop/BD-web`",
        ),
        (
            &["-o", EPG_WEB, "--subnet", "10.1.0.0/24", "--gateway", "10.1.0.254"],
            "the gateway of subnet `10.1.0.0/24` is `10.1.0.1` in bridge domain \
             `uni/tn-shop/BD-web`, not `10.1.0.254`; hint: add `--gateway 10.1.0.1`",
        ),
        (
            &["-o", EPG_WEB, "--subnet", "10.1.0.0/24", "--ip-range", "10.1.0.128/25"],
            "selvage: no `--ip-range`: the hosts of a fabric share all addresses of a subnet",
        ),
        (
            &["-o", EPG_WEB, "--subnet", "10.1.0.0/24", "--aux-address", "a=10.1.0.9"],
            "selvage: selvage has no `--aux-address`",
        ),
        (&["-o", EPG_WEB, "--ipam-opt", "epg=x"], "selvage: selvage has no `--ipam-opt`"),
    ] {
        let said = one.create_network("no", options).unwrap_err();
        assert!(said.contains(line), "{options:?}\n{said}\ninstead of\n{line}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let dockers_own = ["network", "create", "-d", "selvage", "-o", EPG_WEB, "no"];
    let said = one.docker(&dockers_own).unwrap_err();
    assert!(said.contains("hint: add `--ipam-driver selvage`"), "{said}");
    assert_eq!(one.docker(&["network", "list", "-q", "-f", "driver=selvage"]).unwrap(), "");

    one.create_network("web", &["-o", EPG_WEB, "--subnet", "10.1.0.0/24"]).unwrap();
    let run = |words: &[&str]| {
        one.docker(
            &[&["run", "-d", "--network", "web"][..], words, &["bb", "sleep", "60"]].concat(),
        )
    };
    run(&["--name", "web-1", "--ip", "10.1.0.9"]).unwrap();
    let holder = format!("{}/{}", one.host.name, one.host.list()[0].id.0);
    for (words, line) in [
        (
            &["--ip", "10.1.0.9"][..],
            format!("selvage: address `10.1.0.9` belongs to endpoint `{holder}`"),
        ),
        (
            &["--ip", "10.1.0.1"],
            "selvage: address `10.1.0.1` is the gateway of bridge domain `uni/tn-shop/BD-web`"
                .into(),
        ),
        (&["-p", "8080:80"], "selvage: ports of a container in an EPG cannot be published".into()),
    ] {
        let said = run(words).unwrap_err();
        assert!(said.contains(&line), "{words:?}\n{said}\ninstead of\n{line}");
    }
    assert_eq!((one.host.list().len(), one.host.links().len()), (1, 1), "nothing is left of those");

    // Nobody there who knows the other group.
    drop(fabric.controller.take());
    let said = one.create_network("db", &["-o", EPG_DB]).unwrap_err();
    assert!(said.contains("group `shop/store/db` is not known on this host"), "{said}");
    assert!(said.contains("hint: is the controller running and reachable?"), "{said}");
    // A group that is in use here is known.
    one.docker(&["run", "--rm", "--network", "web", "bb", "ls", "/"]).unwrap();
}

/// Waits until an engine's host has this many endpoints, all of them in force.
fn settles(site: &engine::Site, count: usize) {
    eventually("the endpoints are in force", || {
        let list = site.host.list();
        let ready = list.iter().all(|view| view.stage == Stage::Ready);
        if list.len() == count && ready { Ok(()) } else { Err(format!("{list:#?}")) }
    });
}

#[test]
fn an_engine_that_ends_in_any_way_finds_its_networks_and_no_stale_endpoint() {
    let mut fabric = Fabric::start();
    let two = &mut fabric.two;
    fabric.one.create_network("web", &["-o", EPG_WEB]).unwrap();
    two.create_network("db", &["-o", EPG_DB]).unwrap();
    let db = two.serve("db-1", "db");
    let reaches = |db| fabric.one.fetch("web", db);
    assert_eq!(reaches(db).unwrap(), "db-1");

    // Killed: containers live on without it, and the next one takes them for dead.
    two.engine.kill().unwrap();
    assert_eq!(reaches(db).unwrap(), "db-1", "nobody needs the engine for that");
    two.engine.start_again().unwrap();
    eventually("the stale endpoint vanishes", || two.is_clean());
    let db = two.start_again("db-1");
    eventually("it serves", || reaches(db));

    // Stopped in good order, it stops its containers.
    two.engine.stop().unwrap();
    eventually("nothing is left", || two.is_clean());
    two.engine.set_live_restore(true);
    two.engine.start_again().unwrap();
    let db = two.start_again("db-1");
    eventually("it serves", || reaches(db));

    // Started anew under containers that live on.
    for kill in [false, true] {
        if kill {
            two.engine.kill().unwrap()
        } else {
            two.engine.stop().unwrap()
        }
        assert_eq!(reaches(db).unwrap(), "db-1");
        two.engine.start_again().unwrap();
        assert_eq!((two.address("db-1"), reaches(db).unwrap()), (db, "db-1".to_owned()));
        settles(two, 1);
    }
    two.docker(&["rm", "-f", "db-1"]).unwrap();
    two.is_clean().unwrap();
    two.docker(&["network", "rm", "db"]).unwrap();
}

#[test]
fn an_agent_that_is_killed_comes_back_to_its_networks_and_containers() {
    let mut fabric = Fabric::start();
    let address = fabric.controller.as_ref().unwrap().address();
    fabric.one.create_network("web", &["-o", EPG_WEB]).unwrap();
    fabric.two.create_network("db", &["-o", EPG_DB]).unwrap();
    let db = fabric.two.serve("db-1", "db");
    let client = ["run", "-d", "--name", "web-1", "--network", "web", "bb", "sleep", "9999"];
    fabric.one.docker(&client).unwrap();
    let at = db.to_string();
    let ask = ["exec", "web-1", "nc", "-w9", &at, "5432"];
    assert_eq!(fabric.one.docker(&ask).unwrap(), "db-1");
    fabric.two.host.kill();
    assert_eq!(fabric.one.docker(&ask).unwrap(), "db-1", "nobody needs the agent for that");
    let said = fabric.two.create_network("more", &["-o", EPG_DB]).unwrap_err();
    assert!(said.contains("selvage") && said.lines().count() == 1, "{said}");

    fabric.two.host.start(address);
    settles(&fabric.two, 1);
    assert_eq!(fabric.one.fetch("web", db).unwrap(), "db-1");
    let other = fabric.two.serve("db-2", "db");
    assert_eq!(fabric.one.fetch("web", other).unwrap(), "db-2");
    fabric.two.docker(&["rm", "-f", "db-1", "db-2"]).unwrap();
    fabric.two.is_clean().unwrap();
    fabric.two.docker(&["network", "rm", "db"]).unwrap();

    // A container that is in two groups has a link in each; one that leaves keeps the other.
    let one = &fabric.one;
    one.create_network("db", &["-o", EPG_DB]).unwrap();
    one.serve("both", "db");
    one.docker(&["network", "connect", "web", "both"]).unwrap();
    assert_eq!(one.host.list().len(), 3, "`web-1` too");
    one.docker(&["network", "disconnect", "db", "both"]).unwrap();
    let groups: Vec<String> = one.host.list().into_iter().map(|view| view.group).collect();
    assert_eq!(groups, ["uni/tn-shop/ap-store/epg-web"; 2]);
}

#[test]
fn containers_started_at_the_same_time_on_two_hosts_have_addresses_of_their_own() {
    let fabric = Fabric::start();
    let mut all = std::collections::BTreeSet::new();
    let sites = [&fabric.one, &fabric.two];
    for site in sites {
        site.create_network("web", &["--ipv6", "-o", EPG_WEB]).unwrap();
    }
    std::thread::scope(|scope| {
        for site in sites {
            for number in 1..=3 {
                let name = format!("web-{number}");
                scope.spawn(move || {
                    let words =
                        ["run", "-d", "--name", &name, "--network", "web", "bb", "sleep", "99"];
                    site.docker(&words).unwrap();
                });
            }
        }
    });
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}";
    for site in sites {
        for number in 1..=3 {
            let name = format!("web-{number}");
            let told = site.docker(&["inspect", "-f", format, &name]).unwrap();
            for address in told.split_whitespace().map(ip) {
                assert!(all.insert(address), "{address} is given twice");
            }
        }
    }
    assert_eq!(all.len(), 12, "one of each family for each: {all:?}");
}

fn ip(text: &str) -> IpAddr {
    text.trim().parse().unwrap_or_else(|_| panic!("`{text}` is no address"))
}
