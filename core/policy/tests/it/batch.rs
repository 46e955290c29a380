//! Flows asked in lines, as `selvage trace --flows` reads and answers them.

use selvage_policy::batch::{Batch, BatchError, Question, Told};

use super::world::{compiled, with_groups};

const POLICY: &str = "
    out-wan/rsectx tnFvCtxName=v
    out-wan/instP-net/extsubnet-[198.51.100.0/24]
    flt-http/e-http etherT=ip prot=tcp dFromPort=80 dToPort=80 stateful=yes
    flt-sql/e-sql etherT=ip prot=tcp dFromPort=5432 dToPort=5432
    flt-arp/e-arp etherT=arp arpOpc=req
    brc-http/subj-s/rssubjFiltAtt-http
    brc-sql/subj-s/rssubjFiltAtt-sql
    brc-arp/subj-s/rssubjFiltAtt-arp
    ap-a/epg-web/rsprov-http
    ap-a/epg-web/rsprov-arp
    ap-a/epg-db/rsprov-sql
    ap-a/epg-web/rscons-sql
    ap-a/epg-db/rscons-arp
    out-wan/instP-net/rscons-http
    BD-b/subnet-[10.0.0.1/24]
";

const ENDPOINTS: &str = r#"[
    {"name": "web-1", "epg": "uni/tn-t/ap-a/epg-web", "ip": "10.0.0.10", "mac": "02:00:00:00:00:01"},
    {"name": "web-2", "epg": "uni/tn-t/ap-a/epg-web", "ip": ["10.0.0.11", "2001:db8::11"]},
    {"name": "db-1", "epg": "uni/tn-t/ap-a/epg-db", "ip": "10.0.0.20", "attributes": {"os": "x"}},
    {"name": "lost", "epg": "uni/tn-t/ap-a/epg-nope", "ip": "10.0.0.99"},
    {"name": "out", "external": "198.51.100.7", "ip": "198.51.100.7", "vrf": "uni/tn-t/ctx-v",
     "l3out": "uni/tn-t/out-wan"}
]"#;

/// Asks `line` and says the answer in words.
fn ask(line: &str) -> String {
    let compiled = compiled(&with_groups(POLICY));
    let told: Vec<Told> = serde_json::from_str(ENDPOINTS).unwrap();
    let batch = Batch::new(&compiled, &told).unwrap();
    let question: Question = match serde_json::from_str(line) {
        Ok(question) => question,
        Err(error) => return error.to_string(),
    };
    match batch.ask(&question) {
        Ok(answer) => {
            let origin: Vec<&str> =
                answer.origin.iter().filter_map(|dn| dn.strip_prefix("uni/tn-t/")).collect();
            format!("{} {} {}", answer.verdict, answer.reason, origin.join(" ")).trim().to_owned()
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn each_line_has_its_verdict_and_the_objects_behind_it() {
    const SQL: &str = "brc-sql/subj-s flt-sql/e-sql ap-a/epg-web/rscons-sql ap-a/epg-db/rsprov-sql";
    const HTTP: &str =
        "brc-http/subj-s flt-http/e-http out-wan/instP-net/rscons-http ap-a/epg-web/rsprov-http";
    for (line, answer) in [
        (
            r#"{"from":"web-1","to":"db-1","ether":"ipv4","proto":"tcp","dport":5432}"#,
            format!("allow contract {SQL}"),
        ),
        (
            r#"{"from":"10.0.0.10","to":"10.0.0.20","proto":6,"dport":5432,"tcp_flags":"ack"}"#,
            format!("allow contract {SQL}"),
        ),
        (r#"{"from":"web-1","to":"db-1","proto":"tcp","dport":22}"#, "deny no-contract".to_owned()),
        (
            r#"{"from":"web-1","to":"web-2","proto":"udp","dport":9}"#,
            "allow intra-group ap-a/epg-web".to_owned(),
        ),
        (r#"{"from":"lost","to":"db-1","proto":"tcp","dport":1}"#, "deny quarantine".to_owned()),
        // Stateless: the answer has a rule of its own, whoever began.
        (
            r#"{"from":"db-1","to":"web-1","proto":"tcp","sport":5432,"state":"established"}"#,
            format!("allow contract {SQL}"),
        ),
        // Stateful: the answer passes by the connection, and only so.
        (
            r#"{"from":"web-1","to":"out","proto":"tcp","sport":80,"state":"established"}"#,
            format!("allow established {HTTP}"),
        ),
        (
            r#"{"from":"web-1","to":"out","proto":"tcp","sport":80,"tcp_flags":["syn","ack"]}"#,
            "deny no-contract".to_owned(),
        ),
        (
            r#"{"from":"198.51.100.200","to":"web-1","proto":"tcp","dport":80,"state":"new"}"#,
            format!("allow contract {HTTP}"),
        ),
        (
            r#"{"from":"203.0.113.1","to":"web-1","proto":"tcp","dport":80}"#,
            "deny unknown-source".to_owned(),
        ),
        (
            r#"{"from":"web-1","to":"203.0.113.1","proto":"icmp"}"#,
            "deny unknown-destination".to_owned(),
        ),
    ] {
        assert_eq!(ask(line), answer, "{line}");
    }
    let arp = ask(r#"{"from":"db-1","to":"web-1","ether":"arp","arp_opcode":"req"}"#);
    assert!(arp.starts_with("allow contract brc-arp/subj-s"), "{arp}");
}

#[test]
fn what_cannot_be_understood_is_said() {
    for (line, says) in [
        (r#"{"from":"nobody","to":"db-1","proto":"tcp"}"#, "`nobody` is neither the name"),
        (r#"{"from":"web-1","to":"db-1","proto":"tpc"}"#, "`tpc` is no protocol"),
        (r#"{"from":"web-1","to":"db-1","proto":300}"#, "`300` is no protocol"),
        (r#"{"from":"web-1","to":"db-1"}"#, "`` is no protocol"),
        (r#"{"from":"web-1","to":"db-1","proto":"tcp","tcp_flags":"sin"}"#, "`sin` is no TCP flag"),
        (r#"{"from":"web-1","to":"db-1","proto":"tcp","dprot":1}"#, "unknown field `dprot`"),
        (r#"{"from":"web-1","to":"db-1","proto":"tcp","dport":70000}"#, "invalid value"),
    ] {
        assert!(ask(line).contains(says), "{line}: {}", ask(line));
    }
    let compiled = compiled(&with_groups(POLICY));
    let wrong =
        r#"[{"name":"a"},{"name":"b","epg":"uni/tn-[x"},{"name":"c","external":"10.0.0.1"}]"#;
    let told: Vec<Told> = serde_json::from_str(wrong).unwrap();
    let errors = Batch::new(&compiled, &told).unwrap_err();
    assert!(
        matches!(
            errors[..],
            [BatchError::Nowhere { .. }, BatchError::NoDn { .. }, BatchError::NoVrf { .. }]
        ),
        "{errors:?}"
    );
}
