//! Nodes against shapes: what comes out is a posted tree, or all that is wrong.

use std::collections::{BTreeMap, BTreeSet};

use super::node::{Key as WrittenKey, Kind, Node};
use super::shapes::{Becomes, FILE, Shape};
use super::{Diagnostic, Manifest, Span};
use crate::suggest::nearest;
use crate::{ClassDef, Dn, Post, PropDef, class};

/// Builds the posted tree of a file.
pub fn build(root: &Node) -> Result<Manifest, Vec<Diagnostic>> {
    let mut builder = Builder::default();
    let mut block = Block::new(Post::default(), root.span);
    builder.keys(&FILE, root, "uni", &mut block);
    if builder.wrong.is_empty() && matches!(&root.kind, Kind::Null) {
        let message = "a file needs the key `apic` or the key `selvage`".to_owned();
        builder.refuse(root.span, message, None);
    }
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
                self.value(key.name, &key.becomes, value, dn, block);
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

    fn value(
        &mut self,
        key: &'static str,
        becomes: &Becomes,
        value: &Node,
        dn: &str,
        block: &mut Block,
    ) {
        match becomes {
            Becomes::Keys(shape) => self.keys(shape, value, dn, block),
            Becomes::KeysIn(only, shape) => {
                self.within(only, value, dn, block, |b, dn, inner| b.keys(shape, value, dn, inner));
            }
            Becomes::In(only, becomes) => self.within(only, value, dn, block, |b, dn, inner| {
                b.value(key, becomes, value, dn, inner);
            }),
            Becomes::Block(shape) => {
                let Some(class) = shape.class.and_then(class) else { return };
                self.block(&Children { shape, parent_dn: dn, class }, value, block);
            }
            Becomes::Blocks(shape) => {
                let Some(class) = shape.class.and_then(class) else { return };
                let children = Children { shape, parent_dn: dn, class };
                for item in self.list(key, value) {
                    self.block(&children, item, block);
                }
            }
            Becomes::Words(attribute) => {
                let items = match &value.kind {
                    Kind::Scalar(_) => std::slice::from_ref(value),
                    _ => self.list(key, value),
                };
                let words = items.iter().filter_map(|item| self.scalar(key, item));
                let text = words.collect::<Vec<_>>().join(", ");
                self.attribute(block, attribute, &text, value.span);
            }
            Becomes::Relations { class, attribute } => {
                for item in self.list(key, value) {
                    let Some(name) = self.scalar(key, item) else { continue };
                    self.relation(block, class, attribute, &name, (item.span, dn));
                }
            }
            Becomes::RelationsTo { class, attribute, to } => {
                for item in self.list(key, value) {
                    let Some(name) = self.scalar(key, item) else { continue };
                    self.relation(
                        block,
                        class,
                        attribute,
                        &pointed(to, &name, dn),
                        (item.span, dn),
                    );
                }
            }
            _ => {
                if let Some(text) = self.scalar(key, value) {
                    self.text(key, becomes, &text, (value.span, dn), block);
                }
            }
        }
    }

    /// What a single value becomes.
    fn text(
        &mut self,
        key: &'static str,
        becomes: &Becomes,
        text: &str,
        (span, dn): (Span, &str),
        block: &mut Block,
    ) {
        match becomes {
            Becomes::Attribute(attribute) => self.attribute(block, attribute, text, span),
            Becomes::Word { attribute, word, means } => {
                self.attribute(block, attribute, if text == *word { means } else { text }, span);
            }
            Becomes::Switch { attribute, yes, no } => {
                let Some(on) = self.switch(key, text, span) else { return };
                self.attribute(block, attribute, if on { yes } else { no }, span);
            }
            Becomes::Flag { attribute, word, .. } => {
                let Some(on) = self.switch(key, text, span) else { return };
                block.flags.insert((attribute, word), on);
            }
            Becomes::Part(check) | Becomes::PartOr(check, _) => match check(text) {
                Ok(()) => drop(block.parts.insert(key, text.to_owned())),
                Err(expected) => {
                    let message = format!("`{key}` is {expected}, not `{text}`");
                    self.refuse(span, message, None);
                }
            },
            Becomes::RelationTo { class, attribute, to } => {
                self.relation(block, class, attribute, &pointed(to, text, dn), (span, dn));
            }
            Becomes::Relation { class, attribute } => {
                self.relation(block, class, attribute, text, (span, dn));
            }
            _ => {}
        }
    }

    /// Reads into the only child of a class, which several keys may share.
    fn within(
        &mut self,
        only: &'static str,
        value: &Node,
        dn: &str,
        around: &mut Block,
        read: impl FnOnce(&mut Builder, &str, &mut Block),
    ) {
        let Some(rn) = class(only).map(|class| class.rn) else { return };
        let dn = format!("{dn}/{rn}");
        let mut inner = Block::new(Post::new(only), value.span);
        read(self, &dn, &mut inner);
        self.places.entry(dn).or_insert(value.span);
        match around.post.children.iter_mut().find(|child| child.class == only) {
            Some(child) => {
                child.attributes.append(&mut inner.post.attributes);
                child.children.append(&mut inner.post.children);
            }
            None => around.post.children.push(inner.post),
        }
    }

    /// One block of a list: an object of its own.
    fn block(&mut self, children: &Children<'_>, node: &Node, around: &mut Block) {
        let shape = children.shape;
        let wrong_before = self.wrong.len();
        let mut block = Block::new(Post::new(children.class.name), node.span);
        let rn = rn_of(children, node);
        let dn = rn.as_ref().map(|rn| format!("{}/{rn}", children.parent_dn));
        self.keys(shape, node, dn.as_deref().unwrap_or(children.parent_dn), &mut block);
        self.compose(children, wrong_before, &mut block);
        self.grow(children, dn.as_deref(), &mut block);
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
    fn compose(&mut self, children: &Children<'_>, wrong_before: usize, block: &mut Block) {
        let shape = children.shape;
        let mut sets: BTreeMap<&'static str, Vec<&'static str>> = BTreeMap::new();
        for key in shape.keys {
            if let Becomes::Flag { attribute, word, otherwise, default } = key.becomes {
                let set = sets.entry(attribute).or_default();
                let on = *block.flags.get(&(attribute, word)).unwrap_or(&default);
                set.extend(Some(if on { word } else { otherwise }).filter(|word| !word.is_empty()));
            }
        }
        for (attribute, words) in sets {
            self.attribute(block, attribute, &words.join(","), block.span);
        }
        let mut made = BTreeSet::new();
        for (attribute, texts) in shape.composed {
            let part = |key: &str| children.part(key, &|key| block.parts.get(key).cloned());
            let Some(text) = texts.iter().find_map(|text| filled(text, part)) else { continue };
            made.insert(attribute);
            self.attribute(block, attribute, &text, block.span);
        }
        let nameless = shape.composed.iter().find(|(a, _)| children.names(a) && !made.contains(a));
        if let (Some((_, texts)), true) = (nameless, self.wrong.len() == wrong_before) {
            let message = format!("{} needs keys that say which one", shape.what);
            self.refuse(block.span, message, children.needed(texts));
        }
    }

    /// Adds the child objects that several keys make together.
    fn grow(&mut self, children: &Children<'_>, dn: Option<&str>, block: &mut Block) {
        for grown in children.shape.grown {
            let part = |key: &str| children.part(key, &|key| block.parts.get(key).cloned());
            let text = grown.texts.iter().find_map(|text| filled(text, part));
            if let (Some(text), Some(dn)) = (text, dn) {
                let at = (block.span, dn);
                self.relation(block, grown.class, grown.attribute, &text, at);
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

    fn switch(&mut self, key: &str, text: &str, span: Span) -> Option<bool> {
        match text {
            "true" | "yes" => Some(true),
            "false" | "no" => Some(false),
            _ => {
                let message = format!("`{key}` is `true` or `false`, not `{text}`");
                self.refuse(span, message, None);
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

impl Children<'_> {
    /// The text of a part of composed attributes: what was written, or what stands for it.
    fn part(&self, key: &str, written: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        if let Some(prefix) = key.strip_prefix('@') {
            return around(self.parent_dn, prefix);
        }
        let default = || match self.shape.keys.iter().find(|k| k.name == key)?.becomes {
            Becomes::PartOr(_, default) => match default.strip_prefix('@') {
                Some(prefix) => around(self.parent_dn, prefix),
                None => Some(default.to_owned()),
            },
            _ => None,
        };
        written(key).or_else(default)
    }

    /// A hint for keys without which no text can be filled: those of the last, simplest one.
    fn needed(&self, texts: &[&str]) -> Option<String> {
        let parts = texts.last()?.split('{').filter_map(|part| part.split_once('}'));
        let keys: Vec<&str> =
            parts.map(|(key, _)| key).filter(|key| self.part(key, &|_| None).is_none()).collect();
        Some(format!("for example `{}`", keys.join("` and `")))
    }

    /// Whether the attribute is part of the relative name.
    fn names(&self, attribute: &str) -> bool {
        self.class.prop(attribute).is_some_and(|prop| prop.naming)
    }
}

/// The name of the object around whose relative name begins with `prefix` and a dash.
fn around(dn: &str, prefix: &str) -> Option<String> {
    let dn: Dn = dn.parse().ok()?;
    let rn =
        dn.rns().into_iter().rev().find_map(|rn| rn.strip_prefix(prefix)?.strip_prefix('-'))?;
    Some(rn.to_owned())
}

/// The DN that a value completes.
fn pointed(to: &str, value: &str, dn: &str) -> String {
    let part = |key: &str| match key.strip_prefix('@') {
        Some(prefix) => around(dn, prefix),
        None => Some(value.to_owned()),
    };
    filled(to, part).unwrap_or_default()
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
        let (attribute, text) = match (&key.becomes, written(key.name)) {
            (Becomes::Attribute(attribute), Some(text)) => (attribute, text),
            (Becomes::Word { attribute, word, means }, Some(text)) => {
                (attribute, if text == *word { means } else { text })
            }
            _ => continue,
        };
        if let Some(prop) = children.class.prop(attribute).filter(|prop| prop.naming) {
            named.insert(attribute, prop.normalise(text).ok()?.into_owned());
        }
    }
    for (attribute, texts) in children.shape.composed {
        let part = |key: &str| children.part(key, &|key| written(key).map(str::to_owned));
        named.extend(
            texts.iter().find_map(|text| filled(text, part)).map(|text| (*attribute, text)),
        );
    }
    children.class.format_rn(|prop| named.get(prop).map(String::as_str))
}

/// `template` with what `part` gives in the place of each `{key}`; `None` if a part is missing.
fn filled(template: &str, part: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (key, behind) = after.split_once('}')?;
        text.push_str(before);
        text.push_str(&part(key)?);
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
/// but IP, so it has no default there; and an address that is written is meant.
pub(super) fn defaults(shape: &Shape, post: &Post) -> Vec<(&'static str, &'static str)> {
    let is_ip = matches!(post.get("etherT"), None | Some("ip" | "ipv4" | "ipv6"));
    shape
        .defaults
        .iter()
        .copied()
        .filter(|(attribute, _)| post.get(attribute).is_none())
        .filter(|(attribute, _)| *attribute != "prot" || is_ip)
        .filter(|(attribute, _)| *attribute != "usefvSubnet" || post.get("ip").is_none())
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
