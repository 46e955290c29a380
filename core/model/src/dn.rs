//! Distinguished names: `uni/tn-acme/ap-shop/epg-web`, `uni/tn-acme/BD-b/subnet-[10.0.0.1/24]`.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of one managed object: the relative names of its ancestors and its own, joined by `/`.
///
/// A `/` inside square brackets belongs to a relative name; brackets may nest (APIC, observed).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dn(Arc<str>);

/// Text that is no distinguished name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDnError {
    /// A relative name is empty: `uni//ap-x`, or nothing at all.
    #[error("`{dn}` has an empty relative name")]
    EmptyRn {
        /// The text.
        dn: String,
    },
    /// A bracket is never closed, or closed but never opened.
    #[error("`{dn}` has unbalanced brackets")]
    Brackets {
        /// The text.
        dn: String,
    },
    /// A control character, which no name may hold.
    #[error("`{dn}` holds a control character")]
    Control {
        /// The text.
        dn: String,
    },
}

impl Dn {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text, for labels that outlive the tree.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The name of the object that contains this one; `None` at the top.
    pub fn parent(&self) -> Option<Dn> {
        last_slash(&self.0).map(|at| Dn(Arc::from(self.0.get(..at).unwrap_or_default())))
    }

    /// The last relative name.
    pub fn rn(&self) -> &str {
        last_slash(&self.0).and_then(|at| self.0.get(at + 1..)).unwrap_or(&self.0)
    }

    /// The name of a child. `rn` must be one relative name.
    pub fn child(&self, rn: &str) -> Dn {
        Dn(Arc::from(format!("{}/{rn}", self.0)))
    }

    /// Whether `self` is `other` or an ancestor of it.
    pub fn contains(&self, other: &Dn) -> bool {
        other.0.strip_prefix(&*self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The child of `self` at or above `other`, as text; `None` if `other` is not below `self`.
    pub fn child_toward<'a>(&self, other: &'a Dn) -> Option<&'a str> {
        let rest = other.0.strip_prefix(&*self.0)?.strip_prefix('/')?;
        let rn = split_once(rest).map_or(rest, |(first, _)| first);
        other.0.get(..self.0.len() + 1 + rn.len())
    }

    /// The relative names, from the top.
    pub fn rns(&self) -> Vec<&str> {
        split(&self.0)
    }

    /// The nearest object at or above this one whose relative name starts with `prefix`.
    pub fn ancestor(&self, prefix: &str) -> Option<Dn> {
        let mut at = Some(self.clone());
        while let Some(dn) = at {
            if dn.rn().starts_with(prefix) {
                return Some(dn);
            }
            at = dn.parent();
        }
        None
    }
}

/// Where the last `/` outside brackets stands.
fn last_slash(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate().rev() {
        match byte {
            b']' => depth += 1,
            b'[' => depth = depth.saturating_sub(1),
            b'/' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

/// The first relative name, and what follows it.
fn split_once(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    text.split_once(|c: char| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == '/' && depth == 0
    })
}

fn split(text: &str) -> Vec<&str> {
    let mut rns = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = split_once(rest) {
        rns.push(first);
        rest = after;
    }
    rns.push(rest);
    rns
}

impl FromStr for Dn {
    type Err = ParseDnError;

    fn from_str(text: &str) -> Result<Dn, ParseDnError> {
        let mut depth = 0_i32;
        for c in text.chars() {
            match c {
                '[' => depth += 1,
                ']' => depth -= 1,
                c if c.is_control() => return Err(ParseDnError::Control { dn: text.to_owned() }),
                _ => {}
            }
            if depth < 0 {
                break;
            }
        }
        if depth != 0 {
            return Err(ParseDnError::Brackets { dn: text.to_owned() });
        }
        if split(text).iter().any(|rn| rn.is_empty()) {
            return Err(ParseDnError::EmptyRn { dn: text.to_owned() });
        }
        Ok(Dn(Arc::from(text)))
    }
}

impl fmt::Display for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for Dn {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_in_brackets_belongs_to_the_relative_name() {
        let dn: Dn = "uni/tn-acme/BD-b/subnet-[10.0.0.1/24]".parse().unwrap();
        assert_eq!(dn.rn(), "subnet-[10.0.0.1/24]");
        assert_eq!(dn.parent().unwrap().as_str(), "uni/tn-acme/BD-b");
        assert_eq!(dn.rns(), ["uni", "tn-acme", "BD-b", "subnet-[10.0.0.1/24]"]);
    }

    #[test]
    fn containment_is_by_whole_names() {
        let (a, b): (Dn, Dn) = ("uni/tn-a".parse().unwrap(), "uni/tn-ab".parse().unwrap());
        assert!(!a.contains(&b));
        assert!(a.contains(&a.child("ap-x")));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", "uni//tn-a", "/uni", "uni/", "uni/x-[a", "uni/x-a]", "uni/tn-a\n"] {
            assert!(bad.parse::<Dn>().is_err(), "{bad:?} was accepted");
        }
    }
}
