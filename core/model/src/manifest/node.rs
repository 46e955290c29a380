//! YAML as nodes that know where they stand.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

use super::{Diagnostic, Span};

/// A value with its place.
#[derive(Debug)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub kind: Kind,
}

/// A value.
#[derive(Debug)]
pub enum Kind {
    /// Nothing: `key:` with nothing behind it.
    Null,
    /// Text, a number, `true` or `false`, as it was written.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// Keys with their values, in order; a key may occur twice.
    Map(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Debug)]
pub struct Key {
    /// Where it stands.
    pub span: Span,
    /// The key.
    pub text: String,
}

impl Node {
    /// What it is, in words.
    pub fn what(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Scalar(_) => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "keys with values",
        }
    }
}

/// Reads one document. Only the first fault of the syntax can be told, since nothing behind it is
/// certain.
pub fn read(text: &str) -> Result<Node, Diagnostic> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // A hundred thousand repeated lines are more than anyone means by an alias, and take
        // little time; a bomb ends here.
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
    };

    let raw: Spanned<Raw> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| syntax(text, &error))?;
    Ok(Reader { text }.node(raw))
}

fn syntax(text: &str, error: &serde_saphyr::Error) -> Diagnostic {
    let span = error.location().map(|at| Reader { text }.span(&at)).unwrap_or_default();
    // The first line says what; the rest is a picture of the place, which the caller draws.
    let whole = error.without_snippet().to_string();
    let line = whole.lines().next().unwrap_or_default();
    let message = line.trim_start_matches("error: ");
    let hint = if text.lines().nth(span.line.saturating_sub(1)).is_some_and(|l| l.contains('\t')) {
        "YAML is indented with spaces; this line holds a tab"
    } else {
        "look at the indentation of this line and the one above: children stand two spaces deeper, \
         and siblings in one column"
    };
    Diagnostic { span, message: format!("this is no YAML: {message}"), hint: Some(hint.to_owned()) }
}

/// What the deserializer gives, before spans are worked out.
enum Raw {
    Null,
    Scalar(String),
    /// A number whose spelling was lost; the source text has it.
    Number(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<RawKey>, Spanned<Raw>)>),
}

struct RawKey(String);

struct Reader<'t> {
    text: &'t str,
}

impl Reader<'_> {
    fn node(&self, raw: Spanned<Raw>) -> Node {
        let span = self.span(&raw.referenced);
        let kind = match raw.value {
            Raw::Null => Kind::Null,
            Raw::Scalar(text) => Kind::Scalar(text),
            Raw::Number(text) => Kind::Scalar(self.source(span).unwrap_or(text)),
            Raw::List(items) => Kind::List(items.into_iter().map(|item| self.node(item)).collect()),
            Raw::Map(entries) => Kind::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| {
                        let span = self.span(&key.referenced);
                        (Key { span, text: key.value.0 }, self.node(value))
                    })
                    .collect(),
            ),
        };
        Node { span, kind }
    }

    /// A number as it was written: `0080` and `1.10` are names too.
    fn source(&self, span: Span) -> Option<String> {
        let text = self.text.get(span.start..span.start + span.len)?.trim();
        let plain =
            text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_'));
        (plain && !text.is_empty()).then(|| text.to_owned())
    }

    /// The byte at which the character stands that follows `from` by `characters`.
    fn byte(&self, from: usize, characters: usize) -> usize {
        let rest = self.text.get(from..).unwrap_or_default();
        let found = rest.char_indices().nth(characters).map(|(at, _)| from + at);
        found.unwrap_or(self.text.len())
    }

    fn span(&self, at: &Location) -> Span {
        let to_usize = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let span = at.span();
        let (start, len) = match (span.byte_offset(), span.byte_len()) {
            (Some(start), Some(len)) => (to_usize(start), to_usize(len)),
            // Some errors count in characters only.
            _ => {
                let start = self.byte(0, to_usize(span.offset()));
                (start, self.byte(start, to_usize(span.len())) - start)
            }
        };
        // A block's span runs to the next token; its own first line is what a reader looks for.
        let rest = self.text.get(start..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default().trim_end();
        Span {
            start: start.min(self.text.len()),
            len: len.min(line.len()),
            line: to_usize(at.line()),
            column: to_usize(at.column()),
        }
    }
}

impl<'de> Deserialize<'de> for RawKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawKey, D::Error> {
        match Raw::deserialize(deserializer)? {
            Raw::Scalar(text) | Raw::Number(text) => Ok(RawKey(text)),
            _ => Err(serde::de::Error::custom("a key must be a single word")),
        }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list, or keys with values")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Scalar(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
