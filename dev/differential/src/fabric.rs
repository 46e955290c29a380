//! Small fabrics, generated: few names, few ports, many collisions.
//!
//! A generated fabric has the tenants `t`, `u` and `common`, and every name that a relation may say
//! is drawn from a handful that may exist in the own tenant, in `common`, in both or nowhere. What
//! goes wrong in name resolution, in the union of contracts or at the edge of a range has a good
//! chance to show among so few.

mod extra;
mod feature;
mod features;
mod revise;

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use proptest::collection::{btree_set, vec};
use proptest::option::weighted;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{select, subsequence};

use crate::compare::Who;
use extra::{Extra, domain_number};
use selvage_oracle::Endpoint;

pub use feature::{Feature, Features};
pub use revise::{Edit, edit};

/// Tenants by number: 0 and 1 are users' tenants, 2 is `common`.
const TENANTS: [&str; 3] = ["t", "u", "common"];
const VRFS: [&str; 2] = ["v", "w"];
const BRIDGE_DOMAINS: [&str; 2] = ["a", "b"];
const PROFILES: [&str; 2] = ["p", "q"];
const CONTRACTS: [&str; 3] = ["c", "d", "e"];
const FILTERS: [&str; 3] = ["f", "g", "h"];
const SCOPES: [&str; 4] = ["context", "global", "tenant", "application-profile"];
const PRIORITIES: [&str; 4] = ["default", "level1", "level2", "level3"];

/// Destination or source ports of an entry. Their edges are among the ports of the packets that
/// [`crate::atoms`] sends.
const RANGES: [(&str, &str); 7] = [
    ("unspecified", "unspecified"),
    ("http", "http"),
    ("http", "https"),
    ("https", "https"),
    ("1", "1023"),
    ("1024", "65535"),
    ("65535", "65535"),
];

/// One generated fabric. Its [`fmt::Display`] is the [sketch](crate::sketch) of its objects.
#[derive(Clone)]
pub struct Fabric {
    vrfs: Vec<Vrf>,
    bridge_domains: Vec<BridgeDomain>,
    groups: Vec<Group>,
    contracts: Vec<Contract>,
    filters: Vec<Filter>,
    extras: Vec<Extra>,
}

#[derive(Debug, Clone)]
struct Vrf {
    tenant: usize,
    name: &'static str,
    unenforced: bool,
}

#[derive(Debug, Clone)]
struct BridgeDomain {
    tenant: usize,
    name: &'static str,
    vrf: &'static str,
}

#[derive(Debug, Clone)]
struct Group {
    tenant: usize,
    profile: &'static str,
    bridge_domain: &'static str,
    isolated: bool,
    shut: bool,
    consumes: Vec<&'static str>,
    provides: Vec<&'static str>,
}

#[derive(Debug, Clone)]
struct Contract {
    tenant: usize,
    name: &'static str,
    scope: &'static str,
    subjects: Vec<Subject>,
}

#[derive(Debug, Clone)]
struct Subject {
    reverse: bool,
    both: Vec<Use>,
    asking: Option<Use>,
    answering: Option<Use>,
}

#[derive(Debug, Clone)]
struct Use {
    filter: &'static str,
    deny: bool,
    priority: &'static str,
}

#[derive(Debug, Clone)]
struct Filter {
    tenant: usize,
    name: &'static str,
    entries: Vec<Vec<(&'static str, &'static str)>>,
}

/// Fabrics of at most four groups: of every second the groups are in one VRF and most names are
/// found, since where half of the names lead nowhere most packets do too.
pub fn fabric() -> impl Strategy<Value = Fabric> {
    (any::<bool>(), wild()).prop_map(|(tidy, fabric)| if tidy { fabric.tidied() } else { fabric })
}

/// Such fabrics with these features: each fabric has some of them, so that one does not hide another.
pub fn fabric_with(features: &Features) -> impl Strategy<Value = Fabric> + use<> {
    let each: Vec<_> = features.iter().map(|feature| features::extras(*feature)).collect();
    let most = each.len();
    let some = subsequence((0..most).collect::<Vec<_>>(), 0..=most.min(4));
    (fabric(), each, some).prop_map(|(mut fabric, each, some)| {
        fabric.extras = some.iter().filter_map(|at| each.get(*at)).flatten().cloned().collect();
        fabric
    })
}

fn wild() -> impl Strategy<Value = Fabric> {
    (
        subset(&VRFS, 3..=5, vrf),
        subset(&BRIDGE_DOMAINS, 4..=6, bridge_domain),
        vec(group(), 2..=4),
        subset(&CONTRACTS, 3..=6, contract),
        subset(&FILTERS, 4..=8, filter),
    )
        .prop_map(|(vrfs, bridge_domains, groups, contracts, filters)| Fabric {
            vrfs,
            bridge_domains,
            groups,
            contracts,
            filters,
            extras: Vec::new(),
        })
}

/// Objects, one for each of so many places: a tenant and a name.
fn subset<T: fmt::Debug, S: Strategy<Value = T>>(
    names: &'static [&'static str],
    many: RangeInclusive<usize>,
    make: impl Fn(usize, &'static str) -> S + Clone + 'static,
) -> impl Strategy<Value = Vec<T>> {
    let places: Vec<(usize, &'static str)> = (0..TENANTS.len())
        .flat_map(|tenant| names.iter().map(move |name| (tenant, *name)))
        .collect();
    subsequence(places, many).prop_flat_map(move |places| {
        places.into_iter().map(|(tenant, name)| make(tenant, name)).collect::<Vec<S>>()
    })
}

fn vrf(tenant: usize, name: &'static str) -> impl Strategy<Value = Vrf> {
    often(false, true, 9).prop_map(move |unenforced| Vrf { tenant, name, unenforced })
}

fn bridge_domain(tenant: usize, name: &'static str) -> impl Strategy<Value = BridgeDomain> {
    prop_oneof![8 => Just("v"), 3 => Just("w"), 1 => Just("gone")]
        .prop_map(move |vrf| BridgeDomain { tenant, name, vrf })
}

fn group() -> impl Strategy<Value = Group> {
    (
        0..2_usize,
        select(&PROFILES[..]),
        prop_oneof![8 => Just("a"), 4 => Just("b"), 1 => Just("gone")],
        often(false, true, 4),
        often(false, true, 12),
        names(&["c", "d", "e", "gone"]),
        names(&["c", "d", "e", "gone"]),
    )
        .prop_map(|(tenant, profile, bridge_domain, isolated, shut, consumes, provides)| {
            Group { tenant, profile, bridge_domain, isolated, shut, consumes, provides }
        })
}

fn contract(tenant: usize, name: &'static str) -> impl Strategy<Value = Contract> {
    (prop_oneof![5 => Just("context"), 3 => select(&SCOPES[..])], vec(subject(), 1..=3))
        .prop_map(move |(scope, subjects)| Contract { tenant, name, scope, subjects })
}

fn subject() -> impl Strategy<Value = Subject> {
    (often(true, false, 4), vec(usage(), 0..=3), weighted(0.25, usage()), weighted(0.25, usage()))
        .prop_map(|(reverse, mut both, asking, answering)| {
            // A relation's name is part of its DN: one of a kind.
            both.sort_by_key(|usage| usage.filter);
            both.dedup_by_key(|usage| usage.filter);
            Subject { reverse, both, asking, answering }
        })
}

fn usage() -> impl Strategy<Value = Use> {
    let filter = prop_oneof![9 => select(&FILTERS[..]), 1 => Just("gone")];
    let priority = prop_oneof![3 => Just("default"), 2 => select(&PRIORITIES[..])];
    (filter, often(false, true, 3), priority).prop_map(|(filter, deny, priority)| Use {
        filter,
        deny,
        priority,
    })
}

fn filter(tenant: usize, name: &'static str) -> impl Strategy<Value = Filter> {
    vec(entry(), 1..=4).prop_map(move |entries| Filter { tenant, name, entries })
}

/// Properties of an entry that go together: one that contradicts itself is a fault of the
/// configuration, and what the compiler does about that is not for the comparison.
fn entry() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let ip = || prop_oneof![4 => Just("ip"), 1 => Just("ipv4"), 1 => Just("ipv6")];
    let ports = || {
        (range(), range()).prop_map(|((s_from, s_to), (d_from, d_to))| {
            vec![("sFromPort", s_from), ("sToPort", s_to), ("dFromPort", d_from), ("dToPort", d_to)]
        })
    };
    let rules = prop_oneof![4 => Just(""), 2 => Just("est"),
        3 => select(&["syn", "ack", "ack,syn", "rst", "fin"][..])];
    let tcp = (ip(), ports(), rules).prop_map(|(ether, mut props, rules)| {
        props.extend([("etherT", ether), ("prot", "tcp"), ("tcpRules", rules)]);
        props
    });
    let udp = (ip(), ports()).prop_map(|(ether, mut props)| {
        props.extend([("etherT", ether), ("prot", "udp")]);
        props
    });
    let icmp = (ip(), select(&["unspecified", "echo", "echo-rep", "dst-unreach"][..]))
        .prop_map(|(ether, kind)| vec![("etherT", ether), ("prot", "icmp"), ("icmpv4T", kind)]);
    let icmp6 = (ip(), select(&["unspecified", "echo-req", "echo-rep", "nbr-solicit"][..]))
        .prop_map(|(ether, kind)| vec![("etherT", ether), ("prot", "icmpv6"), ("icmpv6T", kind)]);
    let arp = select(&["unspecified", "req", "reply"][..])
        .prop_map(|operation| vec![("etherT", "arp"), ("arpOpc", operation)]);
    let broad = prop_oneof![
        Just(vec![]),
        Just(vec![("etherT", "ip")]),
        Just(vec![("etherT", "ipv6")]),
        Just(vec![("etherT", "ip"), ("prot", "47")]),
        Just(vec![("etherT", "ip"), ("prot", "tcp")]),
    ];
    let shape = prop_oneof![6 => tcp, 3 => udp, 1 => icmp, 1 => icmp6, 1 => arp, 2 => broad];
    (shape, often("no", "yes", 3), often("no", "yes", 8)).prop_map(|(mut props, stateful, frag)| {
        props.retain(|(_, value)| !matches!(*value, "" | "unspecified"));
        // Fragments are IP's, and the later ones have nothing else but a protocol.
        let is_ip = |(name, value): &(&str, &str)| *name == "etherT" && *value != "arp";
        if props.iter().any(is_ip) && props.iter().all(|(n, _)| matches!(*n, "etherT" | "prot")) {
            props.push(("applyToFrag", frag));
        }
        props.push(("stateful", stateful));
        props.retain(|(_, value)| *value != "no");
        props
    })
}

/// A range of [`RANGES`], most often none: an entry that asks for both ports matches little.
fn range() -> impl Strategy<Value = (&'static str, &'static str)> {
    prop_oneof![1 => Just(RANGES[0]), 1 => select(&RANGES[..])]
}

fn names(of: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    btree_set(select(of), 0..=3).prop_map(|set| set.into_iter().collect())
}

/// `usual`, but once in `rarity` times `rare`. Shrinks towards `usual`.
fn often<T: Copy + fmt::Debug>(usual: T, rare: T, rarity: u32) -> impl Strategy<Value = T> {
    (0..rarity).prop_map(move |n| if n + 1 == rarity { rare } else { usual })
}

impl Fabric {
    /// All groups in one VRF of the first tenant, where the contracts and filters are too; the first
    /// group consumes what the second provides.
    fn tidied(mut self) -> Fabric {
        for group in &mut self.groups {
            group.tenant = 0;
            group.shut = false;
            group.bridge_domain = if group.bridge_domain == "b" { "b" } else { "a" };
        }
        let domain = |name| BridgeDomain { tenant: 0, name, vrf: "v" };
        self.bridge_domains.retain(|bd| bd.tenant != 0);
        self.bridge_domains.extend(BRIDGE_DOMAINS.map(domain));
        self.vrfs.retain(|vrf| (vrf.tenant, vrf.name) != (0, "v"));
        let unenforced = self.vrfs.iter().all(|vrf| vrf.unenforced);
        self.vrfs.push(Vrf { tenant: 0, name: "v", unenforced });
        let mut names = BTreeSet::new();
        for contract in &mut self.contracts {
            contract.tenant = 0;
        }
        self.contracts.retain(|contract| names.insert(contract.name));
        for filter in &mut self.filters {
            filter.tenant = 0;
        }
        self.filters.retain(|filter| names.insert(filter.name));
        let offered = self.contracts.first().map_or("c", |contract| contract.name);
        let join = |names: &mut Vec<&'static str>| {
            if !names.contains(&offered) {
                names.push(offered);
            }
        };
        if let [first, second, ..] = self.groups.as_mut_slice() {
            join(&mut first.consumes);
            join(&mut second.provides);
        }
        self
    }

    /// Who takes part: an endpoint of each group, and where there are external EPGs, some addresses
    /// that may be in one.
    pub fn people(&self) -> Vec<Who> {
        let text = self.to_string();
        let policies = ["uni/tn-t/pol-h", "uni/tn-t/pol-k"];
        let gated = text.contains("hostprotPol");
        let member = |((number, group), attached): ((u8, &Group), String)| {
            let name = group.bridge_domain;
            let own = |bd: &&BridgeDomain| (bd.tenant, bd.name) == (group.tenant, name);
            let tenant = self.bridge_domains.iter().find(own).map_or(2, |bd| bd.tenant);
            let domain = domain_number(&format!("{}/BD-{name}", tenant_dn(tenant)));
            // Every second endpoint has an address of its group's own subnet.
            let third = if number % 2 == 1 { 120 + number } else { number };
            let ip = Some(IpAddr::from([10, domain, third, 7]));
            // Every third endpoint is under no policy, one under both.
            let under = policies.iter().take(usize::from(gated) * usize::from(number % 3));
            let protection = under.map(|dn| (*dn).to_owned()).collect();
            Who::Member(Endpoint { attached, ip, protection, ..Endpoint::default() })
        };
        let groups = (0..).zip(&self.groups).zip(self.groups());
        let mut people: Vec<Who> = groups.map(member).collect();
        if text.contains("l3extInstP") {
            let vrf = self.vrfs.first().map_or("", |vrf| vrf.name);
            let vrf = format!(
                "{}/ctx-{vrf}",
                self.vrfs.first().map_or(String::new(), |v| tenant_dn(v.tenant))
            );
            let addresses = ["203.0.113.9", "203.0.113.8", "192.0.2.1", "2001:db8:ff::1"];
            people.extend(addresses.iter().filter_map(|address| {
                Some(Who::Outside { vrf: vrf.clone(), address: address.parse().ok()? })
            }));
        }
        people
    }

    /// DNs of the groups.
    pub fn groups(&self) -> Vec<String> {
        (0..).zip(&self.groups).map(|(number, group)| group.dn(number)).collect()
    }
}

impl Group {
    fn dn(&self, number: usize) -> String {
        format!("{}/ap-{}/epg-{number}", tenant_dn(self.tenant), self.profile)
    }
}

fn tenant_dn(tenant: usize) -> String {
    format!("uni/tn-{}", TENANTS.get(tenant).copied().unwrap_or("common"))
}

impl fmt::Display for Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sketch = String::new();
        self.sketch(&mut sketch)?;
        f.write_str(&extra::joined(&sketch, &self.extras))
    }
}

impl Fabric {
    /// What every fabric has.
    fn sketch(&self, f: &mut String) -> fmt::Result {
        for tenant in 0..TENANTS.len() {
            writeln!(f, "fvTenant {}", tenant_dn(tenant))?;
        }
        for vrf in &self.vrfs {
            let enforced = if vrf.unenforced { "unenforced" } else { "enforced" };
            writeln!(f, "fvCtx {}/ctx-{} pcEnfPref={enforced}", tenant_dn(vrf.tenant), vrf.name)?;
        }
        for bd in &self.bridge_domains {
            let dn = format!("{}/BD-{}", tenant_dn(bd.tenant), bd.name);
            writeln!(f, "fvBD {dn}\nfvRsCtx {dn}/rsctx tnFvCtxName={}", bd.vrf)?;
        }
        for (number, group) in (0..).zip(&self.groups) {
            show_group(f, &group.dn(number), group)?;
        }
        for filter in &self.filters {
            let dn = format!("{}/flt-{}", tenant_dn(filter.tenant), filter.name);
            writeln!(f, "vzFilter {dn}")?;
            for (number, props) in (0..).zip(&filter.entries) {
                write!(f, "vzEntry {dn}/e-{number}")?;
                props.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))?;
                f.write_char('\n')?;
            }
        }
        for contract in &self.contracts {
            let dn = format!("{}/brc-{}", tenant_dn(contract.tenant), contract.name);
            writeln!(f, "vzBrCP {dn} scope={}", contract.scope)?;
            for (number, subject) in (0..).zip(&contract.subjects) {
                show_subject(f, &format!("{dn}/subj-{number}"), subject)?;
            }
        }
        Ok(())
    }
}

fn show_group(f: &mut String, dn: &str, group: &Group) -> fmt::Result {
    if let Some((profile, _)) = dn.rsplit_once('/') {
        writeln!(f, "fvAp {profile}")?;
    }
    let isolated = if group.isolated { "enforced" } else { "unenforced" };
    let shut = if group.shut { " shutdown=yes" } else { "" };
    writeln!(f, "fvAEPg {dn} pcEnfPref={isolated}{shut}")?;
    writeln!(f, "fvRsBd {dn}/rsbd tnFvBDName={}", group.bridge_domain)?;
    for name in &group.consumes {
        writeln!(f, "fvRsCons {dn}/rscons-{name}")?;
    }
    for name in &group.provides {
        writeln!(f, "fvRsProv {dn}/rsprov-{name}")?;
    }
    Ok(())
}

fn show_subject(f: &mut String, dn: &str, subject: &Subject) -> fmt::Result {
    writeln!(f, "vzSubj {dn} revFltPorts={}", if subject.reverse { "yes" } else { "no" })?;
    for usage in &subject.both {
        writeln!(f, "vzRsSubjFiltAtt {dn}/rssubjFiltAtt-{}{usage}", usage.filter)?;
    }
    for (class, rn, usage) in
        [("vzInTerm", "intmnl", &subject.asking), ("vzOutTerm", "outtmnl", &subject.answering)]
    {
        if let Some(usage) = usage {
            writeln!(f, "{class} {dn}/{rn}")?;
            writeln!(f, "vzRsFiltAtt {dn}/{rn}/rsfiltAtt-{}{usage}", usage.filter)?;
        }
    }
    Ok(())
}

/// The properties of the relation, as a sketch writes them.
impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = if self.deny { "deny" } else { "permit" };
        write!(f, " action={action} priorityOverride={}", self.priority)
    }
}

/// A failing case prints as a sketch, ready to be put into a test.
impl fmt::Debug for Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}
