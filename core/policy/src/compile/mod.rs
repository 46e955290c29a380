//! [`Intent`] to [`Table`]: which class may send what to which.
//!
//! A contract becomes two lists of rules, its *sides*: one from consumer to provider, one back. A
//! pair of groups is given a rule set for the set of sides that lie between them, so a thousand
//! pairs on one contract share one set.
//!
//! # Meaning
//!
//! - **Stateless** (`stateful=no`, the default): every packet is judged alone. A subject that
//!   counts both ways gives a rule to the provider and one back, the ports exchanged if
//!   `revFltPorts` says so. ICMP and ARP have no ports, so their rule back is the same entry: an
//!   entry with an ICMP type permits that type both ways, and its answer only if an entry says so.
//! - **Stateful**: one rule to the provider, and replies pass by the connection, so the provider
//!   opens nothing. ACI ties this to TCP and approximates it by asking the provider's packets for
//!   the ACK flag; here it holds for whatever the data plane tracks, TCP, UDP and ICMP echo alike,
//!   and never allows what the rules deny.
//! - **Deny** has no replies to track, so a denying entry denies both ways whatever its `stateful`.
//! - A group may talk to itself unless it is isolated; a contract it both provides and consumes adds
//!   nothing to that. In a VRF that enforces nothing everything passes, an isolated group's talk to
//!   itself included (*permit all traffic within VRF*, says the contract guide), which is said of
//!   that group.
//!
//! # Priorities
//!
//! Lower wins; the numbers are those of ACI's zoning rules (Cisco ACI contract guide, *contract
//! priorities*), so that a reader of `show zoning-rule` finds them again. Among equals deny wins.

mod any;
mod exceptions;
mod intra;
mod labels;
mod outside;
mod pairs;
mod preferred;
pub mod priority;
mod selection;
mod shared;
mod sides;
mod taboo;
mod treatment;

pub use outside::Ends;

pub(crate) use exceptions::expression;
pub(crate) use sides::directions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvage_model::{Dn, Tree};
use selvage_rules::{
    Action, BridgeDomain, ClassId, Group, GroupKey, Match, Origin, PairKey, Reason, Rule, RuleSet,
    RuleSetId, Table, Treatment, Vrf,
};

use crate::front;
use crate::ir::{self, Intent};
use crate::number::{Exhausted, Numbers, RuleKey};
use crate::problem::{Cause, Problem};

/// A tree's policy, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// What hosts enforce.
    pub table: Table,
    /// What it was made from: the chains of objects behind the numbers.
    pub intent: Intent,
    /// The groups that are enforced, by DN. A group of the tree that is not here is in quarantine.
    pub groups: BTreeMap<Dn, GroupKey>,
    /// The external groups that are enforced, by DN.
    pub externals: BTreeMap<Dn, Ends>,
    /// What is wrong with the tree, ordered by DN.
    pub problems: Vec<Problem>,
}

/// Compiles `tree`. The same tree with numbers of the same history gives the same table.
///
/// Takes note in `numbers` of what exists; a caller that only wonders passes a clone.
pub fn compile(tree: &Tree, numbers: &mut Numbers) -> Compiled {
    let (intent, problems) = front::read(tree);
    compile_intent(intent, problems, numbers)
}

fn compile_intent(intent: Intent, problems: Vec<Problem>, numbers: &mut Numbers) -> Compiled {
    let across = shared::providers(&intent);
    numbers.begin();
    numbers.keep(
        intent.vrfs.keys().chain(intent.bridge_domains.keys()),
        intent
            .groups
            .iter()
            .map(|(dn, group)| (&group.vrf, dn))
            .chain(intent.externals.iter().map(|(dn, external)| (&external.vrf, dn)))
            .chain(outside::default_vrfs(&intent).map(|vrf| (vrf, vrf))),
        |group| across.contains(group),
    );
    let mut builder = Builder {
        numbers,
        table: Table::default(),
        problems,
        across,
        defaults_across: BTreeMap::new(),
    };
    builder.networks(&intent);
    let mut members = builder.groups(&intent);
    members.extend(outside::externals(&mut builder, &intent));
    let alls = any::members(&builder, &intent);
    let mut sides = sides::lower(&mut builder, &intent, &members, &alls);
    sides.extend(preferred::sides(&mut builder, &intent, &members));
    shared::fill(&mut builder, &intent, &members, &mut sides);
    sides.extend(taboo::sides(&mut builder, &intent, &members));
    pairs::fill(&mut builder, sides);
    intra::fill(&mut builder, &intent, &members);
    builder.unenforced(&intent);
    outside::fill(&mut builder, &intent, &members);
    qualities(&mut builder, &intent, &members);
    let protections = intent.protections.iter().map(|(dn, policy)| (dn.shared(), policy.clone()));
    builder.table.protections = protections.collect();
    builder.table.arms.clone_from(&intent.arms);
    let of = |kind| members.iter().filter(move |member| member.kind == kind);
    let groups = of(Kind::Inside).map(|member| (member.dn.clone(), member.ends.key)).collect();
    let externals = of(Kind::Outside).map(|member| (member.dn.clone(), member.ends)).collect();
    let Builder { table, mut problems, .. } = builder;
    numbers.finish();
    problems.sort();
    problems.dedup();
    Compiled { table, intent, groups, externals, problems }
}

/// Which default of an object a rule is made from.
struct Default<'a> {
    holder: &'a Dn,
    /// Tells the defaults of one holder apart.
    which: &'a str,
    reverse: bool,
}

/// Puts what groups ask of the quality of their traffic into the table.
fn qualities(builder: &mut Builder<'_>, intent: &Intent, members: &[Member<'_>]) {
    for member in members {
        let quality = intent.qualities.get(member.dn);
        builder.table.qualities.extend(quality.map(|quality| (member.ends.key, quality.clone())));
    }
}

/// The table being built.
struct Builder<'a> {
    numbers: &'a mut Numbers,
    table: Table,
    problems: Vec<Problem>,
    /// The groups whose classes mean them in other VRFs, too, and the VRFs whose own classes do.
    across: BTreeSet<Dn>,
    /// The class of what comes from default prefixes that other VRFs know, by the group outside that
    /// has them.
    defaults_across: BTreeMap<GroupKey, ClassId>,
}

/// What sort of group it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Endpoints.
    Inside,
    /// Prefixes outside.
    Outside,
    /// All groups of a VRF.
    Any,
}

/// A group that has its numbers.
struct Member<'a> {
    dn: &'a Dn,
    tenant: &'a Dn,
    /// Its application profile; of a group outside, its L3Out.
    profile: &'a Dn,
    vrf: &'a Dn,
    kind: Kind,
    /// What it asks for beside its contracts; nothing of all groups of a VRF.
    stance: Option<&'a ir::Stance>,
    provides: &'a [ir::Relation],
    consumes: &'a [ir::Relation],
    ends: Ends,
}

impl Builder<'_> {
    fn networks(&mut self, intent: &Intent) {
        for dn in intent.vrfs.keys() {
            let number = self.numbers.scope(&dn.shared());
            let Some(scope) = self.or_problem(dn, number) else { continue };
            self.table.vrfs.insert(scope, Vrf { name: dn.shared() });
        }
        for (dn, bd) in &intent.bridge_domains {
            let Some(scope) = self.numbers.scope_of(&bd.vrf.shared()) else { continue };
            let number = self.numbers.bridge_domain(&dn.shared());
            let Some(id) = self.or_problem(dn, number) else { continue };
            let bd = BridgeDomain {
                name: dn.shared(),
                scope,
                mac: bd.mac,
                routed: bd.routed,
                gateways: bd.gateways.clone(),
            };
            self.table.bridge_domains.insert(id, bd);
        }
    }

    /// Numbers the groups. One that gets none is not in the table: its endpoints stay in
    /// quarantine.
    fn groups<'i>(&mut self, intent: &'i Intent) -> Vec<Member<'i>> {
        let mut members = Vec::with_capacity(intent.groups.len());
        for (dn, group) in &intent.groups {
            let (name, vrf) = (dn.shared(), group.vrf.shared());
            let Some(scope) = self.numbers.scope_of(&vrf) else { continue };
            let bd = group.bd.as_ref().map(|bd| self.numbers.bridge_domain_of(&bd.shared()));
            // A bridge domain without a number closes its groups.
            let Some(bd) = bd.map_or(Some(None), |bd| bd.map(Some)) else { continue };
            let numbers = self.class(dn, &vrf).and_then(|class| {
                let encap = self.numbers.group(&name)?;
                Ok((class, encap))
            });
            let Some((class, encap)) = self.or_problem(dn, numbers) else { continue };
            let key = GroupKey { scope, class };
            self.table.groups.insert(key, Group { name, bd, encap });
            members.push(Member {
                dn,
                tenant: &group.tenant,
                profile: &group.profile,
                vrf: &group.vrf,
                kind: Kind::Inside,
                stance: Some(&group.stance),
                provides: &group.provides,
                consumes: &group.consumes,
                ends: Ends { key, default_source: None },
            });
        }
        members
    }

    /// The class of a group: one of its VRF's, or if its contracts cross VRFs, one of the fabric's.
    fn class(&mut self, group: &Dn, vrf: &Arc<str>) -> Result<ClassId, Exhausted> {
        if self.across.contains(group) {
            self.numbers.global_class(&group.shared())
        } else {
            self.numbers.class(vrf, &group.shared())
        }
    }

    /// What holds in a VRF that enforces nothing.
    fn unenforced(&mut self, intent: &Intent) {
        for (dn, vrf) in &intent.vrfs {
            let Some(scope) = self.numbers.scope_of(&dn.shared()).filter(|_| !vrf.enforced) else {
                continue;
            };
            let what = Default { holder: dn, which: "", reverse: false };
            let priority = priority::ANY_TO_ANY_ALL;
            let rule = self.default_rule(&what, priority, Action::Permit, Reason::Unenforced);
            let pair = PairKey { scope, src: ClassId::ANY, dst: ClassId::ANY };
            self.put(pair, rule.into_iter().collect());
        }
    }

    /// A rule that no filter entry is behind, about every packet.
    fn default_rule(
        &mut self,
        what: &Default<'_>,
        priority: u16,
        action: Action,
        reason: Reason,
    ) -> Option<Rule> {
        let Default { holder, which, reverse } = *what;
        let key = RuleKey { holder: holder.shared(), entry: Arc::from(which), reverse };
        let number = self.numbers.rule(&key);
        let id = self.or_problem(holder, number)?;
        let origin = Origin { dn: key.holder, entry: Arc::from(""), reverse };
        self.table.origins.insert(id, origin);
        Some(Rule {
            id,
            priority,
            matches: Match::EVERYTHING,
            action,
            reason,
            stateful: false,
            log: false,
            treatment: Treatment::default(),
        })
    }

    /// Puts just these rules between two classes.
    fn put(&mut self, pair: PairKey, rules: Vec<Rule>) {
        if rules.is_empty() {
            return;
        }
        let Some(set) = self.rule_set(rules) else { return };
        self.table.pairs.insert(pair, set);
    }

    /// The number of the set of just these rules. `None` when the numbers have run dry, which is
    /// said of the tree's root: no object is to blame.
    fn rule_set(&mut self, rules: Vec<Rule>) -> Option<RuleSetId> {
        let set = RuleSet::new(RuleSetId(0), rules);
        let content: Arc<[Rule]> = set.rules.as_slice().into();
        match self.numbers.rule_set(&content) {
            Ok(id) => {
                let numbered = || Arc::new(RuleSet { id, ..set });
                self.table.rule_sets.entry(id).or_insert_with(numbered);
                Some(id)
            }
            Err(exhausted) => {
                let Ok(root) = "uni".parse() else { return None };
                self.problems.push(out_of(&root, &exhausted));
                None
            }
        }
    }

    fn or_problem<T>(&mut self, dn: &Dn, number: Result<T, Exhausted>) -> Option<T> {
        number.map_err(|exhausted| self.problems.push(out_of(dn, &exhausted))).ok()
    }
}

fn out_of(dn: &Dn, exhausted: &Exhausted) -> Problem {
    let text = format!("{exhausted}: this has none and is not enforced");
    Problem { dn: dn.clone(), cause: Cause::OutOfNumbers, text }
}

#[cfg(test)]
mod tests {
    use selvage_model::blank;

    use super::*;

    fn groups(names: &[&str]) -> Tree {
        let mut tree = Tree::default();
        let mut put = |dn: String, set: &[(&str, &str)]| {
            let mut mo = blank(&dn.parse().unwrap()).unwrap();
            for (prop, value) in set {
                mo.set(prop, value);
            }
            tree.insert(mo);
        };
        put("uni/tn-t/ctx-v".to_owned(), &[]);
        put("uni/tn-t/BD-b".to_owned(), &[]);
        put("uni/tn-t/BD-b/rsctx".to_owned(), &[("tnFvCtxName", "v")]);
        for name in names {
            put(format!("uni/tn-t/ap-a/epg-{name}"), &[]);
            put(format!("uni/tn-t/ap-a/epg-{name}/rsbd"), &[("tnFvBDName", "b")]);
        }
        tree
    }

    #[test]
    fn a_group_too_many_is_a_fault_and_gets_its_class_when_one_is_free() {
        let mut numbers = Numbers::with_classes(2);
        let full = compile(&groups(&["a", "b", "c"]), &mut numbers);
        assert_eq!(full.groups.len(), 2);
        let [problem] = &full.problems[..] else { panic!("{:?}", full.problems) };
        assert_eq!(problem.dn.as_str(), "uni/tn-t/ap-a/epg-c");
        assert_eq!(problem.cause, Cause::OutOfNumbers);
        assert_eq!(
            problem.text,
            "all 2 class ids of the VRF are in use: this has none and is not enforced",
        );
        let mended = compile(&groups(&["b", "c"]), &mut numbers);
        assert_eq!((mended.groups.len(), mended.problems.len()), (2, 0));
    }
}
