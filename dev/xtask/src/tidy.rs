//! What no formatter or linter looks at: file lengths, leftovers, documents that must exist.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The longest a source file may be; tests and generated files apart.
const MAX_LINES: usize = 1000;

/// Words that say something is unfinished. Split, so that this file does not find itself.
const LEFTOVERS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

/// Checks every tracked source file; says all that is wrong at once.
pub fn check(root: &Path) -> Result<()> {
    let mut wrong = Vec::new();
    for path in tracked(root)? {
        let Ok(text) = std::fs::read_to_string(root.join(&path)) else { continue };
        let is_source = matches!(
            Path::new(&path).extension().and_then(|e| e.to_str()),
            Some("rs" | "c" | "h" | "ts" | "tsx" | "py" | "sh")
        );
        if !is_source {
            continue;
        }
        let lines = text.lines().count();
        let exempt = path.contains("/tests/") || text.contains("Generated from");
        if lines > MAX_LINES && !exempt {
            wrong.push(format!("{path}: {lines} lines; {MAX_LINES} is the most"));
        }
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(word) = LEFTOVERS.iter().find(|word| line.contains(**word)) {
                wrong.push(format!("{path}:{number}: `{word}`"));
            }
            if line.ends_with([' ', '\t']) {
                wrong.push(format!("{path}:{number}: trailing white space"));
            }
        }
    }
    ensure!(wrong.is_empty(), "untidy:\n  {}", wrong.join("\n  "));
    Ok(())
}

fn tracked(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files"])
        .current_dir(root)
        .output()
        .context("running git ls-files")?;
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// Every Rust file below a folder.
pub fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
