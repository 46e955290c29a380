//! Who is in which group, beyond where an endpoint is attached: tests that an endpoint stands or
//! fails, in the order in which they are tried.
//!
//! Whoever compiles the policy has put the tests in order, so that nobody after it needs to know how
//! a test ranks: the first that holds decides. An endpoint is one thing here, and has one group: what
//! is known of it holds if it holds of any of its addresses or labels.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Mac, Prefix};

/// What is known of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Its Ethernet address.
    pub mac: Option<Mac>,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// What else is said of it, by key; several values of one key are several labels.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
}

/// How a label's value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// It is this text.
    Equals,
    /// This text is in it.
    Contains,
    /// It begins with this text.
    StartsWith,
    /// It ends with this text.
    EndsWith,
    /// It is there, and is not this text.
    Differs,
    /// All of it matches this regular expression; one that cannot be read matches nothing.
    Matches,
}

/// One thing that may hold of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Test {
    /// All of these hold, and there is at least one.
    All(Vec<Test>),
    /// One of these holds.
    Any(Vec<Test>),
    /// It is attached to this group.
    Attached(Arc<str>),
    /// It is in this bridge domain.
    Within(Arc<str>),
    /// It has an address in this prefix.
    Ip(Prefix),
    /// It has this Ethernet address.
    Mac(Mac),
    /// It has a label of one of these keys (of any key, if there are none) that compares so.
    Label {
        /// The keys.
        keys: Vec<Arc<str>>,
        /// How.
        comparison: Comparison,
        /// With what.
        value: Arc<str>,
    },
}

/// A test, and the group of the endpoints of which it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Arm {
    /// The test.
    pub test: Test,
    /// Name of the group; `None` is quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Arc<str>>,
    /// DN of the object that chooses so.
    pub cause: Arc<str>,
}

/// Where an endpoint is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment<'a> {
    /// Name of the group.
    pub group: &'a str,
    /// Name of its bridge domain.
    pub bridge_domain: &'a str,
}

impl Test {
    /// Whether this holds of an endpoint attached at `at`.
    pub fn holds(&self, at: Attachment<'_>, facts: &Facts) -> bool {
        match self {
            Test::All(tests) => !tests.is_empty() && tests.iter().all(|t| t.holds(at, facts)),
            Test::Any(tests) => tests.iter().any(|test| test.holds(at, facts)),
            Test::Attached(group) => **group == *at.group,
            Test::Within(domain) => **domain == *at.bridge_domain,
            Test::Ip(prefix) => facts.ips.iter().any(|ip| prefix.contains(*ip)),
            Test::Mac(mac) => facts.mac == Some(*mac),
            Test::Label { keys, comparison, value } => {
                let mut labels = facts.labels.iter();
                labels.any(|(key, found)| {
                    (keys.is_empty() || keys.contains(key)) && comparison.holds(found, value)
                })
            }
        }
    }
}

impl Comparison {
    /// Whether `found` compares so with `value`.
    pub fn holds(self, found: &str, value: &str) -> bool {
        match self {
            Comparison::Equals => found == value,
            Comparison::Contains => found.contains(value),
            Comparison::StartsWith => found.starts_with(value),
            Comparison::EndsWith => found.ends_with(value),
            Comparison::Differs => found != value,
            Comparison::Matches => {
                let all = regex_lite::Regex::new(&format!("^(?:{value})$"));
                all.is_ok_and(|expression| expression.is_match(found))
            }
        }
    }
}

/// The first of several lists of arms, tried one after the other, whose test holds of an endpoint.
pub fn chosen<'a>(
    lists: impl IntoIterator<Item = &'a [Arm]>,
    at: Attachment<'_>,
    facts: &Facts,
) -> Option<&'a Arm> {
    lists.into_iter().flatten().find(|arm| arm.test.holds(at, facts))
}

/// The tests of a fabric, by the name of the VRF or bridge domain whose endpoints they are about.
pub type Arms = BTreeMap<Arc<str>, Arc<Vec<Arm>>>;

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            ips: vec![[10, 0, 0, 5].into(), "2001:db8::5".parse().unwrap()],
            labels: vec![("os".into(), "debian 13".into()), ("tier".into(), "web".into())],
        }
    }

    fn label(keys: &[&str], comparison: Comparison, value: &str) -> Test {
        let keys = keys.iter().map(|key| Arc::from(*key)).collect();
        Test::Label { keys, comparison, value: value.into() }
    }

    #[test]
    fn tests_hold_of_what_is_known() {
        use Comparison::*;
        let at = Attachment { group: "epg", bridge_domain: "bd" };
        let ip = |text: &str| Test::Ip(text.parse().unwrap());
        let (yes, no) = (Test::Attached("epg".into()), Test::Within("other".into()));
        for (test, holds) in [
            (ip("10.0.0.0/24"), true),
            (ip("2001:db8::5/128"), true),
            (ip("10.0.1.0/24"), false),
            (Test::Mac(Mac([2, 0, 0, 0, 0, 1])), true),
            (Test::Mac(Mac([2, 0, 0, 0, 0, 2])), false),
            (label(&["os"], StartsWith, "debian"), true),
            (label(&["os"], EndsWith, "13"), true),
            (label(&["os"], Contains, "an 1"), true),
            (label(&["os"], Equals, "debian"), false),
            (label(&["os"], Matches, "debian"), false),
            (label(&["os"], Matches, "deb.*"), true),
            (label(&["os"], Matches, "(deb"), false),
            (label(&["os"], Differs, "windows"), true),
            (label(&["color"], Differs, "red"), false),
            (label(&[], Equals, "web"), true),
            (label(&["a", "tier"], Equals, "web"), true),
            (yes.clone(), true),
            (no.clone(), false),
            (Test::All(vec![yes.clone(), no.clone()]), false),
            (Test::All(vec![yes.clone(), yes.clone()]), true),
            (Test::All(vec![]), false),
            (Test::Any(vec![no.clone(), yes]), true),
            (Test::Any(vec![]), false),
        ] {
            assert_eq!(test.holds(at, &facts()), holds, "{test:?}");
        }
    }

    #[test]
    fn the_first_arm_that_holds_decides() {
        let at = Attachment { group: "epg", bridge_domain: "bd" };
        let arm = |value: &str, group: &str| Arm {
            test: label(&["tier"], Comparison::Equals, value),
            group: Some(group.into()),
            cause: group.into(),
        };
        let (first, second) = ([arm("db", "a")], [arm("web", "b"), arm("web", "c")]);
        let chosen = chosen([&first[..], &second[..]], at, &facts()).unwrap();
        assert_eq!(chosen.group.as_deref(), Some("b"));
        let text = serde_json::to_string(chosen).unwrap();
        assert_eq!(serde_json::from_str::<Arm>(&text).unwrap(), *chosen);
    }
}
