//! The naive judge: verdicts straight from the managed objects, sharing no code with the compiler.
//!
//! It answers one question, "may this packet go from here to there?", by walking the tree anew for
//! every pair of ends: group, bridge domain, VRF, contracts, subjects, filters, entries. There are no
//! tables, numbers or caches here, and nothing is fast. That is the point: it
//! was written from the ACI documents alone, so that where it and the compiled table disagree, one
//! of the two misread them.
//!
//! With the rest of the project it shares the tree it reads, the [`Packet`] it is asked about and
//! the names of the [`Reason`]s it gives. It does its own matching and its own precedence.
//!
//! | what | where | source |
//! |---|---|---|
//! | group, bridge domain, VRF, names | `place` | *Cisco ACI Fundamentals*, chapter "ACI Policy Model" |
//! | who is treated as whose endpoint | `member`, `useg`, `esg` | *ACI Virtualization Guide*, "Microsegmentation"; *Security Configuration Guide*, "Endpoint Security Groups" |
//! | addresses outside | `outside` | *ACI Fabric L3Out Guide*; *Cisco ACI Contract Guide*, "L3Out EPG with 0.0.0.0/0 subnet" |
//! | other VRFs | `routes` | *Contract Guide*, "Inter-VRF contracts" |
//! | unenforced VRF | this module | *Contract Guide*, table of contract options |
//! | endpoints of one group | `within` | *Contract Guide*, "Intra EPG contract", "Intra EPG isolation" |
//! | provider, consumer, vzAny, masters, interfaces | `relation` | *Contract Guide*, "vzAny", "Contract inheritance" |
//! | scope, subjects, directions | `contract` | *Contract Guide*, "How contracts work", "Contract scope" |
//! | labels, exceptions | `label`, `exception` | *ACI Fundamentals*, "Label Matching"; *Basic Configuration Guide* |
//! | filter entries | `entry` | *APIC management information model*, class `vzEntry` |
//! | service graphs | `service` | *PBR Service Graph Design* |
//! | taboos, preferred group | `taboo`, `preferred` | *Contract Guide* |
//! | the gate at the endpoint | `hostprot` | *Cisco ACI and Kubernetes*, "Network policy" |
//! | which rule has the last word | `ruling` | *Contract Guide*, "Contract priorities" |
//! | connections | this module | decision 5 of the design: tracking never allows what the rules deny |

mod contract;
mod ends;
mod entry;
mod esg;
mod exception;
mod hostprot;
mod label;
mod member;
mod outside;
mod pattern;
mod place;
mod preferred;
mod prefix;
mod relation;
mod routes;
mod ruling;
mod service;
#[cfg(test)]
mod sketch;
mod taboo;
mod useg;
mod within;

use selvage_model::{Dn, Mo, Tree};
use selvage_rules::{Packet, Reason};

use contract::Rule;
pub use ends::{End, Endpoint, State};
use place::Place;

/// What becomes of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Allow,
    /// It is dropped.
    Deny,
    /// It is sent through a service first.
    Redirect,
}

/// A verdict, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What becomes of the packet.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Replies to this packet pass by the connection it opens.
    pub stateful: bool,
    /// The packet is logged.
    pub log: bool,
    /// DN of the policy that says where it is redirected: with [`Verdict::Redirect`] only.
    pub redirect: Option<Dn>,
    /// DNs of the devices that get a copy.
    pub copy: Vec<Dn>,
    /// The objects that decide. For a contract: the subject and the filter entry of every match
    /// that has the last word; they agree in what they say. Empty where nothing matched.
    pub because: Vec<Dn>,
}

/// Judges `packet`, sent by `from` to `to`: endpoints, or addresses outside.
pub fn judge<'a>(
    tree: &Tree,
    from: impl Into<End<'a>>,
    to: impl Into<End<'a>>,
    packet: &Packet,
    state: State,
) -> Judgement {
    Ends::of(tree, from.into(), to.into()).judge(packet, state)
}

/// Two ends, to be asked about many packets of the one to the other.
pub struct Ends<'a> {
    tree: &'a Tree,
    from: End<'a>,
    to: End<'a>,
    there: Road<'a>,
    back: Road<'a>,
}

impl<'a> Ends<'a> {
    /// What there is between two ends.
    pub fn of(tree: &'a Tree, from: End<'a>, to: End<'a>) -> Ends<'a> {
        let (there, back) = (Road::between(tree, from, to), Road::between(tree, to, from));
        Ends { tree, from, to, there, back }
    }

    /// Judges one packet.
    pub fn judge(&self, packet: &Packet, state: State) -> Judgement {
        let judgement = self.by_contracts(packet, state);
        let denied = judgement.verdict == Verdict::Deny;
        if denied || hostprot::lets_pass(self.tree, self.from, self.to, packet, state) {
            return judgement;
        }
        verdict(Reason::HostProtection, &[])
    }

    fn by_contracts(&self, packet: &Packet, state: State) -> Judgement {
        if let State::Established { opening } = state {
            // Asked anew for each packet, so that a reply is cut as soon as the direction it answers
            // is no longer permitted, or no longer by a stateful entry.
            let forward = self.back.judge(&opening);
            if forward.verdict != Verdict::Deny && forward.stateful {
                let (verdict, reason) = (Verdict::Allow, Reason::Established);
                return Judgement { verdict, reason, stateful: false, redirect: None, ..forward };
            }
        }
        self.there.judge(packet)
    }
}

/// One direction between two ends.
enum Road<'a> {
    /// It is the same for every packet.
    One(Judgement),
    /// Rules say.
    Ruled { sender: Place<'a>, receiver: Place<'a>, rules: Vec<Rule<'a>> },
    /// No rules, because the VRF does not enforce any.
    Free { sender: Place<'a>, receiver: Place<'a> },
}

impl<'a> Road<'a> {
    /// First where the two ends are and whether the fabric carries anything from the one to the
    /// other. Then an unenforced VRF is asked nothing further (Contract Guide: "permit all traffic
    /// within VRF", contracts cannot be enforced on it). Within one group its own rules come before
    /// all others; between groups all that there are will be put in their order.
    fn between(tree: &'a Tree, from: End<'a>, to: End<'a>) -> Road<'a> {
        // Broken configuration denies: an endpoint whose VRF cannot be told stays in quarantine, and
        // to the rest of the fabric it is not there.
        let Some(sender) = place::of(tree, from) else {
            let outside = matches!(from, End::Outside { .. });
            let reason = if outside { Reason::UnknownSource } else { Reason::Quarantine };
            return Road::One(verdict(reason, &[]));
        };
        let Some(receiver) = place::of(tree, to) else {
            return Road::One(verdict(Reason::UnknownDestination, &[]));
        };
        let one_vrf = sender.vrf.dn() == receiver.vrf.dn();
        // From outside to outside nothing is carried.
        if !one_vrf && !routes::know_each_other(tree, &sender, &receiver)
            || sender.bd.is_none() && receiver.bd.is_none()
        {
            return Road::One(verdict(Reason::UnknownDestination, &[]));
        }
        if one_vrf && sender.vrf.get("pcEnfPref") == "unenforced" {
            return Road::Free { sender, receiver };
        }
        let rules = match (&sender.groups[..], &receiver.groups[..]) {
            ([own], [other]) if own.dn() == other.dn() => within::rules(tree, &sender, own),
            _ => {
                let mut rules = contract::rules(tree, &sender, &receiver);
                rules.extend(taboo::rules(tree, &receiver.groups));
                if one_vrf {
                    rules.extend(preferred::rule(tree, &sender, &receiver));
                } else {
                    let ends = sender.groups.iter().chain(&receiver.groups).copied();
                    let ends: Vec<&Mo> = ends.collect();
                    rules.push(Rule::deny(ruling::SHARED_DENY, &ends));
                }
                rules
            }
        };
        Road::Ruled { sender, receiver, rules }
    }

    /// Judges a packet by the rules, as if no connection were known.
    fn judge(&self, packet: &Packet) -> Judgement {
        let (sender, receiver) = match self {
            Road::One(judgement) => return judgement.clone(),
            Road::Ruled { sender, receiver, .. } | Road::Free { sender, receiver } => {
                (sender, receiver)
            }
        };
        if let Some(reason) = place::apart(sender, receiver, packet) {
            return verdict(reason, &[]);
        }
        let Road::Ruled { rules, .. } = self else {
            return verdict(Reason::Unenforced, &[sender.vrf]);
        };
        let matching: Vec<&Rule<'_>> = rules.iter().filter(|rule| rule.matches(packet)).collect();
        ruling::decide(matching).unwrap_or_else(|| verdict(Reason::NoContract, &[]))
    }
}

fn verdict(reason: Reason, because: &[&Mo]) -> Judgement {
    let verdict = if reason.is_allow() { Verdict::Allow } else { Verdict::Deny };
    let because = because.iter().map(|mo| mo.dn().clone()).collect();
    Judgement {
        verdict,
        reason,
        stateful: false,
        log: false,
        redirect: None,
        copy: Vec::new(),
        because,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sketch::{APP, WEB, ask, syn, turned, web_and_app};

    const TCP_80: &str = "vzEntry uni/tn-t/flt-f/e-80 etherT=ip prot=tcp dFromPort=80 dToPort=80\n";
    const STATEFUL_80: &str =
        "vzEntry uni/tn-t/flt-f/e-80 etherT=ip prot=tcp dFromPort=80 dToPort=80 stateful=yes\n";

    /// Judges what `from` sends in answer to a connection that `to` opened with `opening`.
    fn answer(tree: &Tree, from: &str, to: &str, packet: Packet, opening: Packet) -> Reason {
        let (from, to) = (Endpoint::of(from), Endpoint::of(to));
        judge(tree, &from, &to, &packet, State::Established { opening }).reason
    }

    /// Naive: an unenforced VRF opens what has no contract; denies and isolation still hold.
    #[test]
    fn an_unenforced_vrf_is_asked_nothing_further() {
        let tree = web_and_app(
            "fvCtx uni/tn-t/ctx-v pcEnfPref=unenforced
             fvAEPg uni/tn-t/ap-p/epg-web pcEnfPref=enforced
             vzRsSubjFiltAtt uni/tn-t/brc-c/subj-s/rssubjFiltAtt-f tnVzFilterName=f action=deny
             vzEntry uni/tn-t/flt-f/e-all",
        );
        for (from, to) in [(WEB, APP), (APP, WEB), (WEB, WEB)] {
            let judgement = ask(&tree, from, to, syn(22));
            assert_eq!(judgement.reason, Reason::Unenforced);
            assert_eq!(judgement.because.len(), 1);
            assert_eq!(judgement.because[0].as_str(), "uni/tn-t/ctx-v");
        }
    }

    /// Naive: `pcEnfPref` means the same on both classes. On a VRF `enforced` asks for contracts;
    /// on a group it isolates, and the default is the other one.
    #[test]
    fn endpoints_of_one_group_talk_unless_it_is_isolated() {
        let open = web_and_app("");
        assert_eq!(ask(&open, WEB, WEB, syn(22)).reason, Reason::IntraGroup);
        let isolated = web_and_app("fvAEPg uni/tn-t/ap-p/epg-web pcEnfPref=enforced");
        let judgement = ask(&isolated, WEB, WEB, syn(22));
        assert_eq!((judgement.verdict, judgement.reason), (Verdict::Deny, Reason::Denied));
        assert_eq!(judgement.because[0].as_str(), WEB);
        assert_eq!(ask(&isolated, APP, APP, syn(22)).reason, Reason::IntraGroup);
    }

    /// Naive: a group that consumes what it provides allows itself that port, isolated or not; or
    /// a deny in such a contract cuts its own members off.
    #[test]
    fn a_contract_of_a_group_with_itself_changes_nothing_within() {
        let to_itself = "fvRsProv uni/tn-t/ap-p/epg-web/rsprov-c tnVzBrCPName=c\n";
        let isolated = "fvAEPg uni/tn-t/ap-p/epg-web pcEnfPref=enforced\n";
        let deny = "vzRsSubjFiltAtt uni/tn-t/brc-c/subj-s/rssubjFiltAtt-f tnVzFilterName=f \
                    action=deny\n";
        let permits = web_and_app(&[TCP_80, to_itself, isolated].concat());
        assert_eq!(ask(&permits, WEB, WEB, syn(80)).reason, Reason::Denied);
        let denies = web_and_app(&[TCP_80, to_itself, deny].concat());
        assert_eq!(ask(&denies, WEB, WEB, syn(80)).reason, Reason::IntraGroup);
    }

    /// Naive: isolation closes the group altogether.
    #[test]
    fn isolation_leaves_contracts_with_others_alone() {
        let tree =
            web_and_app(&[TCP_80, "fvAEPg uni/tn-t/ap-p/epg-app pcEnfPref=enforced\n"].concat());
        assert_eq!(ask(&tree, WEB, APP, syn(80)).reason, Reason::Contract);
    }

    /// Naive: a contract of scope `global` joins VRFs. It may; routes between them are another
    /// matter, and without them the destination does not exist.
    #[test]
    fn groups_of_two_vrfs_are_not_joined() {
        let tree = web_and_app(
            &[
                TCP_80,
                "vzBrCP uni/tn-t/brc-c scope=global
                 fvCtx uni/tn-t/ctx-w
                 fvBD uni/tn-t/BD-w
                 fvRsCtx uni/tn-t/BD-w/rsctx tnFvCtxName=w
                 fvRsBd uni/tn-t/ap-p/epg-web/rsbd tnFvBDName=w",
            ]
            .concat(),
        );
        let judgement = ask(&tree, WEB, APP, syn(80));
        assert_eq!(
            (judgement.verdict, judgement.reason),
            (Verdict::Deny, Reason::UnknownDestination)
        );
    }

    /// Naive: a group without a VRF has no contracts, so it falls to the implicit deny; or, worse,
    /// two such groups share the VRF they both lack.
    #[test]
    fn a_group_without_a_vrf_is_in_quarantine() {
        let tree = web_and_app(
            "fvRsBd uni/tn-t/ap-p/epg-web/rsbd tnFvBDName=gone
             fvAEPg uni/tn-t/ap-p/epg-lost",
        );
        let lost = "uni/tn-t/ap-p/epg-lost";
        assert_eq!(ask(&tree, WEB, APP, syn(80)).reason, Reason::Quarantine);
        assert_eq!(ask(&tree, WEB, lost, syn(80)).reason, Reason::Quarantine);
        assert_eq!(ask(&tree, APP, WEB, syn(80)).reason, Reason::UnknownDestination);
    }

    /// Naive: once open, always open.
    #[test]
    fn a_stateful_reply_passes_while_its_direction_is_permitted() {
        let reply = turned(syn(80));
        let open = web_and_app(STATEFUL_80);
        assert_eq!(answer(&open, APP, WEB, reply, syn(80)), Reason::Established);
        // The provider's answer to a connection that could not have been opened.
        assert_eq!(answer(&open, APP, WEB, turned(syn(81)), syn(81)), Reason::NoContract);
        let revoked = web_and_app(&[STATEFUL_80, "- uni/tn-t/ap-p/epg-web/rscons-c\n"].concat());
        assert_eq!(answer(&revoked, APP, WEB, reply, syn(80)), Reason::NoContract);
    }

    /// Naive: a known connection lets the replies of a stateless one pass too. Tracking allows
    /// nothing there: a one-way filter gets no answer.
    #[test]
    fn a_stateless_reply_is_judged_by_the_rules() {
        let both = web_and_app(TCP_80);
        assert_eq!(answer(&both, APP, WEB, turned(syn(80)), syn(80)), Reason::Contract);
        let one_way = web_and_app(
            &[
                TCP_80,
                "- uni/tn-t/brc-c/subj-s/rssubjFiltAtt-f
                 vzInTerm uni/tn-t/brc-c/subj-s/intmnl
                 vzRsFiltAtt uni/tn-t/brc-c/subj-s/intmnl/rsfiltAtt-f tnVzFilterName=f",
            ]
            .concat(),
        );
        assert_eq!(answer(&one_way, APP, WEB, turned(syn(80)), syn(80)), Reason::NoContract);
    }
}
