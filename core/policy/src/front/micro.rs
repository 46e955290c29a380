//! Microsegments: groups whose endpoints are attached elsewhere and chosen by attributes.
//!
//! An endpoint attached to a group of the microsegment's bridge domain (of its VRF, where the criteria
//! say `scope-vrf`) is in the microsegment if the criteria hold of it, and keeps its bridge domain.
//! Of several whose criteria hold (Virtualization guide, *Microsegmentation with Cisco ACI*, precedence
//! rules): a MAC comes before an address, a longer prefix before a shorter one, an address before what
//! is known of a workload; among the latter the higher *EPG match precedence*, then the attribute, then
//! the operator. With `any`, each attribute speaks for itself; with `all`, the best of them does.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use selvage_model::{Dn, Mo};
use selvage_rules::{Arm, Comparison, Mac, Prefix, Test};

use super::{Reader, network};
use crate::ir::Intent;
use crate::problem::Cause;

/// What of a workload is looked at, in order of precedence.
const KINDS: [&str; 11] = [
    "vnic",
    "vm",
    "vm-name",
    "hv",
    "domain",
    "rootContName",
    "custom-label",
    "guest-os",
    "tag",
    "vm-folder",
    "vmfolder-path",
];

/// Operators in order of precedence.
const OPERATORS: [(&str, Comparison); 5] = [
    ("equals", Comparison::Equals),
    ("contains", Comparison::Contains),
    ("startsWith", Comparison::StartsWith),
    ("endsWith", Comparison::EndsWith),
    ("notEquals", Comparison::Differs),
];

/// Classes of criteria that look at what no host knows.
const UNKNOWABLE: [(&str, &str); 2] =
    [("fvDnsAttr", "domain names"), ("fvIdGroupAttr", "groups of users")];

/// How criteria rank; the lowest decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    sort: Sort,
    length: Reverse<u8>,
    precedence: Reverse<u64>,
    kind: usize,
    operator: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    Mac,
    Ip,
    Workload,
}

/// A test and how it ranks; `None` holds of nobody.
type Ranked = Option<(Rank, Test)>;

/// A microsegment's choice, where it counts.
struct Choice {
    rank: Rank,
    cause: Dn,
    arm: Arm,
}

/// Who is in which microsegment, by the bridge domains in whose groups they are attached.
pub(super) fn arms(reader: &mut Reader<'_>, intent: &Intent) -> BTreeMap<Dn, Vec<Arm>> {
    let mut choices: BTreeMap<Dn, Vec<Choice>> = BTreeMap::new();
    let mut last: BTreeMap<Dn, Vec<Arm>> = BTreeMap::new();
    for mo in reader.objects.all("fvAEPg") {
        let criteria = reader.objects.under(mo.dn(), "fvCrtrn").first().copied();
        if mo.get("isAttrBasedEPg") != "yes" {
            if let Some(criteria) = criteria {
                let text = "the group is no microsegment (`isAttrBasedEPg`): nobody is chosen";
                reader.problem(criteria.dn(), Cause::BadCriterion, text.to_owned());
            }
            continue;
        }
        let Some((bd, vrf)) = network::bridge_domain_of(reader, intent, mo.dn()) else { continue };
        // Whoever is attached to it and not chosen is nowhere.
        let (group, cause) = (mo.dn().shared(), mo.dn().shared());
        let nowhere = Arm { test: Test::Attached(group), group: None, cause };
        last.entry(bd.clone()).or_default().push(nowhere);
        let Some(criteria) = criteria else {
            let text = "the microsegment has no criteria: it chooses nobody";
            reader.problem(mo.dn(), Cause::BadCriterion, text.to_owned());
            continue;
        };
        let domains: Vec<Dn> = if criteria.get("scope") == "scope-vrf" {
            let of_vrf = intent.bridge_domains.iter().filter(|(_, found)| found.vrf == vrf);
            of_vrf.map(|(dn, _)| dn.clone()).collect()
        } else {
            vec![bd]
        };
        for (rank, test, cause) in chosen(reader, mo, criteria) {
            let group = Some(mo.dn().shared());
            for domain in &domains {
                let arm = Arm { test: test.clone(), group: group.clone(), cause: cause.shared() };
                let choice = Choice { rank, cause: cause.clone(), arm };
                choices.entry(domain.clone()).or_default().push(choice);
            }
        }
    }
    let mut arms: BTreeMap<Dn, Vec<Arm>> = BTreeMap::new();
    for (domain, mut choices) in choices {
        choices.sort_by(|a, b| (a.rank, &a.cause).cmp(&(b.rank, &b.cause)));
        arms.insert(domain, choices.into_iter().map(|choice| choice.arm).collect());
    }
    for (domain, nowhere) in last {
        arms.entry(domain).or_default().extend(nowhere);
    }
    arms
}

/// What a microsegment chooses by, each with the object that says so.
fn chosen(reader: &mut Reader<'_>, group: &Mo, criteria: &Mo) -> Vec<(Rank, Test, Dn)> {
    let precedence = criteria.number("prec").unwrap_or(0);
    let parts = parts(reader, group, criteria, precedence);
    if parts.is_empty() {
        let text = "the criteria name no attribute: they choose nobody";
        reader.problem(criteria.dn(), Cause::BadCriterion, text.to_owned());
    }
    if criteria.get("match") == "all" {
        let all = all(parts.into_iter().map(|(part, _)| part));
        return all.map(|(rank, test)| (rank, test, criteria.dn().clone())).into_iter().collect();
    }
    parts.into_iter().filter_map(|(part, dn)| part.map(|(rank, test)| (rank, test, dn))).collect()
}

/// The attributes and blocks that `of` contains; one that is broken holds of nobody.
fn parts(reader: &mut Reader<'_>, group: &Mo, of: &Mo, precedence: u64) -> Vec<(Ranked, Dn)> {
    let mut parts = Vec::new();
    let rank = |sort, length, kind, operator| Rank {
        sort,
        length: Reverse(length),
        precedence: Reverse(precedence),
        kind,
        operator,
    };
    for mo in reader.objects.under(of.dn(), "fvMacAttr") {
        let mac: Option<Mac> = mo.get("mac").parse().ok().filter(|mac: &Mac| mac.0 != [0; 6]);
        let part = mac.map(|mac| (rank(Sort::Mac, 0, 0, 0), Test::Mac(mac)));
        parts.push((or_say(reader, mo, part, "it names no MAC address"), mo.dn().clone()));
    }
    for mo in reader.objects.under(of.dn(), "fvIpAttr") {
        let prefixes = if mo.get("usefvSubnet") == "yes" {
            let subnets = reader.objects.under(group.dn(), "fvSubnet");
            subnets.iter().filter_map(|mo| prefix(mo.get("ip"))).collect()
        } else {
            let named = prefix(mo.get("ip"));
            // The class's default stands for none.
            named.filter(|_| mo.get("ip") != "0.0.0.0").into_iter().collect::<Vec<_>>()
        };
        let longest = prefixes.iter().map(|prefix| prefix.length()).max();
        let test = Test::Any(prefixes.into_iter().map(Test::Ip).collect());
        let part = longest.map(|length| (rank(Sort::Ip, length, 0, 0), test));
        parts.push((or_say(reader, mo, part, "it names no address"), mo.dn().clone()));
    }
    for mo in reader.objects.under(of.dn(), "fvVmAttr") {
        let kind = KINDS.iter().position(|kind| *kind == mo.get("type"));
        let operator = OPERATORS.iter().position(|(word, _)| *word == mo.get("operator"));
        let part = kind
            .zip(operator)
            .zip(workload(mo))
            .map(|((kind, operator), test)| (rank(Sort::Workload, 0, kind, operator), test));
        parts.push((or_say(reader, mo, part, "it compares with nothing"), mo.dn().clone()));
    }
    for (class, what) in UNKNOWABLE {
        for mo in reader.objects.under(of.dn(), class) {
            let text = format!("criteria by {what} are not supported: they hold of nobody");
            reader.problem(mo.dn(), Cause::NotSupported, text);
            parts.push((None, mo.dn().clone()));
        }
    }
    for mo in reader.objects.under(of.dn(), "fvSCrtrn") {
        let inner = self::parts(reader, group, mo, precedence);
        let ranked = inner.into_iter().map(|(part, _)| part);
        let block = if mo.get("match") == "all" { all(ranked) } else { any(ranked) };
        parts.push((or_say(reader, mo, block, "it holds of nobody"), mo.dn().clone()));
    }
    parts
}

fn or_say(reader: &mut Reader<'_>, mo: &Mo, part: Ranked, why: &str) -> Ranked {
    if part.is_none() {
        let text = format!("{why}: nobody is chosen by it");
        reader.problem(mo.dn(), Cause::BadCriterion, text);
    }
    part
}

/// All of several; one that holds of nobody leaves nobody.
fn all(parts: impl Iterator<Item = Ranked>) -> Ranked {
    let parts: Option<Vec<(Rank, Test)>> = parts.collect();
    let (ranks, tests): (Vec<Rank>, Vec<Test>) = parts?.into_iter().unzip();
    ranks.into_iter().min().map(|rank| (rank, Test::All(tests)))
}

fn any(parts: impl Iterator<Item = Ranked>) -> Ranked {
    let (ranks, tests): (Vec<Rank>, Vec<Test>) = parts.flatten().unzip();
    ranks.into_iter().min().map(|rank| (rank, Test::Any(tests)))
}

/// What an attribute of workloads asks for.
fn workload(mo: &Mo) -> Option<Test> {
    let value = mo.get("value");
    let (_, comparison) = OPERATORS.iter().find(|(word, _)| *word == mo.get("operator"))?;
    let key = match mo.get("type") {
        "custom-label" => format!("tag:{}", some(mo.get("labelName"))?),
        "tag" => some(mo.get("category")).map_or("tag".to_owned(), |key| format!("tag:{key}")),
        other => other.to_owned(),
    };
    let keys: Vec<Arc<str>> = vec![key.into()];
    some(value).map(|value| Test::Label { keys, comparison: *comparison, value: value.into() })
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// A prefix, or an address as the prefix of just that.
pub(super) fn prefix(text: &str) -> Option<Prefix> {
    text.parse().ok().or_else(|| {
        let ip: std::net::IpAddr = text.parse().ok()?;
        Prefix::new(ip, if ip.is_ipv4() { 32 } else { 128 })
    })
}
