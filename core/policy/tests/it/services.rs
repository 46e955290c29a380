//! Service graphs, marks and classes: what happens to what contracts permit.

use selvage_policy::batch::{Batch, Question, Told};
use selvage_policy::plan::{Kind, plan};
use selvage_policy::{Numbers, compile, trace};
use serde_json::{Value, json};

use super::world::{check, compiled, problems, tree, with_groups};

const HTTP: &str = "
    flt-http/e-http etherT=ip prot=tcp dFromPort=http dToPort=http
    brc-c/subj-s/rssubjFiltAtt-http
    ap-a/epg-web/rscons-c
    ap-a/epg-db/rsprov-c
";

/// Graph `g` with one node, a firewall `fw` with a side for consumers and one for providers.
const FIREWALL: &str = "
    brc-c/subj-s/rsSubjGraphAtt tnVnsAbsGraphName=g
    AbsGraph-g/AbsTermNodeCon-T1/AbsTConn
    AbsGraph-g/AbsTermNodeProv-T2/AbsTConn
    AbsGraph-g/AbsNode-N1/AbsFConn-consumer
    AbsGraph-g/AbsNode-N1/AbsFConn-provider
    AbsGraph-g/AbsConnection-C1/rsabsConnectionConns-[uni/tn-t/AbsGraph-g/AbsTermNodeCon-T1/AbsTConn]
    AbsGraph-g/AbsConnection-C1/rsabsConnectionConns-[uni/tn-t/AbsGraph-g/AbsNode-N1/AbsFConn-consumer]
    AbsGraph-g/AbsConnection-C2/rsabsConnectionConns-[uni/tn-t/AbsGraph-g/AbsNode-N1/AbsFConn-provider]
    AbsGraph-g/AbsConnection-C2/rsabsConnectionConns-[uni/tn-t/AbsGraph-g/AbsTermNodeProv-T2/AbsTConn]
    lDevVip-fw
    ldevCtx-c-c-g-g-n-N1/rsLDevCtxToLDev tDn=uni/tn-t/lDevVip-fw
    ldevCtx-c-c-g-g-n-N1/lIfCtx-c-consumer/rsLIfCtxToSvcRedirectPol tDn=uni/tn-t/svcCont/svcRedirectPol-in
    ldevCtx-c-c-g-g-n-N1/lIfCtx-c-provider/rsLIfCtxToSvcRedirectPol tDn=uni/tn-t/svcCont/svcRedirectPol-out
    svcCont/svcRedirectPol-in/RedirectDest_ip-[10.9.0.1] mac=00:00:00:00:09:01
    svcCont/svcRedirectPol-out/RedirectDest_ip-[10.9.1.1] mac=00:00:00:00:09:02
";

fn with_firewall(more: &str) -> String {
    with_groups(&format!("{HTTP}{FIREWALL}{more}"))
}

/// What the batch door answers about `tcp/80` from `web` to `db` and about the packet back.
fn answers(policy: &str) -> [Value; 2] {
    let compiled = compile(&tree(policy), &mut Numbers::default());
    let told = |name: &str| -> Told {
        let epg = format!("uni/tn-t/ap-a/epg-{name}");
        serde_json::from_value(json!({"name": name, "epg": epg})).unwrap()
    };
    let batch = Batch::new(&compiled, &[told("web"), told("db")]);
    let ask = |question: Value| {
        let question: Question = serde_json::from_value(question).unwrap();
        serde_json::to_value(batch.ask(&question).unwrap()).unwrap()
    };
    [
        ask(json!({"from": "web", "to": "db", "proto": "tcp", "dport": 80})),
        ask(json!({"from": "db", "to": "web", "proto": "tcp", "sport": 80,
                   "dport": 40000, "state": "established"})),
    ]
}

fn pick(answer: &Value, fields: &[&str]) -> Value {
    fields.iter().map(|field| answer[*field].clone()).collect()
}

#[test]
fn a_graph_sends_both_directions_through_the_sides_of_its_device() {
    let [there, back] = answers(&with_firewall(""));
    let fields = ["verdict", "reason", "services"];
    let policy = |name: &str| format!("uni/tn-t/svcCont/svcRedirectPol-{name}");
    assert_eq!(pick(&there, &fields), json!(["redirect", "service", [policy("in")]]));
    assert_eq!(pick(&back, &fields), json!(["redirect", "service", [policy("out")]]));
    let origin = there["origin"].as_array().unwrap();
    assert_eq!(origin.first().unwrap(), "uni/tn-t/brc-c/subj-s");
    assert_eq!(origin.last().unwrap(), &json!(policy("in")));
    assert_eq!(problems(&with_firewall("")), [""; 0]);
}

#[test]
fn what_no_filter_of_the_subject_matches_does_not_pass_its_graph() {
    check(
        &with_firewall(""),
        "web db tcp/22: no-contract
         db web tcp/80: no-contract",
    );
}

#[test]
fn a_redirect_is_denied_by_what_would_deny_a_permit() {
    check(
        &with_firewall(
            "brc-d/subj-s/rssubjFiltAtt-http action=deny
             ap-a/epg-web/rscons-d
             ap-a/epg-db/rsprov-d",
        ),
        "web db tcp/80: denied http",
    );
}

#[test]
fn a_redirect_comes_before_a_permit_of_the_same_rank() {
    let policy = with_firewall(
        "brc-a/subj-s/rssubjFiltAtt-http
         ap-a/epg-web/rscons-a
         ap-a/epg-db/rsprov-a",
    );
    let [there, _] = answers(&policy);
    assert_eq!(there["verdict"], "redirect");
}

#[test]
fn a_narrow_permit_is_an_exception_from_a_wide_redirect() {
    let wide = with_firewall("").replace(
        "flt-http/e-http etherT=ip prot=tcp dFromPort=http dToPort=http",
        "flt-http/e-http etherT=ip prot=tcp
         flt-ssh/e-ssh etherT=ip prot=tcp dFromPort=ssh dToPort=ssh
         brc-a/subj-s/rssubjFiltAtt-ssh
         ap-a/epg-web/rscons-a
         ap-a/epg-db/rsprov-a",
    );
    check(&wide, "web db tcp/22: contract ssh");
    assert_eq!(answers(&wide)[0]["verdict"], "redirect");
}

#[test]
fn a_selection_for_any_serves_every_contract_graph_and_node() {
    let policy = with_firewall("").replace("ldevCtx-c-c-g-g-n-N1", "ldevCtx-c-any-g-any-n-any");
    assert_eq!(answers(&policy)[0]["verdict"], "redirect");
}

#[test]
fn the_selection_that_names_more_counts() {
    let policy = with_firewall(
        "ldevCtx-c-any-g-g-n-N1/lIfCtx-c-consumer
         ldevCtx-c-any-g-g-n-N1/lIfCtx-c-provider",
    );
    assert_eq!(answers(&policy)[0]["verdict"], "redirect");
}

#[test]
fn with_a_policy_on_one_side_only_the_other_direction_goes_straight() {
    let line = "ldevCtx-c-c-g-g-n-N1/lIfCtx-c-provider/rsLIfCtxToSvcRedirectPol \
                tDn=uni/tn-t/svcCont/svcRedirectPol-out";
    let policy = with_firewall("").replace(line, "ldevCtx-c-c-g-g-n-N1/lIfCtx-c-provider");
    let [there, back] = answers(&policy);
    assert_eq!(there["verdict"], "redirect");
    assert_eq!(pick(&back, &["verdict", "reason"]), json!(["allow", "contract"]));
}

/// A policy in which something of the graph is missing permits nothing and says where.
#[track_caller]
fn check_broken(policy: &str, at: &[&str]) {
    check(
        policy,
        "web db tcp/80: no-contract
         db web tcp/49152@80: no-contract",
    );
    assert_eq!(problems(policy), at);
}

#[test]
fn a_graph_that_cannot_be_made_permits_nothing() {
    let att = "brc-c/subj-s/rsSubjGraphAtt no-service";
    let without = |line: &str| {
        let whole = with_firewall("");
        assert!(whole.contains(line), "{line}");
        whole.lines().filter(|l| !l.contains(line)).collect::<Vec<_>>().join("\n")
    };
    check_broken(&with_firewall("").replace("GraphName=g", "GraphName=none"), &[att]);
    check_broken(&without("ldevCtx"), &[att]);
    check_broken(&without("rsLIfCtxToSvcRedirectPol"), &[att]);
    check_broken(&without("lIfCtx-c-provider"), &[att]);
    check_broken(&without("svcRedirectPol-in/"), &[att]);
    check_broken(&without("AbsConnection-C2"), &[att]);
    let no_mac = with_firewall("").replace(" mac=00:00:00:00:09:01", "");
    let dest = "svcCont/svcRedirectPol-in/RedirectDest_ip-[10.9.0.1] no-service";
    check_broken(&no_mac, &[att, dest]);
}

#[test]
fn the_threshold_says_what_happens_while_no_machine_can_be_used() {
    let policy = |action: &str| {
        let whole = with_firewall(&format!(
            "svcCont/svcRedirectPol-in thresholdEnable=yes thresholdDownAction={action}"
        ));
        let dest = "svcCont/svcRedirectPol-in/RedirectDest_ip-[10.9.0.1] mac=00:00:00:00:09:01";
        whole.replace(dest, "")
    };
    check(&policy("permit"), "web db tcp/80: contract http");
    check(&policy("bypass"), "web db tcp/80: contract http");
    check(&policy("deny"), "web db tcp/80: denied http");
}

#[test]
fn a_machine_that_a_probe_watches_needs_no_mac() {
    let policy = with_firewall(
        "ipslaMonitoringPol-p
         svcCont/svcRedirectPol-in/rsIPSLAMonitoringPol tDn=uni/tn-t/ipslaMonitoringPol-p",
    );
    let policy = policy.replace(" mac=00:00:00:00:09:01", "");
    assert_eq!(answers(&policy)[0]["verdict"], "redirect");
}

#[test]
fn several_nodes_are_passed_in_the_order_in_which_they_are_joined() {
    let graph = "uni/tn-t/AbsGraph-g";
    let policy = with_firewall(&format!(
        "AbsGraph-g/AbsNode-A/AbsFConn-consumer
         AbsGraph-g/AbsNode-A/AbsFConn-provider
         AbsGraph-g/AbsConnection-C2/rsabsConnectionConns-[{graph}/AbsNode-A/AbsFConn-consumer]
         AbsGraph-g/AbsConnection-C3/rsabsConnectionConns-[{graph}/AbsNode-A/AbsFConn-provider]
         AbsGraph-g/AbsConnection-C3/rsabsConnectionConns-[{graph}/AbsTermNodeProv-T2/AbsTConn]
         ldevCtx-c-c-g-g-n-A/lIfCtx-c-any/rsLIfCtxToSvcRedirectPol tDn=uni/tn-t/svcCont/svcRedirectPol-one
         svcCont/svcRedirectPol-one/RedirectDest_ip-[10.9.2.1] mac=00:00:00:00:09:03"
    ));
    let old =
        format!("AbsConnection-C2/rsabsConnectionConns-[{graph}/AbsTermNodeProv-T2/AbsTConn]");
    let policy: Vec<&str> = policy.lines().filter(|line| !line.contains(&old)).collect();
    let [there, back] = answers(&policy.join("\n"));
    let names = |answer: &Value| -> Vec<String> {
        let all = answer["services"].as_array().unwrap().iter();
        all.map(|dn| dn.as_str().unwrap().rsplit_once("Pol-").unwrap().1.to_owned()).collect()
    };
    assert_eq!(names(&there), ["in", "one"]);
    assert_eq!(names(&back), ["one", "out"]);
}

#[test]
fn a_copy_node_changes_no_verdict() {
    let policy = with_groups(&format!(
        "{HTTP}
         brc-c/subj-s/rsSubjGraphAtt tnVnsAbsGraphName=g
         AbsGraph-g/AbsNode-CP isCopy=yes
         lDevVip-tap isCopy=yes
         ldevCtx-c-any-g-g-n-CP/rsLDevCtxToLDev tDn=uni/tn-t/lDevVip-tap"
    ));
    let [there, back] = answers(&policy);
    for answer in [&there, &back] {
        let fields = pick(answer, &["verdict", "reason", "copy"]);
        assert_eq!(fields, json!(["allow", "contract", "uni/tn-t/lDevVip-tap"]));
    }
    let without = policy.replace("/rsLDevCtxToLDev tDn=uni/tn-t/lDevVip-tap", "");
    check(&without, "web db tcp/80: no-contract");
}

#[test]
fn each_direction_of_a_subject_may_have_a_graph_of_its_own() {
    let policy = with_groups(&format!(
        "{}
         brc-c/subj-s/intmnl/rsfiltAtt-http
         brc-c/subj-s/intmnl/rsInTermGraphAtt tnVnsAbsGraphName=g
         brc-c/subj-s/outtmnl/rsfiltAtt-http",
        format!("{HTTP}{FIREWALL}")
            .replace("brc-c/subj-s/rssubjFiltAtt-http", "")
            .replace("brc-c/subj-s/rsSubjGraphAtt tnVnsAbsGraphName=g", "")
    ));
    let [there, _] = answers(&policy);
    assert_eq!(there["verdict"], "redirect");
    check(&policy, "db web tcp/80: contract http");
}

#[test]
fn what_a_stateful_entry_sends_through_a_service_is_answered_by_the_connection() {
    let policy = with_firewall("flt-http/e-http stateful=yes");
    let [there, back] = answers(&policy);
    assert_eq!(there["verdict"], "redirect");
    assert_eq!(pick(&back, &["verdict", "reason"]), json!(["allow", "established"]));
    check(&policy, "db web tcp/49152@80: no-contract");
}

#[test]
fn the_narrower_part_of_a_contract_says_how_packets_are_marked() {
    let marks = |more: &str| {
        let policy = with_groups(&format!("{HTTP}\n{more}"));
        let [there, back] = answers(&policy);
        assert_eq!(pick(&there, &["class", "dscp"]), pick(&back, &["class", "dscp"]));
        pick(&there, &["class", "dscp"])
    };
    assert_eq!(marks(""), json!([null, null]));
    assert_eq!(marks("brc-c prio=level3 targetDscp=EF"), json!([3, 46]));
    let relation = "brc-c prio=level3 targetDscp=EF
                    ap-a/epg-web/rscons-c prio=level4";
    assert_eq!(marks(relation), json!([4, 46]));
    let both = format!("{relation}\nap-a/epg-db/rsprov-c prio=level5");
    assert_eq!(marks(&both), json!([5, 46]));
    let subject = format!("{both}\nbrc-c/subj-s prio=level6 targetDscp=CS1");
    assert_eq!(marks(&subject), json!([6, 8]));
}

#[test]
fn a_group_says_how_its_packets_are_treated_where_no_contract_does() {
    let policy = with_groups(&format!(
        "{HTTP}
         ap-a/epg-web prio=level2
         qoscustom-q/dcsp-CS0-AF11 prio=level1 target=AF41
         ap-a/epg-web/rscustQosPol tnQosCustomPolName=q
         qosdpppol-slow adminSt=enabled rate=10 rateUnit=mega burst=64 burstUnit=kilo
         ap-a/epg-web/rsdppPol tnQosDppPolName=slow"
    ));
    let [there, back] = answers(&policy);
    let fields = ["verdict", "class", "dscp", "policing"];
    assert_eq!(pick(&there, &fields), json!(["allow", 1, 34, "uni/tn-t/qosdpppol-slow"]));
    assert_eq!(pick(&back, &fields), json!(["allow", null, null, null]));
    let contract = format!("{policy}\nbrc-c prio=level6 targetDscp=EF");
    assert_eq!(pick(&answers(&contract)[0], &fields[1..3]), json!([6, 46]));
    let compiled = compiled(&policy);
    let quality = compiled.table.qualities.values().next().unwrap();
    let rate = quality.policing.as_ref().unwrap().committed;
    assert_eq!((rate.per_second, rate.burst), (10_000_000, Some(64_000)));
}

#[test]
fn quality_of_service_that_contradicts_itself_is_said() {
    let policy = with_groups(
        "qoscustom-q/dcsp-AF11-CS0
         ap-a/epg-web/rscustQosPol tnQosCustomPolName=q
         qosdpppol-slow adminSt=enabled
         ap-a/epg-web/rsdppPol tnQosDppPolName=slow",
    );
    assert_eq!(
        problems(&policy),
        ["qoscustom-q/dcsp-AF11-CS0 bad-quality", "qosdpppol-slow bad-quality"],
    );
}

#[test]
fn a_plan_says_what_a_change_of_treatment_does() {
    let mut numbers = Numbers::default();
    let before = compile(&tree(&with_groups(HTTP)), &mut numbers);
    let changes = |policy: &str| {
        let after = compile(&tree(policy), &mut numbers.clone());
        let changes = plan(&before, &after).changes;
        changes.iter().map(|c| (c.kind, c.after.text.clone())).collect::<Vec<_>>()
    };
    let marked = changes(&with_groups(&format!("{HTTP}\nbrc-c prio=level3 targetDscp=EF")));
    let words = "contract c, entry http, class level3, marked with DSCP 46".to_owned();
    assert_eq!(marked, [(Kind::Alters, words.clone()), (Kind::Alters, words)]);
    let redirected = changes(&with_firewall(""));
    let through =
        |policy: &str| (Kind::Alters, format!("contract c, entry http, through {policy}"));
    assert_eq!(redirected, [through("out"), through("in")]);
}

#[test]
fn a_plan_sees_that_a_service_gets_another_machine() {
    let mut numbers = Numbers::default();
    let before = compile(&tree(&with_firewall("")), &mut numbers);
    let more = "svcCont/svcRedirectPol-in/RedirectDest_ip-[10.9.0.7] mac=00:00:00:00:09:07";
    let after = compile(&tree(&with_firewall(more)), &mut numbers);
    let changes = plan(&before, &after).changes;
    assert_eq!(changes.iter().map(|change| change.kind).collect::<Vec<_>>(), [Kind::Alters]);
    assert_eq!(plan(&after, &after).changes, []);
}

#[test]
fn a_trace_says_what_a_packet_passes() {
    let tree = tree(&with_firewall("brc-c prio=level2"));
    let compiled = compile(&tree, &mut Numbers::default());
    let place = |name: &str| trace::find(&tree, name).unwrap();
    let flow = trace::parse_flow("tcp/80").unwrap().0;
    let traced = trace::trace(&compiled, &place("web"), &place("db"), flow, None);
    assert_eq!(
        traced.forward.text,
        "tcp/80 from web reaches db: contract c allows it (entry http), through in, class level2",
    );
}
