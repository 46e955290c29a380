//! What is written and read: objects as rows, commits, and the log.

use std::collections::BTreeMap;

use selvage_model::Mo;
use serde::{Deserialize, Serialize};

/// How many rows the log keeps; older ones go with the commit that exceeds it.
pub const LOG_ROWS: u64 = 10_000;

/// How many objects a log row names; a larger commit is told by its counts alone.
pub const LOG_NAMES: usize = 256;

/// One object as it is kept: what differs from its class's defaults, under its DN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its DN.
    pub dn: String,
    /// The name of its class.
    pub class: String,
    /// Its properties that are not at their default, by name.
    pub props: BTreeMap<String, String>,
}

impl From<&Mo> for Row {
    fn from(mo: &Mo) -> Row {
        Row {
            dn: mo.dn().as_str().to_owned(),
            class: mo.class().name.to_owned(),
            props: mo.set_props().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        }
    }
}

impl Row {
    /// The value part of the row: `["fvBD",{"arpFlood":"yes"}]`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        // Strings and maps of strings always have a JSON form, so there is nothing to lose here.
        serde_json::to_vec(&(&self.class, &self.props)).unwrap_or_default()
    }

    /// Reads what [`Row::encode`] wrote.
    pub(crate) fn decode(dn: &str, value: &[u8]) -> Result<Row, serde_json::Error> {
        let (class, props) = serde_json::from_slice(value)?;
        Ok(Row { dn: dn.to_owned(), class, props })
    }
}

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// The revision it makes: one more than the one before.
    pub revision: u64,
    /// When, in milliseconds since 1970 (UTC).
    pub at_ms: u64,
    /// The user who asked for it.
    pub user: String,
    /// Objects as they are after it, created and modified ones.
    pub put: Vec<(Change, Row)>,
    /// DNs of the objects it deletes.
    pub deleted: Vec<String>,
    /// Numbers given out (`Some`) and forgotten (`None`), by number, with what their allocator
    /// notes about each. Both texts are opaque here.
    pub numbers: BTreeMap<String, Option<String>>,
}

impl Commit {
    /// The row of the log that tells of this commit.
    pub fn log_row(&self) -> LogRow {
        let created = self.put.iter().filter(|(change, _)| *change == Change::Created).count();
        let counts =
            Counts { created, modified: self.put.len() - created, deleted: self.deleted.len() };
        let named = self.put.iter().map(|(change, row)| (*change, row.dn.clone()));
        let gone = self.deleted.iter().map(|dn| (Change::Deleted, dn.clone()));
        let objects = if self.put.len() + self.deleted.len() > LOG_NAMES {
            Vec::new()
        } else {
            named.chain(gone).collect()
        };
        LogRow {
            revision: self.revision,
            at_ms: self.at_ms,
            user: self.user.clone(),
            counts,
            objects,
        }
    }
}

/// What a commit did to one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It was not there before.
    Created,
    /// It has other properties now.
    Modified,
    /// It is gone.
    Deleted,
}

/// How many objects a commit touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Objects that were not there before.
    pub created: usize,
    /// Objects with other properties now.
    pub modified: usize,
    /// Objects that are gone.
    pub deleted: usize,
}

/// One revision in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRow {
    /// The revision.
    pub revision: u64,
    /// When, in milliseconds since 1970 (UTC).
    pub at_ms: u64,
    /// The user who asked for it.
    pub user: String,
    /// How many objects it touched.
    pub counts: Counts,
    /// The objects it touched; empty where they are more than [`LOG_NAMES`].
    pub objects: Vec<(Change, String)>,
}

/// Everything a store holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// The revision of the last commit; 0 where there was none.
    pub revision: u64,
    /// The objects, by ascending DN.
    pub objects: Vec<Row>,
    /// Numbers given out, with what their allocator noted.
    pub numbers: BTreeMap<String, String>,
}
