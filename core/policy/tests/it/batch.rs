//! Flows asked in lines, as `selvage trace --flows` reads and answers them.

use selvage_policy::batch::{Batch, Question, Told};

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
     "l3out": "uni/tn-t/out-wan"},
    {"name": "out-2", "external": true, "ip": "198.51.100.8", "l3out": "t/wan"},
    {"name": "out-3", "external": "t/wan/net"},
    {"name": "named", "epg": "t/a/web", "ip": "10.0.0.12/24", "mac": "0200.0000.0003", "host": "h"},
    {"name": "nowhere"},
    {"name": "bad", "epg": "uni/tn-[x"},
    {"name": "vague", "external": "192.0.2.1"},
    {"name": "odd", "epg": "t/a/web", "ip": "10.0.0"},
    {"name": "slip", "epg": "t/a/web", "atributes": {}},
    {"name": "two", "epg": "t/a/web"},
    {"name": "two", "epg": "t/a/db"}
]"#;

/// Asks `line` and says the answer in words.
fn ask(line: &str) -> String {
    let compiled = compiled(&with_groups(POLICY));
    let told: Vec<Told> = serde_json::from_str(ENDPOINTS).unwrap();
    let batch = Batch::new(&compiled, &told);
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
fn flows_are_taken_in_the_forms_people_write() {
    let sql = "allow contract brc-sql/subj-s";
    for line in [
        r#"{"from":"web-1","to":"db-1","ether":"ip","proto":"TCP","dport":"5432","id":7}"#,
        r#"{"from":"web-1","to":"db-1","etherT":"0x0800","prot":"6","dport":5432,"expect":"allow"}"#,
        r#"{"from":"web-1","to":"db-1","proto":"tcp","dport":5432,"tcp_flags":"S","dscp":"EF"}"#,
        r#"{"from":"web-1","to":"db-1","proto":"tcp","dport":5432,"tcp_flags":"SYN-ACK","dscp":46}"#,
        r#"{"from":"web-1","to":"db-1","proto":"tcp","dport":5432,"tcp_flags":18,"sport":null}"#,
        r#"{"from":"db-1","to":"web-1","proto":"tcp","sport":5432,"state":"reply","tcp_flags":["ACK"]}"#,
    ] {
        assert!(ask(line).starts_with(sql), "{line}: {}", ask(line));
    }
    for (line, says) in [
        // No protocol in particular: only what matches every protocol lets it pass.
        (r#"{"from":"web-1","to":"db-1"}"#, "deny no-contract"),
        (r#"{"from":"web-1","to":"web-2"}"#, "allow intra-group ap-a/epg-web"),
        (
            r#"{"from":"web-1","to":"web-2","proto":"unspecified"}"#,
            "allow intra-group ap-a/epg-web",
        ),
        (r#"{"from":"web-1","to":"web-2","proto":"icmp","icmp_type":"echo"}"#, "allow intra-group"),
        (r#"{"from":"web-1","to":"web-2","ether":"ipv6","proto":"icmp"}"#, "allow intra-group"),
        (r#"{"from":"web-1","to":"web-2","proto":"udp","dport":"dns"}"#, "allow intra-group"),
        (r#"{"from":"db-1","to":"web-1","ether":"arp","arp_opcode":2}"#, "deny no-contract"),
        (r#"{"from":"out","to":"web-1","proto":"tcp","dport":"http"}"#, "allow contract"),
        (r#"{"from":"out-2","to":"web-1","proto":"tcp","dport":80}"#, "allow contract"),
        (r#"{"from":"out-3","to":"web-1","proto":"tcp","dport":80}"#, "allow contract"),
        (r#"{"from":"named","to":"db-1","proto":"tcp","dport":5432}"#, "allow contract"),
    ] {
        assert!(ask(line).starts_with(says), "{line}: {}", ask(line));
    }
}

#[test]
fn what_cannot_be_understood_is_said() {
    for (line, says) in [
        (r#"{"from":"nobody","to":"db-1","proto":"tcp"}"#, "`nobody` is neither the name"),
        (r#"{"from":"web-1","to":"db-1","proto":"tpc"}"#, "`tpc` is no protocol"),
        (r#"{"from":"web-1","to":"db-1","proto":300}"#, "`300` is no protocol"),
        (r#"{"from":"web-1","to":"db-1","dport":80}"#, "a port needs a `proto`"),
        (r#"{"from":"web-1","to":"db-1","proto":"tcp","tcp_flags":"sin"}"#, "`sin` is no TCP flag"),
        (r#"{"from":"web-1","to":"db-1","proto":"tcp","dprot":1}"#, "did you mean `dport`"),
        (r#"{"from":"web-1","to":"db-1","proto":"tcp","dport":70000}"#, "`70000` is no port"),
        (r#"{"from":"web-1","to":"db-1","proto":"tcp","dscp":64}"#, "`64` is no code point"),
        (r#"{"from":"web-1","to":"db-1","ether":"ipx"}"#, "`ipx` is no Ethernet type"),
        (r#"{"from":"web-1","to":"db-1","state":"old"}"#, "`old` is no state"),
        (r#"{"from":"nowhere","to":"db-1"}"#, "endpoint `nowhere` needs either"),
        (r#"{"from":"bad","to":"db-1"}"#, "`uni/tn-[x` is no DN"),
        (r#"{"from":"db-1","to":"vague"}"#, "endpoint `vague` is outside and needs"),
        (r#"{"from":"odd","to":"db-1"}"#, "`10.0.0` is no IP address"),
        (r#"{"from":"slip","to":"db-1"}"#, "unknown field `atributes`; did you mean `attributes`?"),
        (r#"{"from":"two","to":"db-1"}"#, "two endpoints are called `two`"),
    ] {
        assert!(ask(line).contains(says), "{line}: {}", ask(line));
    }
}
