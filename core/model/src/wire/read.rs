//! Reading a posted JSON body, with bounds on its depth and size.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use crate::{MAX_DEPTH, MAX_OBJECTS, Post};

/// What is wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It ends too early.
    Truncated,
    /// It is no JSON, or no XML.
    Syntax,
    /// It is of another shape than objects have.
    Shape,
}

/// A body that is no object. Its text is what APIC says, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct BodyError {
    /// What it was read as: `JSON` or `XML`.
    pub form: &'static str,
    /// What kind of thing is wrong.
    pub flaw: Flaw,
    /// What is wrong, in words.
    pub problem: String,
    /// The line at which it was noticed, from 1.
    pub line: usize,
    /// The column at which it was noticed, from 1.
    pub column: usize,
}

impl BodyError {
    /// APIC's error code.
    pub const CODE: u16 = 400;

    fn text(&self) -> String {
        let BodyError { form, problem, line, column, .. } = self;
        match self.flaw {
            Flaw::Shape => format!("invalid data at line '{line}'. {problem}"),
            Flaw::Truncated | Flaw::Syntax => {
                format!("{form} parsing failed - {problem} at line: {line}, column: {column}")
            }
        }
    }
}

const NO_ATTRIBUTES: &str =
    "Attributes are missing, tag 'attributes' must be specified first, before any other tag";

/// The tree in a JSON body.
pub fn parse(body: &[u8]) -> Result<Post, BodyError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let objects = Cell::new(0);
    let read = ObjectSeed { objects: &objects, depth: 0 }.deserialize(&mut json);
    read.and_then(|post| json.end().map(|()| post)).map_err(|error| flawed(&error))
}

fn flawed(error: &serde_json::Error) -> BodyError {
    use serde_json::error::Category;
    let (line, column) = (error.line().max(1), error.column());
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let problem = text.strip_suffix(&place).unwrap_or(&text).to_owned();
    let flaw = match error.classify() {
        Category::Eof => Flaw::Truncated,
        Category::Data => Flaw::Shape,
        Category::Syntax | Category::Io => Flaw::Syntax,
    };
    BodyError { form: "JSON", flaw, problem, line, column }
}

/// `{CLASS: {..}}`
#[derive(Clone, Copy)]
struct ObjectSeed<'c> {
    objects: &'c Cell<usize>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_> {
    type Value = Post;
    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Post, D::Error> {
        if self.depth > MAX_DEPTH {
            return Err(D::Error::custom(format!("More than {MAX_DEPTH} levels of children")));
        }
        self.objects.set(self.objects.get() + 1);
        if self.objects.get() > MAX_OBJECTS {
            return Err(D::Error::custom(format!("More than {MAX_OBJECTS} objects")));
        }
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_> {
    type Value = Post;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object such as {\"fvTenant\": {\"attributes\": {..}}}")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Post, A::Error> {
        let class: Option<String> = map.next_key()?;
        let class = class.ok_or_else(|| A::Error::custom("An object without a class"))?;
        let mut post = map.next_value_seed(ContentSeed(self))?;
        if let Some(second) = map.next_key::<String>()? {
            let text = format!("Two classes in one object: '{class}' and '{second}'");
            return Err(A::Error::custom(text));
        }
        post.class = class;
        Ok(post)
    }
}

/// `{"attributes": {..}, "children": [..]}`
struct ContentSeed<'c>(ObjectSeed<'c>);

impl<'de> DeserializeSeed<'de> for ContentSeed<'_> {
    type Value = Post;
    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Post, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ContentSeed<'_> {
    type Value = Post;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object with `attributes` and perhaps `children`")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Post, A::Error> {
        let (mut attributes, mut children) = (None, None);
        while let Some(tag) = map.next_key::<String>()? {
            let again = match tag.as_str() {
                "attributes" => attributes.replace(map.next_value_seed(AttributesSeed)?).is_some(),
                "children" => {
                    let mut list = Vec::new();
                    let below = ObjectSeed { depth: self.0.depth + 1, ..self.0 };
                    map.next_value_seed(ChildrenSeed { list: &mut list, below })?;
                    children.replace(list).is_some()
                }
                _ => return Err(A::Error::custom(format!("Unknown tag '{tag}'"))),
            };
            if again {
                return Err(A::Error::custom(format!("Tag '{tag}' is given twice")));
            }
        }
        let attributes = attributes.ok_or_else(|| A::Error::custom(NO_ATTRIBUTES))?;
        Ok(Post { class: String::new(), attributes, children: children.unwrap_or_default() })
    }
}

/// `{"name": "acme", ..}`: names and texts, nothing else.
struct AttributesSeed;

impl<'de> DeserializeSeed<'de> for AttributesSeed {
    type Value = Vec<(String, String)>;
    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AttributesSeed {
    type Value = Vec<(String, String)>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("attributes such as {\"name\": \"acme\"}")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut attributes, mut names) = (Vec::new(), BTreeSet::new());
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(TextSeed(&name))?;
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("Attribute '{name}' is given twice")));
            }
            attributes.push((name, value));
        }
        Ok(attributes)
    }
}

/// A text; numbers and the rest are refused, as APIC refuses them.
struct TextSeed<'n>(&'n str);

impl TextSeed<'_> {
    fn refuse<E: serde::de::Error, T>(&self) -> Result<T, E> {
        Err(E::custom(format!("The value of attribute '{}' must be a text in quotes", self.0)))
    }
}

impl<'de> DeserializeSeed<'de> for TextSeed<'_> {
    type Value = String;
    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<String, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextSeed<'_> {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a text in quotes")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<String, E> {
        Ok(text)
    }
    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<String, E> {
        self.refuse()
    }
    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<String, E> {
        self.refuse()
    }
    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<String, E> {
        self.refuse()
    }
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<String, E> {
        self.refuse()
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<String, E> {
        self.refuse()
    }
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        self.refuse()
    }
    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        self.refuse()
    }
}

/// `[{..}, {..}]`, or lists of such lists, which some clients write.
struct ChildrenSeed<'l, 'c> {
    list: &'l mut Vec<Post>,
    below: ObjectSeed<'c>,
}

impl<'de> DeserializeSeed<'de> for ChildrenSeed<'_, '_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ChildrenSeed<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of objects")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let ChildrenSeed { list, below } = self;
        while seq.next_element_seed(ItemSeed { list, below, nested: 0 })?.is_some() {}
        Ok(())
    }
}

/// One child, or a list of children.
struct ItemSeed<'l, 'c> {
    list: &'l mut Vec<Post>,
    below: ObjectSeed<'c>,
    nested: usize,
}

impl<'de> DeserializeSeed<'de> for ItemSeed<'_, '_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ItemSeed<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let json = serde::de::value::MapAccessDeserializer::new(map);
        self.list.push(self.below.deserialize(json)?);
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let ItemSeed { list, below, nested } = self;
        if nested >= MAX_DEPTH {
            return Err(A::Error::custom(format!("More than {MAX_DEPTH} levels of lists")));
        }
        while seq.next_element_seed(ItemSeed { list, below, nested: nested + 1 })?.is_some() {}
        Ok(())
    }
}
