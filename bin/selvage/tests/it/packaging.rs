//! What is shipped around the binary agrees with it.

use std::path::Path;
use std::process::Command;

/// The units' command lines are ones this binary takes: `--help` at their end is reached only when
/// every flag before it is known.
#[test]
fn the_systemd_units_start_daemons_with_flags_that_exist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd");
    let mut units = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let unit = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let words = line.split_whitespace().skip(1).filter(|word| !word.starts_with('$'));
        let output =
            Command::new(env!("CARGO_BIN_EXE_selvage")).args(words).arg("--help").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{line}` is refused: {said}");
        units += 1;
    }
    assert_eq!(units, 2);
}

#[test]
fn every_shell_has_a_completion_script_that_knows_the_verbs() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Command::new(env!("CARGO_BIN_EXE_selvage"))
            .args(["completion", shell])
            .output()
            .unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        for verb in ["apply", "trace", "doctor"] {
            assert!(script.contains(verb), "{shell}: no `{verb}` in it");
        }
    }
}
