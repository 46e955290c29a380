//! Development tasks: code generation, dependency arrows, tidiness.

mod classes;
mod deps;
mod reasons;
mod tidy;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let task = std::env::args().nth(1).unwrap_or_default();
    match task.as_str() {
        "codegen" => outputs(&root)?.iter().try_for_each(|(path, text)| write(path, text)),
        "codegen-check" => outputs(&root)?.iter().try_for_each(|(path, text)| check(path, text)),
        "check-deps" => deps::check(&root),
        "tidy" => tidy::check(&root),
        _ => bail!("usage: cargo xtask codegen | codegen-check | check-deps | tidy"),
    }
}

/// Every generated file with its text.
fn outputs(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    Ok([reasons::generate(root)?, classes::generate(root)?].concat())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn check(path: &Path, text: &str) -> Result<()> {
    let found = std::fs::read_to_string(path).unwrap_or_default();
    if found != text {
        bail!("{} is stale; run `cargo xtask codegen` and commit the result", path.display());
    }
    Ok(())
}

/// `text` as rustfmt lays it out, so that generated code passes the format check.
fn rustfmt(root: &Path, text: &str) -> Result<String> {
    let mut child = Command::new("rustfmt")
        .arg("--config-path")
        .arg(root.join("rustfmt.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting rustfmt")?;
    child.stdin.take().context("rustfmt has no standard input")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    anyhow::ensure!(output.status.success(), "rustfmt refused generated code");
    Ok(String::from_utf8(output.stdout)?)
}
