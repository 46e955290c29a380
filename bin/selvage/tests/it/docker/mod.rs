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
    assert_eq!(one.fetch("web", db, 5432).unwrap(), "db-1");
    let refused = one.fetch("web", db, 22);
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

fn ip(text: &str) -> IpAddr {
    text.trim().parse().unwrap_or_else(|_| panic!("`{text}` is no address"))
}
