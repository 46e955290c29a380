//! Object URIs: `/Class/name1/name2/Class/`, compared as byte strings.

use std::borrow::Borrow;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// No URI is longer: a hostile one must not become a key of every table.
pub const MAX_URI_BYTES: usize = 8 * 1024;

/// Text that is no URI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// It does not start and end with a slash.
    #[error("`{0}` is not a URI: it must start and end with `/`")]
    Slashes(String),
    /// It is longer than [`MAX_URI_BYTES`].
    #[error("a URI of {0} bytes is longer than the {MAX_URI_BYTES} that are allowed")]
    TooLong(usize),
}

/// The name of an object in the tree.
///
/// It starts and ends with `/`. Names between the slashes are escaped with lower-case hex, all but
/// `[A-Za-z0-9-_.~]`. Two URIs are the same if their bytes are (observed: `%2F` is not `%2f`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uri(Arc<str>);

impl Uri {
    /// Takes `text` as it came from the wire.
    pub fn parse(text: &str) -> Result<Uri, UriError> {
        if text.len() > MAX_URI_BYTES {
            return Err(UriError::TooLong(text.len()));
        }
        if !text.starts_with('/') || !text.ends_with('/') {
            return Err(UriError::Slashes(text.to_owned()));
        }
        Ok(Uri(text.into()))
    }

    /// The root, `/`, which every URI is below.
    pub fn root() -> Uri {
        Uri("/".into())
    }

    /// This URI with one more segment: a class, or a name that is escaped as it needs.
    #[must_use]
    pub fn join(&self, segment: impl fmt::Display) -> Uri {
        let mut text = String::from(&*self.0);
        push_escaped(&mut text, &segment.to_string());
        text.push('/');
        Uri(text.into())
    }

    /// The text, slashes and escapes included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments in order, escapes undone. A broken escape stays as it is.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = String> {
        self.0.split('/').filter(|s| !s.is_empty()).map(unescape)
    }

    /// This URI and everything above it up to the root, nearest first.
    pub fn ancestry(&self) -> impl Iterator<Item = &str> {
        let ends = self.0.rmatch_indices('/').map(|(at, _)| at);
        ends.filter_map(|at| self.0.get(..=at))
    }

    /// Whether this is `other` or lies below it.
    pub fn is_within(&self, other: &str) -> bool {
        self.0.starts_with(other)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for Uri {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Uri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Uri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Uri, D::Error> {
        let text = String::deserialize(deserializer)?;
        Uri::parse(&text).map_err(serde::de::Error::custom)
    }
}

fn push_escaped(text: &mut String, name: &str) {
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02x}");
        }
    }
}

fn unescape(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| {
            let hex = std::str::from_utf8(hex).ok()?;
            u8::from_str_radix(hex, 16).ok()
        });
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_with_lower_case_hex() {
        let uri = Uri::root().join("EprL2Ep").join("/PolicyUniverse/x y/").join("00:0a:ff");
        assert_eq!(uri.as_str(), "/EprL2Ep/%2fPolicyUniverse%2fx%20y%2f/00%3a0a%3aff/");
        let names: Vec<String> = uri.segments().collect();
        assert_eq!(names, ["EprL2Ep", "/PolicyUniverse/x y/", "00:0a:ff"]);
    }

    #[test]
    fn ancestry_ends_at_the_root() {
        let uri = Uri::parse("/a/b/").unwrap();
        assert_eq!(uri.ancestry().collect::<Vec<_>>(), ["/a/b/", "/a/", "/"]);
        assert_eq!(Uri::root().ancestry().collect::<Vec<_>>(), ["/"]);
    }

    #[test]
    fn what_is_no_uri_is_refused_and_a_broken_escape_is_kept() {
        for bad in ["", "a", "/a", "a/", &format!("/{}/", "x".repeat(MAX_URI_BYTES))] {
            assert!(Uri::parse(bad).is_err(), "{bad} was accepted");
        }
        let odd = Uri::parse("/a%/b%zz/%4/").unwrap();
        assert_eq!(odd.segments().collect::<Vec<_>>(), ["a%", "b%zz", "%4"]);
    }
}
