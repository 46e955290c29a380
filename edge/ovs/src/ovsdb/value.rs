//! OVSDB's way of writing maps, sets and references in JSON (RFC 7047, 5.1).

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// `["map", [[k, v], ..]]`.
pub(super) fn map(entries: &BTreeMap<String, String>) -> Value {
    let pairs: Vec<Value> = entries.iter().map(|(key, value)| json!([key, value])).collect();
    json!(["map", pairs])
}

/// What a map of texts holds; anything else holds nothing.
pub(super) fn map_of(value: Option<&Value>) -> BTreeMap<String, String> {
    let pairs = tagged(value, "map").and_then(Value::as_array);
    let pairs = pairs.map(Vec::as_slice).unwrap_or_default();
    let text = |pair: &Value, at| pair.get(at)?.as_str().map(str::to_owned);
    pairs.iter().filter_map(|pair| Some((text(pair, 0)?, text(pair, 1)?))).collect()
}

/// The members of a set; a set of one is written as its member.
pub(super) fn set_of(value: Option<&Value>) -> Vec<&Value> {
    match tagged(value, "set") {
        Some(members) => members.as_array().map(Vec::as_slice).unwrap_or_default().iter().collect(),
        None => value.into_iter().collect(),
    }
}

/// The texts of a set.
pub(super) fn texts_of(value: Option<&Value>) -> Vec<String> {
    set_of(value).into_iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

/// The one text; `None` of an empty set.
pub(super) fn text_of(value: Option<&Value>) -> Option<String> {
    texts_of(value).into_iter().next()
}

/// The one number; `None` of an empty set.
pub(super) fn number_of(value: Option<&Value>) -> Option<i64> {
    set_of(value).first()?.as_i64()
}

/// The references of a set, each as it is written.
pub(super) fn references_of(value: Option<&Value>) -> Vec<Value> {
    // A single reference looks like a tagged value itself.
    match tagged(value, "uuid") {
        Some(_) => value.cloned().into_iter().collect(),
        None => set_of(value).into_iter().cloned().collect(),
    }
}

fn tagged<'a>(value: Option<&'a Value>, tag: &str) -> Option<&'a Value> {
    let value = value?;
    (value.get(0)? == tag).then(|| value.get(1))?
}
