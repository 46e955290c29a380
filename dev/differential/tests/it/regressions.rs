//! Disagreements that were found, each by the name of what it showed.
//!
//! Those under [`OPEN`] the compiler still has to settle; the comparison of generated fabrics
//! leaves them out, and the test below fails as soon as one is settled, so that it is moved.

use selvage_differential::atoms::atoms;
use selvage_differential::compare::{Comparison, Disagreement, Who, compare};
use selvage_differential::sketch;
use selvage_model::Tree;
use selvage_policy::{Numbers, compile};

use crate::ground;

/// An open disagreement.
pub struct Open {
    /// What it shows.
    name: &'static str,
    /// The smallest fabric that shows it: these lines and those of [`ground::WEB_AND_APP`], of
    /// which a line with the same DN is left out.
    lines: &'static str,
    /// Whether a disagreement, found in this tree, is this one.
    is: fn(&Tree, &Disagreement) -> bool,
}

/// What the judges do not agree on yet.
pub const OPEN: &[Open] = &[];

/// Whether a disagreement is known and open.
pub fn is_open(tree: &Tree, disagreement: &Disagreement) -> bool {
    OPEN.iter().any(|open| (open.is)(tree, disagreement))
}

fn compared(lines: &str) -> (Tree, Comparison) {
    let tree = sketch::tree(&ground::with(lines)).unwrap();
    let table = compile(&tree, &mut Numbers::default()).table;
    let people = ["web", "app"].map(|name| Who::of(&ground::group(name)));
    let comparison = compare(&tree, &table, &people, &atoms());
    (tree, comparison)
}

#[test]
fn what_is_open_is_still_open_and_nothing_else() {
    for open in OPEN {
        let (tree, comparison) = compared(open.lines);
        let other: Vec<String> = comparison
            .disagreements
            .iter()
            .filter(|d| !(open.is)(&tree, d))
            .map(ToString::to_string)
            .collect();
        assert!(other.is_empty(), "{}: something else too:\n{}", open.name, other.join("\n"));
        assert!(
            !comparison.disagreements.is_empty(),
            "the judges agree now that {}: take it out of OPEN, into a test of its own",
            open.name
        );
    }
}

/// Asserts that the judges agree about every flow of this fabric, and that some pass.
fn agree(lines: &str) {
    let (_, comparison) = compared(lines);
    if let Some(first) = comparison.disagreements.first() {
        panic!("{first}\n  and {} more", comparison.disagreements.len() - 1);
    }
    assert!(comparison.allowed > 0, "nothing is allowed, so nothing was shown");
}

/// Isolation used to win, and a group that is not isolated was said to be `intra-group`. The Contract
/// Guide calls an unenforced VRF "permit all traffic within VRF", and Cisco's own OpFlex agent puts
/// its flow for it above the one that isolates (noironetworks/opflex, `IntFlowManager.cpp`).
#[test]
fn an_unenforced_vrf_comes_before_isolation() {
    agree(
        "fvCtx uni/tn-t/ctx-v pcEnfPref=unenforced
         fvAEPg uni/tn-t/ap-p/epg-web pcEnfPref=enforced",
    );
}

/// The first rule found used to tell whether a connection is kept, and it was the older one.
#[test]
fn a_stateless_permit_does_not_hide_a_stateful_one() {
    agree(
        "vzSubj uni/tn-t/brc-c/subj-a
         vzInTerm uni/tn-t/brc-c/subj-a/intmnl
         vzRsFiltAtt uni/tn-t/brc-c/subj-a/intmnl/rsfiltAtt-f
         vzEntry uni/tn-t/flt-f/e-0 etherT=ip prot=tcp
         vzSubj uni/tn-t/brc-c/subj-b
         vzRsSubjFiltAtt uni/tn-t/brc-c/subj-b/rssubjFiltAtt-g
         vzFilter uni/tn-t/flt-g
         vzEntry uni/tn-t/flt-g/e-0 etherT=ip prot=tcp dFromPort=80 dToPort=80 stateful=yes",
    );
}

/// The user interface offers one or the other; the table once left the filters applied both ways out
/// where a terminal was, a deny among them.
#[test]
fn filters_of_a_subject_and_of_its_terminals_add_up() {
    agree(
        "vzSubj uni/tn-t/brc-c/subj-s
         vzRsSubjFiltAtt uni/tn-t/brc-c/subj-s/rssubjFiltAtt-f action=deny
         vzEntry uni/tn-t/flt-f/e-0 etherT=ip prot=tcp dFromPort=80 dToPort=80
         vzOutTerm uni/tn-t/brc-c/subj-s/outtmnl
         vzRsFiltAtt uni/tn-t/brc-c/subj-s/outtmnl/rsfiltAtt-g
         vzFilter uni/tn-t/flt-g
         vzEntry uni/tn-t/flt-g/e-0 etherT=ip prot=tcp",
    );
}

/// The way back as written, which `revFltPorts=no` asks for, used to be a rule by which the provider
/// opened. "TCP segments sent from the provider to consumer must have the ACK flag set" (Deep Dive:
/// Contracts, Part 1), whatever is reversed.
#[test]
fn a_stateful_entry_without_reversed_ports_lets_the_provider_open_nothing() {
    agree(
        "vzSubj uni/tn-t/brc-c/subj-s revFltPorts=no
         vzRsSubjFiltAtt uni/tn-t/brc-c/subj-s/rssubjFiltAtt-f
         vzEntry uni/tn-t/flt-f/e-0 etherT=ip prot=tcp dFromPort=80 dToPort=80 stateful=yes",
    );
}

/// The oracle once took the way back of a stateful deny away, as it does with a permit's.
#[test]
fn a_stateful_deny_is_applied_both_ways() {
    agree(
        "vzSubj uni/tn-t/brc-c/subj-s
         vzRsSubjFiltAtt uni/tn-t/brc-c/subj-s/rssubjFiltAtt-f action=deny
         vzEntry uni/tn-t/flt-f/e-0 etherT=ip prot=tcp dFromPort=80 dToPort=80 stateful=yes
         vzRsSubjFiltAtt uni/tn-t/brc-c/subj-s/rssubjFiltAtt-g
         vzFilter uni/tn-t/flt-g
         vzEntry uni/tn-t/flt-g/e-0 etherT=ip prot=tcp",
    );
}

/// The compiler left out all of a subject that a broken deny closes, and so opened what another
/// subject permits and this one denies.
#[test]
fn a_subject_closed_by_a_broken_deny_still_denies_by_its_others() {
    agree(
        "vzSubj uni/tn-t/brc-c/subj-closed
         vzRsSubjFiltAtt uni/tn-t/brc-c/subj-closed/rssubjFiltAtt-gone action=deny
         vzRsSubjFiltAtt uni/tn-t/brc-c/subj-closed/rssubjFiltAtt-f action=deny
         vzEntry uni/tn-t/flt-f/e-0 etherT=ip prot=tcp dFromPort=80 dToPort=80
         vzSubj uni/tn-t/brc-c/subj-open
         vzRsSubjFiltAtt uni/tn-t/brc-c/subj-open/rssubjFiltAtt-g
         vzFilter uni/tn-t/flt-g
         vzEntry uni/tn-t/flt-g/e-0 etherT=ip",
    );
}
