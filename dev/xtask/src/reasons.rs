//! `schema/reasons.toml` as a Rust enum and a C header.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    reason: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    code: u8,
    name: String,
    kind: Kind,
    #[serde(default)]
    quiet: bool,
    text: String,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Allow,
    Drop,
}

/// The generated files with their text.
pub fn generate(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let source = root.join("schema/reasons.toml");
    let text = std::fs::read_to_string(&source).context("reading schema/reasons.toml")?;
    let file: File = toml::from_str(&text).context("schema/reasons.toml")?;
    let ascending = file.reason.is_sorted_by(|a, b| a.code < b.code);
    ensure!(ascending, "codes in schema/reasons.toml must ascend");
    Ok(vec![
        (root.join("core/rules/src/reason.rs"), crate::rustfmt(root, &rust(&file.reason)?)?),
        (root.join("edge/ebpf/bpf/reasons.h"), c(&file.reason)?),
    ])
}

fn camel(name: &str) -> String {
    name.split('-')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters)
        })
        .collect()
}

fn rust(reasons: &[Entry]) -> Result<String> {
    let mut out = String::from(
        "//! Why a packet passed or not. Generated from schema/reasons.toml; do not edit.\n\n\
         use serde::{Deserialize, Serialize};\n\n\
         /// Whether a reason lets a packet pass.\n\
         #[derive(Debug, Clone, Copy, PartialEq, Eq)]\n\
         pub enum Kind {\n    /// It passes.\n    Allow,\n    /// It is dropped.\n    Drop,\n}\n\n\
         /// Why a packet passed or not.\n\
         #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]\n\
         #[serde(rename_all = \"kebab-case\")]\n\
         #[repr(u8)]\n\
         pub enum Reason {\n",
    );
    for r in reasons {
        let text = capitalised(&r.text);
        writeln!(out, "    /// {text}.\n    {} = {},", camel(&r.name), r.code)?;
    }
    out.push_str("}\n\nimpl Reason {\n    /// Every reason, by ascending code.\n    pub const ALL: &[Reason] = &[\n");
    for r in reasons {
        writeln!(out, "        Reason::{},", camel(&r.name))?;
    }
    out.push_str("    ];\n\n    /// The reason with this code.\n    pub fn from_code(code: u8) -> Option<Reason> {\n        Reason::ALL.iter().copied().find(|r| *r as u8 == code)\n    }\n\n");
    method(&mut out, "/// What users read and type.", "name", "&'static str", reasons, |r| {
        format!("{:?}", r.name)
    })?;
    method(
        &mut out,
        "/// One sentence, from the packet's point of view.",
        "text",
        "&'static str",
        reasons,
        |r| format!("{:?}", r.text),
    )?;
    set(&mut out, "/// Whether it lets the packet pass.", "is_allow", reasons, |r| {
        r.kind == Kind::Allow
    })?;
    set(
        &mut out,
        "/// Whether it is only counted, without an event for each packet.",
        "is_quiet",
        reasons,
        |r| r.quiet,
    )?;
    out.push_str(
        "    /// Whether it lets the packet pass, as a [`Kind`].\n    pub fn kind(self) -> Kind {\n        if self.is_allow() { Kind::Allow } else { Kind::Drop }\n    }\n}\n\n\
         impl std::fmt::Display for Reason {\n    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {\n        f.write_str(self.name())\n    }\n}\n",
    );
    Ok(out)
}

fn method(
    out: &mut String,
    doc: &str,
    name: &str,
    returns: &str,
    reasons: &[Entry],
    value: impl Fn(&Entry) -> String,
) -> Result<()> {
    writeln!(out, "    {doc}\n    pub fn {name}(self) -> {returns} {{\n        match self {{")?;
    for r in reasons {
        let (camel, value) = (camel(&r.name), value(r));
        let line = format!("            Reason::{camel} => {value},");
        if line.len() <= 100 {
            writeln!(out, "{line}")?;
        } else {
            writeln!(
                out,
                "            Reason::{camel} => {{\n                {value}\n            }}"
            )?;
        }
    }
    out.push_str("        }\n    }\n\n");
    Ok(())
}

fn set(
    out: &mut String,
    doc: &str,
    name: &str,
    reasons: &[Entry],
    holds: impl Fn(&Entry) -> bool,
) -> Result<()> {
    writeln!(out, "    {doc}\n    pub fn {name}(self) -> bool {{\n        [")?;
    for r in reasons.iter().filter(|r| holds(r)) {
        writeln!(out, "            Reason::{},", camel(&r.name))?;
    }
    out.push_str("        ]\n        .contains(&self)\n    }\n\n");
    Ok(())
}

fn c(reasons: &[Entry]) -> Result<String> {
    let mut out = String::from(
        "/* Why a packet passed or not. Generated from schema/reasons.toml; do not edit. */\n\
         #ifndef SELVAGE_REASONS_H\n#define SELVAGE_REASONS_H\n\nenum reason {\n",
    );
    for r in reasons {
        let name = r.name.replace('-', "_").to_ascii_uppercase();
        writeln!(out, "\tREASON_{name} = {}, /* {} */", r.code, r.text)?;
    }
    let quiet: Vec<String> =
        reasons.iter().filter(|r| r.quiet).map(|r| format!("1ULL << {}", r.code)).collect();
    writeln!(
        out,
        "}};\n\n/* Counted, without an event for each packet. */\n#define REASONS_QUIET ({})\n",
        quiet.join(" | ")
    )?;
    out.push_str("#endif\n");
    Ok(out)
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
