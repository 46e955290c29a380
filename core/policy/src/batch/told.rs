//! Endpoints as they are told, in the forms people write them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use selvage_model::{Dn, nearest};
use selvage_rules::Mac;
use serde::Deserialize;
use serde_json::Value;

use super::BatchError;

/// What the fields of an endpoint are called.
const FIELDS: [&str; 8] = ["attributes", "epg", "external", "ip", "l3out", "mac", "name", "vrf"];

/// Attributes that hold further ones, by key.
const NESTED: [&str; 5] = ["tags", "tag", "labels", "label", "attributes"];

/// An endpoint, as it is told: attached to an EPG, or an address outside.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Told {
    /// What flows call it.
    pub name: String,
    /// The EPG it is attached to: its DN, or `TENANT/APP/EPG`.
    #[serde(default)]
    pub epg: Option<String>,
    /// Its address, where it is outside; or `true`, and `ip` says which; or the DN of its external
    /// EPG.
    #[serde(default)]
    pub external: Option<External>,
    /// Its addresses.
    #[serde(default)]
    pub ip: OneOrMany<String>,
    /// Its MAC.
    #[serde(default)]
    pub mac: Option<String>,
    /// The VRF, of one outside: its DN, or `TENANT/VRF`.
    #[serde(default)]
    pub vrf: Option<String>,
    /// The L3Out it is behind, of one outside: its DN, or `TENANT/L3OUT`.
    #[serde(default)]
    pub l3out: Option<String>,
    /// What membership by attribute looks at.
    #[serde(default)]
    pub attributes: BTreeMap<String, Value>,
    /// Whatever else is said of it. It counts for nothing, unless it looks like a field misspelt.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// One value, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// Any number.
    Many(Vec<T>),
    /// One.
    One(T),
    /// None: `null`.
    None(()),
}

/// How an endpoint says that it is outside.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum External {
    /// Whether it is.
    Said(bool),
    /// Its address, or the DN of its external EPG.
    Address(String),
}

impl<T> Default for OneOrMany<T> {
    fn default() -> OneOrMany<T> {
        OneOrMany::Many(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            OneOrMany::One(value) => std::slice::from_ref(value),
            OneOrMany::Many(values) => values,
            OneOrMany::None(()) => &[],
        }
    }
}

/// Where an endpoint says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Where {
    /// In a group.
    Inside(Dn),
    /// Outside a VRF, or outside the VRF of an L3Out.
    Outside { vrf: Option<Dn>, l3out: Option<Dn>, ip: IpAddr },
}

/// An endpoint, once it was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    pub place: Where,
    pub ips: Vec<IpAddr>,
    pub mac: Option<Mac>,
    pub attributes: Vec<(String, String)>,
}

impl Told {
    /// An endpoint in a group.
    pub fn inside(name: &str, group: &Dn) -> Told {
        Told {
            name: name.to_owned(),
            epg: Some(group.to_string()),
            external: None,
            ip: OneOrMany::default(),
            mac: None,
            vrf: None,
            l3out: None,
            attributes: BTreeMap::new(),
            rest: BTreeMap::new(),
        }
    }

    pub(super) fn read(&self) -> Result<Read, BatchError> {
        unknown_fields(&self.rest, &FIELDS)?;
        let mut ips = Vec::new();
        for text in self.ip.as_slice().iter().filter(|text| !text.trim().is_empty()) {
            ips.push(address(text).ok_or_else(|| no_such("IP address", text))?);
        }
        let mac = self.mac.as_ref().filter(|text| !text.is_empty());
        let mac = mac.map(|text| mac_of(text).ok_or_else(|| no_such("MAC address", text)));
        let place = self.place(&mut ips)?;
        let mut attributes = Vec::new();
        flatten("", &self.attributes, &mut attributes)?;
        Ok(Read { place, ips, mac: mac.transpose()?, attributes })
    }

    /// Where it is; an address by which it says that it is outside joins the others.
    fn place(&self, ips: &mut Vec<IpAddr>) -> Result<Where, BatchError> {
        let dn = |text: &Option<String>, prefixes: &[&str]| {
            let text = text.as_ref().filter(|text| !text.is_empty());
            text.map(|text| dn_of(text, prefixes).ok_or_else(|| no_such("DN", text))).transpose()
        };
        let epg = dn(&self.epg, &["tn-", "ap-", "epg-"])?;
        let (vrf, l3out) = (dn(&self.vrf, &["tn-", "ctx-"])?, dn(&self.l3out, &["tn-", "out-"])?);
        let is_external = |dn: &Dn| dn.rn().starts_with("instP-");
        let mut external = epg.clone().filter(is_external);
        let mut is_outside = epg.is_none() && (vrf.is_some() || l3out.is_some());
        match &self.external {
            None => {}
            Some(External::Said(said)) => is_outside = *said,
            Some(External::Address(text)) => {
                is_outside = true;
                match address(text) {
                    Some(ip) => ips.insert(0, ip),
                    None => external = dn(&Some(text.clone()), &["tn-", "out-", "instP-"])?,
                }
                ips.dedup();
            }
        }
        is_outside |= external.is_some();
        let inside = epg.filter(|dn| !is_external(dn));
        match (inside, is_outside, ips.first()) {
            (Some(epg), false, _) => Ok(Where::Inside(epg)),
            (None, true, Some(ip)) => {
                let l3out = l3out.or_else(|| external?.parent());
                Ok(Where::Outside { vrf, l3out, ip: *ip })
            }
            // Somewhere in that group.
            (None, true, None) => external
                .map(Where::Inside)
                .ok_or_else(|| BatchError::Nowhere { name: self.name.clone() }),
            _ => Err(BatchError::Nowhere { name: self.name.clone() }),
        }
    }
}

/// Refuses a field that is unknown and looks like one that is known; others count for nothing.
pub(super) fn unknown_fields(
    rest: &BTreeMap<String, Value>,
    known: &[&str],
) -> Result<(), BatchError> {
    for field in rest.keys().filter(|field| !known.contains(&field.as_str())) {
        if let Some(meant) = nearest(field, known.iter().copied()) {
            return Err(BatchError::Misspelt { field: field.clone(), meant: meant.to_owned() });
        }
    }
    Ok(())
}

/// An address, with or without the length of its prefix.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.trim().split('/').next()?.parse().ok()
}

/// A MAC as `02:00:00:00:00:01`, `02-00-00-00-00-01` or `0200.0000.0001`.
fn mac_of(text: &str) -> Option<Mac> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    let mut bytes = [0; 6];
    if digits.len() != 12 {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(Mac(bytes))
}

/// A DN, or the names in one with `/` between them.
fn dn_of(text: &str, prefixes: &[&str]) -> Option<Dn> {
    let text = text.trim();
    if text == "uni" || text.starts_with("uni/") {
        return text.parse().ok();
    }
    let names: Vec<&str> = text.split('/').collect();
    if names.len() != prefixes.len() || names.iter().any(|name| name.is_empty()) {
        return None;
    }
    let rns = prefixes.iter().zip(names).map(|(prefix, name)| format!("/{prefix}{name}"));
    format!("uni{}", rns.collect::<String>()).parse().ok()
}

/// Attributes as keys and texts; those within `tags` or `labels` by the keys there.
fn flatten(
    under: &str,
    attributes: &BTreeMap<String, Value>,
    all: &mut Vec<(String, String)>,
) -> Result<(), BatchError> {
    for (key, value) in attributes {
        let key = if under.is_empty() { key.clone() } else { format!("{under}:{key}") };
        match value {
            Value::Object(inner) => {
                let inner = inner.iter().map(|(key, value)| (key.clone(), value.clone()));
                flatten(
                    if NESTED.contains(&key.as_str()) { "" } else { &key },
                    &inner.collect(),
                    all,
                )?;
            }
            Value::Array(values) => {
                for value in values {
                    all.push((key.clone(), text_of(&key, value)?));
                }
            }
            value => all.push((key.clone(), text_of(&key, value)?)),
        }
    }
    Ok(())
}

fn text_of(key: &str, value: &Value) -> Result<String, BatchError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(said) => Ok(said.to_string()),
        _ => Err(no_such("value of an attribute", key)),
    }
}

pub(super) fn no_such(what: &'static str, text: &str) -> BatchError {
    BatchError::NoSuch { what, text: text.to_owned() }
}
