use selvage_model::Tree;
use selvage_rules::{Packet, Reason, TcpFlags};

use crate::sketch::{APP, WEB, ask, syn, tree, turned, web_and_app};

const TCP_80: &str = "vzEntry uni/tn-t/flt-f/e-80 etherT=ip prot=tcp dFromPort=80 dToPort=80\n";

fn reason(tree: &Tree, from: &str, to: &str, packet: Packet) -> Reason {
    ask(tree, from, to, packet).reason
}

/// Naive: a contract opens a port of the provider to the consumer, and that is all. Both ways
/// with reversed ports means that the provider may open connections *from* that port to any.
#[test]
fn applied_both_ways_the_provider_may_open_from_the_port() {
    let tree = web_and_app(TCP_80);
    assert_eq!(reason(&tree, WEB, APP, syn(80)), Reason::Contract);
    assert_eq!(reason(&tree, APP, WEB, turned(syn(80))), Reason::Contract);
    assert_eq!(reason(&tree, APP, WEB, syn(80)), Reason::NoContract);
    assert_eq!(reason(&tree, WEB, APP, turned(syn(80))), Reason::NoContract);
}

/// Naive: `revFltPorts=no` turns the way back off. It leaves it on, as written.
#[test]
fn without_reversing_the_way_back_is_as_written() {
    let tree = web_and_app(&format!("{TCP_80} vzSubj uni/tn-t/brc-c/subj-s revFltPorts=no"));
    assert_eq!(reason(&tree, WEB, APP, syn(80)), Reason::Contract);
    assert_eq!(reason(&tree, APP, WEB, syn(80)), Reason::Contract);
    assert_eq!(reason(&tree, APP, WEB, turned(syn(80))), Reason::NoContract);
}

/// Naive: `revFltPorts`, which is `yes` by default, gives a one-way filter a way back.
#[test]
fn a_one_way_filter_has_no_way_back() {
    let one_way = "
        - uni/tn-t/brc-c/subj-s/rssubjFiltAtt-f
        vzInTerm uni/tn-t/brc-c/subj-s/intmnl
        vzRsFiltAtt uni/tn-t/brc-c/subj-s/intmnl/rsfiltAtt-f tnVzFilterName=f
    ";
    let tree = web_and_app(&format!("{TCP_80}{one_way}"));
    assert_eq!(reason(&tree, WEB, APP, syn(80)), Reason::Contract);
    for packet in [syn(80), turned(syn(80))] {
        assert_eq!(reason(&tree, APP, WEB, packet), Reason::NoContract);
    }
}

/// Naive: `vzOutTerm` is what leaves the consumer. Terminals are seen from the provider.
#[test]
fn the_out_terminal_is_from_provider_to_consumer() {
    let one_way = "
        - uni/tn-t/brc-c/subj-s/rssubjFiltAtt-f
        vzOutTerm uni/tn-t/brc-c/subj-s/outtmnl
        vzRsFiltAtt uni/tn-t/brc-c/subj-s/outtmnl/rsfiltAtt-f tnVzFilterName=f
    ";
    let tree = web_and_app(&format!("{TCP_80}{one_way}"));
    assert_eq!(reason(&tree, APP, WEB, syn(80)), Reason::Contract);
    assert_eq!(reason(&tree, WEB, APP, syn(80)), Reason::NoContract);
}

/// Naive: a terminal, even an empty one, turns the filters of the subject itself off.
#[test]
fn filters_of_a_subject_and_of_its_terminals_add_up() {
    let more = "
        vzInTerm uni/tn-t/brc-c/subj-s/intmnl
        vzOutTerm uni/tn-t/brc-c/subj-s/outtmnl
        vzRsFiltAtt uni/tn-t/brc-c/subj-s/outtmnl/rsfiltAtt-g tnVzFilterName=g
        vzFilter uni/tn-t/flt-g
        vzEntry uni/tn-t/flt-g/e-81 etherT=ip prot=tcp dFromPort=81 dToPort=81";
    let tree = web_and_app(&format!("{TCP_80}{more}"));
    assert_eq!(reason(&tree, WEB, APP, syn(80)), Reason::Contract);
    assert_eq!(reason(&tree, APP, WEB, turned(syn(80))), Reason::Contract);
    assert_eq!(reason(&tree, APP, WEB, syn(81)), Reason::Contract);
}

/// Naive: naming the same contract name is enough.
#[test]
fn contracts_of_one_name_in_two_tenants_are_two_contracts() {
    // `web` moves to another tenant, into the same VRF by a bridge domain in `common`.
    let apart = "
        fvTenant uni/tn-common
        fvCtx    uni/tn-common/ctx-v
        fvBD     uni/tn-common/BD-shared
        fvRsCtx  uni/tn-common/BD-shared/rsctx tnFvCtxName=v
        fvRsBd   uni/tn-t/ap-p/epg-app/rsbd tnFvBDName=shared
        fvTenant uni/tn-u
        fvAEPg   uni/tn-u/ap-p/epg-web
        fvRsBd   uni/tn-u/ap-p/epg-web/rsbd tnFvBDName=shared
        fvRsCons uni/tn-u/ap-p/epg-web/rscons-c tnVzBrCPName=c
    ";
    let web = "uni/tn-u/ap-p/epg-web";
    let own = "vzBrCP uni/tn-u/brc-c\n";
    let both_own = web_and_app(&[TCP_80, apart, own].concat());
    assert_eq!(reason(&both_own, web, APP, syn(80)), Reason::NoContract);

    // Offered from `common`, where both look when their own tenants have none.
    let common = "
        - uni/tn-t/brc-c
        vzBrCP uni/tn-common/brc-c
        vzSubj uni/tn-common/brc-c/subj-s
        vzRsSubjFiltAtt uni/tn-common/brc-c/subj-s/rssubjFiltAtt-f tnVzFilterName=f
        vzFilter uni/tn-common/flt-f
        vzEntry uni/tn-common/flt-f/e-81 etherT=ip prot=tcp dFromPort=81 dToPort=81
    ";
    let shared = web_and_app(&[TCP_80, apart, common].concat());
    assert_eq!(reason(&shared, web, APP, syn(81)), Reason::Contract);
    // Its filter is sought from where the contract is: tenant t's own `f` is not meant.
    assert_eq!(reason(&shared, web, APP, syn(80)), Reason::NoContract);
}

/// Naive: the scope asks where the contract is. It asks where the groups are.
#[test]
fn scope_is_about_the_places_of_the_groups() {
    let joined = |scope: &str| {
        let other_profile = "
            fvAp     uni/tn-t/ap-q
            fvAEPg   uni/tn-t/ap-q/epg-web
            fvRsBd   uni/tn-t/ap-q/epg-web/rsbd tnFvBDName=b
            fvRsCons uni/tn-t/ap-q/epg-web/rscons-c tnVzBrCPName=c
        ";
        let contract = format!("vzBrCP uni/tn-t/brc-c scope={scope}");
        let tree = web_and_app(&[TCP_80, other_profile, &contract].concat());
        let from = |group| reason(&tree, group, APP, syn(80)) == Reason::Contract;
        (from(WEB), from("uni/tn-t/ap-q/epg-web"))
    };
    assert_eq!(joined("application-profile"), (true, false));
    assert_eq!(joined("tenant"), (true, true));
    assert_eq!(joined("context"), (true, true));
    assert_eq!(joined("global"), (true, true));
}

/// Naive: an unresolved name is skipped somewhere and the rest applies to everything.
#[test]
fn dangling_names_open_nothing_and_take_nothing_else_with_them() {
    let tree = web_and_app(&format!(
        "{TCP_80}
        vzRsSubjFiltAtt uni/tn-t/brc-c/subj-s/rssubjFiltAtt-gone tnVzFilterName=gone
        fvRsCons uni/tn-t/ap-p/epg-web/rscons-gone tnVzBrCPName=gone
        fvRsProv uni/tn-t/ap-p/epg-app/rsprov-gone tnVzBrCPName=gone"
    ));
    assert_eq!(reason(&tree, WEB, APP, syn(80)), Reason::Contract);
    assert_eq!(reason(&tree, WEB, APP, syn(81)), Reason::NoContract);
}

/// Naive: a name that leads nowhere has no effect. A deny whose filter is gone would open what
/// it was to close.
#[test]
fn a_deny_of_nobody_knows_what_closes_its_subject_only() {
    let tree = web_and_app(&format!(
        "{TCP_80}
        vzRsSubjFiltAtt uni/tn-t/brc-c/subj-s/rssubjFiltAtt-gone tnVzFilterName=gone action=deny
        vzSubj uni/tn-t/brc-c/subj-other
        vzRsSubjFiltAtt uni/tn-t/brc-c/subj-other/rssubjFiltAtt-g tnVzFilterName=g
        vzFilter uni/tn-t/flt-g
        vzEntry uni/tn-t/flt-g/e-81 etherT=ip prot=tcp dFromPort=81 dToPort=81"
    ));
    assert_eq!(reason(&tree, WEB, APP, syn(80)), Reason::NoContract);
    assert_eq!(reason(&tree, WEB, APP, syn(81)), Reason::Contract);
}

const DENY_RANGE: &str = "
    vzRsSubjFiltAtt uni/tn-t/brc-c/subj-s/rssubjFiltAtt-no tnVzFilterName=no action=deny
    vzFilter uni/tn-t/flt-no
    vzEntry uni/tn-t/flt-no/e-r etherT=ip prot=tcp dFromPort=1 dToPort=100
";

/// Naive: the more specific filter wins.
#[test]
fn at_equal_priority_a_broad_deny_beats_a_narrow_permit() {
    let tree = web_and_app(&[TCP_80, DENY_RANGE].concat());
    let judgement = ask(&tree, WEB, APP, syn(80));
    assert_eq!(judgement.reason, Reason::Denied);
    let because: Vec<&str> = judgement.because.iter().map(|dn| dn.as_str()).collect();
    assert_eq!(because, ["uni/tn-t/brc-c/subj-s", "uni/tn-t/flt-no/e-r"]);
}

/// Naive: deny always wins. Without an EtherType it is at priority 9 and gives way to 7.
#[test]
fn a_deny_of_everything_leaves_what_is_permitted_by_name() {
    let everything = format!("{DENY_RANGE} vzEntry uni/tn-t/flt-no/e-r");
    let tree = web_and_app(&[TCP_80, &everything].concat());
    assert_eq!(reason(&tree, WEB, APP, syn(80)), Reason::Contract);
    assert_eq!(reason(&tree, WEB, APP, syn(81)), Reason::Denied);
}

/// Naive: `level1` is the first, the highest. It is the lowest; and a permit moves never.
#[test]
fn a_deny_may_be_moved_below_permits_but_a_permit_not() {
    let with = |level: &str, action: &str| {
        let relation = "vzRsSubjFiltAtt uni/tn-t/brc-c/subj-s/rssubjFiltAtt-no";
        let moved = format!(
            "{DENY_RANGE} {relation} tnVzFilterName=no action={action} priorityOverride={level}"
        );
        reason(&web_and_app(&[TCP_80, &moved].concat()), WEB, APP, syn(80))
    };
    assert_eq!(with("default", "deny"), Reason::Denied);
    assert_eq!(with("level3", "deny"), Reason::Denied);
    assert_eq!(with("level2", "deny"), Reason::Contract);
    assert_eq!(with("level1", "deny"), Reason::Contract);
    assert_eq!(with("level1", "permit"), Reason::Contract);
}

/// Naive: a deny is about the contract it is in. Rules of one pair meet whatever they are from.
#[test]
fn a_deny_in_one_contract_reaches_what_another_permits() {
    let second = "
        fvRsCons uni/tn-t/ap-p/epg-web/rscons-d tnVzBrCPName=d
        fvRsProv uni/tn-t/ap-p/epg-app/rsprov-d tnVzBrCPName=d
        vzBrCP   uni/tn-t/brc-d
        vzSubj   uni/tn-t/brc-d/subj-s
        vzRsSubjFiltAtt uni/tn-t/brc-d/subj-s/rssubjFiltAtt-no tnVzFilterName=no action=deny
        vzFilter uni/tn-t/flt-no
        vzEntry  uni/tn-t/flt-no/e-80 etherT=ip prot=tcp dFromPort=80 dToPort=80
    ";
    let tree = web_and_app(&[TCP_80, second].concat());
    assert_eq!(reason(&tree, WEB, APP, syn(80)), Reason::Denied);
}

/// Naive: stateful keeps the rule for the way back, as a stateless one has it.
#[test]
fn a_stateful_entry_lets_the_provider_open_nothing() {
    let tree = web_and_app(&format!("{} stateful=yes", TCP_80.trim_end()));
    assert!(ask(&tree, WEB, APP, syn(80)).stateful);
    let back = Packet { tcp_flags: TcpFlags::ACK, ..turned(syn(80)) };
    assert_eq!(reason(&tree, APP, WEB, back), Reason::NoContract);
}

/// Naive: a stateful deny has no way back either, so it denies one direction only.
#[test]
fn a_deny_is_applied_both_ways_stateful_or_not() {
    let range = DENY_RANGE.trim_end();
    let tree = web_and_app(&format!("{TCP_80}{range} stateful=yes"));
    assert_eq!(reason(&tree, WEB, APP, syn(80)), Reason::Denied);
    assert_eq!(reason(&tree, APP, WEB, turned(syn(80))), Reason::Denied);
}

/// Naive: the first entry found tells whether the flow is stateful.
#[test]
fn one_stateful_entry_among_those_that_permit_is_enough() {
    for stateful in ["a", "z"] {
        let more =
            format!("{TCP_80} vzEntry uni/tn-t/flt-f/e-{stateful} etherT=ip prot=tcp stateful=yes");
        assert!(ask(&web_and_app(&more), WEB, APP, syn(80)).stateful, "{stateful}");
    }
}

/// Naive: groups are joined by consuming and providing in either order.
#[test]
fn two_consumers_of_one_contract_are_not_joined() {
    let two = "
        fvAEPg   uni/tn-t/ap-p/epg-web2
        fvRsBd   uni/tn-t/ap-p/epg-web2/rsbd tnFvBDName=b
        fvRsCons uni/tn-t/ap-p/epg-web2/rscons-c tnVzBrCPName=c
    ";
    let tree = web_and_app(&[TCP_80, two].concat());
    assert_eq!(reason(&tree, "uni/tn-t/ap-p/epg-web2", WEB, syn(80)), Reason::NoContract);
    assert_eq!(reason(&tree, "uni/tn-t/ap-p/epg-web2", APP, syn(80)), Reason::Contract);
}

#[test]
fn the_empty_tree_quarantines() {
    assert_eq!(reason(&tree(&[]), WEB, APP, syn(80)), Reason::Quarantine);
}
