//! The smallest change of policy that turns a verdict round.

use std::collections::BTreeSet;

use selvage_model::{Dn, Post, Stamp, Tree, apply, manifest};
use selvage_rules::{Action, Packet, Reason};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::edits::Edit;
use super::entry;
use crate::compile::{Compiled, compile, directions};
use crate::ir::{Clause, Intent, Way};
use crate::number::Numbers;
use crate::plan::{Kind, part, plan};
use crate::trace::{self, Chain, name};

/// Contracts that are tried for one relation more.
const MOST_CONTRACTS: usize = 32;

/// A change that was tried and turns the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it makes of the packet: `allow` or `deny`.
    pub makes: &'static str,
    /// What it does, in one sentence.
    pub text: String,
    /// DNs of the objects that it adds, changes or deletes.
    pub objects: Vec<String>,
    /// Other pairs of groups whose traffic it changes as well.
    pub other_pairs: usize,
    /// The file to apply, where the file format can say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yaml: Option<String>,
    /// The same as managed objects in JSON, to apply or to post to `uni`.
    #[serde(serialize_with = "as_objects")]
    pub json: Post,
}

/// One way to do it, not yet tried.
struct Candidate {
    text: String,
    edit: Edit,
}

/// The smallest change that allows what is denied, or denies what is allowed; `None` where no
/// contract, filter or switch that is tried does.
pub fn smallest(
    tree: &Tree,
    compiled: &Compiled,
    from: &Dn,
    to: &Dn,
    packet: &Packet,
) -> Option<Change> {
    let verdict = trace::verdict(compiled, from, to, packet);
    let chain = verdict.rule.and_then(|rule| trace::chain(compiled, rule, from, to));
    let ask = Ask { tree, intent: &compiled.intent, from, to, packet };
    let denies = verdict.action == Action::Deny;
    let mut candidates = match denies {
        true => ask.that_allow(verdict.reason, chain.as_ref()),
        false => ask.that_deny(verdict.reason, chain.as_ref()),
    };
    candidates.sort_by_key(|candidate| candidate.edit.objects.len());
    let mut best: Option<Change> = None;
    for candidate in candidates {
        let is_larger = |best: &Change| best.objects.len() < candidate.edit.objects.len();
        if best.as_ref().is_some_and(is_larger) {
            break;
        }
        let Some(change) = ask.tried(candidate, denies) else { continue };
        let rank = |c: &Change| (c.objects.len(), c.other_pairs, c.yaml.is_none());
        if best.as_ref().is_none_or(|best| rank(&change) < rank(best)) {
            best = Some(change);
        }
    }
    best
}

/// What is asked, and of what.
struct Ask<'a> {
    tree: &'a Tree,
    intent: &'a Intent,
    from: &'a Dn,
    to: &'a Dn,
    packet: &'a Packet,
}

impl Ask<'_> {
    /// Makes a change to a copy of the tree; `None` if the verdict stays.
    fn tried(&self, candidate: Candidate, allows: bool) -> Option<Change> {
        let Candidate { text, edit } = candidate;
        let post = edit.posts.iter().cloned().fold(Post::new("polUni"), Post::child);
        let mut after = self.tree.clone();
        let changes = apply(&mut after, Stamp::new("never", ""), Some(&"uni".parse().ok()?), &post);
        let changes = changes.ok()?;
        let touched = changes.created.iter().chain(&changes.deleted);
        let touched = touched.chain(changes.modified.iter().map(|change| &change.new));
        let mut numbers = Numbers::default();
        let [was, will] = match part([self.tree, &after], touched.map(|mo| &**mo)) {
            Some(part) => part.each_ref().map(|tree| compile(tree, &mut numbers)),
            None => [self.tree, &after].map(|tree| compile(tree, &mut numbers)),
        };
        let verdict = trace::verdict(&will, self.from, self.to, self.packet);
        if (verdict.action != Action::Deny) != allows {
            return None;
        }
        let changes = plan(&was, &will).changes;
        let told = changes.iter().filter(|change| change.kind != Kind::Alters);
        let pairs: BTreeSet<_> = told.flat_map(|change| &change.pairs).collect();
        Some(Change {
            makes: if allows { "allow" } else { "deny" },
            text,
            objects: edit.objects,
            other_pairs: pairs.len().saturating_sub(1),
            yaml: manifest::write(&edit.posts),
            json: post,
        })
    }

    /// What may allow a packet that is denied.
    fn that_allow(&self, reason: Reason, chain: Option<&Chain>) -> Vec<Candidate> {
        let mut all = Vec::new();
        let mut say = |text: String, edit: Option<Edit>| {
            all.extend(edit.map(|edit| Candidate { text, edit }));
        };
        let none = Edit::default;
        for group in [self.from, self.to] {
            if self.prop(group, "shutdown") == "yes" {
                let text = format!("start group `{}` again", name(group));
                say(text, none().set(self.tree, group, "shutdown", "no"));
            }
        }
        if self.from == self.to {
            let text = format!("let the endpoints of `{}` talk to each other", name(self.from));
            say(text, none().set(self.tree, self.from, "pcEnfPref", "unenforced"));
            return all;
        }
        if let Some(chain) = chain.filter(|chain| chain.entry.is_some()) {
            for (text, dn) in self.denied_by(chain) {
                say(text, none().delete(self.tree, &dn));
            }
        }
        let base = self.routed(reason);
        if !base.objects.is_empty() {
            say("let their bridge domains route".to_owned(), Some(base.clone()));
        }
        for (text, edit) in self.relations(&base).into_iter().chain(self.additions(&base)) {
            say(text, edit);
        }
        all
    }

    /// The relations by which something denies.
    fn denied_by(&self, chain: &Chain) -> Vec<(String, Dn)> {
        let mut found = Vec::new();
        let contracts = self.intent.contracts.values();
        for clause in contracts.flat_map(|contract| self.intent.clauses(contract)) {
            let is_it = clause.used.action == Action::Deny
                && clause.subject.dn.as_str() == chain.subject
                && Some(&clause.entry.dn) == chain.entry.as_ref();
            if is_it {
                let text =
                    format!("stop denying filter `{}` in its subject", name(&clause.used.filter));
                found.push((text, clause.used.relation.clone()));
            }
        }
        let is_taboo =
            |dn: &&Dn| self.tree.get(dn.as_str()).is_some_and(|mo| mo.class().name == "fvRsProtBy");
        let taboo = chain.provider.as_ref().filter(is_taboo);
        found.extend(taboo.map(|dn| ("take the taboo off the group".to_owned(), dn.clone())));
        found
    }

    /// Bridge domains that must route for the two to reach each other.
    fn routed(&self, reason: Reason) -> Edit {
        let mut edit = Edit::default();
        if reason != Reason::NotRouted || !self.packet.ether.is_ip() {
            return edit;
        }
        for group in [self.from, self.to] {
            let bd = self.intent.groups.get(group).and_then(|group| group.bd.as_ref());
            let bd = bd.filter(|bd| self.prop(bd, "unicastRoute") == "no");
            let more = bd.and_then(|bd| edit.clone().set(self.tree, bd, "unicastRoute", "yes"));
            edit = more.unwrap_or(edit);
        }
        edit
    }

    /// Contracts that would allow it, if the two provided and consumed them.
    fn relations(&self, base: &Edit) -> Vec<(String, Option<Edit>)> {
        let mut found = Vec::new();
        for (dn, contract) in &self.intent.contracts {
            let mut ways: BTreeSet<bool> = BTreeSet::new();
            let permits = self.intent.clauses(contract).filter(|c| c.used.action != Action::Deny);
            for (there, back) in permits.map(|clause| directions(&clause)) {
                let fits =
                    |m: Option<selvage_rules::Match>| m.is_some_and(|m| m.matches(self.packet));
                ways.extend(fits(there).then_some(true));
                ways.extend(fits(back).then_some(false));
            }
            // To be allowed as the answer is worth a change only where nothing else is.
            for to_provider in ways.into_iter().rev() {
                let (consumer, provider) =
                    if to_provider { (self.from, self.to) } else { (self.to, self.from) };
                found.push(self.relate(base, dn, consumer, provider));
            }
            if found.len() >= MOST_CONTRACTS {
                break;
            }
        }
        found
    }

    fn relate(
        &self,
        base: &Edit,
        contract: &Dn,
        consumer: &Dn,
        provider: &Dn,
    ) -> (String, Option<Edit>) {
        let called = name(contract);
        let mut edit = Some(base.clone());
        let mut words = Vec::new();
        if !self.intent.uses(consumer).any(|r| &r.contract == contract) {
            edit =
                edit.and_then(|edit| self.relation(edit, consumer, "fvRsCons", "rscons", called));
            words.push(format!("let `{}` consume contract `{called}`", name(consumer)));
        }
        if !self.intent.offers(provider).any(|r| &r.contract == contract) {
            edit =
                edit.and_then(|edit| self.relation(edit, provider, "fvRsProv", "rsprov", called));
            words.push(format!("let `{}` provide contract `{called}`", name(provider)));
        }
        (words.join(", and "), edit.filter(|_| !words.is_empty()))
    }

    fn relation(
        &self,
        edit: Edit,
        group: &Dn,
        class: &str,
        rn: &str,
        contract: &str,
    ) -> Option<Edit> {
        let relation = Post::new(class).with("tnVzBrCPName", contract);
        edit.add(self.tree, group, relation, &format!("{rn}-{contract}"))
    }

    /// An entry more in a contract between the two, or a contract of its own for them.
    fn additions(&self, base: &Edit) -> Vec<(String, Option<Edit>)> {
        let Some(wanted) = entry::toward(self.packet).map(|wanted| wanted.stateful(self.packet))
        else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let between = self.intent.uses(self.from).filter(|used| {
            self.intent.offers(self.to).any(|offered| offered.contract == used.contract)
        });
        let contracts: BTreeSet<&Dn> = between.map(|used| &used.contract).collect();
        for dn in contracts {
            let Some(contract) = self.intent.contracts.get(dn) else { continue };
            let clauses =
                contract.subjects.iter().flat_map(|s| s.terms.iter().map(move |t| (s, t)));
            for (subject, term) in clauses.filter(|(_, term)| term.way != Way::ToConsumer) {
                for used in term.uses.iter().filter(|used| used.action != Action::Deny) {
                    let filter = &used.filter;
                    let named = self.free(&wanted.name, |n| format!("{filter}/e-{n}"));
                    let text = format!("let filter `{}` match it too", name(filter));
                    let rn = format!("e-{named}");
                    let edit = base.clone().add(self.tree, filter, wanted.post(&named), &rn);
                    found.push((text, edit));
                }
                if term.dn == subject.dn {
                    let text = format!("let contract `{}` allow it too", name(dn));
                    let edit = self.filter(base.clone(), dn, &wanted);
                    let edit = edit.and_then(|(edit, filter)| {
                        self.use_filter(edit, &subject.dn, &filter, None)
                    });
                    found.push((text, edit));
                }
            }
        }
        found.push(self.contract(base, &wanted));
        found
    }

    /// A contract for just this, which the receiver provides and the sender consumes.
    fn contract(&self, base: &Edit, wanted: &entry::Wanted) -> (String, Option<Edit>) {
        let tenants = [self.from, self.to].map(|dn| dn.ancestor("tn-"));
        let tenant = match tenants {
            [Some(a), Some(b)] if a == b => a,
            // Only what is in `common` is found by both.
            _ => match "uni/tn-common".parse() {
                Ok(common) => common,
                Err(_) => return (String::new(), None),
            },
        };
        let called = format!("{}-to-{}", name(self.from), name(self.to));
        let called = self.free(&called, |n| format!("{tenant}/brc-{n}"));
        let text = format!("make a contract `{called}` between the two");
        let make = || {
            let (edit, filter) = self.filter(base.clone(), &tenant, wanted)?;
            let subject = Post::new("vzSubj").with("name", wanted.name.as_str());
            let uses = Post::new("vzRsSubjFiltAtt").with("tnVzFilterName", filter.as_str());
            let contract = Post::new("vzBrCP").with("name", called.as_str());
            let contract = match self.intent.vrf_of(self.from) == self.intent.vrf_of(self.to) {
                true => contract,
                false => contract.with("scope", "global"),
            };
            let rn = format!("brc-{called}");
            let contract = contract.child(subject.child(uses));
            let mut edit = edit.add(self.tree, &tenant, contract, &rn)?;
            let subject = format!("{tenant}/{rn}/subj-{}", wanted.name);
            edit.objects.extend([subject.clone(), format!("{subject}/rssubjFiltAtt-{filter}")]);
            let edit = self.relation(edit, self.to, "fvRsProv", "rsprov", &called)?;
            self.relation(edit, self.from, "fvRsCons", "rscons", &called)
        };
        (text, make())
    }

    /// A new filter in the tenant of `near` with one entry.
    fn filter(&self, edit: Edit, near: &Dn, wanted: &entry::Wanted) -> Option<(Edit, String)> {
        let tenant = near.ancestor("tn-")?;
        let named = self.free(&wanted.name, |n| format!("{tenant}/flt-{n}"));
        let filter = Post::new("vzFilter").with("name", named.as_str());
        let filter = filter.child(wanted.post(&wanted.name));
        let mut edit = edit.add(self.tree, &tenant, filter, &format!("flt-{named}"))?;
        edit.objects.push(format!("{tenant}/flt-{named}/e-{}", wanted.name));
        Some((edit, named))
    }

    fn use_filter(
        &self,
        edit: Edit,
        subject: &Dn,
        filter: &str,
        action: Option<&str>,
    ) -> Option<Edit> {
        let uses = Post::new("vzRsSubjFiltAtt").with("tnVzFilterName", filter);
        let uses = match action {
            Some(action) => uses.with("action", action),
            None => uses,
        };
        edit.add(self.tree, subject, uses, &format!("rssubjFiltAtt-{filter}"))
    }

    /// What may deny a packet that is allowed.
    fn that_deny(&self, reason: Reason, chain: Option<&Chain>) -> Vec<Candidate> {
        let mut all = Vec::new();
        let mut say = |text: String, edit: Option<Edit>| {
            all.extend(edit.map(|edit| Candidate { text, edit }));
        };
        let none = Edit::default;
        match reason {
            Reason::IntraGroup => {
                let text =
                    format!("isolate the endpoints of `{}` from each other", name(self.from));
                say(text, none().set(self.tree, self.from, "pcEnfPref", "enforced"));
            }
            Reason::Unenforced => {
                if let Some(vrf) = self.intent.vrf_of(self.from) {
                    let text = format!("let VRF `{}` enforce contracts", name(vrf));
                    say(text, none().set(self.tree, vrf, "pcEnfPref", "enforced"));
                }
            }
            Reason::PreferredGroup => {
                for group in [self.to, self.from] {
                    let text = format!("take `{}` out of the preferred group", name(group));
                    say(text, none().set(self.tree, group, "prefGrMemb", "exclude"));
                }
            }
            _ => {}
        }
        let Some(chain) = chain.filter(|chain| chain.entry.is_some()) else { return all };
        for clause in self.clauses_of(chain) {
            if chain.reverse && !clause.entry.stateful {
                let entry = &clause.entry.dn;
                let text =
                    format!("make entry `{}` stateful, so that only answers pass", name(entry));
                say(text, none().set(self.tree, entry, "stateful", "yes"));
            }
        }
        let called = chain.contract.as_ref().map(name).unwrap_or_default();
        for (dn, does) in [(&chain.consumer, "consume"), (&chain.provider, "provide")] {
            let Some(dn) = dn else { continue };
            let who = dn.parent().map(|dn| name(&dn).to_owned()).unwrap_or_default();
            let text = format!("stop letting `{who}` {does} contract `{called}`");
            say(text, none().delete(self.tree, dn));
        }
        if let Some(entry) = &chain.entry {
            say(format!("delete entry `{}`", name(entry)), none().delete(self.tree, entry));
        }
        say(format!("deny it in contract `{called}`"), self.denied_in(chain));
        say(format!("deny just this in contract `{called}`"), self.denied_one_way(chain));
        all
    }

    fn clauses_of(&self, chain: &Chain) -> Vec<Clause<'_>> {
        let contract = chain.contract.as_ref().and_then(|dn| self.intent.contracts.get(dn));
        let clauses = contract.into_iter().flat_map(|contract| self.intent.clauses(contract));
        let is_it = |clause: &Clause<'_>| {
            clause.subject.dn.as_str() == chain.subject
                && Some(&clause.entry.dn) == chain.entry.as_ref()
        };
        clauses.filter(is_it).collect()
    }

    /// A filter for the flow that the subject denies.
    fn denied_in(&self, chain: &Chain) -> Option<Edit> {
        let subject: Dn = chain.subject.parse().ok().filter(|_| !chain.reverse)?;
        let wanted = entry::toward(self.packet)?;
        let (edit, filter) = self.filter(Edit::default(), &subject, &wanted)?;
        self.use_filter(edit, &subject, &filter, Some("deny"))
    }

    /// A subject of its own that denies these ports one way.
    fn denied_one_way(&self, chain: &Chain) -> Option<Edit> {
        let contract = chain.contract.as_ref()?;
        let wanted = entry::exactly(self.packet)?;
        let (edit, filter) = self.filter(Edit::default(), contract, &wanted)?;
        let (class, rn) =
            if chain.reverse { ("vzOutTerm", "outtmnl") } else { ("vzInTerm", "intmnl") };
        let uses = Post::new("vzRsFiltAtt").with("tnVzFilterName", filter.as_str());
        let term = Post::new(class).child(uses.with("action", "deny"));
        let called = self.free(&format!("no-{filter}"), |n| format!("{contract}/subj-{n}"));
        let subject = Post::new("vzSubj").with("name", called.as_str()).child(term);
        let mut edit = edit.add(self.tree, contract, subject, &format!("subj-{called}"))?;
        let term = format!("{contract}/subj-{called}/{rn}");
        edit.objects.extend([term.clone(), format!("{term}/rsfiltAtt-{filter}")]);
        Some(edit)
    }

    fn prop(&self, dn: &Dn, prop: &str) -> &str {
        self.tree.get(dn.as_str()).map(|mo| mo.get(prop)).unwrap_or_default()
    }

    /// A name that no object has, beginning with `wanted`.
    fn free(&self, wanted: &str, dn: impl Fn(&str) -> String) -> String {
        let taken = |name: &str| self.tree.get(&dn(name)).is_some();
        let numbered = (2..).map(|n| format!("{wanted}-{n}"));
        let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
        names.find(|name| !taken(name)).unwrap_or_default()
    }
}

/// A post as the REST API takes it.
struct Object<'p>(&'p Post);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Body<'p> {
            attributes: std::collections::BTreeMap<&'p str, &'p str>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            children: Vec<Object<'p>>,
        }
        let attributes = self.0.attributes.iter().map(|(name, value)| (&**name, &**value));
        let body = Body {
            attributes: attributes.collect(),
            children: self.0.children.iter().map(Object).collect(),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(&self.0.class, &body)?;
        map.end()
    }
}

fn as_objects<S: Serializer>(post: &Post, serializer: S) -> Result<S::Ok, S::Error> {
    Object(post).serialize(serializer)
}
