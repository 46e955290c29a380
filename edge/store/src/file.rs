//! The store in one redb file.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `format`, `revision` | number |
//! | `objects` | DN | `[class, {property: value}]` as JSON |
//! | `numbers` | number | who holds it |
//! | `log` | revision | [`LogRow`] as JSON |
//!
//! A commit is one redb transaction with its sync. redb refuses further work after an I/O error, so
//! the file is opened anew then. If only the last sync failed, the commit may be found there: since
//! its author was told that it failed, it is taken back.

use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use crate::{Commit, Kept, LOG_ROWS, LogRow, Row, Store, StoreError};

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");
const NUMBERS: TableDefinition<&str, &str> = TableDefinition::new("numbers");
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");

/// The format written here. A later one is refused, an earlier one would be converted.
const FORMAT: u64 = 1;

/// Memory for redb's page cache. The tree itself is in the controller's memory, so the cache
/// serves writes only.
const CACHE_BYTES: usize = 32 << 20;

type Backend = Box<dyn Fn() -> std::io::Result<Box<dyn StorageBackend>> + Send>;

/// Keeps the state in a file.
pub struct FileStore {
    path: PathBuf,
    backend: Option<Backend>,
    /// `None` after an I/O error, until it has been opened again.
    database: Option<Database>,
    /// The last revision whose commit was acknowledged, or that was found at the start.
    revision: u64,
    /// How to take back the commit after it, which failed but may be on the disk.
    doubt: Option<Undo>,
}

/// What a commit replaced: the rows and numbers before it, `None` where there were none.
#[derive(Default)]
struct Undo {
    objects: Vec<(String, Option<Vec<u8>>)>,
    numbers: Vec<(String, Option<String>)>,
}

impl FileStore {
    /// Opens the file, or makes it. The caller holds the directory's [`crate::DirLock`].
    pub fn open(path: &Path) -> Result<FileStore, StoreError> {
        FileStore::start(path, None)
    }

    /// Opens a store on something else than a file: storage that fails on purpose. `backend` is
    /// asked again after each I/O error; `name` stands for the path in messages.
    pub fn with_backend(name: &Path, backend: Backend) -> Result<FileStore, StoreError> {
        FileStore::start(name, Some(backend))
    }

    fn start(path: &Path, backend: Option<Backend>) -> Result<FileStore, StoreError> {
        let mut store =
            FileStore { path: path.to_owned(), backend, database: None, revision: 0, doubt: None };
        let database = store.open_database()?;
        store.revision = store.prepare(&database)?;
        store.database = Some(database);
        Ok(store)
    }

    fn open_database(&self) -> Result<Database, StoreError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let opened = match &self.backend {
            None => builder.create(&self.path),
            Some(backend) => {
                let backend = backend()
                    .map_err(|source| StoreError::Open { path: self.path.clone(), source })?;
                builder.create_with_backend(Boxed(backend))
            }
        };
        opened.map_err(|error| self.open_error(error))
    }

    /// Checks the format, writes it into a new file, and returns the revision that is kept.
    fn prepare(&self, database: &Database) -> Result<u64, StoreError> {
        let found = self.meta(database)?;
        match found {
            Some((FORMAT, revision)) => Ok(revision),
            Some((found, _)) => {
                Err(StoreError::Format { path: self.path.clone(), found, known: FORMAT })
            }
            None => {
                initialise(database).map_err(|error| self.write_error(error))?;
                Ok(0)
            }
        }
    }

    /// Format and revision; `None` in a file without tables.
    fn meta(&self, database: &Database) -> Result<Option<(u64, u64)>, StoreError> {
        let read = || -> Result<Option<(u64, u64)>, redb::Error> {
            let table = match database.begin_read()?.open_table(META) {
                Ok(table) => table,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let number = |key| table.get(key).map(|v| v.map_or(0, |v| v.value()));
            Ok(Some((number("format")?, number("revision")?)))
        };
        read().map_err(|error| self.read_error(error))
    }

    /// Takes up work again after an I/O error: opens the file anew, and takes back the failed commit
    /// if it is there after all.
    fn recover(&mut self) -> Result<(), StoreError> {
        let database = self.open_database()?;
        let found = self.prepare(&database)?;
        if found != self.revision {
            let undo = self.doubt.as_ref().filter(|_| found == self.revision + 1);
            let undo = undo.ok_or_else(|| StoreError::Damaged {
                path: self.path.clone(),
                what: format!("it holds revision {found} in place of {}", self.revision),
            })?;
            take_back(&database, self.revision, undo).map_err(|error| self.write_error(error))?;
        }
        self.doubt = None;
        self.database = Some(database);
        Ok(())
    }

    fn open_error(&self, error: redb::DatabaseError) -> StoreError {
        let path = self.path.clone();
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen => {
                StoreError::InUse { dir: path.parent().unwrap_or(&path).to_owned(), holder: None }
            }
            redb::DatabaseError::Storage(redb::StorageError::Io(source))
                if source.kind() != std::io::ErrorKind::InvalidData =>
            {
                StoreError::Open { path, source }
            }
            other => StoreError::Damaged { path, what: other.to_string() },
        }
    }

    fn read_error(&self, error: redb::Error) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what: error.to_string() }
    }

    fn write_error(&self, error: redb::Error) -> StoreError {
        StoreError::Write { path: self.path.clone(), what: error.to_string() }
    }

    fn database(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            self.recover()?;
        }
        self.database.as_ref().ok_or_else(|| StoreError::Write {
            path: self.path.clone(),
            what: "it is closed".to_owned(),
        })
    }
}

impl Store for FileStore {
    fn load(&mut self) -> Result<Kept, StoreError> {
        let (path, revision) = (self.path.clone(), self.revision);
        let (objects, numbers) =
            read_all(self.database()?).map_err(|what| StoreError::Damaged { path, what })?;
        Ok(Kept { revision, objects, numbers })
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        if commit.revision != self.revision + 1 {
            return Err(StoreError::Order { kept: self.revision, got: commit.revision });
        }
        let mut undo = Undo::default();
        if let Err(error) = write(self.database()?, commit, &mut undo) {
            let error = self.write_error(error);
            self.database = None;
            self.doubt = Some(undo);
            // Where this does not work yet, the next commit tries again.
            let _ = self.recover();
            return Err(error);
        }
        self.revision = commit.revision;
        Ok(())
    }

    fn log(&mut self, limit: usize) -> Result<Vec<LogRow>, StoreError> {
        let path = self.path.clone();
        read_log(self.database()?, limit).map_err(|what| StoreError::Damaged { path, what })
    }
}

/// Makes the tables, and sets the format; changes nothing where that was done before.
fn initialise(database: &Database) -> Result<(), redb::Error> {
    let txn = database.begin_write()?;
    txn.open_table(META)?.insert("format", FORMAT)?;
    txn.open_table(OBJECTS)?;
    txn.open_table(NUMBERS)?;
    txn.open_table(LOG)?;
    txn.commit()?;
    Ok(())
}

/// Writes a commit, noting in `undo` what it replaces.
fn write(database: &Database, commit: &Commit, undo: &mut Undo) -> Result<(), redb::Error> {
    let mut txn = database.begin_write()?;
    txn.set_durability(redb::Durability::Immediate)?;
    {
        let mut objects = txn.open_table(OBJECTS)?;
        for dn in &commit.deleted {
            let old = objects.remove(dn.as_str())?.map(|old| old.value().to_vec());
            undo.objects.push((dn.clone(), old));
        }
        for (_, row) in &commit.put {
            let old = objects.insert(row.dn.as_str(), row.encode().as_slice())?;
            undo.objects.push((row.dn.clone(), old.map(|old| old.value().to_vec())));
        }
        let mut numbers = txn.open_table(NUMBERS)?;
        for (key, number) in &commit.numbers {
            let old = match number {
                Some(number) => numbers.insert(key.as_str(), number.as_str())?,
                None => numbers.remove(key.as_str())?,
            };
            undo.numbers.push((key.clone(), old.map(|old| old.value().to_owned())));
        }
        let mut log = txn.open_table(LOG)?;
        let row = serde_json::to_vec(&commit.log_row()).unwrap_or_default();
        log.insert(commit.revision, row.as_slice())?;
        log.remove(commit.revision.saturating_sub(LOG_ROWS))?;
        txn.open_table(META)?.insert("revision", commit.revision)?;
    }
    txn.commit()?;
    Ok(())
}

/// Goes back to `revision` from the one after it.
fn take_back(database: &Database, revision: u64, undo: &Undo) -> Result<(), redb::Error> {
    let txn = database.begin_write()?;
    {
        let mut objects = txn.open_table(OBJECTS)?;
        for (dn, old) in undo.objects.iter().rev() {
            match old {
                Some(old) => objects.insert(dn.as_str(), old.as_slice())?,
                None => objects.remove(dn.as_str())?,
            };
        }
        let mut numbers = txn.open_table(NUMBERS)?;
        for (key, old) in undo.numbers.iter().rev() {
            match old {
                Some(old) => numbers.insert(key.as_str(), old.as_str())?,
                None => numbers.remove(key.as_str())?,
            };
        }
        txn.open_table(LOG)?.remove(revision + 1)?;
        txn.open_table(META)?.insert("revision", revision)?;
    }
    txn.commit()?;
    Ok(())
}

type All = (Vec<Row>, std::collections::BTreeMap<String, String>);

fn read_all(database: &Database) -> Result<All, String> {
    let read = || -> Result<Result<All, String>, redb::Error> {
        let txn = database.begin_read()?;
        let mut objects = Vec::new();
        for entry in txn.open_table(OBJECTS)?.iter()? {
            let (dn, value) = entry?;
            match Row::decode(dn.value(), value.value()) {
                Ok(row) => objects.push(row),
                Err(error) => return Ok(Err(format!("the row of `{}`: {error}", dn.value()))),
            }
        }
        let mut numbers = std::collections::BTreeMap::new();
        for entry in txn.open_table(NUMBERS)?.iter()? {
            let (key, value) = entry?;
            numbers.insert(key.value().to_owned(), value.value().to_owned());
        }
        Ok(Ok((objects, numbers)))
    };
    read().map_err(|error| error.to_string())?
}

fn read_log(database: &Database, limit: usize) -> Result<Vec<LogRow>, String> {
    let read = || -> Result<Result<Vec<LogRow>, String>, redb::Error> {
        let txn = database.begin_read()?;
        let mut rows = Vec::new();
        for entry in txn.open_table(LOG)?.iter()?.rev().take(limit) {
            let (revision, value) = entry?;
            match serde_json::from_slice(value.value()) {
                Ok(row) => rows.push(row),
                Err(error) => return Ok(Err(format!("log row {}: {error}", revision.value()))),
            }
        }
        Ok(Ok(rows))
    };
    read().map_err(|error| error.to_string())?
}

/// A backend behind a pointer, which redb takes by value.
#[derive(Debug)]
struct Boxed(Box<dyn StorageBackend>);

impl StorageBackend for Boxed {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.0.write(offset, data)
    }
    fn close(&self) -> Result<(), std::io::Error> {
        self.0.close()
    }
}
