//! How answers are printed: a table for people, JSON for programs.

use std::io::{self, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use crate::exit::{Failure, Kind};

/// What standard output carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Words and columns for people
    #[default]
    Text,
    /// One JSON document (one a line where the verb streams)
    #[value(alias = "jsonl")]
    Json,
}

/// Prints a line to standard output. A reader that went away (`| head`) ends the program quietly.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").or_else(|error| write_failure(&error))
}

/// Says something on standard error, beside the data.
pub fn note(text: &str) {
    // There is nowhere left to say that it could not be said.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// What it means that standard output took no more.
pub fn write_failure(error: &io::Error) -> Result<(), Failure> {
    Err(match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Kind::Interrupted, ""),
        _ => Failure::new(Kind::Failed, format!("writing standard output: {error}")),
    })
}

/// Prints one JSON document.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Kind::Failed, error.to_string()))?;
    line(&text)
}

/// Prints one JSON document on one line, for verbs that stream.
pub fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::new(Kind::Failed, error.to_string()))?;
    line(&text)
}

/// Prints rows under headings, without rules or colour; `none` where there are no rows.
pub fn columns(headings: &[&str], rows: Vec<Vec<String>>, none: &str) -> Result<(), Failure> {
    if rows.is_empty() {
        return line(none);
    }
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().map(|h| h.to_uppercase()));
    table.add_rows(rows);
    for text in table.to_string().lines() {
        line(text.trim())?;
    }
    Ok(())
}
