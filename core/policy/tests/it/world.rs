//! Policies as lines of text, and the one function that checks them.

use selvage_model::{Dn, Mo, Tree, blank};
use selvage_policy::compile::Compiled;
use selvage_policy::trace::{self, parse_flow};
use selvage_policy::{Numbers, compile};
use selvage_rules::{Action, EtherType, Packet};

/// A tree from lines `DN prop=value ...`. A DN that does not begin at `uni/` is in tenant `t`;
/// objects between it and the top are made as needed. `#` begins a comment.
pub fn tree(policy: &str) -> Tree {
    let mut tree = Tree::default();
    for mo in objects(policy) {
        put(&mut tree, mo);
    }
    tree
}

/// The objects of such lines, parents first within each line.
pub fn objects(policy: &str) -> Vec<Mo> {
    let mut all = Vec::new();
    for line in policy.lines() {
        let line = line.split('#').next().unwrap().trim();
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        let name =
            if name.starts_with("uni") { name.to_owned() } else { format!("uni/tn-t/{name}") };
        let dn: Dn = name.parse().unwrap();
        let mut parents = Vec::new();
        let mut at = dn.parent();
        while let Some(parent) = at {
            at = parent.parent();
            parents.push(blank(&parent).unwrap_or_else(|| panic!("no class fits {parent}")));
        }
        all.extend(parents.into_iter().rev());
        let mut mo = blank(&dn).unwrap_or_else(|| panic!("no class fits {dn}"));
        for word in words {
            let (prop, value) = word.split_once('=').unwrap_or_else(|| panic!("{line}"));
            assert!(mo.set(prop, value), "{dn} has no {prop}");
        }
        all.push(mo);
    }
    all
}

/// Puts an object in; one that is there already keeps what it has and `mo` does not say.
pub fn put(tree: &mut Tree, mo: Mo) {
    let mut kept = tree.get(mo.dn().as_str()).cloned().unwrap_or_else(|| mo.clone());
    for (prop, value) in mo.set_props() {
        kept.set(prop, value);
    }
    tree.insert(kept);
}

pub fn compiled(policy: &str) -> Compiled {
    compile(&tree(policy), &mut Numbers::default())
}

/// Checks flows against a policy. Each is a line `FROM TO FLOW: VERDICT`, where FLOW may end in
/// `@PORT` to say the source port, and VERDICT is the reason, for `contract` and `denied` followed
/// by the name of the entry that decided, and for a stateful permit by `stateful`.
///
/// Flows are judged over IPv4, packet by packet; `-6` before the colon asks for IPv6.
pub fn check(policy: &str, flows: &str) {
    let tree = tree(policy);
    let compiled = compile(&tree, &mut Numbers::default());
    for line in flows.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (question, expected) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
        let mut words = question.split_whitespace();
        let mut group = || match trace::find(&tree, words.next().unwrap()).unwrap() {
            trace::Place::Group(dn) => dn,
            trace::Place::Endpoint(endpoint) => endpoint.group,
        };
        let (from, to) = (group(), group());
        let packet = packet(words.next().unwrap(), words.next() == Some("-6"));
        let verdict = trace::verdict(&compiled, &from, &to, &packet);
        let mut got = verdict.reason.to_string();
        if let Some(rule) = verdict.rule {
            let chain = trace::chain(&compiled, rule, &from, &to).unwrap();
            if let Some(entry) = chain.entry {
                got += &format!(" {}", entry.rn().trim_start_matches("e-"));
            }
        }
        if verdict.stateful {
            got += " stateful";
        }
        assert_eq!(verdict.action == Action::Permit, verdict.reason.is_allow(), "{line}");
        assert_eq!(got, expected, "\n{line}\nproblems: {:#?}", compiled.problems);
    }
}

/// A packet from the words a flow is written in, with `@PORT` for its source port.
pub fn packet(text: &str, v6: bool) -> Packet {
    let (flow, sport) = text.split_once('@').unwrap_or((text, ""));
    let family = if v6 { EtherType::IPV6 } else { EtherType::IPV4 };
    let packet = parse_flow(flow).unwrap().0.packet(family);
    Packet { sport: sport.parse().unwrap_or(packet.sport), ..packet }
}

/// What is wrong with a policy: lines `DN cause`, ordered, with `uni/tn-t/` left out.
pub fn problems(policy: &str) -> Vec<String> {
    let compiled = compiled(policy);
    let short = |dn: &Dn| dn.as_str().trim_start_matches("uni/tn-t/").to_owned();
    compiled.problems.iter().map(|p| format!("{} {}", short(&p.dn), p.cause)).collect()
}

/// Two groups in one VRF, `web` and `db`, and a third, `app`, in a bridge domain of its own.
pub const GROUPS: &str = "
    ctx-v
    BD-b/rsctx tnFvCtxName=v
    BD-c/rsctx tnFvCtxName=v
    ap-a/epg-web/rsbd tnFvBDName=b
    ap-a/epg-db/rsbd tnFvBDName=b
    ap-a/epg-app/rsbd tnFvBDName=c
";

pub fn with_groups(more: &str) -> String {
    format!("{GROUPS}\n{more}")
}
