//! Questions that need no daemon.

use std::path::Path;
use std::process::{Command, Output};

fn example() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/three-tier.nac.yaml")
}

fn trace(folder: &Path, flows: &str) -> Output {
    let endpoints = r#"[{"name":"w","epg":"uni/tn-shop/ap-store/epg-web","ip":"10.1.1.10"},
                        {"name":"d","epg":"uni/tn-shop/ap-store/epg-db","ip":"10.1.2.10"},
                        {"name":"a","epg":"uni/tn-shop/ap-store/epg-app","ip":"10.1.1.11"}]"#;
    let gone = r#"{"fvTenant":{"attributes":{"dn":"uni/tn-shop"},"children":[
        {"vzBrCP":{"attributes":{"name":"sql","status":"deleted"}}}]}}"#;
    std::fs::write(folder.join("ends.json"), endpoints).unwrap();
    std::fs::write(folder.join("gone.json"), gone).unwrap();
    std::fs::write(folder.join("flows.jsonl"), flows).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvage"));
    command.arg("trace").arg("--config").arg(example());
    if flows.contains("gone") {
        command.args(["--config", "gone.json"]);
    }
    command.args(["--endpoints", "ends.json", "--flows", "flows.jsonl", "-o", "jsonl"]);
    command.current_dir(folder).output().unwrap()
}

#[test]
fn flows_are_answered_line_by_line_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let flows = r#"{"from":"a","to":"d","proto":"tcp","dport":5432}
{"from":"w","to":"d","proto":"tcp","dport":5432}"#;
    let output = trace(folder.path(), flows);
    let text = String::from_utf8(output.stdout).unwrap();
    let verdicts: Vec<String> = text
        .lines()
        .map(|line| {
            let answer: serde_json::Value = serde_json::from_str(line).unwrap();
            format!("{} {}", answer["verdict"], answer["reason"]).replace('"', "")
        })
        .collect();
    assert_eq!(verdicts, ["allow contract", "deny no-contract"]);

    // A later configuration may take away what an earlier one said.
    let output = trace(
        folder.path(),
        r#"{"from":"a","to":"d","proto":"tcp","dport":5432,"comment":"gone"}"#,
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(r#""verdict":"deny""#), "{text}");
}

#[test]
fn a_flow_that_means_nothing_is_told_with_its_line_and_the_others_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let flows = "{\"from\":\"a\",\"to\":\"d\",\"proto\":\"tcp\",\"dport\":5432}\n\n\
                 {\"from\":\"x\",\"to\":\"d\",\"proto\":\"tcp\"}\n{\n\
                 {\"from\":\"w\",\"to\":\"d\",\"proto\":\"tcp\"}\n";
    let output = trace(folder.path(), flows);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("flows.jsonl:3: `x` is neither"), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let verdicts: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["verdict"].clone())
        .collect();
    assert_eq!(verdicts, ["allow", "error", "error", "deny"], "{text}");
}

/// A policy in the forms in which an APIC gives it: a list of objects by `dn`, one in XML, and what
/// an export holds beside policy.
#[test]
fn configurations_are_taken_as_an_apic_gives_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(
        at("base.json"),
        r#"{"totalCount":"5","imdata":[
            {"fvCtx":{"attributes":{"dn":"uni/tn-t/ctx-v","modTs":"2024-03-01T12:00:00.000+00:00"}}},
            {"fvRsCtx":{"attributes":{"dn":"uni/tn-t/BD-b/rsctx","tnFvCtxName":"v"}}},
            {"fvRsBd":{"attributes":{"dn":"uni/tn-t/ap-a/epg-w/rsbd","tnFvBDName":"b"}}},
            {"fvRsBd":{"attributes":{"dn":"uni/tn-t/ap-a/epg-d/rsbd","tnFvBDName":"b"}}},
            {"wholeOtherThing":{"attributes":{"dn":"uni/other-x"}}}]}"#,
    )
    .unwrap();
    std::fs::write(
        at("contract.xml"),
        r#"<?xml version="1.0" encoding="UTF-8"?>
        <!-- sql for all -->
        <polUni><fvTenant name="t">
          <vzFilter name="sql"><vzEntry name="e" etherT="ip" prot="tcp" dFromPort="5432" dToPort="5432"/></vzFilter>
          <vzBrCP name="sql"><vzSubj name="s"><vzRsSubjFiltAtt tnVzFilterName="sql"/></vzSubj></vzBrCP>
          <fvAp name="a"><fvAEPg name="d"><fvRsProv tnVzBrCPName="sql"/></fvAEPg>
            <fvAEPg name="w"><fvRsCons tnVzBrCPName="sql"/></fvAEPg></fvAp>
        </fvTenant></polUni>"#,
    )
    .unwrap();
    let list = r#"[{"name":"w","epg":"t/a/w","ip":"10.0.0.1"},{"name":"d","epg":"t/a/d","ip":"10.0.0.2"}]"#;
    std::fs::write(at("ends.json"), list).unwrap();
    std::fs::write(
        at("flows.jsonl"),
        r#"{"from":"w","to":"10.0.0.2","proto":"tcp","dport":"5432"}"#,
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvage"));
    command.args(["trace", "--config", "base.json", "--config", "contract.xml", "-o", "jsonl"]);
    command.args(["--endpoints", "ends.json", "--flows", "flows.jsonl"]);
    let output = command.current_dir(folder.path()).output().unwrap();
    let (text, said) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
    let (text, said) = (text.unwrap(), said.unwrap());
    assert!(text.contains(r#""verdict":"allow""#), "{text}{said}");
    assert!(said.contains("class `wholeOtherThing` is not known here: 1 left out"), "{said}");
    assert!(output.status.success());
}

fn check(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvage"));
    let output = command.args(args).current_dir(folder).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn assertions_hold_or_fail_with_a_packet_a_place_and_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let policy = std::fs::read_to_string(example()).unwrap();
    let assertions = example().with_file_name("assertions.nac.yaml");
    let assertions = assertions.to_str().unwrap();
    std::fs::write(folder.path().join("shop.yaml"), &policy).unwrap();
    let (code, said, wrong) = check(folder.path(), &["check", "-f", "shop.yaml", "-f", assertions]);
    assert_eq!((code, wrong.as_str()), (Some(0), ""), "{said}");
    assert!(
        said.ends_with("6 assertions, 0 false; 0 faults; lint: 0 warnings, 2 notes\n"),
        "{said}"
    );

    // web consumes what only app should.
    let broken = policy.replacen("consumers: [app]", "consumers: [app, sql]", 1);
    assert_ne!(broken, policy);
    std::fs::write(folder.path().join("shop.yaml"), broken).unwrap();
    let (code, said, wrong) = check(folder.path(), &["check", "-f", "shop.yaml", "-f", assertions]);
    assert_eq!(code, Some(6), "{said}");
    assert!(wrong.contains("3 assertions do not hold"), "{wrong}");
    let packet = "tcp 49152 to 5432 over IPv4 from shop/store/web reaches shop/store/db";
    assert!(said.contains(packet), "{said}");
    assert!(said.contains("assertions.nac.yaml:17:13"), "{said}");

    let args = ["check", "-f", "shop.yaml", "-f", assertions, "-o", "json"];
    let (_, json, _) = check(folder.path(), &args);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let answers = json["assertions"].as_array().unwrap();
    let broken: Vec<_> = answers.iter().filter(|a| a["holds"] == false).collect();
    assert_eq!(broken.len(), 3);
    assert_eq!(broken[0]["counterexample"]["blame"][0], "uni/tn-shop/brc-sql/subj-database");
}

#[test]
fn a_misspelt_assertion_is_shown_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let text = "selvage:\n  assertions:\n    - name: x\n      asert: only\n";
    std::fs::write(folder.path().join("a.yaml"), text).unwrap();
    let (code, _, wrong) = check(folder.path(), &["check", "-f", "a.yaml"]);
    assert_eq!(code, Some(2), "{wrong}");
    assert!(wrong.contains("an assertion has no key `asert`"), "{wrong}");
    assert!(wrong.contains("a.yaml:4:7") && wrong.contains("did you mean `assert`?"), "{wrong}");
}

#[test]
fn lint_says_where_why_and_how_to_mend_it() {
    let folder = tempfile::tempdir().unwrap();
    let policy = std::fs::read_to_string(example()).unwrap();
    let extra =
        "      filters:\n        - name: unused\n          entries:\n            - name: any\n";
    let untidy = policy.replacen("\n      filters:\n", extra, 1);
    assert_ne!(untidy, policy);
    std::fs::write(folder.path().join("shop.yaml"), untidy).unwrap();
    let (code, said, _) = check(folder.path(), &["lint", "-f", "shop.yaml"]);
    assert_eq!(code, Some(0), "{said}");
    let line = said.lines().find(|line| line.contains("unused-filter")).unwrap();
    assert!(line.starts_with("note  unused-filter shop.yaml:"), "{said}");
    assert!(said.contains("mend: name it in a subject, or delete it"), "{said}");
    let (code, _, wrong) = check(folder.path(), &["lint", "-f", "shop.yaml", "--strict"]);
    assert_eq!(code, Some(7), "{wrong}");
}

fn support(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvage"));
    command.args(["get", "--support"]).args(arguments).output().unwrap()
}

#[test]
fn what_is_enforced_stored_or_refused_is_listed_from_the_schema() {
    let output = support(&["-o", "json"]);
    let classes: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(classes.len(), selvage_model::schema().len());
    for class in selvage_model::schema() {
        let listed = classes.iter().find(|c| c["class"] == class.name).unwrap();
        assert_eq!(listed["support"], class.standing().name(), "{}", class.name);
        assert_eq!(listed["properties"].as_array().unwrap().len(), class.props.len());
    }
    let entry = support(&["vzEntry"]);
    let text = String::from_utf8(entry.stdout).unwrap();
    let line = |name: &str| text.lines().find(|l| l.starts_with(name)).unwrap_or_default();
    assert!(line("vzEntry ").contains("enforced"), "{text}");
    assert!(line("vzEntry.etherT ").contains("enforced in part: arp, ip, ipv4, ipv6"), "{text}");
    assert!(line("vzEntry.stateful ").contains("enforced"), "{text}");
    assert_eq!(line("vzEntry.descr"), "", "{text}");
}

#[test]
fn an_unknown_class_has_no_support_to_list() {
    let output = support(&["fvEPG"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("no class `fvEPG`"), "{said}");
}
