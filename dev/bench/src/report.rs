//! What was measured, for people and for programs.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use crate::stats::{Finding, Median};

/// Everything.
#[derive(Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// What.
    pub sections: Vec<Section>,
}

/// The machine it was measured on.
#[derive(Serialize)]
pub struct Machine {
    /// Its kernel.
    pub kernel: String,
    /// Its processor.
    pub processor: String,
    /// How many of them.
    pub cpus: usize,
    /// How many processes wanted to run when it began, on average over the last minute.
    pub load: f64,
}

/// Measurements that belong together.
#[derive(Serialize)]
pub struct Section {
    /// What they are about.
    pub title: String,
    /// What their numbers count.
    pub unit: String,
    /// One line each.
    pub rows: Vec<Row>,
}

/// One measurement.
#[derive(Serialize)]
pub struct Row {
    /// Of what.
    pub what: String,
    /// What its number counts, where that is not the section's unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The number.
    #[serde(flatten)]
    pub value: Median,
    /// What is promised of it, and whether that holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promise: Option<(Promise, Finding)>,
}

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promise {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
}

impl Section {
    /// An empty one.
    pub fn new(title: impl Into<String>, unit: impl Into<String>) -> Section {
        Section { title: title.into(), unit: unit.into(), rows: Vec::new() }
    }
}

impl Row {
    /// A number nothing is promised of.
    pub fn new(what: impl Into<String>, value: Median) -> Row {
        Row { what: what.into(), unit: None, value, promise: None }
    }

    /// Held to a promise.
    pub fn judged(mut self, promise: Promise) -> Row {
        let finding = match promise {
            Promise::AtLeast(number) => self.value.at_least(number),
            Promise::AtMost(number) => self.value.at_most(number),
        };
        self.promise = Some((promise, finding));
        self
    }

    /// Held to a promise of no more than `number`.
    pub fn at_most(self, number: f64) -> Row {
        self.judged(Promise::AtMost(number))
    }
}

/// The table, as a person reads it.
pub fn print(report: &Report) {
    let machine = &report.machine;
    println!(
        "Linux {}, {} x {}, load {:.2} when it began",
        machine.kernel, machine.cpus, machine.processor, machine.load
    );
    for section in &report.sections {
        println!("\n{} ({})\n", section.title, section.unit);
        let mut table = Table::new();
        table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["WHAT", "MEDIAN", "95 % INTERVAL", "ROUNDS", "PROMISE", ""]);
        for column in [1, 2, 3] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.add_rows(section.rows.iter().map(cells));
        for line in table.to_string().lines() {
            println!("{}", line.trim_end());
        }
    }
}

fn cells(row: &Row) -> [String; 6] {
    let (promise, finding) = match row.promise {
        None => (String::new(), ""),
        Some((Promise::AtLeast(number), finding)) => (format!(">= {number}"), finding.word()),
        Some((Promise::AtMost(number), finding)) => (format!("<= {number}"), finding.word()),
    };
    [
        row.what.clone(),
        short(row.value.median),
        format!("{} .. {}", short(row.value.low), short(row.value.high)),
        row.value.rounds.to_string(),
        promise,
        finding.to_owned(),
    ]
}

/// Three significant digits or so.
fn short(number: f64) -> String {
    match number.abs() {
        n if n >= 100.0 => format!("{number:.0}"),
        n if n >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.3}"),
    }
}

impl Machine {
    /// This one.
    pub fn this() -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
        Machine {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: processor.unwrap_or_else(|| "unknown processor".to_owned()),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            load: read("/proc/loadavg")
                .split_whitespace()
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or(0.0),
        }
    }
}
