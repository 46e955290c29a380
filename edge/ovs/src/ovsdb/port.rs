//! Ports of a bridge; each has one interface of the same name.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::client::{Client, Result, Row, references, same};
use super::error::OvsdbError;
use super::value::{map, map_of, number_of, text_of};

/// A port that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// Its name, at most 15 bytes; of a [`PortKind::System`] one, that of the link.
    pub name: String,
    /// What it is.
    pub kind: PortKind,
    /// Options of its kind, such as `remote_ip`, `key`, `dst_port`.
    pub options: BTreeMap<String, String>,
    /// The number it should have in flows, 1 to 65279; `None` leaves it to the switch.
    pub number: Option<u16>,
}

/// What a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortKind {
    /// A link that is there already.
    System,
    /// A link that the switch makes.
    Internal,
    /// A VXLAN tunnel.
    Vxlan,
}

/// A port as the switch has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRow {
    /// Its name.
    pub name: String,
    /// What it is, in the switch's words; empty is a link that was there already.
    pub kind: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
    /// Its number in flows; `None` until it has one.
    pub number: Option<u32>,
    /// Index of its link in the daemon's network namespace, where it has one.
    pub ifindex: Option<u32>,
    /// Why it could not be opened.
    pub error: Option<String>,
}

impl PortSpec {
    /// A link that is there already.
    pub fn system(name: &str) -> PortSpec {
        let (name, options) = (name.to_owned(), BTreeMap::new());
        PortSpec { name, kind: PortKind::System, options, number: None }
    }

    /// A VXLAN tunnel whose other end ([`crate::openflow::Field::TunDst`]) and VNI
    /// ([`crate::openflow::Field::TunId`]) flows set, on UDP port `port`.
    pub fn vxlan(name: &str, port: u16) -> PortSpec {
        let options = [("remote_ip", "flow"), ("key", "flow"), ("dst_port", &port.to_string())];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        PortSpec { name: name.to_owned(), kind: PortKind::Vxlan, options, number: None }
    }
}

impl PortKind {
    fn word(self) -> &'static str {
        match self {
            PortKind::System => "",
            PortKind::Internal => "internal",
            PortKind::Vxlan => "vxlan",
        }
    }
}

impl Client {
    /// Makes sure that the bridge has the port, and gives its number in flows. A port that is there
    /// already is changed only where it differs: no packet is lost by asking again.
    pub fn ensure_port(&mut self, bridge: &str, spec: &PortSpec) -> Result<u32> {
        let action = format!("adding port `{}`", spec.name);
        let row = self.bridge(bridge)?;
        let settings = json!({
            "type": spec.kind.word(),
            "options": map(&spec.options),
            "ofport_request": spec.number.map_or_else(|| json!(["set", []]), |number| json!(number)),
        });
        let there = self.select("Port", json!([["name", "==", spec.name]]), &["_uuid"])?;
        if let Some(port) = there.first().and_then(|port| port.get("_uuid")) {
            if !references(&row, "ports").contains(port) {
                return Err(OvsdbError::PortTaken { name: spec.name.clone() });
            }
            let named = json!([["name", "==", spec.name]]);
            let update =
                json!({"op": "update", "table": "Interface", "where": named, "row": settings});
            self.change(vec![update], &action)?;
            return self.opened(&spec.name);
        }
        let mut interface = settings;
        if let Some(columns) = interface.as_object_mut() {
            columns.insert("name".to_owned(), json!(spec.name));
        }
        let port = json!({"name": spec.name, "interfaces": ["named-uuid", "interface"]});
        let operations = vec![
            json!({"op": "insert", "table": "Interface", "uuid-name": "interface", "row": interface}),
            json!({"op": "insert", "table": "Port", "uuid-name": "port", "row": port}),
            mutate_ports(&row, "insert", &json!(["named-uuid", "port"])),
        ];
        self.change(operations, &action)?;
        let opened = self.opened(&spec.name);
        if opened.is_err() {
            // Whoever cannot be opened now must not be opened behind our back later.
            self.remove_port(bridge, &spec.name)?;
        }
        opened
    }

    /// Removes a port. There being none is no error; one at another bridge is not touched.
    pub fn remove_port(&mut self, bridge: &str, name: &str) -> Result<()> {
        let row = self.bridge(bridge)?;
        let there = self.select("Port", json!([["name", "==", name]]), &["_uuid"])?;
        let Some(port) = there.first().and_then(|port| port.get("_uuid")) else { return Ok(()) };
        if !references(&row, "ports").contains(port) {
            return Ok(());
        }
        let removal = mutate_ports(&row, "delete", port);
        self.change(vec![removal], &format!("removing port `{name}`"))
    }

    /// The ports of a bridge, by name; its own (of the same name) among them.
    pub fn ports(&mut self, bridge: &str) -> Result<Vec<PortRow>> {
        let row = self.bridge(bridge)?;
        let ours = references(&row, "ports");
        let ports = self.select("Port", json!([]), &["_uuid", "interfaces"])?;
        let interfaces: Vec<Value> = ports
            .iter()
            .filter(|port| port.get("_uuid").is_some_and(|uuid| ours.contains(uuid)))
            .flat_map(|port| references(port, "interfaces"))
            .collect();
        let rows = self.select("Interface", json!([]), COLUMNS)?;
        let mut found: Vec<PortRow> = rows
            .iter()
            .filter(|row| row.get("_uuid").is_some_and(|uuid| interfaces.contains(uuid)))
            .map(port_row)
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The number of a port that the switch has opened; why it has not.
    pub(super) fn opened(&mut self, name: &str) -> Result<u32> {
        let rows = self.select("Interface", json!([["name", "==", name]]), COLUMNS)?;
        let row = rows.first().map(port_row);
        let number = row.as_ref().and_then(|row| row.number);
        number.ok_or_else(|| OvsdbError::PortFailed {
            name: name.to_owned(),
            cause: row
                .and_then(|row| row.error)
                .unwrap_or_else(|| "it gave it no number".to_owned()),
        })
    }
}

const COLUMNS: &[&str] = &["_uuid", "name", "type", "options", "ofport", "ifindex", "error"];

fn mutate_ports(bridge: &Row, how: &str, port: &Value) -> Value {
    json!({
        "op": "mutate", "table": "Bridge", "where": same(bridge),
        "mutations": [["ports", how, ["set", [port]]]],
    })
}

fn port_row(row: &Row) -> PortRow {
    // -1 says that it could not be opened, and 0 that there is no such link.
    let number = |column| {
        let number = number_of(row.get(column)).and_then(|number| u32::try_from(number).ok());
        number.filter(|number| *number > 0)
    };
    PortRow {
        name: text_of(row.get("name")).unwrap_or_default(),
        kind: text_of(row.get("type")).unwrap_or_default(),
        options: map_of(row.get("options")),
        number: number("ofport"),
        ifindex: number("ifindex"),
        error: text_of(row.get("error")),
    }
}
