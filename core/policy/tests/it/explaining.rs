//! Explanations: the change they suggest really turns the verdict.

use proptest::prelude::*;
use selvage_model::{Dn, Post, Stamp, Tree, apply, manifest};
use selvage_policy::explain::{Change, Explanation, explain};
use selvage_policy::trace::{self, Place};
use selvage_policy::{Numbers, compile};
use selvage_rules::{Action, EtherType, Packet, Reason, Verdict};

use super::generated::policy;
use super::planning::atoms;
use super::world::{packet, tree, with_groups};

fn verdict(tree: &Tree, from: &Dn, to: &Dn, packet: &Packet) -> Verdict {
    trace::verdict(&compile(tree, &mut Numbers::default()), from, to, packet)
}

fn applied(tree: &Tree, post: &Post) -> Tree {
    let mut tree = tree.clone();
    let uni = "uni".parse().unwrap();
    apply(&mut tree, Stamp::new("never", ""), Some(&uni), post).unwrap();
    tree
}

/// The change as a user would apply it: by the file if there is one.
fn by_file(tree: &Tree, change: &Change) -> Option<Tree> {
    let posts = manifest::parse(change.yaml.as_ref()?).unwrap().posts;
    Some(applied(tree, &posts.into_iter().fold(Post::new("polUni"), Post::child)))
}

fn explained(tree: &Tree, from: &Dn, to: &Dn, packet: &Packet) -> Explanation {
    let compiled = compile(tree, &mut Numbers::default());
    let (from, to) = (Place::Group(from.clone()), Place::Group(to.clone()));
    explain(tree, &compiled, (&from, &to), packet)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_suggested_change_turns_the_verdict(
        lines in policy(),
        asked in prop::collection::vec((0..5_usize, 0..5_usize, 0..1000_usize), 4),
    ) {
        let tree = tree(&lines.join("\n"));
        let groups: Vec<Dn> = tree.of_class("fvAEPg").map(|mo| mo.dn().clone()).collect();
        let atoms = atoms();
        for (from, to, packet) in asked {
            let (from, to) = (&groups[from], &groups[to]);
            let packet = &atoms[packet % atoms.len()];
            let before = verdict(&tree, from, to, packet);
            let explanation = explained(&tree, from, to, packet);
            let decides: Vec<_> = explanation.considered.iter().filter(|c| c.decides).collect();
            prop_assert!(decides.len() <= 1);
            if before.rule.is_some() {
                prop_assert_eq!(decides[0].rule, before.rule.unwrap());
                let first = explanation.considered.iter().find(|c| c.matches).unwrap();
                prop_assert!(first.decides);
            }
            let nameable = packet.ether.is_ip() || packet.ether == EtherType::ARP;
            let Some(change) = &explanation.change else {
                let hopeless = before.reason != Reason::NoContract || from == to || !nameable;
                prop_assert!(hopeless, "{} {} {:?} {:?}", from, to, packet, before);
                continue;
            };
            let turned = |tree: &Tree| {
                let after = verdict(tree, from, to, packet);
                (after.action == Action::Deny) != (before.action == Action::Deny)
            };
            prop_assert_eq!(change.makes == "allow", before.action == Action::Deny);
            prop_assert!(turned(&applied(&tree, &change.json)), "{:#?}", change);
            if let Some(tree) = by_file(&tree, change) {
                prop_assert!(turned(&tree), "{:#?}", change);
            }
        }
    }
}

/// The change for one flow: its sentence and its file.
#[track_caller]
fn check(policy: &str, from: &str, to: &str, flow: &str, text: &str, yaml: Option<&str>) {
    let tree = tree(&with_groups(policy));
    let group = |name: &str| format!("uni/tn-t/ap-a/epg-{name}").parse().unwrap();
    let explanation = explained(&tree, &group(from), &group(to), &packet(flow, false));
    let change = explanation.change.unwrap();
    assert_eq!(change.text, text);
    assert_eq!(change.yaml.as_deref(), yaml, "{}", change.yaml.clone().unwrap_or_default());
}

const SQL: &str = "
    flt-sql/e-sql etherT=ip prot=tcp dFromPort=5432 dToPort=5432 stateful=yes
    brc-sql/subj-sql/rssubjFiltAtt-sql
    ap-a/epg-db/rsprov-sql
    ap-a/epg-web/rscons-sql
";

#[test]
fn a_contract_that_fits_is_consumed() {
    check(
        SQL,
        "app",
        "db",
        "tcp/5432",
        "let `app` consume contract `sql`",
        Some(
            "\
apic:
  tenants:
    - name: t
      application_profiles:
        - name: a
          endpoint_groups:
            - name: app
              bridge_domain: c
              contracts:
                consumers:
                  - sql
",
        ),
    );
}

#[test]
fn a_contract_between_the_two_gets_an_entry_more() {
    check(
        SQL,
        "web",
        "db",
        "tcp/22",
        "let filter `sql` match it too",
        Some(
            "\
apic:
  tenants:
    - name: t
      filters:
        - name: sql
          entries:
            - name: tcp-22
              ethertype: ip
              protocol: tcp
              destination_from_port: 22
              destination_to_port: 22
              stateful: true
",
        ),
    );
}

#[test]
fn two_groups_without_a_contract_get_one() {
    check(
        "",
        "web",
        "app",
        "udp/53",
        "make a contract `web-to-app` between the two",
        Some(
            "\
apic:
  tenants:
    - name: t
      application_profiles:
        - name: a
          endpoint_groups:
            - name: app
              bridge_domain: c
              contracts:
                providers:
                  - web-to-app
            - name: web
              bridge_domain: b
              contracts:
                consumers:
                  - web-to-app
      contracts:
        - name: web-to-app
          subjects:
            - name: udp-53
              filters:
                - filter: udp-53
      filters:
        - name: udp-53
          entries:
            - name: udp-53
              ethertype: ip
              protocol: udp
              destination_from_port: 53
              destination_to_port: 53
              stateful: true
",
        ),
    );
}

#[test]
fn what_is_allowed_is_forbidden_by_the_least() {
    check(SQL, "web", "db", "tcp/5432", "stop letting `web` consume contract `sql`", None);
    check(
        "",
        "web",
        "web",
        "tcp/80",
        "isolate the endpoints of `web` from each other",
        Some(
            "\
apic:
  tenants:
    - name: t
      application_profiles:
        - name: a
          endpoint_groups:
            - name: web
              bridge_domain: b
              intra_epg_isolation: true
",
        ),
    );
    let stateless = SQL.replace(" stateful=yes", "");
    let text = "make entry `sql` stateful, so that only answers pass";
    check(
        &stateless,
        "db",
        "web",
        "tcp/40000@5432",
        text,
        Some(
            "\
apic:
  tenants:
    - name: t
      filters:
        - name: sql
          entries:
            - name: sql
              ethertype: ip
              protocol: tcp
              stateful: true
",
        ),
    );
}
