//! Nodes against shapes: what comes out is a posted tree, or all that is wrong.

use std::collections::BTreeMap;

use super::node::{Key as WrittenKey, Kind, Node};
use super::shapes::{Becomes, FILE, Key, Shape};
use super::{Diagnostic, Manifest, Span};
use crate::suggest::nearest;
use crate::{ClassDef, Post, PropDef, class};

/// Builds the posted tree of a file.
pub fn build(root: &Node) -> Result<Manifest, Vec<Diagnostic>> {
    let mut builder = Builder::default();
    let mut block = Block::new(Post::default(), root.span);
    builder.keys(&FILE, root, "uni", &mut block);
    if builder.wrong.is_empty() {
        return Ok(Manifest { posts: block.post.children, places: builder.places });
    }
    builder.wrong.sort();
    Err(builder.wrong)
}

#[derive(Default)]
struct Builder {
    wrong: Vec<Diagnostic>,
    places: BTreeMap<String, Span>,
}

/// A block while its keys are read.
struct Block {
    post: Post,
    /// Where each attribute was written.
    written: BTreeMap<&'static str, Span>,
    /// Words of sets, and whether they are in.
    flags: BTreeMap<(&'static str, &'static str), bool>,
    /// Parts of composed attributes, by key.
    parts: BTreeMap<&'static str, String>,
    span: Span,
}

impl Block {
    fn new(post: Post, span: Span) -> Block {
        let (written, flags, parts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Block { post, written, flags, parts, span }
    }
}

/// What a child needs to know of the block around it.
struct Children<'s> {
    shape: &'s Shape,
    parent_dn: &'s str,
    class: &'static ClassDef,
}

impl Builder {
    fn refuse(&mut self, span: Span, message: String, hint: Option<String>) {
        self.wrong.push(Diagnostic { span, message, hint });
    }

    /// Reads the keys of `node` into `block`; `dn` is that of the object they belong to.
    fn keys(&mut self, shape: &Shape, node: &Node, dn: &str, block: &mut Block) {
        let entries = match &node.kind {
            Kind::Map(entries) => entries.as_slice(),
            Kind::Null => &[],
            _ => {
                let message =
                    format!("{} is keys with values, this is {}", shape.what, node.what());
                return self.refuse(node.span, message, Some(example(shape)));
            }
        };
        self.check_keys(shape, node, entries);
        for (written, value) in entries {
            if let Some(key) = shape.keys.iter().find(|key| key.name == written.text) {
                self.value(key, value, dn, block);
            }
        }
    }

    /// Unknown keys, keys that stand twice, and keys that are missing.
    fn check_keys(&mut self, shape: &Shape, node: &Node, entries: &[(WrittenKey, Node)]) {
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        for (key, _) in entries {
            if !shape.keys.iter().any(|known| known.name == key.text) {
                let message = format!("{} has no key `{}`", shape.what, key.text);
                self.refuse(key.span, message, Some(closest(shape, &key.text)));
            } else if let Some(first) = seen.insert(&key.text, key.span) {
                let message = format!("key `{}` stands here twice", key.text);
                let hint = format!("the first one is in line {}", first.line);
                self.refuse(key.span, message, Some(hint));
            }
        }
        for key in shape.keys.iter().filter(|k| k.required && !seen.contains_key(k.name)) {
            let message = format!("{} needs the key `{}`", shape.what, key.name);
            self.refuse(node.span, message, None);
        }
    }

    fn value(&mut self, key: &Key, value: &Node, dn: &str, block: &mut Block) {
        match &key.becomes {
            Becomes::Attribute(attribute) => {
                let Some(text) = self.scalar(key.name, value) else { return };
                self.attribute(block, attribute, &text, value.span);
            }
            Becomes::Switch { attribute, yes, no } => {
                let Some(on) = self.switch(key.name, value) else { return };
                self.attribute(block, attribute, if on { yes } else { no }, value.span);
            }
            Becomes::Flag { attribute, word, .. } => {
                let Some(on) = self.switch(key.name, value) else { return };
                block.flags.insert((attribute, word), on);
            }
            Becomes::Part(check) => {
                let Some(text) = self.scalar(key.name, value) else { return };
                match check(&text) {
                    Ok(()) => drop(block.parts.insert(key.name, text)),
                    Err(expected) => {
                        let message = format!("`{}` is {expected}, not `{text}`", key.name);
                        self.refuse(value.span, message, None);
                    }
                }
            }
            Becomes::RelationTo { class, attribute, before } => {
                let Some(name) = self.scalar(key.name, value) else { return };
                let target = format!("{before}{name}");
                self.relation(block, class, attribute, &target, (value.span, dn));
            }
            Becomes::Relation { class, attribute } => {
                let Some(name) = self.scalar(key.name, value) else { return };
                self.relation(block, class, attribute, &name, (value.span, dn));
            }
            Becomes::Relations { class, attribute } => {
                for item in self.list(key.name, value) {
                    let Some(name) = self.scalar(key.name, item) else { continue };
                    self.relation(block, class, attribute, &name, (item.span, dn));
                }
            }
            Becomes::Keys(shape) => self.keys(shape, value, dn, block),
            Becomes::Block(shape) => {
                let Some(class) = shape.class.and_then(class) else { return };
                self.block(&Children { shape, parent_dn: dn, class }, value, block);
            }
            Becomes::Blocks(shape) => {
                let Some(class) = shape.class.and_then(class) else { return };
                let children = Children { shape, parent_dn: dn, class };
                for item in self.list(key.name, value) {
                    self.block(&children, item, block);
                }
            }
        }
    }

    /// One block of a list: an object of its own.
    fn block(&mut self, children: &Children<'_>, node: &Node, around: &mut Block) {
        let shape = children.shape;
        let mut block = Block::new(Post::new(children.class.name), node.span);
        let rn = rn_of(children, node);
        let dn = rn.as_ref().map(|rn| format!("{}/{rn}", children.parent_dn));
        self.keys(shape, node, dn.as_deref().unwrap_or(children.parent_dn), &mut block);
        self.compose(shape, &mut block);
        for (attribute, value) in defaults(shape, &block.post) {
            block.post.attributes.push((attribute.to_owned(), value.to_owned()));
        }
        close_ranges(children.class, &mut block.post);
        self.check_ranges(&block);
        if let Some(dn) = dn {
            self.remember(shape.what, dn, name_span(node));
        }
        around.post.children.push(block.post);
    }

    /// Writes the attributes that several keys make together.
    fn compose(&mut self, shape: &Shape, block: &mut Block) {
        let mut sets: BTreeMap<&'static str, Vec<&'static str>> = BTreeMap::new();
        for key in shape.keys {
            if let Becomes::Flag { attribute, word, default } = key.becomes {
                let set = sets.entry(attribute).or_default();
                if *block.flags.get(&(attribute, word)).unwrap_or(&default) {
                    set.push(word);
                }
            }
        }
        for (attribute, words) in sets {
            self.attribute(block, attribute, &words.join(","), block.span);
        }
        for (attribute, template) in shape.composed {
            if let Some(text) = filled(template, |key| block.parts.get(key).map(String::as_str)) {
                self.attribute(block, attribute, &text, block.span);
            }
        }
    }

    /// Notes where an object was written; the same one twice is an error.
    fn remember(&mut self, what: &str, dn: String, span: Span) {
        if let Some(first) = self.places.get(&dn) {
            let message = format!("{what} `{dn}` is here twice");
            let hint = format!("the first one is in line {}; merge them or rename one", first.line);
            return self.refuse(span, message, Some(hint));
        }
        self.places.insert(dn, span);
    }

    fn attribute(&mut self, block: &mut Block, attribute: &str, text: &str, span: Span) {
        let Some(prop) = class(&block.post.class).and_then(|c| c.prop(attribute)) else { return };
        match prop.normalise(text) {
            Ok(value) => {
                block.written.insert(prop.name, span);
                block.post.attributes.push((prop.name.to_owned(), value.into_owned()));
            }
            Err(error) => self.refuse(span, error.to_string(), did_you_mean(prop, text)),
        }
    }

    fn relation(
        &mut self,
        block: &mut Block,
        class_name: &'static str,
        attribute: &'static str,
        name: &str,
        (span, dn): (Span, &str),
    ) {
        let mut child = Block::new(Post::new(class_name), span);
        self.attribute(&mut child, attribute, name, span);
        let rn = class(class_name).and_then(|c| c.format_rn(|prop| child.post.get(prop)));
        if let Some(rn) = rn {
            self.remember("the reference", format!("{dn}/{rn}"), span);
        }
        block.post.children.push(child.post);
    }

    /// Ranges that stand upside down.
    fn check_ranges(&mut self, block: &Block) {
        let Some(class) = class(&block.post.class) else { return };
        for (first, last) in class.ranges {
            let number = |name: &str| -> Option<u64> {
                class.prop(name)?.kind.number(block.post.get(name)?)
            };
            let (Some(low), Some(high)) = (number(first), number(last)) else { continue };
            if low > high {
                let span = block.written.get(last).copied().unwrap_or(block.span);
                let message = format!("the port range {low} to {high} is upside down");
                self.refuse(span, message, Some(format!("did you mean {high} to {low}?")));
            }
        }
    }

    fn switch(&mut self, key: &str, node: &Node) -> Option<bool> {
        let text = self.scalar(key, node)?;
        match text.as_str() {
            "true" | "yes" => Some(true),
            "false" | "no" => Some(false),
            _ => {
                let message = format!("`{key}` is `true` or `false`, not `{text}`");
                self.refuse(node.span, message, None);
                None
            }
        }
    }

    fn scalar(&mut self, key: &str, node: &Node) -> Option<String> {
        match &node.kind {
            Kind::Scalar(text) => Some(text.clone()),
            _ => {
                let message = format!("`{key}` is a single value, this is {}", node.what());
                self.refuse(node.span, message, None);
                None
            }
        }
    }

    fn list<'n>(&mut self, key: &str, node: &'n Node) -> &'n [Node] {
        match &node.kind {
            Kind::List(items) => items,
            Kind::Null => &[],
            _ => {
                let message = format!("`{key}` is a list, this is {}", node.what());
                self.refuse(
                    node.span,
                    message,
                    Some("put `- ` before each of its items".to_owned()),
                );
                &[]
            }
        }
    }
}

/// The relative name a block's naming keys give it, whatever else is wrong with the block.
fn rn_of(children: &Children<'_>, node: &Node) -> Option<String> {
    let Kind::Map(entries) = &node.kind else { return None };
    let written = |key: &str| match entries.iter().find(|(k, _)| k.text == key).map(|e| &e.1.kind) {
        Some(Kind::Scalar(text)) => Some(text.as_str()),
        _ => None,
    };
    let mut named: BTreeMap<&str, String> = BTreeMap::new();
    for key in children.shape.keys {
        let Becomes::Attribute(attribute) = key.becomes else { continue };
        if let (Some(text), Some(prop)) = (written(key.name), children.class.prop(attribute)) {
            named.insert(attribute, prop.normalise(text).ok()?.into_owned());
        }
    }
    for (attribute, template) in children.shape.composed {
        named.insert(attribute, filled(template, written)?);
    }
    children.class.format_rn(|prop| named.get(prop).map(String::as_str))
}

/// `template` with what `part` gives in the place of each `{key}`; `None` if a part is missing.
fn filled<'p>(template: &str, part: impl Fn(&str) -> Option<&'p str>) -> Option<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (key, behind) = after.split_once('}')?;
        text.push_str(before);
        text.push_str(part(key)?);
        rest = behind;
    }
    text.push_str(rest);
    Some(text)
}

/// Where a block names itself: its first key's value.
fn name_span(node: &Node) -> Span {
    match &node.kind {
        Kind::Map(entries) => entries.first().map_or(node.span, |(_, value)| value.span),
        _ => node.span,
    }
}

/// The format's defaults that no key of this block overrode. A protocol means nothing to anything
/// but IP, so it has no default there.
fn defaults(shape: &Shape, post: &Post) -> Vec<(&'static str, &'static str)> {
    let is_ip = matches!(post.get("etherT"), None | Some("ip" | "ipv4" | "ipv6"));
    shape
        .defaults
        .iter()
        .copied()
        .filter(|(attribute, _)| post.get(attribute).is_none())
        .filter(|(attribute, _)| *attribute != "prot" || is_ip)
        .collect()
}

/// A range with its first value only is that one value, as the data model has it. Said in full, so
/// that it also narrows a range that stands in the tree already.
fn close_ranges(class: &ClassDef, post: &mut Post) {
    for (first, last) in class.ranges {
        if let (Some(value), None) = (post.get(first), post.get(last)) {
            let value = value.to_owned();
            post.attributes.push(((*last).to_owned(), value));
        }
    }
}

fn example(shape: &Shape) -> String {
    let keys: Vec<&str> = shape.keys.iter().map(|key| key.name).collect();
    format!("its keys are {}", keys.join(", "))
}

/// A hint for a key that does not exist.
fn closest(shape: &Shape, written: &str) -> String {
    let names = shape.keys.iter().map(|key| key.name);
    match nearest(written, names) {
        Some(name) => format!("did you mean `{name}`?"),
        None => example(shape),
    }
}

/// A hint for a word that is none of the allowed ones.
fn did_you_mean(prop: &PropDef, written: &str) -> Option<String> {
    let name = nearest(written, prop.known_words().into_iter())?;
    Some(format!("did you mean `{name}`?"))
}
