//! Objects that a feature adds to a fabric, each hung on something the fabric has.

use std::collections::BTreeMap;

/// What an extra object is hung on, by its number among those of its kind, modulo how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// A tenant.
    Tenant(usize),
    /// The tenant of this DN.
    TenantNamed(&'static str),
    /// A VRF.
    Vrf(usize),
    /// A bridge domain.
    Domain(usize),
    /// A group.
    Group(usize),
    /// A relation of a group to a contract it provides.
    Provided(usize),
    /// A relation of a group to a contract it consumes.
    Consumed(usize),
    /// A contract.
    Contract(usize),
    /// A subject.
    Subject(usize),
    /// A filter as a subject uses it.
    Used(usize),
    /// A filter entry.
    Entry(usize),
}

/// An object below `at`, or without a relative name properties of `at` itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    at: At,
    class: &'static str,
    rn: String,
    props: Vec<(&'static str, String)>,
    /// Properties that are DNs of something the fabric has.
    meant: Vec<(&'static str, At)>,
    /// Properties that are DNs of something below the same anchor.
    below: Vec<(&'static str, String)>,
}

impl Extra {
    /// An object of `class`, named `rn` from `at`: several relative names are a path.
    pub fn new(at: At, class: &'static str, rn: impl Into<String>) -> Extra {
        Extra { at, class, rn: rn.into(), props: Vec::new(), meant: Vec::new(), below: Vec::new() }
    }

    /// Properties of what is there already.
    pub fn of(at: At) -> Extra {
        Extra::new(at, "", "")
    }

    /// With a property.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Extra {
        self.props.push((name, value.into()));
        self
    }

    /// With a property that is the DN of what is named `rn` from the same anchor.
    pub fn below(mut self, name: &'static str, rn: impl Into<String>) -> Extra {
        self.below.push((name, rn.into()));
        self
    }

    /// With a property that is the DN of `at`. The `{}` of the relative name stands for it too.
    pub fn meaning(mut self, name: &'static str, at: At) -> Extra {
        self.meant.push((name, at));
        self
    }
}

/// One object of a sketch.
#[derive(Debug, Clone)]
struct Line {
    class: String,
    props: Vec<(String, String)>,
}

/// A sketch with extra objects. One whose parent is not there is left out.
pub fn joined(sketch: &str, extras: &[Extra]) -> String {
    let mut order: Vec<String> = Vec::new();
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    for text in sketch.lines() {
        let mut words = text.split_whitespace();
        let (Some(class), Some(dn)) = (words.next(), words.next()) else { continue };
        let props = words.filter_map(|word| word.split_once('='));
        let props = props.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        if lines.insert(dn.to_owned(), Line { class: class.to_owned(), props }).is_none() {
            order.push(dn.to_owned());
        }
    }
    for extra in extras {
        let anchors = Anchors { order: &order, lines: &lines };
        let Some((dn, line)) = anchors.resolve(extra) else { continue };
        match lines.get_mut(&dn) {
            Some(held) => {
                held.props.retain(|(name, _)| line.props.iter().all(|(new, _)| new != name));
                held.props.extend(line.props);
            }
            None => {
                order.push(dn.clone());
                lines.insert(dn, line);
            }
        }
    }
    // What a DN contains comes after it.
    order.sort();
    let show = |dn: &String| {
        let line = lines.get(dn)?;
        let props: String =
            line.props.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        Some(format!("{} {dn}{props}\n", line.class))
    };
    order.iter().filter_map(show).collect()
}

struct Anchors<'a> {
    order: &'a [String],
    lines: &'a BTreeMap<String, Line>,
}

impl Anchors<'_> {
    /// DN and content of an extra object.
    fn resolve(&self, extra: &Extra) -> Option<(String, Line)> {
        let at = self.dn(extra.at)?;
        let mut props: Vec<(String, String)> =
            extra.props.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let mut rn = extra.rn.clone();
        for (name, meant) in &extra.meant {
            let dn = self.dn(*meant)?;
            rn = rn.replace("{}", &dn);
            props.push(((*name).to_owned(), dn));
        }
        for (name, below) in &extra.below {
            props.push(((*name).to_owned(), format!("{at}/{below}")));
        }
        // `{n}` stands for the number of the group, `{m}` for that of the bridge domain.
        if rn.contains("{m}") {
            rn = rn.replace("{n}", at.rsplit('-').next()?);
            let domain = self.domain_of(&at).unwrap_or_else(|| at.clone());
            rn = rn.replace("{m}", &domain_number(&domain).to_string());
        }
        if rn.is_empty() {
            let class = self.lines.get(&at)?.class.clone();
            return Some((at, Line { class, props }));
        }
        let dn = format!("{at}/{rn}");
        let parent = dn.parse::<selvage_model::Dn>().ok()?.parent()?;
        self.lines.contains_key(parent.as_str()).then_some(())?;
        Some((dn, Line { class: extra.class.to_owned(), props }))
    }

    /// DN of the bridge domain of a group.
    fn domain_of(&self, group: &str) -> Option<String> {
        let relation = self.lines.get(&format!("{group}/rsbd"))?;
        let (_, name) = relation.props.iter().find(|(name, _)| name == "tnFvBDName")?;
        let own: String = group.split('/').take(2).collect::<Vec<_>>().join("/");
        let found = [own, "uni/tn-common".to_owned()].map(|tenant| format!("{tenant}/BD-{name}"));
        found.into_iter().find(|dn| self.lines.contains_key(dn))
    }

    /// DN of an anchor; `None` if the fabric has nothing of its kind.
    fn dn(&self, at: At) -> Option<String> {
        let (class, number) = match at {
            At::TenantNamed(dn) => return Some(dn.to_owned()),
            At::Tenant(number) => ("fvTenant", number),
            At::Vrf(number) => ("fvCtx", number),
            At::Domain(number) => ("fvBD", number),
            At::Group(number) => ("fvAEPg", number),
            At::Provided(number) => ("fvRsProv", number),
            At::Consumed(number) => ("fvRsCons", number),
            At::Contract(number) => ("vzBrCP", number),
            At::Subject(number) => ("vzSubj", number),
            At::Used(number) => ("vzRsSubjFiltAtt", number),
            At::Entry(number) => ("vzEntry", number),
        };
        // Only IP has the fields that features add to entries; others would contradict themselves.
        let fits = |line: &Line| {
            let ip = |(name, value): &(String, String)| name == "etherT" && value.starts_with("ip");
            line.class == class && (class != "vzEntry" || line.props.iter().any(ip))
        };
        let is = |dn: &&String| self.lines.get(*dn).is_some_and(fits);
        let all: Vec<&String> = self.order.iter().filter(is).collect();
        let at = number.checked_rem(all.len())?;
        all.get(at).map(|dn| (*dn).clone())
    }
}

/// A number for each bridge domain that a fabric may have: the second byte of its addresses.
pub fn domain_number(dn: &str) -> u8 {
    let tenant = match dn {
        _ if dn.contains("tn-t/") => 0,
        _ if dn.contains("tn-u/") => 2,
        _ => 4,
    };
    tenant + u8::from(dn.ends_with("-b"))
}
