//! Plans: what changes between groups, against asking every pair about every packet.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use selvage_model::Tree;
use selvage_policy::compile::Compiled;
use selvage_policy::plan::delta::{Carried, Shift, carries};
use selvage_policy::plan::{Change, End, Kind, Pair, Plan, pairs, part, plan};
use selvage_policy::{Numbers, compile, trace};
use selvage_rules::{
    Action, BdId, BridgeDomain, ClassId, EtherMatch, EtherType, Group, GroupId, GroupKey, Mac,
    Match, Packet, PairKey, PortRange, Reason, Rule, RuleId, RuleSet, RuleSetId, ScopeId, Table,
    TcpFlags, TcpMatch, Treatment, Verdict, Vrf, proto,
};

use super::generated::{line, policy};
use super::world::{objects, put, tree, with_groups};

/// A packet of each sort that an entry of the generated policies can tell from another.
pub fn atoms() -> Vec<Packet> {
    let mut all = vec![Packet::ip(EtherType(0x88b5), 0)];
    all.extend([1, 2].map(|arp_op| Packet { arp_op, ..Packet::ip(EtherType::ARP, 0) }));
    for ether in [EtherType::IPV4, EtherType::IPV6] {
        for proto in [proto::TCP, proto::UDP, proto::ICMP, 47] {
            let plain = Packet::ip(ether, proto);
            all.push(Packet { later_fragment: true, ..plain });
            if !plain.has_ports() {
                all.extend([0, 8].map(|icmp_type| Packet { icmp_type, ..plain }));
                continue;
            }
            for (sport, dport) in [79, 80, 81, 82, 83].into_iter().flat_map(|a| {
                [79, 80, 81, 82, 83].map(|b| (a, b)).into_iter().filter(|(a, b)| a != b)
            }) {
                let flags: &[u8] = if proto == proto::TCP { &[2, 16] } else { &[0] };
                let of = |flags| Packet { sport, dport, tcp_flags: TcpFlags(flags), ..plain };
                all.extend(flags.iter().map(|flags| of(*flags)));
            }
        }
    }
    all
}

/// A verdict, and what else is done with the packet.
type Judged = (Verdict, Treatment);

fn kind(before: Judged, after: Judged) -> Option<Kind> {
    let effect =
        |(v, treatment): Judged| (v.action, v.stateful, v.log && v.rule.is_some(), treatment);
    match (before.0.action == Action::Deny, after.0.action == Action::Deny) {
        _ if effect(before) == effect(after) => None,
        (false, true) => Some(Kind::Loses),
        (true, false) => Some(Kind::Gains),
        _ => Some(Kind::Alters),
    }
}

/// The verdict between two groups, and what else is done with the packet.
fn judged(compiled: &Compiled, from: &str, to: &str, packet: &Packet) -> Judged {
    let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
    let rule = trace::deciding(compiled, &from, &to, packet);
    let treatment = rule.map(|rule| rule.treatment).unwrap_or_default();
    (trace::verdict(compiled, &from, &to, packet), treatment)
}

/// What a plan says about one packet between two groups.
fn said(
    shifts: &[Shift<'_>],
    carried: Carried,
    packet: &Packet,
) -> Vec<(Kind, Option<RuleId>, Option<RuleId>)> {
    let about = |shift: &&Shift<'_>| shift.cubes.iter().any(|cube| cube.has(packet));
    let found = shifts.iter().filter(about).filter(|_| carries(carried, packet.ether));
    let id = |rule: Option<&Rule>| rule.map(|rule| rule.id);
    found.map(|s| (s.kind, id(s.before.rule()), id(s.after.rule()))).collect()
}

/// Compares a plan with the verdicts on every packet between all of `names`, before and after.
fn check_everything(
    (before, after): (&Table, &Table),
    names: &BTreeSet<Arc<str>>,
    judge: impl Fn(bool, &str, &str, &Packet) -> Judged,
) -> Result<(), TestCaseError> {
    let found = pairs::compare(before, after);
    let atoms = atoms();
    for (from, to) in names.iter().flat_map(|from| names.iter().map(move |to| (from, to))) {
        let (shifts, carried) = found.between(from, to);
        for packet in &atoms {
            let (was, will) = (judge(true, from, to, packet), judge(false, from, to, packet));
            let expected: Vec<_> =
                kind(was, will).map(|kind| (kind, was.0.rule, will.0.rule)).into_iter().collect();
            let got = said(shifts, carried, packet);
            prop_assert_eq!(got, expected, "{} -> {}: {:?}", from, to, packet);
        }
    }
    Ok(())
}

/// Every group of the tables, inside and outside.
fn names(tables: &[&Table]) -> BTreeSet<Arc<str>> {
    let inside = tables.iter().flat_map(|t| t.groups.values()).map(|group| group.name.clone());
    let outside = tables.iter().flat_map(|t| t.outside.values()).flat_map(|o| o.groups.values());
    inside.chain(outside.map(|group| group.name.clone())).collect()
}

fn edited(lines: &[String], edits: &[String], gone: usize) -> (Compiled, Compiled) {
    let mut numbers = Numbers::default();
    let before_tree = tree(&lines.join("\n"));
    let before = compile(&before_tree, &mut numbers);
    let mut after_tree = before_tree.clone();
    for mo in edits.iter().flat_map(|edit| objects(edit)) {
        put(&mut after_tree, mo);
    }
    let all: Vec<String> = after_tree.iter().map(|mo| mo.dn().to_string()).collect();
    if let Some(top) = all.get(gone) {
        let below = |dn: &&String| *dn == top || dn.starts_with(&format!("{top}/"));
        all.iter().filter(below).for_each(|dn| drop(after_tree.remove(dn)));
    }
    let after = compile(&after_tree, &mut numbers);
    (before, after)
}

/// The same lines, of tenant `u`.
fn of_another_tenant(lines: &[String]) -> Vec<String> {
    let other = |line: &String| {
        let line = line.replace("uni/tn-t/", "uni/tn-u/");
        if line.starts_with("uni/") { line } else { format!("uni/tn-u/{line}") }
    };
    lines.iter().map(other).collect()
}

/// A plan without the numbers of rules, which a part of the fabric gives as it likes.
fn unnumbered(mut plan: Plan) -> Plan {
    for change in &mut plan.changes {
        change.before.verdict.rule = None;
        change.after.verdict.rule = None;
    }
    plan.changes.sort_by(|a, b| format!("{a:?}").cmp(&format!("{b:?}")));
    plan
}

fn check_witness(
    change: &Change,
    before: &Compiled,
    after: &Compiled,
) -> Result<(), TestCaseError> {
    let Some(witness) = &change.witness else { return Ok(()) };
    let (from, to) = (witness.from.parse().unwrap(), witness.to.parse().unwrap());
    let was = judged(before, &witness.from, &witness.to, &witness.packet);
    let will = judged(after, &witness.from, &witness.to, &witness.packet);
    prop_assert_eq!(kind(was, will), Some(change.kind), "{:?}", change);
    prop_assert_eq!((was.0, will.0), (change.before.verdict, change.after.verdict));
    prop_assert!(change.exactly.iter().any(|cube| cube.has(&witness.packet)));
    for (decision, compiled) in [(&change.before, before), (&change.after, after)] {
        let origin = decision.verdict.rule.map(|rule| &*compiled.table.origins[&rule].dn);
        prop_assert_eq!(decision.subject.as_deref(), origin);
    }
    if change.passes_as_answer {
        let opening = Packet { tcp_flags: TcpFlags::SYN, ..trace::reply(&witness.packet) };
        prop_assert!(trace::verdict(after, &to, &from, &opening).stateful, "{:?}", change);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_says_what_asking_everybody_says(
        lines in policy(),
        edits in prop::collection::vec(line(), 0..4),
        gone in 0..400_usize,
    ) {
        let (before, after) = edited(&lines, &edits, gone);
        let names = names(&[&before.table, &after.table]);
        check_everything((&before.table, &after.table), &names, |is_before, from, to, packet| {
            let compiled = if is_before { &before } else { &after };
            judged(compiled, from, to, packet)
        })?;
        let found = pairs::compare(&before.table, &after.table);
        let plan = plan(&before, &after);
        for change in &plan.changes {
            check_witness(change, &before, &after)?;
            prop_assert!(!change.traffic.is_empty() && !change.pairs.is_empty());
        }
        // What the pairs say is what the changes say, each once.
        let mut said: usize = 0;
        for id in found.cells.values() {
            said += found.delta(*id).len();
        }
        prop_assert_eq!(said, plan.changes.iter().map(|change| change.pairs.len()).sum::<usize>());
        let text = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }

    #[test]
    fn a_plan_of_a_part_is_the_plan_of_the_whole(
        lines in policy(),
        others in policy(),
        edits in prop::collection::vec(line(), 0..4),
    ) {
        let all = [lines, of_another_tenant(&others)].concat();
        let old = tree(&all.join("\n"));
        let mut new = old.clone();
        for mo in edits.iter().flat_map(|edit| objects(edit)) {
            put(&mut new, mo);
        }
        let changed = new.iter().filter(|mo| old.get(mo.dn().as_str()) != Some(mo));
        let Some(parts) = part([&old, &new], changed) else { return Ok(()) };
        let planned = |[old, new]: [&Tree; 2]| {
            let mut numbers = Numbers::default();
            plan(&compile(old, &mut numbers), &compile(new, &mut numbers))
        };
        let [whole, of_part] = [[&old, &new], parts.each_ref()].map(planned);
        prop_assert_eq!(unnumbered(whole), unnumbered(of_part));
    }

    #[test]
    fn a_plan_of_any_tables_says_what_asking_everybody_says(
        rules in prop::collection::vec(rules(), 4),
        before in sketch(),
        after in sketch(),
        same in any::<[bool; 3]>(),
    ) {
        // Half of the time only some of it differs.
        let after = Sketch {
            groups: if same[0] { before.groups.clone() } else { after.groups },
            routed: if same[1] { before.routed.clone() } else { after.routed },
            pairs: if same[2] {
                let mut pairs = before.pairs.clone();
                pairs.extend(after.pairs.into_iter().take(1));
                pairs
            } else {
                after.pairs
            },
        };
        let (before, after) = (table(&before, &rules), table(&after, &rules));
        let names = names(&[&before, &after]);
        check_everything((&before, &after), &names, |is_before, from, to, packet| {
            (judge(if is_before { &before } else { &after }, from, to, packet), Treatment::default())
        })?;
    }
}

/// What a generated table holds; places in lists of numbers for classes, sets and bridge domains.
#[derive(Debug, Clone)]
struct Sketch {
    /// For each group its VRF and bridge domain, if it exists.
    groups: Vec<Option<(usize, usize)>>,
    /// For each bridge domain whether it routes.
    routed: Vec<bool>,
    /// VRF, source and destination class (0 is any), rule set.
    pairs: Vec<(usize, usize, usize, usize)>,
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let group = prop_oneof![1 => Just(None), 4 => (0..2_usize, 0..2_usize).prop_map(Some)];
    (
        prop::collection::vec(group, 4),
        prop::collection::vec(any::<bool>(), 4),
        prop::collection::vec((0..2_usize, 0..5_usize, 0..5_usize, 0..4_usize), 0..8),
    )
        .prop_map(|(groups, routed, pairs)| Sketch { groups, routed, pairs })
}

/// What a rule matches, its priority, and whether it permits, is stateful, and logs.
type RuleSketch = (Match, u16, bool, bool, bool);

fn rules() -> impl Strategy<Value = Vec<RuleSketch>> {
    let port = select(vec![PortRange::ANY, PortRange::one(80), PortRange { first: 81, last: 82 }]);
    let ether = select(vec![
        EtherMatch::Any,
        EtherMatch::Ip,
        EtherMatch::Is(EtherType::IPV6),
        EtherMatch::Is(EtherType::ARP),
    ]);
    let proto = select(vec![None, Some(proto::TCP), Some(proto::UDP)]);
    let tcp = select(vec![TcpMatch::Any, TcpMatch::Any, TcpMatch::Established]);
    let matches =
        (ether, proto, port.clone(), port, tcp).prop_map(|(ether, proto, sport, dport, tcp)| {
            Match { ether, proto, sport, dport, tcp, ..Match::EVERYTHING }
        });
    let flag = prop::bool::weighted(0.3);
    let rule = (matches, select(vec![1_u16, 2, 3]), any::<bool>(), flag, flag);
    prop::collection::vec(rule, 0..4)
}

fn table(sketch: &Sketch, rules: &[Vec<RuleSketch>]) -> Table {
    let mut table = Table::default();
    for (at, rules) in rules.iter().enumerate() {
        let id = RuleSetId(at as u32 + 1);
        let made =
            rules.iter().enumerate().map(|(n, (matches, priority, permit, stateful, log))| Rule {
                id: RuleId((at * 10 + n) as u32 + 1),
                priority: *priority,
                matches: *matches,
                action: if *permit { Action::Permit } else { Action::Deny },
                reason: Reason::Contract,
                stateful: *stateful,
                log: *log,
                treatment: Treatment::default(),
            });
        table.rule_sets.insert(id, Arc::new(RuleSet::new(id, made.collect())));
    }
    for (at, place) in sketch.groups.iter().enumerate() {
        let Some((vrf, bd)) = *place else { continue };
        let (scope, bd) = (ScopeId(vrf as u32 + 1), vrf * 2 + bd);
        table.vrfs.insert(scope, Vrf { name: format!("vrf-{vrf}").into() });
        let routed = sketch.routed[bd];
        let name: Arc<str> = format!("bd-{bd}").into();
        let bd = BdId(bd as u32 + 10);
        let mac = Mac([0; 6]);
        let domain = BridgeDomain { name, scope, mac, routed, gateways: Vec::new() };
        table.bridge_domains.insert(bd, domain);
        let key = GroupKey { scope, class: class(at + 1) };
        let group =
            Group { name: format!("g{at}").into(), bd: Some(bd), encap: GroupId(at as u32 + 1) };
        table.groups.insert(key, group);
    }
    for (vrf, src, dst, set) in &sketch.pairs {
        let scope = ScopeId(*vrf as u32 + 1);
        let key = PairKey { scope, src: class(*src), dst: class(*dst) };
        table.pairs.insert(key, RuleSetId(*set as u32 + 1));
    }
    table
}

fn class(at: usize) -> ClassId {
    if at == 0 { ClassId::ANY } else { ClassId(16385 + at as u16) }
}

/// As `trace::verdict` does, of a table alone.
fn judge(table: &Table, from: &str, to: &str, packet: &Packet) -> Verdict {
    let find = |name: &str| table.groups.iter().find(|(_, group)| &*group.name == name);
    let (Some((src, here)), Some((dst, there))) = (find(from), find(to)) else {
        return Verdict::IMPLICIT_DENY;
    };
    if src.scope != dst.scope {
        return Verdict::IMPLICIT_DENY;
    }
    let routes = |group: &Group| table.bridge_domains[&group.bd.unwrap()].routed;
    let routed = routes(here) && routes(there) && packet.ether.is_ip();
    if here.bd != there.bd && !routed {
        return Verdict::IMPLICIT_DENY;
    }
    table.judge(src.scope, src.class, dst.class, packet)
}

/// The changes from one policy to another, a line each: kind, pairs, traffic, authors.
fn check(before: &str, after: &str, expected: &[&str]) {
    let mut numbers = Numbers::default();
    let before = compile(&tree(&with_groups(before)), &mut numbers);
    let after = compile(&tree(&with_groups(after)), &mut numbers);
    let plan = plan(&before, &after);
    let short = |end: &End| match end {
        End::Group(dn) => dn.rsplit("epg-").next().unwrap().to_owned(),
        End::AnyOther { vrf, are } => format!("{are:?}({})", vrf.rsplit('/').next().unwrap()),
    };
    let pair = |pair: &Pair| format!("{}>{}", short(&pair.from), short(&pair.to));
    let lines: Vec<String> = plan
        .changes
        .iter()
        .map(|change| {
            let pairs: Vec<String> = change.pairs.iter().map(pair).collect();
            format!(
                "{:?} {}: {}: {} -> {}{}",
                change.kind,
                pairs.join(","),
                change.traffic.join(", "),
                change.before.text,
                change.after.text,
                if change.passes_as_answer { " (answers pass)" } else { "" },
            )
        })
        .collect();
    assert_eq!(lines, expected);
}

const SQL: &str = "
    flt-sql/e-sql etherT=ip prot=tcp dFromPort=5432 dToPort=5432
    brc-sql/subj-sql/rssubjFiltAtt-sql
    ap-a/epg-db/rsprov-sql
    ap-a/epg-web/rscons-sql
";

#[test]
fn nothing_that_differs_is_no_change() {
    check(SQL, SQL, &[]);
    // Another author for the same verdict is no change either.
    check(SQL, &SQL.replace("sql/subj-sql", "sql/subj-other"), &[]);
}

const NOBODY: &str = "no contract between the two groups covers it";
const ENTRY: &str = "contract sql, entry sql";

#[test]
fn a_contract_gives_and_its_absence_takes() {
    let gains = [
        &*format!("Gains db>web: tcp from port 5432: {NOBODY} -> {ENTRY}"),
        &*format!("Gains web>db: tcp/5432: {NOBODY} -> {ENTRY}"),
    ];
    check("", SQL, &gains);
    let loses = [
        &*format!("Loses db>web: tcp from port 5432: {ENTRY} -> {NOBODY}"),
        &*format!("Loses web>db: tcp/5432: {ENTRY} -> {NOBODY}"),
    ];
    check(SQL, "", &loses);
}

#[test]
fn becoming_stateful_closes_the_way_back_to_all_but_answers() {
    let stateful = SQL.replace("dToPort=5432", "dToPort=5432 stateful=yes");
    let changes = [
        &*format!("Loses db>web: tcp from port 5432: {ENTRY} -> {NOBODY} (answers pass)"),
        &*format!("Alters web>db: tcp/5432: {ENTRY} -> {ENTRY}"),
    ];
    check(SQL, &stateful, &changes);
}

#[test]
fn a_log_directive_alters_and_an_outranking_deny_takes() {
    let log = format!("{SQL}\nbrc-sql/subj-sql/rssubjFiltAtt-sql directives=log");
    let changes = [
        &*format!("Alters db>web: tcp from port 5432: {ENTRY} -> {ENTRY}"),
        &*format!("Alters web>db: tcp/5432: {ENTRY} -> {ENTRY}"),
    ];
    check(SQL, &log, &changes);
    let wide = "
        brc-sql/subj-sql/rssubjFiltAtt-wide
        flt-wide/e-wide etherT=ip prot=tcp dFromPort=5430 dToPort=5440
    ";
    let deny = "brc-sql/subj-no/rssubjFiltAtt-sql action=deny";
    check(
        &format!("{SQL}{wide}"),
        &format!("{SQL}{wide}{deny}"),
        &[
            "Loses db>web: tcp from port 5432: contract sql, entry sql -> contract sql, entry sql",
            "Loses web>db: tcp/5432: contract sql, entry sql -> contract sql, entry sql",
        ],
    );
}

#[test]
fn a_vrf_that_stops_enforcing_opens_everything_that_was_not_open() {
    let open = "the VRF does not enforce policy";
    let changes = [
        &*format!("Gains db>web: everything but tcp from port 5432: {NOBODY} -> {open}"),
        &*format!("Gains web>db: everything but tcp/5432: {NOBODY} -> {open}"),
        &*format!("Gains Kept(ctx-v)>Kept(ctx-v): everything: {NOBODY} -> {open}"),
    ];
    check(SQL, &format!("{SQL}\nctx-v pcEnfPref=unenforced"), &changes);
}

#[test]
fn groups_that_come_and_go_are_pairs_that_do() {
    let more = "
        ap-a/epg-app/rscons-sql
        ap-a/epg-new/rsbd tnFvBDName=b
        ap-a/epg-new/rscons-sql
    ";
    let inside = "both endpoints are in the same group, and the group is not isolated";
    let changes = [
        &*format!("Gains app>db: tcp/5432: {NOBODY} -> {ENTRY}"),
        &*format!("Gains db>app: tcp from port 5432: {NOBODY} -> {ENTRY}"),
        &*format!("Gains db>new: tcp from port 5432: no such group -> {ENTRY}"),
        &*format!("Gains new>db: tcp/5432: no such group -> {ENTRY}"),
        &*format!("Gains new>new: everything: no such group -> {inside}"),
    ];
    check(SQL, &format!("{SQL}\n{more}"), &changes);
}

#[test]
fn a_bridge_domain_that_stops_routing_takes_what_it_carried() {
    let more = format!("{SQL}\nap-a/epg-app/rscons-sql");
    let changes = [
        &*format!("Loses app>db: tcp/5432: {ENTRY} -> {BARRED}"),
        &*format!("Loses db>app: tcp from port 5432: {ENTRY} -> {BARRED}"),
    ];
    check(&more, &format!("{more}\nBD-c unicastRoute=no"), &changes);
}

const BARRED: &str =
    "the destination is in another bridge domain, and one of the two does not route";
