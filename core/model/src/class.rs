//! What a class is: data, generated from `schema/aci*.toml`.

use std::fmt;

/// Which characters a text may hold (APIC's validators).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chars {
    /// Anything but control characters.
    Any,
    /// Letters, digits and `_.-`.
    Name,
    /// Letters, digits and `_.:-`.
    NameColon,
    /// Letters, digits, spaces and `\!#$%()*,-./:;@_{|}~?&+`.
    Descr,
}

impl Chars {
    /// Whether `c` is one of them.
    pub fn allows(self, c: char) -> bool {
        let word = c.is_ascii_alphanumeric();
        match self {
            Chars::Any => !c.is_control(),
            Chars::Name => word || "_.-".contains(c),
            Chars::NameColon => word || "_.:-".contains(c),
            Chars::Descr => word || "\\!#$%()*,-./:;@ _{|}~?&+".contains(c),
        }
    }

    /// The set in words, for error messages.
    pub fn text(self) -> &'static str {
        match self {
            Chars::Any => "anything but control characters",
            Chars::Name => "letters, digits and `_.-`",
            Chars::NameColon => "letters, digits and `_.:-`",
            Chars::Descr => "letters, digits, spaces and common punctuation",
        }
    }
}

/// How a property's values are written, checked and normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropType {
    /// Text of `min` to `max` characters.
    Text {
        /// Shortest value, in characters.
        min: usize,
        /// Longest value, in characters.
        max: usize,
        /// Characters it may hold.
        chars: Chars,
    },
    /// `yes` or `no`; `true` and `false` are accepted.
    Bool,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// A comma-separated set of words, kept sorted and without spaces.
    Flags {
        /// The words, sorted.
        words: &'static [&'static str],
        /// How the empty set is written.
        none: &'static str,
    },
    /// A whole number, both bounds included.
    Number {
        /// Least.
        min: u64,
        /// Greatest.
        max: u64,
    },
    /// A whole number from 0 to `max` that is written as a word where it has one: `443` is `https`.
    Named {
        /// Words and their numbers, by number.
        words: &'static [(&'static str, u32)],
        /// More words that are read, and written as numbers.
        aliases: &'static [(&'static str, u32)],
        /// Greatest.
        max: u32,
    },
    /// A MAC address, kept in upper case.
    Mac,
    /// An IP address.
    Ip,
    /// An IP address with a prefix length, host bits kept: `10.0.0.1/24`.
    IpPrefix,
    /// An IP address, with or without a prefix length.
    IpOrPrefix,
    /// A DN.
    Dn,
}

/// Whether packets obey a property or class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// They do, whatever its value.
    Enforced,
    /// They do for these values only (of flags: for sets of these); others are kept and returned,
    /// and a fault says that they mean nothing yet.
    Only(&'static [&'static str]),
    /// Kept and returned. Any value but the default means nothing yet, and a fault says so.
    Stored,
    /// Means nothing to packets by nature: descriptions, tags, owners.
    Label,
}

/// One property of a class.
#[derive(Debug, PartialEq, Eq)]
pub struct PropDef {
    /// Its name on the wire.
    pub name: &'static str,
    /// Its values.
    pub kind: PropType,
    /// Words a value may be beside what `kind` allows.
    pub words: &'static [&'static str],
    /// Its value where none was given.
    pub default: &'static str,
    /// Set by users; otherwise computed, and ignored when posted.
    pub configurable: bool,
    /// Part of the relative name; cannot change after creation.
    pub naming: bool,
    /// Cannot change after creation.
    pub create_only: bool,
    /// Never returned.
    pub secure: bool,
    /// Whether packets obey it.
    pub support: Support,
    /// What it means, in a phrase.
    pub doc: &'static str,
}

/// What a relation class points at.
#[derive(Debug, PartialEq, Eq)]
pub struct RelationDef {
    /// The class of its targets; may be abstract.
    pub target: &'static str,
    /// The property that names the target (`tnFvCtxName`), or holds its DN (`tDn`).
    pub by: &'static str,
    /// The class of the inverse object that appears under the target (`fvRtCtx`).
    pub inverse: &'static str,
    /// Code of the fault that says the target does not exist.
    pub fault: &'static str,
}

impl RelationDef {
    /// Whether the target is given by its DN, not by a name that is looked up.
    pub fn is_by_dn(&self) -> bool {
        self.by == "tDn"
    }
}

/// Who makes and deletes the objects of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeBy {
    /// Users.
    User,
    /// They exist as long as their parents; deleting one resets it to its defaults.
    Parent,
    /// The controller; a POST that names one is refused.
    System,
}

/// One class of managed objects. Equal to another if it has the same name.
pub struct ClassDef {
    /// Its name: `fvBD`.
    pub name: &'static str,
    /// What people call it: `bridge domain`.
    pub label: &'static str,
    /// What its objects are, in a sentence.
    pub doc: &'static str,
    /// Its relative-name format: `BD-{name}`, `subnet-[{ip}]`, `rsctx`.
    pub rn: &'static str,
    /// Its place among siblings of other classes: children are listed by descending order.
    pub order: u32,
    /// Classes whose objects may contain it; empty for what stands at the top.
    pub parents: &'static [&'static str],
    /// Classes whose objects it may contain, sorted.
    pub children: &'static [&'static str],
    /// Abstract classes that a query may name instead.
    pub abstracts: &'static [&'static str],
    /// Its properties, sorted by name: the order in which they are shown.
    pub props: &'static [PropDef],
    /// Pairs of properties that bound a range, lower first. Either bound alone stands for both.
    pub ranges: &'static [(&'static str, &'static str)],
    /// Children that exist with it from the start and go only with it.
    pub implicit_children: &'static [&'static str],
    /// Set for relation classes.
    pub relation: Option<RelationDef>,
    /// Who makes and deletes its objects.
    pub made_by: MadeBy,
    /// Whether packets obey its objects at all.
    pub support: Support,
}

impl ClassDef {
    /// The property of this name.
    pub fn prop(&self, name: &str) -> Option<&'static PropDef> {
        let props: &'static [PropDef] = self.props;
        let at = props.binary_search_by(|p| p.name.cmp(name)).ok()?;
        props.get(at)
    }

    /// Whether `name` is this class or one of its abstract classes.
    pub fn is_a(&self, name: &str) -> bool {
        self.name == name || self.abstracts.contains(&name)
    }

    /// The naming properties, in the order in which the relative name holds them.
    pub fn naming_props(&self) -> impl Iterator<Item = &'static str> + use<> {
        rn_parts(self.rn).filter_map(|part| match part {
            RnPart::Prop(name) => Some(name),
            RnPart::Text(_) => None,
        })
    }

    /// The relative name, given a naming property's value by its name. `None` if one is missing.
    pub fn format_rn<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
        let mut rn = String::new();
        for part in rn_parts(self.rn) {
            match part {
                RnPart::Text(text) => rn.push_str(text),
                RnPart::Prop(name) => rn.push_str(value(name)?),
            }
        }
        Some(rn)
    }

    /// The naming properties' values in a relative name of this class; `None` if it is not one.
    ///
    /// A value may stand in brackets where the format has none, and without where it has them
    /// (APIC accepts `tn-[acme]` for `tn-acme`).
    pub fn parse_rn<'a>(&self, rn: &'a str) -> Option<Vec<(&'static str, &'a str)>> {
        match_rn(self.rn, rn)
    }
}

enum RnPart {
    Text(&'static str),
    Prop(&'static str),
}

/// A relative-name format, taken apart: text and property names in turn.
fn rn_parts(format: &'static str) -> impl Iterator<Item = RnPart> {
    let mut rest = format;
    std::iter::from_fn(move || {
        if let Some((name, after)) = rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
            rest = after;
            return Some(RnPart::Prop(name));
        }
        let (text, after) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
        rest = after;
        (!text.is_empty()).then_some(RnPart::Text(text))
    })
}

fn match_rn<'a>(format: &'static str, rn: &'a str) -> Option<Vec<(&'static str, &'a str)>> {
    let mut values = Vec::new();
    let mut rest = rn;
    let mut parts = rn_parts(format).peekable();
    let mut props = rn_parts(format).filter(|part| matches!(part, RnPart::Prop(_))).count();
    while let Some(part) = parts.next() {
        match part {
            RnPart::Text(text) => {
                let bare = text.strip_suffix('[').filter(|_| parts.peek().is_some());
                rest = match (rest.strip_prefix(text), bare) {
                    (Some(after), _) => after,
                    // Without the brackets: what follows up to the end is the value.
                    (None, Some(bare)) => {
                        let value = rest.strip_prefix(bare)?;
                        let Some(RnPart::Prop(name)) = parts.next() else { return None };
                        values.push((name, value));
                        return (parts.next().is_some() && parts.next().is_none())
                            .then_some(values)
                            .filter(|v| v.iter().all(|(_, value)| !value.is_empty()));
                    }
                    (None, None) => return None,
                };
            }
            RnPart::Prop(name) => {
                props -= 1;
                let end = match parts.peek() {
                    None => rest.len(),
                    Some(RnPart::Text(text)) if text.starts_with(']') => closing(rest)?,
                    // `podfilter-a-b-in`: what comes last is the shorter word.
                    Some(RnPart::Text(text)) if props == 1 => rest.rfind(text)?,
                    Some(RnPart::Text(text)) => rest.find(text)?,
                    Some(RnPart::Prop(_)) => return None,
                };
                let (value, after) = rest.split_at_checked(end)?;
                values.push((name, unbracketed(value)));
                rest = after;
            }
        }
    }
    (rest.is_empty() && values.iter().all(|(_, value)| !value.is_empty())).then_some(values)
}

/// Where the bracket closes that was opened just before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' if depth == 0 => return Some(at),
            b']' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn unbracketed(value: &str) -> &str {
    value.strip_prefix('[').and_then(|v| v.strip_suffix(']')).unwrap_or(value)
}

impl PartialEq for ClassDef {
    fn eq(&self, other: &ClassDef) -> bool {
        self.name == other.name
    }
}

impl Eq for ClassDef {}

impl fmt::Debug for ClassDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use crate::class;

    #[test]
    fn relative_names_are_formatted_and_parsed() {
        let subnet = class("fvSubnet").unwrap();
        let rn = subnet.format_rn(|p| (p == "ip").then_some("10.0.0.1/24")).unwrap();
        assert_eq!(rn, "subnet-[10.0.0.1/24]");
        assert_eq!(subnet.parse_rn(&rn), Some(vec![("ip", "10.0.0.1/24")]));
        assert_eq!(subnet.format_rn(|_| None), None);
    }

    #[test]
    fn brackets_may_come_or_go() {
        let (tenant, subnet) = (class("fvTenant").unwrap(), class("fvSubnet").unwrap());
        assert_eq!(tenant.parse_rn("tn-[acme]"), Some(vec![("name", "acme")]));
        assert_eq!(tenant.parse_rn("tn-acme"), Some(vec![("name", "acme")]));
        assert_eq!(subnet.parse_rn("subnet-10.0.0.1"), Some(vec![("ip", "10.0.0.1")]));
    }

    #[test]
    fn what_is_no_relative_name_of_the_class_is_refused() {
        let cases = [
            ("fvTenant", "tn-"),
            ("fvTenant", "ap-x"),
            ("fvSubnet", "subnet-[]"),
            ("fvSubnet", "subnet-[10.0.0.1/24]x"),
            ("fvRsCtx", "rsctx-x"),
            ("fvRsCtx", "rsct"),
        ];
        for (name, rn) in cases {
            assert_eq!(class(name).unwrap().parse_rn(rn), None, "{name} {rn}");
        }
        assert_eq!(class("fvRsCtx").unwrap().parse_rn("rsctx"), Some(vec![]));
    }

    #[test]
    fn several_values_are_told_apart() {
        let cases = [
            ("fvEpIpTag", "epiptag-[2001:db8::1]-v", "ip=2001:db8::1 ctxName=v"),
            ("fvEpMacTag", "epmactag-00:00:00:00:00:01-[*]", "mac=00:00:00:00:00:01 bdName=*"),
            ("hostprotPodFilter", "podfilter-a-b-in", "key=a-b operator=in"),
            ("leakTo", "to-[t]-[v]", "tenantName=t ctxName=v"),
            ("fvTagSelector", "tagselectorkey-[a]-value-[b-[c]]", "matchKey=a matchValue=b-[c]"),
        ];
        for (name, rn, values) in cases {
            let parsed = class(name).unwrap().parse_rn(rn).unwrap();
            let told: Vec<_> =
                parsed.iter().map(|(prop, value)| format!("{prop}={value}")).collect();
            assert_eq!(told.join(" "), values, "{rn}");
        }
    }

    #[test]
    fn nested_brackets_stay_whole() {
        let inverse = class("fvRtBd").unwrap();
        let dn = "uni/tn-a/x-[b]/y";
        let rn = inverse.format_rn(|_| Some(dn)).unwrap();
        assert_eq!(inverse.parse_rn(&rn), Some(vec![("tDn", dn)]));
    }
}
