//! Host protection: a second gate beside contracts, for single endpoints.

use std::collections::BTreeMap;

use selvage_policy::batch::{Batch, Question, Told};
use selvage_policy::{Numbers, compile};
use serde_json::{Value, json};

use super::world::{problems, tree, with_groups};

/// Everything of IP and ARP passes between `web` and `db` by contract.
const OPEN: &str = "
    flt-all/e-all
    brc-c/subj-s/rssubjFiltAtt-all
    ap-a/epg-web/rscons-c
    ap-a/epg-db/rsprov-c
";

/// Checks flows between `w1` of `web` (10.0.0.1) and `d1` of `db` (10.0.0.2, 2001:db8::2), each a
/// line `FROM TO PROTO/PORT [reply]: VERDICT REASON [LAST ORIGIN]`. `protection` is what each of them
/// names.
#[track_caller]
fn check(policy: &str, protection: &[(&str, &str)], flows: &str) {
    let compiled = compile(&tree(policy), &mut Numbers::default());
    let protection: BTreeMap<&str, &str> = protection.iter().copied().collect();
    let told = |name: &str, epg: &str, ips: &[&str]| -> Told {
        let attributes = protection.get(name).map(|text| json!({ "protection": text }));
        let epg = format!("uni/tn-t/ap-a/epg-{epg}");
        let attributes = attributes.unwrap_or_else(|| json!({}));
        let all = json!({"name": name, "epg": epg, "ip": ips, "attributes": attributes});
        serde_json::from_value(all).unwrap()
    };
    let endpoints = [
        told("w1", "web", &["10.0.0.1", "2001:db8::1"]),
        told("d1", "db", &["10.0.0.2", "2001:db8::2"]),
    ];
    let batch = Batch::new(&compiled, &endpoints);
    for line in flows.lines().map(str::trim) {
        let (question, expected) = line.split_once(": ").unwrap();
        let words: Vec<&str> = question.split_whitespace().collect();
        let mut asked = json!({"from": words[0], "to": words[1]});
        match words[2].split_once('/') {
            _ if words[2] == "arp" => asked["ether"] = json!("arp"),
            Some((proto, port)) => {
                asked["proto"] = json!(proto);
                let is_reply = words.contains(&"reply");
                asked[if is_reply { "sport" } else { "dport" }] =
                    json!(port.parse::<u16>().unwrap());
            }
            None => asked["proto"] = json!(words[2]),
        }
        if words.contains(&"-6") {
            asked["ether"] = json!("ipv6");
        }
        if words.contains(&"reply") {
            asked["state"] = json!("established");
        }
        let question: Question = serde_json::from_value(asked).unwrap();
        let answer = serde_json::to_value(batch.ask(&question).unwrap()).unwrap();
        let mut got = format!(
            "{} {}",
            answer["verdict"].as_str().unwrap(),
            answer["reason"].as_str().unwrap(),
        );
        if answer["reason"] == "host-protection" {
            let last = answer["origin"].as_array().and_then(|all| all.last()).map(Value::as_str);
            got += &format!(" {}", last.unwrap().unwrap().trim_start_matches("uni/tn-t/"));
        }
        assert_eq!(got, expected, "\n{line}\n{answer}");
    }
}

fn open(more: &str) -> String {
    with_groups(&format!("{OPEN}{more}"))
}

const WEB_ONLY: &str = "
    pol-p/subj-s/rule-http ethertype=ipv4 protocol=tcp toPort=http
    pol-p/subj-s/rule-out direction=egress
";

#[test]
fn an_endpoint_without_policies_is_not_protected() {
    check(&open(WEB_ONLY), &[], "w1 d1 tcp/22: allow contract");
}

#[test]
fn once_a_policy_protects_an_endpoint_only_what_its_rules_allow_reaches_it() {
    check(
        &open(WEB_ONLY),
        &[("d1", "p")],
        "w1 d1 tcp/80: allow contract
         w1 d1 tcp/22: deny host-protection pol-p
         w1 d1 tcp/80 -6: deny host-protection pol-p
         w1 d1 arp: deny host-protection pol-p
         d1 w1 tcp/22: allow contract",
    );
}

#[test]
fn contracts_come_first_and_protection_allows_nothing_by_itself() {
    let policy = with_groups(WEB_ONLY);
    check(&policy, &[("d1", "p")], "w1 d1 tcp/80: deny no-contract");
}

#[test]
fn a_direction_without_rules_is_closed() {
    check(
        &open("pol-p/subj-s/rule-in"),
        &[("d1", "p")],
        "w1 d1 tcp/22: allow contract
         d1 w1 tcp/22: deny host-protection pol-p",
    );
    check(
        &open("pol-p"),
        &[("d1", "p")],
        "w1 d1 tcp/22: deny host-protection pol-p
         d1 w1 tcp/22: deny host-protection pol-p",
    );
}

#[test]
fn the_sender_is_judged_before_the_receiver() {
    let policy = open(
        "pol-out/subj-s/rule-dns direction=egress protocol=udp toPort=dns ethertype=ipv4
         pol-in/subj-s/rule-all",
    );
    check(
        &policy,
        &[("w1", "out"), ("d1", "in")],
        "w1 d1 udp/53: allow contract
         w1 d1 udp/54: deny host-protection pol-out",
    );
    check(&policy, &[("w1", "in"), ("d1", "out")], "w1 d1 udp/53: deny host-protection pol-in");
}

#[test]
fn replies_to_what_a_reflexive_rule_allows_pass() {
    let policy = |track: &str| {
        open(&format!(
            "pol-p/subj-s/rule-http protocol=tcp toPort=http ethertype=ipv4 connTrack={track}"
        ))
    };
    check(
        &policy("reflexive"),
        &[("d1", "p")],
        "d1 w1 tcp/80 reply: allow contract
         d1 w1 tcp/22 reply: deny host-protection pol-p",
    );
    check(&policy("normal"), &[("d1", "p")], "d1 w1 tcp/80 reply: deny host-protection pol-p");
}

#[test]
fn a_reply_passes_both_gates() {
    let policy = with_groups(
        "flt-http/e-http etherT=ip prot=tcp dFromPort=http dToPort=http stateful=yes
         brc-c/subj-s/rssubjFiltAtt-http
         ap-a/epg-web/rscons-c
         ap-a/epg-db/rsprov-c
         pol-p/subj-s/rule-http protocol=tcp toPort=http ethertype=ipv4
         pol-q/subj-s/rule-ssh protocol=tcp toPort=ssh ethertype=ipv4",
    );
    check(&policy, &[("d1", "p")], "d1 w1 tcp/80 reply: allow established");
    // What answers nothing that passed has no connection to pass by.
    check(&policy, &[("d1", "q")], "d1 w1 tcp/80 reply: deny no-contract");
}

#[test]
fn rules_name_who_is_at_the_other_end() {
    let policy = open(
        "pol-p/subj-s/rule-near/ip-[10.0.0.1]
         pol-q/subj-s/rule-far/ip-[192.0.2.0/24]
         pol-r/subj-s/rule-six/ip-[2001:db8::/32]",
    );
    check(&policy, &[("d1", "p")], "w1 d1 tcp/22: allow contract");
    check(&policy, &[("d1", "q")], "w1 d1 tcp/22: deny host-protection pol-q");
    check(
        &policy,
        &[("d1", "r")],
        "w1 d1 tcp/22: deny host-protection pol-r
         w1 d1 tcp/22 -6: allow contract",
    );
}

#[test]
fn a_rule_may_name_a_set_of_addresses_and_what_labels_they_have() {
    let set = "uni/tn-t/pol-set/remoteipcont";
    let policy = open(&format!(
        "pol-set/remoteipcont/ip-[10.0.0.1]/label-app value=shop
         pol-p/subj-s/rule-r/rsremoteIpContainer-[{set}]
         pol-q/subj-s/rule-r/rsremoteIpContainer-[{set}]
         pol-q/subj-s/rule-r/filterContainer/podfilter-app-in values=shop,desk
         pol-r/subj-s/rule-r/rsremoteIpContainer-[{set}]
         pol-r/subj-s/rule-r/filterContainer/podfilter-app-notin values=shop"
    ));
    check(&policy, &[("d1", "p")], "w1 d1 tcp/22: allow contract");
    check(&policy, &[("d1", "q")], "w1 d1 tcp/22: allow contract");
    check(&policy, &[("d1", "r")], "w1 d1 tcp/22: deny host-protection pol-r");
}

#[test]
fn rules_of_several_policies_are_tried_by_their_order() {
    let policy = open(
        "pol-p/subj-s/rule-no order=1 action=deny protocol=tcp toPort=ssh ethertype=ipv4
         pol-q/subj-s/rule-all order=2
         pol-z/subj-s/rule-first order=0",
    );
    check(
        &policy,
        &[("d1", "uni/tn-t/pol-q,uni/tn-t/pol-p")],
        "w1 d1 tcp/22: deny host-protection pol-p/subj-s/rule-no
         w1 d1 tcp/80: allow contract",
    );
    check(&policy, &[("d1", "p q z")], "w1 d1 tcp/22: allow contract");
}

#[test]
fn a_policy_that_does_not_exist_lets_nothing_pass() {
    check(&open(""), &[("d1", "none")], "w1 d1 tcp/22: deny host-protection pol-none");
}

#[test]
fn a_broken_rule_opens_nothing_and_is_said() {
    let policy = open(
        "pol-p/subj-s/rule-a order=1 protocol=icmp toPort=http
         pol-q/subj-s/rule-a order=1 action=deny toDns=bad.example
         pol-q/subj-s/rule-b order=2
         pol-r/subj-s/rule-a/rsremoteIpContainer-[uni/tn-t/pol-none/remoteipcont]",
    );
    check(&policy, &[("d1", "p")], "w1 d1 icmp: deny host-protection pol-p");
    check(&policy, &[("d1", "q")], "w1 d1 icmp: deny host-protection pol-q/subj-s/rule-a");
    check(&policy, &[("d1", "r")], "w1 d1 icmp: deny host-protection pol-r");
    assert_eq!(
        problems(&policy),
        [
            "pol-p/subj-s/rule-a bad-protection",
            "pol-q/subj-s/rule-a bad-protection",
            "pol-r/subj-s/rule-a bad-protection",
        ],
    );
}
