//! Managed objects as they travel: flat lists in which a parent comes before its children.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};

use crate::Uri;

/// A class and a URI: what a relation points at, and what a `delete` or a resolve names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Class of the object.
    pub subject: Arc<str>,
    /// Its URI.
    pub uri: Uri,
}

impl Reference {
    /// Names the object of class `subject` at `uri`.
    pub fn new(subject: impl Into<Arc<str>>, uri: Uri) -> Reference {
        Reference { subject: subject.into(), uri }
    }
}

/// The value of a property. Enumerations are their name, booleans 0 or 1, bit masks numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// String, enumeration, MAC or URI.
    Text(Arc<str>),
    /// Unsigned number.
    Number(u64),
    /// Negative number.
    Negative(i64),
    /// A relation to another object: the peer resolves what it points at.
    Reference(Reference),
    /// Several values of one type.
    List(Vec<Value>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Number(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Number(flag.into())
    }
}

/// Where an object hangs in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Class of the parent.
    pub subject: Arc<str>,
    /// URI of the parent.
    pub uri: Uri,
    /// The containment relation, in practice the class of the child.
    pub relation: Arc<str>,
}

/// A managed object, as recorded on the wire.
///
/// Objects do not merge: one that arrives replaces all properties of the one that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its class.
    pub subject: Arc<str>,
    /// Its name.
    pub uri: Uri,
    /// Names and values, in the order of the wire, which means nothing.
    pub properties: Vec<(Arc<str>, Value)>,
    /// URIs of its children, in the order of the wire, which means nothing.
    pub children: Vec<Uri>,
    /// Its parent; absent only for the root.
    pub parent: Option<Parent>,
}

impl Object {
    /// An object without properties, children or parent.
    pub fn new(subject: &str, uri: Uri) -> Object {
        Object {
            subject: subject.into(),
            uri,
            properties: Vec::new(),
            children: Vec::new(),
            parent: None,
        }
    }

    /// The same with one more property.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Object {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// The same, hung below `parent`, an object of class `subject`.
    #[must_use]
    pub fn below(mut self, subject: &str, parent: Uri) -> Object {
        let relation = self.subject.clone();
        self.parent = Some(Parent { subject: subject.into(), uri: parent, relation });
        self
    }

    /// What names this object.
    pub fn reference(&self) -> Reference {
        Reference { subject: self.subject.clone(), uri: self.uri.clone() }
    }

    /// The value of the property `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.properties.iter().find(|(n, _)| &**n == name).map(|(_, value)| value)
    }

    /// The value of `name`, if it is text.
    pub fn text(&self, name: &str) -> Option<&Arc<str>> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The value of `name`, if it is an unsigned number.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// The value of `name`, if it is one reference.
    pub fn target(&self, name: &str) -> Option<&Reference> {
        match self.get(name) {
            Some(Value::Reference(reference)) => Some(reference),
            _ => None,
        }
    }

    /// Everything this object points at.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.properties.iter().flat_map(|(_, value)| {
            let list: &[Value] = match value {
                Value::List(list) => list,
                one => std::slice::from_ref(one),
            };
            list.iter().filter_map(|value| match value {
                Value::Reference(reference) => Some(reference),
                _ => None,
            })
        })
    }

    /// Whether both have the same class, properties and parent; order and children do not count.
    pub fn says_the_same(&self, other: &Object) -> bool {
        let by_name = |object: &Object| -> BTreeMap<Arc<str>, Value> {
            object.properties.iter().cloned().collect()
        };
        self.subject == other.subject
            && self.parent == other.parent
            && (self.properties == other.properties || by_name(self) == by_name(other))
    }
}

/// An object with everything below it; made into a list in the order the wire demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subtree {
    /// The object at the top.
    pub object: Object,
    /// What hangs below it.
    pub children: Vec<Subtree>,
}

impl Subtree {
    /// `object` without children.
    pub fn leaf(object: Object) -> Subtree {
        Subtree { object, children: Vec::new() }
    }

    /// The objects, every parent before its children, with `children` and `parent_*` filled in.
    /// The parent of the top stays as it is.
    pub fn flatten(self) -> Vec<Object> {
        let mut list = Vec::new();
        // A stack of our own: the depth of a tree is not ours to bound.
        let mut stack = vec![self];
        while let Some(Subtree { mut object, children }) = stack.pop() {
            object.children = children.iter().map(|c| c.object.uri.clone()).collect();
            for mut child in children.into_iter().rev() {
                child.object = child.object.below(&object.subject, object.uri.clone());
                stack.push(child);
            }
            list.push(object);
        }
        list
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Text(text) => serializer.serialize_str(text),
            Value::Number(number) => serializer.serialize_u64(*number),
            Value::Negative(number) => serializer.serialize_i64(*number),
            Value::Reference(reference) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("subject", &reference.subject)?;
                map.serialize_entry("reference_uri", &reference.uri)?;
                map.end()
            }
            Value::List(list) => serializer.collect_seq(list),
        }
    }
}

struct Properties<'a>(&'a [(Arc<str>, Value)]);

struct Property<'a>(&'a str, &'a Value);

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for (name, value) in self.0 {
            seq.serialize_element(&Property(name, value))?;
        }
        seq.end()
    }
}

impl Serialize for Property<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("name", self.0)?;
        map.serialize_entry("data", self.1)?;
        map.end()
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("subject", &self.subject)?;
        map.serialize_entry("uri", &self.uri)?;
        map.serialize_entry("properties", &Properties(&self.properties))?;
        map.serialize_entry("children", &self.children)?;
        if let Some(parent) = &self.parent {
            map.serialize_entry("parent_subject", &parent.subject)?;
            map.serialize_entry("parent_uri", &parent.uri)?;
            map.serialize_entry("parent_relation", &parent.relation)?;
        }
        map.end()
    }
}
