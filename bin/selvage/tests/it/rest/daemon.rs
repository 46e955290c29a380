//! How a controller starts and ends, and what it says when it cannot.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::fixture::{Controller, command, command_on, equipped_dir, run_to_end};

/// Exit code and last words of a controller that cannot start.
fn refusal(command: std::process::Command) -> (Option<i32>, String) {
    let output = run_to_end(command);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_first_start_makes_a_certificate_and_a_password() {
    let controller = Controller::start_in(tempfile::tempdir().unwrap());
    let mode = |file: &str| {
        let path = controller.state_dir().join(file);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    for secret in ["admin.password", "admin.hash", "tls.key"] {
        assert_eq!(mode(secret), 0o600, "{secret}");
    }
    let fingerprint = controller.reach["fingerprint"].as_str().unwrap().to_owned();
    assert!(fingerprint.len() == 95 && controller.log().contains(&fingerprint));
    let password = controller.password();
    let hash = fs::read_to_string(controller.state_dir().join("admin.hash")).unwrap();
    assert!(hash.starts_with("$argon2id$") && !hash.contains(&password));
    controller.admin();

    let (status, dir) = controller.stop();
    assert!(status.success());
    assert!(!dir.path().join("run/controller.json").exists(), "a stale file was left");
    let again = Controller::start_in(dir);
    assert_eq!(again.reach["fingerprint"], fingerprint.as_str());
    assert_eq!(again.password(), password);
    again.admin();
}

#[test]
fn a_second_controller_on_the_same_files_is_refused() {
    let first = Controller::start();
    let (code, words) = refusal(command(first.dir()));
    assert_eq!(code, Some(1), "{words}");
    let holder = format!("in use by another controller (process {})", first.reach["pid"]);
    assert!(words.contains(&holder) && words.contains("hint: "), "{words}");
    first.admin();
}

#[test]
fn a_port_in_use_is_named() {
    let first = Controller::start();
    let taken = first.opflex().to_string();
    for (flag, rest, opflex) in
        [("--listen", taken.as_str(), "127.0.0.1:0"), ("--opflex-listen", "127.0.0.1:0", &taken)]
    {
        let dir = equipped_dir();
        let (code, words) = refusal(command_on(dir.path(), rest, opflex));
        assert_eq!(code, Some(1), "{words}");
        assert!(words.contains(&taken) && words.contains(flag), "{words}");
    }
}

#[test]
fn a_state_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("state"), "a file").unwrap();
    let (code, words) = refusal(command(dir.path()));
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains(&dir.path().join("state").display().to_string()), "{words}");
}

#[test]
fn a_damaged_store_is_named_and_left_alone() {
    let dir = equipped_dir();
    let store = dir.path().join("state/policy.redb");
    let junk = "no database\n".repeat(1000);
    fs::write(&store, &junk).unwrap();
    let (code, words) = refusal(command(dir.path()));
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("policy.redb") && words.contains("damaged"), "{words}");
    assert!(words.contains("hint: "), "{words}");
    assert_eq!(fs::read_to_string(&store).unwrap(), junk);
}

#[test]
fn half_a_certificate_is_named() {
    let dir = equipped_dir();
    fs::remove_file(dir.path().join("state/tls.key")).unwrap();
    let (code, words) = refusal(command(dir.path()));
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("tls.key"), "{words}");
}
