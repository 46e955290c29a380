//! The dependency arrows: `bin -> edge -> core`, and what `core` must not touch.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: String,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// Crates that bring sockets, clocks, files, threads or randomness into `core`.
const FORBIDDEN_IN_CORE: &[&str] =
    &["tokio", "nix", "libc", "rand", "mio", "socket2", "axum", "hyper", "redb", "libbpf-rs"];

/// Words of the standard library that have no place in `core` outside tests.
const FORBIDDEN_WORDS_IN_CORE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os::",
    "Instant::now",
    "SystemTime::now",
    "println!",
    "eprintln!",
];

/// Pairs that no arrow may join, beside the shelves: who must not know whom, and why.
const FORBIDDEN_ARROWS: &[(&str, &str, &str)] = &[
    ("selvage-agent", "selvage-model", "agents know class ids, never the ACI tree"),
    ("selvage-agent", "selvage-policy", "one policy brain: the controller's"),
    ("selvage-opflex", "selvage-model", "OpFlex carries the compiled table, not the ACI tree"),
    ("selvage-opflex", "selvage-policy", "OpFlex carries the compiled table, not its making"),
    ("selvage-ebpf", "selvage-model", "data planes see numbers, never DNs"),
    ("selvage-ebpf", "selvage-policy", "data planes see numbers, never contracts"),
    ("selvage-oracle", "selvage-policy", "a judge that shares code with the judged is none"),
    ("selvage-policy", "selvage-oracle", "a judge that shares code with the judged is none"),
    ("selvage-rules", "selvage-model", "the rule table knows no class of the ACI model"),
];

/// Checks every arrow and every core source file; says all that is wrong at once.
pub fn check(root: &Path) -> Result<()> {
    let metadata = metadata(root)?;
    let mut wrong = Vec::new();
    for package in metadata.packages.iter().filter(|p| p.source.is_none()) {
        let shelf = shelf_of(&package.manifest_path, &metadata.workspace_root)?;
        for dependency in package.dependencies.iter().filter(|d| d.kind.is_none()) {
            let target =
                metadata.packages.iter().find(|p| p.name == dependency.name && p.source.is_none());
            if let Some(target) = target {
                let target_shelf = shelf_of(&target.manifest_path, &metadata.workspace_root)?;
                if !arrow_allowed(shelf, target_shelf) {
                    wrong.push(format!(
                        "{} ({shelf}) -> {} ({target_shelf})",
                        package.name, target.name
                    ));
                }
            } else if shelf == "core" && FORBIDDEN_IN_CORE.contains(&dependency.name.as_str()) {
                wrong.push(format!(
                    "{} (core) -> {}: core does no I/O",
                    package.name, dependency.name
                ));
            }
            for (from, to, why) in FORBIDDEN_ARROWS {
                if package.name == *from && dependency.name == *to {
                    wrong.push(format!("{from} -> {to}: {why}"));
                }
            }
        }
    }
    check_core_sources(&root.join("core"), &mut wrong)?;
    ensure!(wrong.is_empty(), "arrows that point the wrong way:\n  {}", wrong.join("\n  "));
    Ok(())
}

fn metadata(root: &Path) -> Result<Metadata> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output()
        .context("running cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn shelf_of<'a>(manifest: &'a str, root: &str) -> Result<&'a str> {
    let shelf = manifest.strip_prefix(root).and_then(|rest| rest.split('/').nth(1));
    match shelf {
        Some(shelf @ ("core" | "edge" | "bin" | "dev")) => Ok(shelf),
        _ => bail!("{manifest} is on no shelf (core, edge, bin, dev)"),
    }
}

fn arrow_allowed(from: &str, to: &str) -> bool {
    match from {
        "core" => to == "core",
        "edge" => matches!(to, "core" | "edge"),
        "bin" => matches!(to, "core" | "edge"),
        _ => true,
    }
}

fn check_core_sources(folder: &Path, wrong: &mut Vec<String>) -> Result<()> {
    for path in crate::tidy::rust_files(folder)? {
        if path
            .components()
            .any(|c| matches!(c.as_os_str().to_str(), Some("tests" | "benches" | "examples")))
        {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in (1..).zip(shipped.lines()) {
            let code = line.split("//").next().unwrap_or_default();
            for word in FORBIDDEN_WORDS_IN_CORE.iter().filter(|word| code.contains(**word)) {
                wrong.push(format!("{}:{number}: `{word}` in core", path.display()));
            }
        }
    }
    Ok(())
}
