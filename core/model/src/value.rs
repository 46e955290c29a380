//! Values: checked against their property's type and brought to the one form the tree keeps.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::{Chars, PropDef, PropType};

/// A value its property cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {expected}")]
pub struct ValueError {
    /// The value as it was written.
    pub value: String,
    /// What the property takes, in words.
    pub expected: String,
    /// Whether the value is no word or number of its type at all (APIC's error 120), rather than a
    /// text that a validator refused (801).
    pub unknown_word: bool,
}

impl PropDef {
    /// `value` in the form the tree keeps: ports and protocols by name, flags sorted, MAC
    /// addresses in upper case, IP addresses in their shortest form.
    pub fn normalise<'v>(&self, value: &'v str) -> Result<Cow<'v, str>, ValueError> {
        if self.words.contains(&value) {
            return Ok(Cow::Borrowed(value));
        }
        self.kind.normalise(value).ok_or_else(|| ValueError {
            value: value.to_owned(),
            expected: self.expected(),
            unknown_word: !matches!(
                self.kind,
                PropType::Text { .. }
                    | PropType::Mac
                    | PropType::Ip
                    | PropType::IpPrefix
                    | PropType::IpOrPrefix
            ),
        })
    }

    /// The words the property takes, where it takes words.
    pub fn known_words(&self) -> Vec<&'static str> {
        let mut words = self.words.to_vec();
        match self.kind {
            PropType::Enum(more) | PropType::Flags { words: more, .. } => words.extend(more),
            PropType::Named { words: more, aliases, .. } => {
                words.extend(more.iter().chain(aliases).map(|(word, _)| word));
            }
            _ => {}
        }
        words
    }

    /// What the property takes, in words.
    pub fn expected(&self) -> String {
        let kind = self.kind.expected();
        let words: Vec<&str> = self.words.iter().copied().filter(|w| !w.is_empty()).collect();
        if words.is_empty() { kind } else { format!("{kind}, or `{}`", words.join("`, `")) }
    }
}

impl PropType {
    /// `value` in canonical form; `None` if it is no value of this type.
    fn normalise<'v>(&self, value: &'v str) -> Option<Cow<'v, str>> {
        match *self {
            PropType::Text { min, max, chars } => {
                let length = value.chars().count();
                let fits = (min..=max).contains(&length) && value.chars().all(|c| chars.allows(c));
                fits.then_some(Cow::Borrowed(value))
            }
            PropType::Bool => match value {
                "yes" | "true" => Some(Cow::Borrowed("yes")),
                "no" | "false" => Some(Cow::Borrowed("no")),
                _ => None,
            },
            PropType::Enum(words) => words.contains(&value).then_some(Cow::Borrowed(value)),
            PropType::Flags { words, none } => flags(words, none, value),
            PropType::Number { min, max } => {
                let number = whole(value)?;
                (min..=max).contains(&number).then(|| canonical(value, number.to_string()))
            }
            PropType::Named { words, aliases, max } => {
                let number = number_of(words, value).or_else(|| number_of(aliases, value))?;
                (number <= max).then(|| match word_of(words, number) {
                    Some(word) => Cow::Borrowed(word),
                    None => canonical(value, number.to_string()),
                })
            }
            PropType::Mac => mac(value).map(|text| canonical(value, text)),
            PropType::Ip => value.parse::<IpAddr>().ok().map(|ip| canonical(value, ip.to_string())),
            PropType::IpPrefix => ip_prefix(value)
                .map(|(address, length)| canonical(value, format!("{address}/{length}"))),
            PropType::IpOrPrefix if value.contains('/') => PropType::IpPrefix.normalise(value),
            PropType::IpOrPrefix => PropType::Ip.normalise(value),
            PropType::Dn => {
                let empty_or_dn = value.is_empty() || value.parse::<crate::Dn>().is_ok();
                empty_or_dn.then_some(Cow::Borrowed(value))
            }
        }
    }

    /// What values of this type look like, in words.
    fn expected(&self) -> String {
        match self {
            PropType::Text { min, max, chars } => match chars {
                Chars::Any => format!("a text of {min} to {max} characters"),
                _ => format!("{min} to {max} {}", chars.text()),
            },
            PropType::Bool => "`yes` or `no`".to_owned(),
            PropType::Enum(words) => format!("one of `{}`", words.join("`, `")),
            PropType::Flags { words, .. } => format!("a list of `{}`", words.join("`, `")),
            PropType::Number { min, max } => format!("a number from {min} to {max}"),
            PropType::Named { words, max, .. } => {
                let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                format!("a number from 0 to {max}, or one of `{}`", names.join("`, `"))
            }
            PropType::Mac => "a MAC address such as `00:22:BD:F8:19:FF`".to_owned(),
            PropType::Ip => "an IP address".to_owned(),
            PropType::IpPrefix => {
                "an IP address with a prefix length, such as `10.0.0.1/24`".to_owned()
            }
            PropType::IpOrPrefix => {
                "an IP address, with or without a prefix length, such as `10.0.0.0/24`".to_owned()
            }
            PropType::Dn => "a distinguished name".to_owned(),
        }
    }

    /// The number a canonical value of a numeric type stands for. `None` for `unspecified`, which
    /// means that no number was asked for, and for other types.
    pub fn number(&self, value: &str) -> Option<u64> {
        match self {
            PropType::Number { .. } => whole(value),
            PropType::Named { words, .. } if value != UNSPECIFIED => {
                number_of(words, value).map(u64::from)
            }
            _ => None,
        }
    }
}

/// The word for a port, protocol or type that was left open.
pub const UNSPECIFIED: &str = "unspecified";

/// The address and length of an address with a prefix length: `10.0.0.1/24`.
pub fn ip_prefix(value: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = value.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length = u8::try_from(whole(length)?).ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (length <= longest).then_some((address, length))
}

/// The address and length of an address with or without a prefix length: without, it is whole.
pub fn ip_or_prefix(value: &str) -> Option<(IpAddr, u8)> {
    if value.contains('/') {
        return ip_prefix(value);
    }
    let address: IpAddr = value.parse().ok()?;
    Some((address, if address.is_ipv4() { 32 } else { 128 }))
}

fn canonical(value: &str, text: String) -> Cow<'_, str> {
    if text == value { Cow::Borrowed(value) } else { Cow::Owned(text) }
}

/// A number in digits only: no sign, no spaces.
fn whole(value: &str) -> Option<u64> {
    value.bytes().all(|b| b.is_ascii_digit()).then(|| value.parse().ok())?
}

fn number_of(words: &[(&str, u32)], value: &str) -> Option<u32> {
    let named = words.iter().find(|(word, _)| *word == value).map(|(_, number)| *number);
    named.or_else(|| whole(value).and_then(|n| u32::try_from(n).ok()))
}

fn word_of(words: &[(&'static str, u32)], number: u32) -> Option<&'static str> {
    words.iter().find(|(_, n)| *n == number).map(|(word, _)| *word)
}

fn flags<'v>(words: &[&'static str], none: &'static str, value: &str) -> Option<Cow<'v, str>> {
    let given = || value.split(',').map(str::trim);
    let stands_for_none = |word: &str| word.is_empty() || word == none || word == UNSPECIFIED;
    if given().all(stands_for_none) {
        return Some(Cow::Borrowed(none));
    }
    if !given().all(|word| stands_for_none(word) || words.contains(&word)) {
        return None;
    }
    let set: Vec<&str> = words.iter().copied().filter(|w| given().any(|g| g == *w)).collect();
    Some(Cow::Owned(set.join(",")))
}

/// Accepts `:` and `-` between bytes, and `.` between pairs of them.
fn mac(value: &str) -> Option<String> {
    let digits: String = value.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    let separators = value.len() - digits.len();
    let shape = matches!((separators, value.contains('.')), (5, false) | (2, true));
    let whole = digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let groups_fit = value.split([':', '-', '.']).all(|g| g.len() * (separators + 1) == 12);
    (shape && whole && groups_fit).then(|| {
        let upper = digits.to_ascii_uppercase();
        let bytes: Vec<&str> = (0..6).filter_map(|at| upper.get(2 * at..2 * at + 2)).collect();
        bytes.join(":")
    })
}

#[cfg(test)]
mod tests {
    use crate::class;

    fn check(class_name: &str, prop: &str, cases: &[(&str, Option<&str>)]) {
        let def = class(class_name).unwrap().prop(prop).unwrap();
        for (value, expected) in cases {
            let got = def.normalise(value).ok();
            assert_eq!(got.as_deref(), *expected, "{class_name}.{prop} = {value:?}");
        }
    }

    #[test]
    fn ports_and_protocols_are_kept_by_name() {
        check(
            "vzEntry",
            "dFromPort",
            &[
                ("443", Some("https")),
                ("https", Some("https")),
                ("0080", Some("http")),
                ("ssh", Some("22")),
                ("22", Some("22")),
                ("8080", Some("8080")),
                ("0", Some("unspecified")),
                ("20", Some("ftpData")),
                ("65535", Some("65535")),
                ("65536", None),
                ("-1", None),
                ("", None),
                ("HTTP", None),
                ("99999999999999999999", None),
            ],
        );
        check(
            "vzEntry",
            "prot",
            &[("6", Some("tcp")), ("58", Some("icmpv6")), ("132", Some("132")), ("256", None)],
        );
        check("vzEntry", "icmpv4T", &[("8", Some("echo")), ("255", Some("unspecified"))]);
        check(
            "vzEntry",
            "matchDscp",
            &[("46", Some("EF")), ("0", Some("CS0")), ("7", Some("7")), ("65", None)],
        );
    }

    #[test]
    fn flags_are_sorted_and_without_spaces() {
        check(
            "fvSubnet",
            "scope",
            &[
                ("shared, public", Some("public,shared")),
                ("public,public", Some("public")),
                ("", Some("")),
                ("public,nonsense", None),
            ],
        );
        check(
            "vzRsSubjFiltAtt",
            "directives",
            &[("", Some("none")), ("none", Some("none")), ("none,log", Some("log"))],
        );
        check("vzEntry", "tcpRules", &[("unspecified", Some("")), ("syn,ack", Some("ack,syn"))]);
    }

    #[test]
    fn addresses_take_one_form() {
        check(
            "fvBD",
            "mac",
            &[
                ("00:22:bd:f8:19:fe", Some("00:22:BD:F8:19:FE")),
                ("00-22-bd-f8-19-fe", Some("00:22:BD:F8:19:FE")),
                ("0022.bdf8.19fe", Some("00:22:BD:F8:19:FE")),
                ("0022bdf819fe", None),
                ("002:2:bd:f8:19:fe", None),
                ("00:22:bd:f8:19", None),
            ],
        );
        check("fvBD", "vmac", &[("not-applicable", Some("not-applicable"))]);
        check(
            "fvSubnet",
            "ip",
            &[
                ("10.0.0.1/24", Some("10.0.0.1/24")),
                ("2001:DB8:0::1/64", Some("2001:db8::1/64")),
                ("10.0.0.1", None),
                ("10.0.0.1/33", None),
                ("10.0.0.1/+2", None),
                ("10.0.0.256/24", None),
            ],
        );
        check(
            "fvIpAttr",
            "ip",
            &[
                ("10.0.0.1", Some("10.0.0.1")),
                ("10.0.0.0/24", Some("10.0.0.0/24")),
                ("2001:DB8::/32", Some("2001:db8::/32")),
                ("10.0.0.0/33", None),
                ("", None),
            ],
        );
    }

    #[test]
    fn texts_obey_length_and_characters() {
        let long = "a".repeat(64);
        check("fvTenant", "name", &[("acme_1.x-y", Some("acme_1.x-y")), ("a:b", None), ("", None)]);
        check("fvTenant", "name", &[(&long, None), ("a b", None), ("naïve", None)]);
        check("fvTenant", "descr", &[("The web tier, v2 (new)", Some("The web tier, v2 (new)"))]);
        check("fvTenant", "descr", &[("a\nb", None), ("<x>", None)]);
    }

    #[test]
    fn numbers_come_back_from_their_words() {
        let port = class("vzEntry").unwrap().prop("dFromPort").unwrap();
        assert_eq!(port.kind.number("https"), Some(443));
        assert_eq!(port.kind.number("8080"), Some(8080));
        assert_eq!(port.kind.number("unspecified"), None);
    }

    #[test]
    fn every_default_is_canonical() {
        for c in crate::schema() {
            for p in c.props.iter().filter(|p| p.configurable && !p.naming) {
                let kept = p.normalise(p.default).map(|v| v.into_owned());
                assert_eq!(kept.as_deref(), Ok(p.default), "{}.{}", c.name, p.name);
            }
        }
    }
}
