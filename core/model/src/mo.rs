//! One managed object.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{ClassDef, Dn};

/// One managed object: a class, a name, and the properties that differ from the class's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mo {
    class: &'static ClassDef,
    dn: Dn,
    props: BTreeMap<&'static str, Arc<str>>,
}

/// Properties that say when and by whom, and so never make a difference of their own.
const STAMPS: [&str; 4] = ["created", "lastTransition", "modTs", "uid"];

impl Mo {
    /// An object with every property at its default. Naming properties are for the caller to set.
    pub fn new(class: &'static ClassDef, dn: Dn) -> Mo {
        Mo { class, dn, props: BTreeMap::new() }
    }

    /// Its class.
    pub fn class(&self) -> &'static ClassDef {
        self.class
    }

    /// Its name.
    pub fn dn(&self) -> &Dn {
        &self.dn
    }

    /// The value of a property: what was set, else the class's default, else the empty string for
    /// a property the class does not have.
    pub fn get(&self, prop: &str) -> &str {
        match self.props.get(prop) {
            Some(value) => value,
            None => self.class.prop(prop).map_or("", |p| p.default),
        }
    }

    /// The number a property stands for: 443 for `https`. `None` for `unspecified`, and for a
    /// property that is no number.
    pub fn number(&self, prop: &str) -> Option<u64> {
        self.class.prop(prop)?.kind.number(self.get(prop))
    }

    /// Whether a property says `yes`.
    pub fn is(&self, prop: &str) -> bool {
        self.get(prop) == "yes"
    }

    /// Sets a property, normalised by the caller; false if the class has no such property. A value
    /// equal to the default is not kept.
    pub fn set(&mut self, prop: &str, value: &str) -> bool {
        let Some(def) = self.class.prop(prop) else { return false };
        if value == def.default {
            self.props.remove(def.name);
        } else if self.props.get(def.name).is_none_or(|old| **old != *value) {
            self.props.insert(def.name, Arc::from(value));
        }
        true
    }

    /// Sets a property to a text that many objects share.
    pub fn set_shared(&mut self, prop: &str, value: &Arc<str>) {
        if let Some(def) = self.class.prop(prop) {
            self.props.insert(def.name, Arc::clone(value));
        }
    }

    /// The properties that were set to something else than their default.
    pub fn set_props(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.props.iter().map(|(name, value)| (*name, &**value))
    }

    /// Every property with its value, by name.
    pub fn props(&self) -> impl Iterator<Item = (&'static crate::PropDef, &str)> {
        let defs: &'static [crate::PropDef] = self.class.props;
        defs.iter().map(|def| (def, self.get(def.name)))
    }

    /// Whether `other` says the same, whenever and by whomever it was written.
    pub fn says_the_same_as(&self, other: &Mo) -> bool {
        let lasting = |mo: &'_ Mo| -> Vec<(&'static str, Arc<str>)> {
            let kept = mo.props.iter().filter(|(name, _)| !STAMPS.contains(name));
            kept.map(|(name, value)| (*name, Arc::clone(value))).collect()
        };
        self.class == other.class && self.dn == other.dn && lasting(self) == lasting(other)
    }
}
