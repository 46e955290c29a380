//! XML as APIC speaks it: `<fvTenant name="acme"><fvBD name="b"/></fvTenant>`.

use std::collections::BTreeSet;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::{BodyError, Flaw};
use crate::{MAX_DEPTH, MAX_OBJECTS, Post};

/// The tree in an XML body.
///
/// # Errors
/// When the body is no XML, or holds what objects do not: text, a document type, two roots.
pub fn parse(body: &[u8]) -> Result<Post, BodyError> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let before = body.get(..error.valid_up_to()).unwrap_or_default();
        flawed(Flaw::Syntax, "It is not UTF-8", &String::from_utf8_lossy(before))
    })?;
    let mut reader = Reader::from_str(text);
    let mut tree = Growing::default();
    loop {
        let read = reader.read_event();
        // What was read before the flaw tells where it is.
        let before = |reader: &Reader<&[u8]>| {
            let at = usize::try_from(reader.buffer_position()).unwrap_or(text.len());
            text.get(..at.min(text.len())).unwrap_or(text)
        };
        let event =
            read.map_err(|error| flawed(Flaw::Syntax, &error.to_string(), before(&reader)))?;
        let took = match event {
            Event::Eof => break,
            Event::Start(tag) => tree.open(&tag),
            Event::Empty(tag) => tree.open(&tag).and_then(|()| tree.close()),
            Event::End(_) => tree.close(),
            Event::Text(text) if text.chars().all(|c| c.is_ascii_whitespace()) => Ok(()),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => Ok(()),
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => {
                Err("Objects have attributes and children, no text".to_owned())
            }
            Event::DocType(_) => Err("A document type is not taken".to_owned()),
        };
        took.map_err(|problem| flawed(Flaw::Shape, &problem, before(&reader)))?;
    }
    match (tree.root, tree.open.is_empty()) {
        (Some(root), true) => Ok(root),
        _ => Err(flawed(Flaw::Truncated, "It ends before the object does", text)),
    }
}

/// What was read so far.
#[derive(Default)]
struct Growing {
    /// Objects whose end has not come, the outermost first.
    open: Vec<Post>,
    root: Option<Post>,
    objects: usize,
}

impl Growing {
    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        if self.root.is_some() {
            return Err("More than one object at the top".to_owned());
        }
        if self.open.len() > MAX_DEPTH {
            return Err(format!("More than {MAX_DEPTH} levels of children"));
        }
        self.objects += 1;
        if self.objects > MAX_OBJECTS {
            return Err(format!("More than {MAX_OBJECTS} objects"));
        }
        let mut post = Post::new(tag.name().as_ref());
        let mut names = BTreeSet::new();
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let name = attribute.key.as_ref().to_owned();
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|error| format!("attribute '{name}': {error}"))?;
            if !names.insert(name.clone()) {
                return Err(format!("Attribute '{name}' is given twice"));
            }
            post = post.with(name, value);
        }
        self.open.push(post);
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let done = self.open.pop().ok_or("An end without a beginning")?;
        match self.open.last_mut() {
            Some(parent) => parent.children.push(done),
            None => self.root = Some(done),
        }
        Ok(())
    }
}

fn flawed(flaw: Flaw, problem: &str, before: &str) -> BodyError {
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    BodyError { form: "XML", flaw, problem: problem.to_owned(), line, column }
}
