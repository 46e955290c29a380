//! Who decided, in objects and in one sentence.

use selvage_policy::trace::{FindError, Place, Trace, Why, find, parse_flow, trace};
use selvage_policy::{Numbers, compile};
use selvage_rules::{Action, EtherType, Reason};

use super::world::{tree, with_groups};

fn shop() -> String {
    with_groups(
        "flt-sql/e-pg etherT=ip prot=tcp dFromPort=5432 dToPort=5432
         brc-sql/subj-db/rssubjFiltAtt-sql
         flt-ssh/e-ssh etherT=ip prot=tcp dFromPort=22 dToPort=22 stateful=yes
         brc-admin/subj-s/rssubjFiltAtt-ssh
         ap-a/epg-web/rscons-sql
         ap-a/epg-db/rsprov-sql
         ap-a/epg-db/rsprov-admin
         ap-a/epg-app/rscons-admin
         ap-a/epg-iso/rsbd tnFvBDName=b
         ap-a/epg-iso pcEnfPref=enforced
         ap-a/epg-lost/rsbd tnFvBDName=nowhere
         ap-a/epg-web/cep-00:00:00:00:00:01 ip=10.0.0.5 contName=web-1
         ap-a/epg-db/cep-00:00:00:00:00:02/ip-[2001:db8::6]",
    )
}

fn ask(policy: &str, from: &str, to: &str, flow: &str) -> Trace {
    let tree = tree(policy);
    let compiled = compile(&tree, &mut Numbers::default());
    let (flow, family) = parse_flow(flow).unwrap();
    trace(&compiled, &find(&tree, from).unwrap(), &find(&tree, to).unwrap(), flow, family)
}

#[test]
fn a_permit_names_every_object_on_the_way() {
    let trace = ask(&shop(), "web", "db", "tcp/5432");
    assert_eq!(trace.text, "tcp/5432 from web reaches db: contract sql allows it (entry pg)");
    assert_eq!(trace.from.vrf.unwrap().as_str(), "uni/tn-t/ctx-v");
    assert_eq!(trace.from.bridge_domain.unwrap().as_str(), "uni/tn-t/BD-b");
    let chain = trace.forward.chain.unwrap();
    assert_eq!(chain.contract.unwrap().as_str(), "uni/tn-t/brc-sql");
    assert_eq!(chain.subject, "uni/tn-t/brc-sql/subj-db");
    assert_eq!(chain.filter.unwrap().as_str(), "uni/tn-t/flt-sql");
    assert_eq!(chain.entry.unwrap().as_str(), "uni/tn-t/flt-sql/e-pg");
    assert_eq!(chain.provider.unwrap().as_str(), "uni/tn-t/ap-a/epg-db/rsprov-sql");
    assert_eq!(chain.consumer.unwrap().as_str(), "uni/tn-t/ap-a/epg-web/rscons-sql");
    let back = trace.back.chain.unwrap();
    assert!(back.reverse);
    assert_eq!(back.provider.unwrap().as_str(), "uni/tn-t/ap-a/epg-db/rsprov-sql");
    assert_eq!(
        trace.back.text,
        "the answer from tcp/5432 from db reaches web: contract sql allows it (entry pg)",
    );
    assert_eq!(trace.contracts.len(), 1);
    assert!(trace.contracts[0].asks);
}

#[test]
fn the_answer_to_a_stateful_entry_passes_by_the_connection() {
    let trace = ask(&shop(), "app", "db", "tcp/22");
    assert_eq!(trace.back.verdict.reason, Reason::Established);
    assert_eq!(trace.back.verdict.action, Action::Permit);
}

#[test]
fn a_deny_names_what_comes_nearest() {
    for (from, to, flow, why, text) in [
        (
            "web",
            "db",
            "tcp/5433",
            Why::OtherTraffic,
            "tcp/5433 from web does not reach db: no contract between the two groups covers it; \
             nearest: contract sql allows tcp/5432",
        ),
        (
            "db",
            "web",
            "tcp/5432",
            Why::OtherWay,
            "tcp/5432 from db does not reach web: no contract between the two groups covers it; \
             nearest: contract sql lets web open tcp/5432 to db",
        ),
        (
            "web",
            "app",
            "tcp/5432",
            Why::NotProvided,
            "tcp/5432 from web does not reach app: no contract between the two groups covers it; \
             nearest: contract sql allows tcp/5432, but app does not provide it",
        ),
        (
            "app",
            "db",
            "tcp/5432",
            Why::OtherTraffic,
            "tcp/5432 from app does not reach db: no contract between the two groups covers it; \
             nearest: contract admin allows tcp/22",
        ),
    ] {
        let trace = ask(&shop(), from, to, flow);
        assert_eq!(trace.forward.misses[0].why, why, "{from} {to} {flow}");
        assert_eq!(trace.forward.text, text);
    }
    let trace = ask(&shop(), "app", "db", "tcp/5432");
    assert_eq!(trace.forward.misses[1].why, Why::NotConsumed);
}

#[test]
fn other_reasons_have_words_of_their_own() {
    for (from, to, reason, text) in [
        (
            "iso",
            "iso",
            Reason::Denied,
            "tcp/80 from iso does not reach iso: iso keeps its endpoints apart",
        ),
        (
            "lost",
            "db",
            Reason::Quarantine,
            "tcp/80 from lost does not reach db: neither tenant `t` nor `common` has a bridge \
             domain `nowhere`: the group is in quarantine",
        ),
        (
            "web",
            "web",
            Reason::IntraGroup,
            "tcp/80 from web reaches web: both endpoints are in the same group, and the group is \
             not isolated",
        ),
    ] {
        let trace = ask(&shop(), from, to, "tcp/80");
        assert_eq!(trace.forward.verdict.reason, reason);
        assert_eq!(trace.text, text);
    }
}

#[test]
fn an_answer_that_does_not_come_back_is_said() {
    let policy = shop() + "\nbrc-sql/subj-db revFltPorts=no";
    let trace = ask(&policy, "web", "db", "tcp/5432");
    assert!(trace.text.ends_with(", but the answer does not come back"), "{}", trace.text);
}

#[test]
fn ends_are_found_by_every_name_they_have() {
    let tree = tree(&shop());
    let web = "uni/tn-t/ap-a/epg-web";
    for text in ["web", "t/a/web", web, "web-1", "10.0.0.5", "00:00:00:00:00:01"] {
        assert_eq!(find(&tree, text).unwrap().group().as_str(), web, "{text}");
    }
    assert!(matches!(find(&tree, "2001:db8::6"), Ok(Place::Endpoint(_))));
    assert_eq!(
        find(&tree, "nobody").unwrap_err().to_string(),
        "no group or endpoint is called `nobody`; write TENANT/APP/EPG, a DN, or an endpoint's \
         name, MAC or IP address",
    );
}

#[test]
fn a_name_that_several_have_lists_them() {
    let tree = tree(&(shop() + "\nap-b/epg-web/rsbd tnFvBDName=b"));
    let FindError::Ambiguous { candidates, .. } = find(&tree, "web").unwrap_err() else { panic!() };
    assert_eq!(candidates.len(), 2);
}

#[test]
fn the_family_follows_the_addresses() {
    let trace = ask(&shop(), "2001:db8::6", "2001:db8::6", "icmp");
    assert_eq!(trace.forward.packet.ether, EtherType::IPV6);
    assert_eq!(ask(&shop(), "web", "db", "icmp6").forward.packet.ether, EtherType::IPV6);
    assert_eq!(ask(&shop(), "web", "db", "icmp").forward.packet.ether, EtherType::IPV4);
}

#[test]
fn a_trace_is_readable_as_json() {
    let json = serde_json::to_value(ask(&shop(), "web-1", "db", "tcp/5432")).unwrap();
    assert_eq!(json["forward"]["verdict"]["reason"], "contract");
    assert_eq!(json["from"]["endpoint"]["name"], "web-1");
    assert_eq!(json["forward"]["chain"]["entry"], "uni/tn-t/flt-sql/e-pg");
}
