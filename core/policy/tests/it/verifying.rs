//! Assertions, against asking every pair about every packet.

use proptest::prelude::*;
use proptest::sample::select;
use selvage_model::{Dn, Tree};
use selvage_policy::compile::Compiled;
use selvage_policy::verify::{Answer, Traffic, verify};
use selvage_policy::{Numbers, compile, trace};
use selvage_rules::{Action, Packet, TcpFlags, proto};

use super::generated::policy;
use super::planning::atoms;
use super::world::{put, tree, with_groups};

/// Puts an assertion into a tree: `KIND FROM TO TRAFFIC`, `-` for nothing.
fn assert_in(tree: &mut Tree, name: &str, props: &[(&str, &str)]) -> Dn {
    let dn: Dn = format!("uni/assertion-{name}").parse().unwrap();
    let mut mo = selvage_model::blank(&dn).unwrap();
    for (prop, value) in props {
        assert!(mo.set(prop, value), "{prop}");
    }
    put(tree, mo);
    dn
}

fn allow_in(tree: &mut Tree, assertion: &Dn, way: &str, peer: &str, traffic: &str) {
    let dn: Dn = format!("{assertion}/{way}-[{peer}]").parse().unwrap();
    let mut mo = selvage_model::blank(&dn).unwrap();
    mo.set("traffic", traffic);
    put(tree, mo);
}

fn answers(tree: &Tree) -> (Compiled, Vec<Answer>) {
    let compiled = compile(tree, &mut Numbers::default());
    let answers = verify(tree, &compiled);
    (compiled, answers)
}

/// What an assertion of the property test is about; groups by place among all.
#[derive(Debug, Clone)]
struct Sketch {
    kind: &'static str,
    from: Vec<usize>,
    to: Vec<usize>,
    traffic: &'static str,
    answers: bool,
    allowed: Vec<(bool, usize, &'static str)>,
}

const TRAFFIC: &[&str] = &[
    "",
    "tcp/80",
    "tcp/80-82",
    "tcp",
    "udp",
    "udp/81 from 80",
    "icmp",
    "arp",
    "ip",
    "tcp/81 over ipv6",
    "tcp/80, icmp",
    "ip/47",
    "tcp from 80-81",
];

fn sketch() -> impl Strategy<Value = Sketch> {
    let some = || prop::collection::vec(0..5_usize, 1..3);
    (
        select(&["reachable", "unreachable", "only", "isolated"][..]),
        some(),
        some(),
        select(TRAFFIC),
        any::<bool>(),
        prop::collection::vec((any::<bool>(), 0..5_usize, select(TRAFFIC)), 0..3),
    )
        .prop_map(|(kind, from, to, traffic, answers, allowed)| Sketch {
            kind,
            from,
            to,
            traffic,
            answers,
            allowed,
        })
}

/// The judge that asks packet by packet.
struct Asker<'c> {
    compiled: &'c Compiled,
    groups: Vec<Dn>,
    atoms: Vec<Packet>,
}

impl Asker<'_> {
    fn passes(&self, from: usize, to: usize, packet: &Packet) -> (bool, bool) {
        let verdict = trace::verdict(self.compiled, &self.groups[from], &self.groups[to], packet);
        (verdict.action != Action::Deny, verdict.stateful)
    }

    fn some_passes(&self, from: usize, to: usize, wanted: impl Fn(&Packet) -> bool) -> bool {
        self.atoms.iter().any(|packet| wanted(packet) && self.passes(from, to, packet).0)
    }

    fn is_live(&self, group: usize) -> bool {
        self.compiled.groups.contains_key(&self.groups[group])
    }

    /// Whether an answer to what `packet` opens would come back.
    fn is_answered(&self, from: usize, to: usize, packet: &Packet) -> bool {
        let (passes, stateful) = self.passes(from, to, packet);
        let has_answer = match packet.proto {
            _ if packet.later_fragment => false,
            _ if packet.ether == selvage_rules::EtherType::ARP => packet.arp_op == 1,
            proto::TCP | proto::UDP => true,
            proto::ICMP => packet.icmp_type == 8,
            _ => false,
        };
        if !passes || stateful || !has_answer {
            return passes;
        }
        let reply = trace::reply(packet);
        let reply = match reply.proto {
            proto::TCP => Packet { tcp_flags: TcpFlags::ACK, ..reply },
            _ => reply,
        };
        self.passes(to, from, &reply).0
    }

    fn holds(&self, sketch: &Sketch) -> bool {
        let traffic = Traffic::parse(sketch.traffic).unwrap();
        let about = |packet: &Packet| traffic.cubes.iter().any(|cube| cube.has(packet));
        let (mut from, mut to) = (sketch.from.clone(), sketch.to.clone());
        [&mut from, &mut to].into_iter().for_each(|list| {
            list.sort();
            list.dedup();
        });
        let all: Vec<usize> = (0..self.groups.len()).collect();
        let pairs = |from: &[usize], to: &[usize]| -> Vec<(usize, usize)> {
            let live = |at: &&usize| self.is_live(**at);
            let (from, to): (Vec<_>, Vec<_>) =
                (from.iter().filter(live).collect(), to.iter().filter(live).collect());
            let itself = from == to && from.len() == 1;
            let all = from.iter().flat_map(|a| to.iter().map(move |b| (**a, **b)));
            all.filter(|(a, b)| itself || a != b).collect()
        };
        let others = |of: &[&Vec<usize>]| -> Vec<usize> {
            all.iter().copied().filter(|at| !of.iter().any(|list| list.contains(at))).collect()
        };
        match sketch.kind {
            "reachable" => {
                from.iter().chain(&to).all(|at| self.is_live(*at))
                    && pairs(&from, &to).into_iter().all(|(a, b)| {
                        self.atoms.iter().filter(|p| about(p)).all(|packet| {
                            self.passes(a, b, packet).0
                                && (!sketch.answers || self.is_answered(a, b, packet))
                        })
                    })
            }
            "unreachable" => {
                !pairs(&from, &to).into_iter().any(|(a, b)| self.some_passes(a, b, about))
            }
            "only" => !pairs(&others(&[&from, &to]), &to)
                .into_iter()
                .any(|(a, b)| self.some_passes(a, b, about)),
            _ => {
                let others = others(&[&from]);
                let is_open = |peer: usize, peer_sends: bool, packet: &Packet| {
                    sketch.allowed.iter().any(|(asks, who, traffic)| {
                        let traffic = Traffic::parse(traffic).unwrap();
                        let cubes = match *asks == peer_sends {
                            true => traffic.cubes,
                            false => traffic.answers(),
                        };
                        *who == peer && cubes.iter().any(|cube| cube.has(packet))
                    })
                };
                let inward = pairs(&others, &from).into_iter();
                let outward = pairs(&from, &others).into_iter();
                !inward
                    .map(|(peer, ours)| (peer, ours, peer, true))
                    .chain(outward.map(|(ours, peer)| (ours, peer, peer, false)))
                    .any(|(a, b, peer, sends)| {
                        self.some_passes(a, b, |packet| !is_open(peer, sends, packet))
                    })
            }
        }
    }
}

fn dns(groups: &[Dn], list: &[usize]) -> String {
    list.iter().map(|at| groups[*at].to_string()).collect::<Vec<_>>().join(", ")
}

fn write(tree: &mut Tree, groups: &[Dn], sketch: &Sketch) {
    let (from, to) = (dns(groups, &sketch.from), dns(groups, &sketch.to));
    if sketch.kind == "isolated" {
        let dn = assert_in(tree, "x", &[("kind", "isolated"), ("group", &from)]);
        for (asks, who, traffic) in &sketch.allowed {
            let way = if *asks { "from" } else { "to" };
            allow_in(tree, &dn, way, groups[*who].as_str(), traffic);
        }
        return;
    }
    let answers = if sketch.answers { "yes" } else { "no" };
    let props = [
        ("kind", sketch.kind),
        ("from", &from),
        ("to", &to),
        ("traffic", sketch.traffic),
        ("answers", answers),
    ];
    assert_in(tree, "x", &props);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn an_assertion_says_what_asking_everybody_says(
        lines in policy(),
        sketches in prop::collection::vec(sketch(), 3),
    ) {
        let ground = tree(&lines.join("\n"));
        let groups: Vec<Dn> = ground.of_class("fvAEPg").map(|mo| mo.dn().clone()).collect();
        for mut sketch in sketches {
            // The same object twice would be one with the later traffic.
            sketch.allowed.dedup_by_key(|(asks, who, _)| (*asks, *who));
            if sketch.allowed.len() == 2 && sketch.allowed[0].1 == sketch.allowed[1].1 {
                sketch.allowed.pop();
            }
            let mut tree = ground.clone();
            write(&mut tree, &groups, &sketch);
            let (compiled, answers) = answers(&tree);
            let [answer] = &answers[..] else { panic!("{answers:?}") };
            let asker = Asker { compiled: &compiled, groups: groups.clone(), atoms: atoms() };
            prop_assert_eq!(answer.holds, asker.holds(&sketch), "{:?}\n{:#?}", sketch, answer);
            let Some(found) = &answer.counterexample else { continue };
            // What it shows is so.
            let [from, to] = [&found.from, &found.to].map(|p| p.group.as_ref().unwrap().parse().unwrap());
            let verdict = trace::verdict(&compiled, &from, &to, &found.packet);
            prop_assert_eq!(verdict, found.verdict, "{:#?}", answer);
        }
    }
}

const SQL: &str = "
    flt-sql/e-sql etherT=ip prot=tcp dFromPort=5432 dToPort=5432 stateful=yes
    brc-sql/subj-sql/rssubjFiltAtt-sql
    ap-a/epg-db/rsprov-sql
    ap-a/epg-web/rscons-sql
";

/// One assertion of a policy: `holds`, or why it does not.
#[track_caller]
fn check(policy: &str, props: &[(&str, &str)], expected: &str) {
    let mut tree = tree(&with_groups(policy));
    assert_in(&mut tree, "x", props);
    let (_, answers) = answers(&tree);
    let answer = &answers[0];
    assert_eq!(if answer.holds { "holds" } else { &answer.why }, expected);
}

const NOBODY: &str = "no contract between the two groups covers it";

#[test]
fn a_stateful_contract_reaches_and_leaves_the_rest_alone() {
    let web_to_db = [("from", "t/a/web"), ("to", "t/a/db")];
    let with = |more: &[(&'static str, &'static str)]| [&web_to_db[..], more].concat();
    check(SQL, &with(&[("kind", "reachable"), ("traffic", "tcp/5432")]), "holds");
    check(
        SQL,
        &with(&[("kind", "reachable"), ("traffic", "tcp/5432-5433")]),
        &format!("tcp 49152 to 5433 over IPv4 from t/a/web does not reach t/a/db: {NOBODY}"),
    );
    check(
        SQL,
        &with(&[("kind", "unreachable")]),
        "tcp 49152 to 5432 over IPv4 from t/a/web reaches t/a/db: contract sql allows it (subject \
         `uni/tn-t/brc-sql/subj-sql`, entry `uni/tn-t/flt-sql/e-sql`, by \
         `uni/tn-t/ap-a/epg-db/rsprov-sql` and `uni/tn-t/ap-a/epg-web/rscons-sql`)",
    );
    check(SQL, &[("kind", "unreachable"), ("from", "db"), ("to", "web")], "holds");
    check(SQL, &[("kind", "only"), ("from", "web"), ("to", "db")], "holds");
    check(SQL, &[("kind", "isolated"), ("group", "app")], "holds");
}

#[test]
fn a_one_way_subject_reaches_but_is_not_answered() {
    let one_way = "
        flt-log/e-log etherT=ip prot=udp dFromPort=514 dToPort=514
        brc-log/subj-log/intmnl/rsfiltAtt-log
        ap-a/epg-db/rsprov-log
        ap-a/epg-web/rscons-log
    ";
    let ask = [("kind", "reachable"), ("from", "web"), ("to", "db"), ("traffic", "udp/514")];
    let why = format!(
        "the answer udp 514 to 49152 over IPv4 from t/a/db does not reach t/a/web: {NOBODY}"
    );
    check(one_way, &ask, &why);
    check(one_way, &[&ask[..], &[("answers", "no")]].concat(), "holds");
}

#[test]
fn a_stateless_contract_lets_the_provider_open_from_its_port() {
    let stateless = SQL.replace(" stateful=yes", "");
    check(
        &stateless,
        &[("kind", "unreachable"), ("from", "db"), ("to", "web")],
        "tcp 5432 to 49152 over IPv4 from t/a/db reaches t/a/web: contract sql allows it on the way \
         back (subject `uni/tn-t/brc-sql/subj-sql`, entry `uni/tn-t/flt-sql/e-sql`, by \
         `uni/tn-t/ap-a/epg-db/rsprov-sql` and `uni/tn-t/ap-a/epg-web/rscons-sql`)",
    );
}

#[test]
fn what_cannot_be_understood_does_not_hold() {
    for (props, says) in [
        (vec![("from", "wbe"), ("to", "db")], "no group is called `wbe`"),
        (vec![("from", "web")], "`to` is missing"),
        (vec![("from", "web"), ("to", "db"), ("traffic", "tcp/x")], "`x` is neither a port"),
        (vec![("from", "web"), ("to", "db"), ("group", "db")], "`group` means nothing to"),
        (
            vec![("from", "tenant nobody"), ("to", "db")],
            "`tenant nobody`: there is no `uni/tn-nobody`",
        ),
        (vec![("from", "outside 10/8"), ("to", "db")], "`10/8` is no prefix"),
        (vec![("from", "vrf v"), ("to", "db")], "`vrf v`: write `vrf TENANT/VRF`"),
    ] {
        let mut tree = tree(&with_groups(SQL));
        assert_in(&mut tree, "x", &props);
        let (_, answers) = answers(&tree);
        let why = answers[0].why.strip_prefix("it cannot be understood: ").unwrap();
        assert!(!answers[0].holds && why.starts_with(says), "{why}");
    }
}

#[test]
fn a_group_in_quarantine_is_reached_by_nobody() {
    let closed = format!("{SQL}\nap-a/epg-db shutdown=yes");
    let ask = [("from", "web"), ("to", "db"), ("traffic", "tcp/5432")];
    check(&closed, &[&ask[..], &[("kind", "unreachable")]].concat(), "holds");
    check(
        &closed,
        &[&ask[..], &[("kind", "reachable")]].concat(),
        "`uni/tn-t/ap-a/epg-db` is in quarantine: the group is shut down: its endpoints are in \
         quarantine",
    );
}

const OUTSIDE: &str = "
    out-o/rsectx tnFvCtxName=v
    out-o/instP-office/extsubnet-[10.0.0.0/8]
    out-o/instP-office/rscons-sql
    out-o/instP-net/extsubnet-[0.0.0.0/0]
    ap-a/epg-db/rsprov-sql
    flt-sql/e-sql etherT=ip prot=tcp dFromPort=5432 dToPort=5432 stateful=yes
    brc-sql/subj-sql/rssubjFiltAtt-sql
";

#[test]
fn addresses_outside_are_told_apart_by_the_prefix_that_decides() {
    let ask = |from: &'static str, kind: &'static str| {
        [("kind", kind), ("from", from), ("to", "db"), ("traffic", "tcp/5432")]
    };
    check(OUTSIDE, &ask("outside 10.1.0.0/16", "reachable"), "holds");
    check(OUTSIDE, &ask("t/o/office", "reachable"), "holds");
    check(
        OUTSIDE,
        &ask("outside 10.0.0.0/7", "reachable"),
        &format!(
            "tcp 49152 to 5432 over IPv4 from 11.0.0.1 (t/o/net) does not reach t/a/db: {NOBODY}",
        ),
    );
    check(OUTSIDE, &ask("outside 192.168.0.0/16", "unreachable"), "holds");
    check(
        OUTSIDE,
        &ask("outside 2001:db8::/32", "reachable"),
        "tcp 49152 to 5432 over IPv6 from 2001:db8::1 (in no group) does not reach t/a/db: no \
         external EPG of the VRF has the source address, which came from outside or from the host itself",
    );
    check(OUTSIDE, &ask("outside 10.0.0.0/8", "only"), "holds");
    check(
        OUTSIDE,
        &ask("outside 10.0.0.0/9", "only"),
        "tcp 49152 to 5432 over IPv4 from 10.128.0.1 (t/o/office) reaches t/a/db: contract sql \
         allows it (subject `uni/tn-t/brc-sql/subj-sql`, entry `uni/tn-t/flt-sql/e-sql`, by \
         `uni/tn-t/ap-a/epg-db/rsprov-sql` and `uni/tn-t/out-o/instP-office/rscons-sql`)",
    );
    check(OUTSIDE, &ask("any", "only"), "holds");
}
