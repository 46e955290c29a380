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
fn a_flow_that_means_nothing_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let flows = "{\"from\":\"a\",\"to\":\"d\",\"proto\":\"tcp\"}\n\n{\"from\":\"x\",\"to\":\"d\",\"proto\":\"tcp\"}\n";
    let output = trace(folder.path(), flows);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("flows.jsonl:3: `x` is neither"), "{said}");
    assert!(output.stdout.is_empty(), "nothing is answered when something is wrong");
}
