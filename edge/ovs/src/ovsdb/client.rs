//! The connection, and bridges.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::error::OvsdbError;
use super::value::{map, map_of, number_of, references_of, text_of, texts_of};
use crate::jsonrpc::{Failure, Peer};

pub(super) type Result<T> = std::result::Result<T, OvsdbError>;

/// The key in `external_ids` that says whose a bridge is.
const OWNER: &str = "selvage-owner";

/// A connection to the database server (`RUNDIR/db.sock`).
#[derive(Debug)]
pub struct Client {
    peer: Peer,
    /// The one row of table `Open_vSwitch`.
    root: Value,
}

/// A bridge that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeSpec {
    /// Its name, at most 15 bytes: it is also that of a link.
    pub name: String,
    /// Whose it is: one word, the same on every start.
    pub owner: String,
    /// `netdev` is Open vSwitch's own datapath, `system` the kernel's.
    pub datapath: String,
}

/// What the switch says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Of Open vSwitch, such as `3.1.0`; `None` where the script that starts it has not said so.
    pub switch: Option<String>,
    /// Datapaths it has, such as `netdev` and `system`.
    pub datapaths: Vec<String>,
    /// Kinds of interfaces it can make, such as `vxlan`.
    pub interfaces: Vec<String>,
}

/// A row as it came: column to value.
pub(super) type Row = Value;

impl Client {
    /// Connects. No answer may take longer than `timeout`, nor may the switch daemon take longer to
    /// take over a change.
    pub fn connect(path: &Path, timeout: Duration) -> Result<Client> {
        let peer = Peer::connect(path, timeout).map_err(|failure| match failure {
            Failure::Connect(cause) => OvsdbError::Connect { path: path.to_owned(), cause },
            failure => broken("connecting", failure),
        })?;
        let mut client = Client { peer, root: Value::Null };
        let rows = client.select("Open_vSwitch", json!([]), &["_uuid"])?;
        let root = rows.first().and_then(|row| row.get("_uuid"));
        client.root = root.cloned().ok_or(OvsdbError::Empty)?;
        Ok(client)
    }

    /// What the switch says of itself.
    pub fn version(&mut self) -> Result<Version> {
        let columns = ["ovs_version", "datapath_types", "iface_types"];
        let rows = self.select("Open_vSwitch", json!([]), &columns)?;
        let column = |name| rows.first().and_then(|row| row.get(name));
        Ok(Version {
            switch: text_of(column("ovs_version")),
            datapaths: texts_of(column("datapath_types")),
            interfaces: texts_of(column("iface_types")),
        })
    }

    /// Asks whether it is there.
    pub fn echo(&mut self) -> Result<()> {
        let answer = self.peer.call("echo", &json!([]));
        answer.map(drop).map_err(|failure| broken("waiting for its echo", failure))
    }

    /// Makes sure that the bridge is there and as it should be: without flows of its own
    /// (`fail_mode` secure) and without controllers, for we connect to it. True if it was made.
    pub fn ensure_bridge(&mut self, spec: &BridgeSpec) -> Result<bool> {
        let action = format!("making bridge `{}`", spec.name);
        let settings = json!({
            "datapath_type": spec.datapath,
            "fail_mode": "secure",
            "controller": ["set", []],
            "mcast_snooping_enable": false,
            "other_config": ["map", [["disable-in-band", "true"]]],
        });
        if let Some(bridge) = self.own_bridge(&spec.name, &spec.owner)? {
            let update = json!({
                "op": "update", "table": "Bridge",
                "where": same(&bridge), "row": settings,
            });
            self.change(vec![update], &action)?;
            return Ok(false);
        }
        let mut row = settings;
        if let Some(columns) = row.as_object_mut() {
            columns.insert("name".to_owned(), json!(spec.name));
            columns.insert("ports".to_owned(), json!(["named-uuid", "port"]));
            columns.insert("external_ids".to_owned(), json!(["map", [[OWNER, spec.owner]]]));
        }
        let interface = json!({"name": spec.name, "type": "internal"});
        let port = json!({"name": spec.name, "interfaces": ["named-uuid", "interface"]});
        let operations = vec![
            json!({"op": "insert", "table": "Interface", "uuid-name": "interface", "row": interface}),
            json!({"op": "insert", "table": "Port", "uuid-name": "port", "row": port}),
            json!({"op": "insert", "table": "Bridge", "uuid-name": "bridge", "row": row}),
            self.mutate_bridges("insert", &json!(["named-uuid", "bridge"])),
        ];
        self.change(operations, &action)?;
        self.opened(&spec.name)?;
        Ok(true)
    }

    /// Removes the bridge with its ports. There being none is no error; one that is not `owner`'s is
    /// not touched.
    pub fn remove_bridge(&mut self, name: &str, owner: &str) -> Result<()> {
        let Some(bridge) = self.own_bridge(name, owner)? else { return Ok(()) };
        let uuid = bridge.get("_uuid").cloned().unwrap_or_default();
        let removal = self.mutate_bridges("delete", &uuid);
        self.change(vec![removal], &format!("removing bridge `{name}`"))
    }

    /// What we wrote down at the bridge: its `external_ids`.
    pub fn notes(&mut self, bridge: &str) -> Result<BTreeMap<String, String>> {
        Ok(map_of(self.bridge(bridge)?.get("external_ids")))
    }

    /// Writes down `value` at the bridge under `key`, which ought to begin with `selvage-`.
    pub fn note(&mut self, bridge: &str, key: &str, value: &str) -> Result<()> {
        let row = self.bridge(bridge)?;
        let mut notes = map_of(row.get("external_ids"));
        notes.insert(key.to_owned(), value.to_owned());
        let update = json!({
            "op": "update", "table": "Bridge",
            "where": same(&row), "row": {"external_ids": map(&notes)},
        });
        self.transact(vec![update], &format!("writing `{key}` at bridge `{bridge}`")).map(drop)
    }

    /// The bridge's row.
    pub(super) fn bridge(&mut self, name: &str) -> Result<Row> {
        let columns = ["_uuid", "external_ids", "ports"];
        let rows = self.select("Bridge", json!([["name", "==", name]]), &columns)?;
        rows.into_iter().next().ok_or_else(|| OvsdbError::NoBridge { name: name.to_owned() })
    }

    /// The row of a bridge that is `owner`'s; `None` where there is no such bridge.
    fn own_bridge(&mut self, name: &str, owner: &str) -> Result<Option<Row>> {
        let bridge = match self.bridge(name) {
            Err(OvsdbError::NoBridge { .. }) => return Ok(None),
            bridge => bridge?,
        };
        let theirs = map_of(bridge.get("external_ids")).remove(OWNER);
        if theirs.as_deref() != Some(owner) {
            return Err(OvsdbError::BridgeTaken { name: name.to_owned(), owner: theirs });
        }
        Ok(Some(bridge))
    }

    fn mutate_bridges(&self, how: &str, bridge: &Value) -> Value {
        json!({
            "op": "mutate", "table": "Open_vSwitch", "where": [["_uuid", "==", self.root]],
            "mutations": [["bridges", how, ["set", [bridge]]]],
        })
    }

    /// Reads rows.
    pub(super) fn select(
        &mut self,
        table: &str,
        condition: Value,
        columns: &[&str],
    ) -> Result<Vec<Row>> {
        let select =
            json!({"op": "select", "table": table, "where": condition, "columns": columns});
        let mut results = self.transact(vec![select], &format!("reading table `{table}`"))?;
        let rows = results.first_mut().and_then(|result| result.get_mut("rows"));
        match rows.map(Value::take) {
            Some(Value::Array(rows)) => Ok(rows),
            _ => Ok(Vec::new()),
        }
    }

    /// Changes the database and waits until the switch daemon has taken the change over.
    pub(super) fn change(&mut self, mut operations: Vec<Value>, action: &str) -> Result<()> {
        let here = json!([["_uuid", "==", self.root]]);
        operations.push(json!({
            "op": "mutate", "table": "Open_vSwitch", "where": here,
            "mutations": [["next_cfg", "+=", 1]],
        }));
        operations.push(json!({
            "op": "select", "table": "Open_vSwitch", "where": here, "columns": ["next_cfg"],
        }));
        let results = self.transact(operations, action)?;
        let rows = results.last().and_then(|result| result.get("rows"));
        let wanted = number_of(rows.and_then(|rows| rows.get(0)?.get("next_cfg"))).unwrap_or(0);
        self.wait(wanted, action)
    }

    /// Waits until the switch daemon has taken over configuration `wanted` or a later one.
    fn wait(&mut self, wanted: i64, action: &str) -> Result<()> {
        let timeout = self.peer.timeout();
        let deadline = Instant::now() + timeout;
        loop {
            let rows = self.select("Open_vSwitch", json!([]), &["cur_cfg"])?;
            let current = number_of(rows.first().and_then(|row| row.get("cur_cfg"))).unwrap_or(0);
            if current >= wanted {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let not_applied =
                || OvsdbError::NotApplied { action: action.to_owned(), ms: timeout.as_millis() };
            if left.is_zero() {
                return Err(not_applied());
            }
            // A little less than our own patience, so that the server's answer still comes.
            let patience = left.mul_f32(0.9).as_millis().min(60_000);
            let changed = json!({
                "op": "wait", "table": "Open_vSwitch", "where": [["_uuid", "==", self.root]],
                "columns": ["cur_cfg"], "until": "!=", "rows": [{"cur_cfg": current}],
                "timeout": u64::try_from(patience).unwrap_or(0),
            });
            match self.transact(vec![changed], action) {
                Err(OvsdbError::Refused { cause, .. }) if cause.contains("timed out") => {
                    return Err(not_applied());
                }
                done => done?,
            };
        }
    }

    /// Does operations as one transaction, and gives their results.
    pub(super) fn transact(&mut self, operations: Vec<Value>, action: &str) -> Result<Vec<Value>> {
        let mut params = vec![json!("Open_vSwitch")];
        params.extend(operations);
        let answer = self.peer.call("transact", &Value::Array(params));
        let results = match answer.map_err(|failure| broken(action, failure))? {
            Value::Array(results) => results,
            other => return Err(broken(action, Failure::Malformed(format!("got {other}")))),
        };
        // An operation that failed has an error in place of its result; one that was then not tried
        // has null; what failed at the end of all is one result more.
        let error = results.iter().find_map(|result| {
            let error = result.get("error")?.as_str()?;
            let details = result.get("details").and_then(Value::as_str).unwrap_or("no details");
            Some(format!("{error} ({details})"))
        });
        match error {
            Some(cause) => Err(OvsdbError::Refused { action: action.to_owned(), cause }),
            None => Ok(results),
        }
    }
}

/// The condition that selects exactly this row.
pub(super) fn same(row: &Row) -> Value {
    json!([["_uuid", "==", row.get("_uuid")]])
}

/// The references that a row holds in `column`.
pub(super) fn references(row: &Row, column: &str) -> Vec<Value> {
    references_of(row.get(column))
}

fn broken(action: &str, failure: Failure) -> OvsdbError {
    let action = action.to_owned();
    let cause = match failure {
        Failure::Connect(cause) | Failure::Closed(cause) => cause,
        Failure::Timeout => "no answer in time".to_owned(),
        Failure::Malformed(cause) => format!("malformed answer: {cause}"),
        Failure::Refused(cause) => return OvsdbError::Refused { action, cause: cause.to_string() },
    };
    OvsdbError::Broken { action, cause }
}
