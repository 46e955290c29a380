//! A live change with a proof: planned, applied, revoked, with real packets between two hosts.

mod lab;
mod members;

use std::time::{Duration, Instant};

use selvage_rules::Packet;
use selvage_testkit::eventually;
use selvage_testkit::server::Server;
use selvage_testkit::transfer::{Pulse, Stream};
use serde_json::Value;

use lab::{Lab, Workload};

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(400);
/// How long a connection that is cut must stay silent, and one that is not may.
const SILENCE: Duration = Duration::from_millis(500);

const KEEP: u16 = 7000;
const PULSE: u16 = 7001;
const SQL: u16 = 5432;
const SQL_STREAM: u16 = 5433;

/// `web` reaches `db` by contract `keep`; what `sql` offers, nobody uses yet.
const BASE: &str = "
apic:
  tenants:
    - name: live
      vrfs: [{name: main}]
      bridge_domains:
        - {name: front, vrf: main, subnets: [{ip: 10.9.1.1/24}]}
        - {name: back, vrf: main, subnets: [{ip: 10.9.2.1/24}]}
      filters:
        - name: keep
          entries:
            - {name: stream, ethertype: ip, protocol: tcp, destination_from_port: 7000, stateful: true}
            - {name: pulse, ethertype: ip, protocol: udp, destination_from_port: 7001, stateful: true}
        - name: sql
          entries:
            - {name: pg, ethertype: ip, protocol: tcp, destination_from_port: 5432, destination_to_port: 5433, stateful: true}
      contracts:
        - name: keep
          subjects: [{name: s, filters: [{filter: keep}]}]
        - name: sql
          subjects: [{name: s, filters: [{filter: sql}]}]
      application_profiles:
        - name: shop
          endpoint_groups:
            - {name: web, bridge_domain: front, contracts: {consumers: [keep]}}
            - {name: db, bridge_domain: back, contracts: {providers: [keep, sql]}}
";

const WEB: &str = "uni/tn-live/ap-shop/epg-web";
const DB: &str = "uni/tn-live/ap-shop/epg-db";

/// What takes `web`'s use of contract `sql` away.
const REVOCATION: &str = r#"{"fvRsCons": {"attributes":
    {"dn": "uni/tn-live/ap-shop/epg-web/rscons-sql", "status": "deleted"}}}"#;

/// The only change of a plan, which is between `web` and `db`.
#[track_caller]
fn only_change<'p>(plan: &'p Value, kind: &str) -> &'p Value {
    let changes = plan["traffic"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{plan:#}");
    let change = &changes[0];
    assert_eq!(change["kind"], kind, "{change:#}");
    assert_eq!(change["traffic"], serde_json::json!(["tcp/5432-5433"]));
    let pair = serde_json::json!([{"from": {"group": WEB}, "to": {"group": DB}}]);
    assert_eq!(change["pairs"], pair);
    change
}

/// Waits until nothing arrives any more; gives how long after `since` the last of it did.
fn cut(stream: &Stream, since: Instant) -> Duration {
    let (mut seen, mut last) = (stream.bytes(), since);
    eventually(LONG, "the revoked connection falls silent", || {
        let now = stream.bytes();
        if now != seen {
            (seen, last) = (now, Instant::now());
        }
        if last.elapsed() > SILENCE { Ok(()) } else { Err(format!("{now} bytes")) }
    });
    last - since
}

fn flows(stream: &Stream) {
    let seen = stream.bytes();
    eventually(LONG, "the connection goes on", || match stream.bytes() {
        now if now > seen => Ok(()),
        now => Err(format!("{now} bytes")),
    });
}

/// Whether the witness of a change passes on the wire: a connection to its port.
fn passes(change: &Value, web: &Workload, db: &Workload, patience: Duration) -> bool {
    let witness = &change["witness"];
    assert_eq!((&witness["from"], &witness["to"]), (&WEB.into(), &DB.into()));
    let packet: Packet = serde_json::from_value(witness["packet"].clone()).unwrap();
    web.reaches(db, packet.dport, patience)
}

#[test]
fn a_change_is_planned_applied_and_revoked_under_traffic() {
    let lab = Lab::up();
    let base = lab.file("base.yaml", BASE);
    let with_sql =
        lab.file("sql.yaml", &BASE.replace("consumers: [keep]", "consumers: [keep, sql]"));
    let revocation = lab.file("revoke.json", REVOCATION);
    lab.run(&["apply", "-f", &base]).ok();
    let (web, db) = (lab.start("h1", "live/shop/web"), lab.start("h2", "live/shop/db"));
    let server = Server::start(&db.ns, "db", &[PULSE, SQL], &[KEEP, SQL_STREAM]).unwrap();
    let kept = Stream::start(&web.ns, db.v4, KEEP, 1 << 20).unwrap();
    let pulse = Pulse::start(&web.ns, db.v4, PULSE, 500).unwrap();

    // What is planned is not done.
    let planned = lab.run(&["plan", "-f", &with_sql, "-o", "json", "--detailed-exitcode"]);
    assert_eq!(planned.code, 11, "{planned:?}");
    let grant = planned.json();
    let gains = only_change(&grant, "gains");
    assert_eq!(gains["after"]["contract"], "uni/tn-live/brc-sql");
    assert_eq!(gains["after"]["entry"], "uni/tn-live/flt-sql/e-pg");
    let hosts = grant["hosts"].as_array().unwrap();
    assert_eq!(hosts.len(), 2, "{grant:#}");
    for host in hosts {
        assert_eq!(host["pairs"], serde_json::json!({"added": 0, "changed": 1, "removed": 0}));
        assert_eq!(host["endpoints"], 1);
    }
    assert!(!passes(gains, &web, &db, SHORT), "the plan was carried out");

    // Applied, its witness passes.
    let grant_file = lab.file("grant.json", &planned.out);
    lab.run(&["apply", "-f", &with_sql, "--plan", &grant_file]).ok();
    assert!(passes(gains, &web, &db, LONG), "the witness does not pass");
    let revoked = Stream::start(&web.ns, db.v4, SQL_STREAM, 1 << 20).unwrap();
    flows(&revoked);

    // The same plan again is stale, and touches nothing.
    let stale = lab.run(&["apply", "-f", &with_sql, "--plan", &grant_file]);
    assert_eq!(stale.code, 5, "{stale:?}");
    assert!(stale.talk.contains("nothing was applied"), "{stale:?}");

    // The revocation takes what the grant gave, and cuts what lives by it.
    let planned = lab.run(&["plan", "-f", &revocation, "-o", "json"]).ok();
    let loses = planned.json();
    only_change(&loses, "loses");
    assert_eq!(loses["objects"]["deleted"][0]["dn"], format!("{WEB}/rscons-sql"));
    flows(&revoked);
    let before = Instant::now();
    let revoke_file = lab.file("revoke-plan.json", &planned.out);
    lab.run(&["apply", "-f", &revocation, "--plan", &revoke_file]).ok();
    let applied = Instant::now();
    // Bytes that the receiver's own stack held when its host swapped may still be read.
    let late = cut(&revoked, applied);
    eprintln!("revoked in {:?}; the last byte {late:?} after", applied - before);
    assert!(late < Duration::from_millis(250), "a revoked connection lived on for {late:?}");
    assert!(!passes(gains, &web, &db, SHORT), "the witness still passes");
    flows(&kept);

    // Granted again, new connections pass.
    lab.run(&["apply", "-f", &with_sql, "--yes"]).ok();
    assert!(passes(gains, &web, &db, LONG));

    let (kept, pulse) = (kept.stop().unwrap(), pulse.stop().unwrap());
    assert_eq!(kept.broken, None, "{kept:?}");
    assert_eq!(
        (pulse.answered, pulse.lost.len(), pulse.refused.len()),
        (pulse.sent, 0, 0),
        "{pulse:?}"
    );
    drop(revoked.stop());
    drop(server);
}

#[test]
fn a_plan_that_does_not_hold_is_refused_whole() {
    let lab = Lab::up();
    let base = lab.file("base.yaml", BASE);
    let with_sql =
        lab.file("sql.yaml", &BASE.replace("consumers: [keep]", "consumers: [keep, sql]"));
    lab.run(&["apply", "-f", &base]).ok();
    let plan = lab.run(&["plan", "-f", &with_sql, "-o", "json"]).ok();
    let plan_file = lab.file("plan.json", &plan.out);

    // Other files than those planned.
    let other = lab.run(&["apply", "-f", &base, "--plan", &plan_file]);
    assert_eq!(other.code, 2, "{other:?}");
    assert!(other.talk.contains("is not the plan of these files"), "{other:?}");

    // Another revision than the one planned against.
    let moved =
        lab.file("moved.yaml", &BASE.replace("name: front,", "name: front, description: x,"));
    lab.run(&["apply", "-f", &moved]).ok();
    for words in [["--plan", &plan_file], ["--at", "1"]] {
        let stale = lab.run(&["apply", "-f", &with_sql, words[0], words[1]]);
        assert_eq!((stale.code, stale.out.as_str()), (5, ""), "{stale:?}");
        let says = "revision 1, but revision 2 is in force";
        assert_eq!(stale.talk.matches(says).count(), 1, "{stale:?}");
    }
    let status = lab.run(&["plan", "-f", &with_sql, "-o", "json"]).ok().json();
    assert_eq!(status["revision"], 2);
    only_change(&status, "gains");

    // Mistakes all at once, and words where nothing changes.
    let wrong = lab
        .file("wrong.yaml", "apic:\n  tenants:\n    - name: a\n      colour: red\n      vrfs: 7\n");
    let said = lab.run(&["plan", "-f", &wrong]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.talk.contains("2 mistakes"), "{said:?}");
    let said = lab.run(&["plan", "-f", &moved, "--detailed-exitcode"]).ok();
    assert_eq!(said.out, "nothing to change against revision 2\n");
    let described = lab.run(&["plan", "-f", &base, "--detailed-exitcode"]);
    assert!(matches!(described.code, 0 | 10), "{described:?}");
    let words = lab.run(&["plan", "-f", &with_sql]).ok().out;
    assert!(
        words.contains("live/shop/web -> live/shop/db\n  + tcp/5432-5433  allowed: contract sql"),
        "{words}"
    );
    assert!(!words.contains('\x1b'), "colour without a terminal: {words:?}");
}
