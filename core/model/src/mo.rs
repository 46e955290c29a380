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

    /// Sets a property, normalised by the caller; false if the class has no such property. A value
    /// equal to the default is not kept.
    pub fn set(&mut self, prop: &str, value: &str) -> bool {
        let Some(def) = self.class.prop(prop) else { return false };
        if value == def.default {
            self.props.remove(def.name);
        } else {
            self.props.insert(def.name, Arc::from(value));
        }
        true
    }

    /// The properties that were set to something else than their default.
    pub fn set_props(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.props.iter().map(|(name, value)| (*name, &**value))
    }
}
