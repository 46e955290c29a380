//! The way between a data plane and the host's stack: made, changed, found again, removed.

use std::collections::BTreeSet;
use std::process::Command;

use selvage_host::exit::{Exit, Exits, Outward};
use selvage_host::probe::{self, Feature};
use selvage_host::{Change, NetNs, Netlink, Veth};
use selvage_rules::{Mac, Prefix};

struct Scratch(String, NetNs);

impl Scratch {
    /// A host with a link `out0` that leads outside.
    fn new(what: &str) -> Scratch {
        probe::require(&[Feature::Root]).expect("these tests need root");
        let name = format!("svexit-{what}-{}", std::process::id());
        let namespace = NetNs::create(&name).unwrap();
        let mut link = Netlink::open_in(&namespace).unwrap();
        let veth = Veth {
            name: "out0",
            mac: None,
            peer: "far0",
            peer_mac: None,
            peer_namespace: None,
            mtu: 1500,
            group: 0,
        };
        let index = link.create_veth(&veth).unwrap();
        link.change(index, Change { up: Some(true), ..Change::default() }).unwrap();
        link.set_up("far0").unwrap();
        link.add_address(index, [192, 0, 2, 1].into(), 24).unwrap();
        Scratch(name, namespace)
    }

    fn tell(&self, words: &str) -> String {
        let mut words = words.split(' ');
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        self.1.enter(&mut command).unwrap();
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// All that an exit leaves in the kernel.
    fn all(&self) -> String {
        let routes = self.tell("ip route show table all proto 94");
        let routes6 = self.tell("ip -6 route show table all proto 94");
        let rules = self.tell("ip rule") + &self.tell("ip -6 rule");
        let links = self.tell("ip -o link");
        let ours = |text: String, mark: &str| -> Vec<String> {
            text.lines().filter(|l| l.contains(mark)).map(str::to_owned).collect()
        };
        let tables = self.tell("nft list tables");
        [routes, routes6, ours(rules, "svx").join("\n"), ours(links, "svx").join("\n"), tables]
            .concat()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        NetNs::delete(&self.0).unwrap();
    }
}

fn prefixes(list: &[&str]) -> BTreeSet<Prefix> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

fn exit<'a>(inside: &[&str], hidden: &[&str], routes: &[(&str, &str, Option<&str>)]) -> Exit<'a> {
    let outward = |(to, link, via): &(&str, &str, Option<&str>)| Outward {
        to: to.parse().unwrap(),
        link: (*link).to_owned(),
        via: via.map(|via| via.parse().unwrap()),
    };
    Exit {
        stack: "svx000007",
        plane: "svy000007",
        mac: Mac([2, 0x5e, 0, 0, 0, 7]),
        mtu: 1450,
        group: 77,
        table: 0x5e00_0007,
        inside: prefixes(inside),
        hidden: prefixes(hidden),
        routes: routes.iter().map(outward).collect(),
    }
}

fn open(scratch: &Scratch) -> Exits {
    scratch.1.run(Exits::open).unwrap().unwrap()
}

#[test]
fn an_exit_comes_changes_and_goes_without_a_trace() {
    let scratch = Scratch::new("life");
    let before = scratch.all();
    let first = exit(
        &["10.1.1.0/24", "10.1.2.0/24", "2001:db8:1:2::/64"],
        &["10.1.2.0/24", "2001:db8:1:2::/64"],
        &[
            ("0.0.0.0/0", "out0", Some("192.0.2.254")),
            ("192.0.2.0/24", "out0", None),
            ("::/0", "out0", Some("2001:db8:ff::254")),
        ],
    );
    let mut exits = open(&scratch);
    assert!(exits.ensure(&first).unwrap().is_empty());
    let rules = scratch.tell("nft list table inet svx000007");
    for rule in [
        "type nat hook postrouting priority srcnat",
        "iifname \"svx000007\" ip saddr 10.1.2.0/24 masquerade",
        "iifname \"svx000007\" ip6 saddr 2001:db8:1:2::/64 masquerade",
    ] {
        assert!(rules.contains(rule), "no `{rule}` in\n{rules}");
    }
    let routed = |to: &str, from: &str| {
        scratch.tell(&format!("ip route get {to} from {from} iif svx000007"))
    };
    assert!(routed("203.0.113.1", "10.1.1.7").contains("via 192.0.2.254 dev out0"));
    assert!(routed("192.0.2.9", "10.1.1.7").contains("192.0.2.9 from 10.1.1.7 dev out0"));
    assert!(scratch.tell("ip route get 10.1.1.7").contains("dev svx000007"));
    assert!(scratch.tell("ip -6 route get 2001:db8:1:2::7").contains("dev svx000007"));

    // Again, by a program that knows nothing: nothing moves.
    let there = scratch.all();
    assert!(open(&scratch).ensure(&first).unwrap().is_empty());
    assert_eq!(scratch.all(), there);
    let found = open(&scratch).found("svx", 77).unwrap();
    assert_eq!(found, BTreeSet::from(["svx000007".to_owned()]));
    assert!(open(&scratch).found("svx", 78).unwrap().is_empty());

    let second = exit(&["10.1.2.0/24"], &[], &[("198.51.100.0/24", "out0", Some("192.0.2.253"))]);
    assert!(exits.ensure(&second).unwrap().is_empty());
    let text = scratch.all();
    assert!(!text.contains("10.1.1.0/24") && !text.contains("192.0.2.254"), "{text}");
    assert!(!scratch.tell("nft list table inet svx000007").contains("masquerade\n\t\t"));

    exits.remove("svx000007", second.table).unwrap();
    assert_eq!(scratch.all(), before);
    exits.remove("svx000007", second.table).unwrap();
}

#[test]
fn what_cannot_be_is_told_and_the_rest_holds() {
    let scratch = Scratch::new("lack");
    scratch.tell("ip route add 10.1.1.0/24 dev out0");
    let wanted = exit(
        &["10.1.1.0/24", "10.1.2.0/24"],
        &[],
        &[("0.0.0.0/0", "out1", Some("192.0.2.254")), ("10.9.0.0/16", "out0", None)],
    );
    let lacking = open(&scratch).ensure(&wanted).unwrap();
    let told: Vec<String> = lacking.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("10.1.1.0/24"), "{told:?}");
    assert!(told[1].contains("no link `out1`"), "{told:?}");
    assert!(scratch.tell("ip route get 10.1.1.7").contains("dev out0"));
    assert!(scratch.tell("ip route get 10.1.2.7").contains("dev svx000007"));
    // What no route of the exit's own leads to does not follow the host's.
    let mut command = Command::new("ip");
    command.args("route get 203.0.113.1 from 10.1.2.7 iif svx000007".split(' '));
    scratch.1.enter(&mut command).unwrap();
    assert!(!command.output().unwrap().status.success());
}
