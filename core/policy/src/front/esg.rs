//! Endpoint security groups: groups of a VRF whose endpoints are attached to EPGs and chosen by
//! selectors.
//!
//! An endpoint keeps its bridge domain. Selectors rank (Security Configuration guide, *Endpoint Security
//! Groups*, precedence of selectors): an address, the longest prefix first, be it a selector's, a tagged
//! address or a tagged subnet; then a tagged MAC address; then a tag of the workload itself; then the EPG,
//! named or tagged. The first three come before microsegments, the last takes what is in the EPG after
//! them. What two groups claim alike belongs to neither.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvage_model::{Dn, Mo};
use selvage_rules::{Arm, Comparison, Mac, Prefix, Test};

use super::group::as_dn;
use super::micro::prefix;
use super::objects::{parent, tenant};
use super::relation::relations;
use super::{Reader, not_found, stance};
use crate::ir::{Group, Intent};
use crate::problem::Cause;

/// What a selector is about. The order is that of precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// Addresses; a longer prefix comes first.
    Addresses(std::cmp::Reverse<u8>, Prefix),
    /// A MAC, in one bridge domain or all of the VRF.
    Mac(Mac, Option<Dn>),
    /// A tag of the workload itself.
    Tag(Arc<str>, Comparison, Arc<str>),
    /// An EPG.
    Group(Dn),
}

/// A selector of a group, and what it claims there.
struct Selector {
    group: Dn,
    cause: Dn,
}

/// Claims of a fabric, by VRF.
type Claims = BTreeMap<(Dn, Claim), Vec<Selector>>;

/// A tag selector.
struct TagSelector {
    group: Dn,
    vrf: Dn,
    cause: Dn,
    key: Arc<str>,
    comparison: Comparison,
    value: Arc<str>,
}

/// An object that carries tags, and what is chosen by choosing it.
struct Tagged<'a> {
    mo: &'a Mo,
    vrf: Dn,
    claim: Claim,
}

/// Reads the groups, and who is in them: by VRF, and of which EPG all endpoints are. Those EPGs have
/// handed their contracts on.
pub(super) fn read(
    reader: &mut Reader<'_>,
    intent: &mut Intent,
) -> (BTreeMap<Dn, Vec<Arm>>, BTreeMap<Dn, Arm>) {
    let mut claims = Claims::new();
    let tags = own_claims(reader, intent, &mut claims);
    tagged_claims(reader, intent, &tags, &mut claims);
    for (key, selectors) in &mut claims {
        settle(reader, &key.1, selectors);
    }
    let mut arms: BTreeMap<Dn, Vec<Arm>> = BTreeMap::new();
    let mut taken: BTreeMap<Dn, Arm> = BTreeMap::new();
    for ((vrf, claim), selectors) in claims {
        for Selector { group, cause } in selectors {
            let arm = |test| Arm { test, group: Some(group.shared()), cause: cause.shared() };
            let test = match &claim {
                Claim::Addresses(_, prefix) => Test::Ip(*prefix),
                Claim::Mac(mac, None) => Test::Mac(*mac),
                Claim::Mac(mac, Some(bd)) => {
                    Test::All(vec![Test::Mac(*mac), Test::Within(bd.shared())])
                }
                Claim::Tag(key, comparison, value) => Test::Label {
                    keys: vec![Arc::clone(key)],
                    comparison: *comparison,
                    value: Arc::clone(value),
                },
                Claim::Group(epg) => {
                    taken.insert(epg.clone(), arm(Test::Attached(epg.shared())));
                    continue;
                }
            };
            arms.entry(vrf.clone()).or_default().push(arm(test));
        }
    }
    (arms, taken)
}

/// Reads the groups themselves. One that is shut down chooses its endpoints all the same: they are in
/// quarantine.
pub(super) fn groups(reader: &mut Reader<'_>, intent: &mut Intent) {
    for mo in reader.objects.all("fvESg") {
        let dn = mo.dn();
        let Some(vrf) = vrf_of(reader, mo) else {
            let relation = reader.objects.under(dn, "fvRsScope").first().copied();
            let name = relation.map_or("", |mo| mo.get("tnFvCtxName"));
            let text = format!("{}: the group chooses nobody", not_found("VRF", name, dn));
            reader.problem(dn, Cause::NoVrf, text);
            continue;
        };
        if mo.get("shutdown") == "yes" {
            let text = "the group is shut down: its endpoints are in quarantine";
            reader.problem(dn, Cause::ShutDown, text.to_owned());
            continue;
        }
        let stance = stance::of(reader, intent, mo);
        let group = Group {
            tenant: as_dn(tenant(dn), dn),
            profile: as_dn(parent(dn), dn),
            bd: None,
            vrf,
            stance,
            provides: relations(reader, dn, "fvRsProv"),
            consumes: relations(reader, dn, "fvRsCons"),
            outside: std::collections::BTreeSet::new(),
        };
        intent.groups.insert(dn.clone(), group);
    }
}

/// Hands the contracts of an EPG, all of whose endpoints are in a group, to that group, and what is
/// denied to its endpoints with them.
pub(super) fn inherit(intent: &mut Intent, taken: &BTreeMap<Dn, Arm>) {
    for (epg, arm) in taken {
        let Some(heir) = arm.group.as_ref().and_then(|name| name.parse::<Dn>().ok()) else {
            continue;
        };
        let Some(group) = intent.groups.get_mut(epg) else { continue };
        let (provides, consumes) =
            (std::mem::take(&mut group.provides), std::mem::take(&mut group.consumes));
        let (taboos, sealed) = (group.stance.taboos.clone(), group.stance.sealed);
        if let Some(heir) = intent.groups.get_mut(&heir) {
            heir.provides.extend(provides);
            heir.consumes.extend(consumes);
            heir.stance.taboos.extend(taboos);
            heir.stance.sealed |= sealed;
        }
    }
}

fn vrf_of(reader: &Reader<'_>, group: &Mo) -> Option<Dn> {
    reader.target(reader.objects.under(group.dn(), "fvRsScope").first().copied()?)
}

/// What the groups' own selectors claim; their tag selectors are returned.
fn own_claims(
    reader: &mut Reader<'_>,
    intent: &mut Intent,
    claims: &mut Claims,
) -> Vec<TagSelector> {
    let mut tags = Vec::new();
    for mo in reader.objects.all("fvESg") {
        let Some(vrf) = vrf_of(reader, mo) else { continue };
        let mut add = |claim, cause: &Dn| {
            let selector = Selector { group: mo.dn().clone(), cause: cause.clone() };
            claims.entry((vrf.clone(), claim)).or_default().push(selector);
        };
        for selector in reader.objects.under(mo.dn(), "fvEPSelector") {
            match expression(selector.get("matchExpression")) {
                Some(claim) => add(claim, selector.dn()),
                None => {
                    let text = "it is no `ip=='PREFIX'` or `mac=='MAC'`: nobody is chosen by it";
                    reader.problem(selector.dn(), Cause::BadSelector, text.to_owned());
                }
            }
        }
        for selector in reader.objects.under(mo.dn(), "fvEPgSelector") {
            match epg(reader, intent, mo, &vrf, selector.get("matchEpgDn")) {
                Ok(epg) => add(Claim::Group(epg), selector.dn()),
                Err(why) => {
                    let text = format!("{why}: nobody is chosen by it");
                    reader.problem(selector.dn(), Cause::BadSelector, text);
                }
            }
        }
        for selector in reader.objects.under(mo.dn(), "fvTagSelector") {
            let Some(tag) = tag_selector(reader, mo, &vrf, selector) else { continue };
            let (key, value) = (workload_key(&tag.key), Arc::clone(&tag.value));
            add(Claim::Tag(key, tag.comparison, value), selector.dn());
            tags.push(tag);
        }
        for selector in reader.objects.under(mo.dn(), "fvExternalSubnetSelector") {
            outside(reader, intent, mo.dn(), &vrf, selector);
        }
    }
    tags
}

/// A prefix outside that is of the group.
fn outside(reader: &mut Reader<'_>, intent: &mut Intent, group: &Dn, vrf: &Dn, selector: &Mo) {
    let Some(prefix) = prefix(selector.get("ip")) else {
        let text = format!("`{}` is no prefix: no address is in it", selector.get("ip"));
        return reader.problem(selector.dn(), Cause::BadPrefix, text);
    };
    let mut externals = intent.externals.iter();
    let external = externals.find(|(_, e)| &e.vrf == vrf && e.prefixes.contains(&prefix));
    let mut groups = intent.groups.iter();
    let other = groups.find(|(dn, g)| *dn != group && &g.vrf == vrf && g.outside.contains(&prefix));
    if let Some(holder) = external.map(|(dn, _)| dn).or(other.map(|(dn, _)| dn)) {
        let text = format!("prefix `{prefix}` is in `{holder}` already: it is not in this group");
        return reader.problem(selector.dn(), Cause::PrefixInUse, text);
    }
    if let Some(group) = intent.groups.get_mut(group) {
        group.outside.insert(prefix);
    }
}

/// `ip=='10.0.0.0/24'`, in whatever quotes and spaces.
fn expression(text: &str) -> Option<Claim> {
    let (what, value) = text.split_once("==")?;
    let value = value.trim().trim_matches(|c| c == '\'' || c == '"').trim();
    match what.trim() {
        "ip" => prefix(value).map(addresses),
        "mac" => value.parse().ok().map(|mac| Claim::Mac(mac, None)),
        _ => None,
    }
}

fn addresses(prefix: Prefix) -> Claim {
    Claim::Addresses(std::cmp::Reverse(prefix.length()), prefix)
}

/// The EPG of the group's tenant and VRF that a selector names.
fn epg(
    reader: &Reader<'_>,
    intent: &Intent,
    group: &Mo,
    vrf: &Dn,
    text: &str,
) -> Result<Dn, String> {
    let found = reader.tree.get(text).filter(|mo| mo.class().name == "fvAEPg");
    let found = found.ok_or_else(|| format!("there is no EPG `{text}`"))?;
    if tenant(found.dn()) != tenant(group.dn()) {
        return Err(format!("EPG `{text}` is in another tenant"));
    }
    match intent.groups.get(found.dn()) {
        Some(epg) if &epg.vrf == vrf => Ok(found.dn().clone()),
        Some(_) => Err(format!("EPG `{text}` is in another VRF")),
        None => Err(format!("EPG `{text}` is in quarantine")),
    }
}

fn tag_selector(reader: &mut Reader<'_>, group: &Mo, vrf: &Dn, mo: &Mo) -> Option<TagSelector> {
    let comparison = match mo.get("valueOperator") {
        "contains" => Comparison::Contains,
        "regex" => Comparison::Matches,
        _ => Comparison::Equals,
    };
    let value = mo.get("matchValue");
    if comparison == Comparison::Matches && crate::compile::expression(value).is_none() {
        let text = format!("`{value}` is no regular expression: nobody is chosen by it");
        reader.problem(mo.dn(), Cause::BadSelector, text);
        return None;
    }
    Some(TagSelector {
        group: group.dn().clone(),
        vrf: vrf.clone(),
        cause: mo.dn().clone(),
        key: mo.get("matchKey").into(),
        comparison,
        value: value.into(),
    })
}

/// The key of a workload's label that a tag is.
fn workload_key(key: &str) -> Arc<str> {
    match key {
        "__vmm::vmname" => "vm-name".into(),
        key => format!("tag:{key}").into(),
    }
}

/// What is claimed by the tags of objects. Tags count within a tenant.
fn tagged_claims(
    reader: &mut Reader<'_>,
    intent: &Intent,
    selectors: &[TagSelector],
    claims: &mut Claims,
) {
    if selectors.is_empty() {
        return;
    }
    for Tagged { mo, vrf, claim } in tagged(reader, intent) {
        let tags = reader.objects.under(mo.dn(), "tagTag");
        for selector in selectors {
            if selector.vrf != vrf || tenant(&selector.group) != tenant(mo.dn()) {
                continue;
            }
            let wanted = |tag: &&Mo| {
                *tag.get("key") == *selector.key
                    && selector.comparison.holds(tag.get("value"), &selector.value)
            };
            if tags.iter().any(wanted) {
                let (group, cause) = (selector.group.clone(), selector.cause.clone());
                let key = (vrf.clone(), claim.clone());
                claims.entry(key).or_default().push(Selector { group, cause });
            }
        }
    }
}

/// Every object that carries tags that choose endpoints.
fn tagged<'a>(reader: &mut Reader<'a>, intent: &Intent) -> Vec<Tagged<'a>> {
    let mut all = Vec::new();
    let vrf_of_bd = |bd: &Dn| intent.bridge_domains.get(bd).map(|found| found.vrf.clone());
    for mo in reader.objects.all("fvEpIpTag") {
        let vrf = named(reader, mo.dn(), "ctx", mo.get("ctxName"));
        match (vrf, prefix(mo.get("ip"))) {
            (Some(vrf), Some(prefix)) => all.push(Tagged { mo, vrf, claim: addresses(prefix) }),
            _ => missing(reader, mo, "VRF", mo.get("ctxName")),
        }
    }
    for mo in reader.objects.all("fvEpMacTag") {
        let Ok(mac) = mo.get("mac").parse() else { continue };
        if mo.get("bdName") == "*" {
            match named(reader, mo.dn(), "ctx", mo.get("ctxName")) {
                Some(vrf) => all.push(Tagged { mo, vrf, claim: Claim::Mac(mac, None) }),
                None => missing(reader, mo, "VRF", mo.get("ctxName")),
            }
            continue;
        }
        let bd = named(reader, mo.dn(), "BD", mo.get("bdName"));
        match bd.and_then(|bd| Some((vrf_of_bd(&bd)?, bd))) {
            Some((vrf, bd)) => all.push(Tagged { mo, vrf, claim: Claim::Mac(mac, Some(bd)) }),
            None => missing(reader, mo, "bridge domain", mo.get("bdName")),
        }
    }
    for (bd, found) in &intent.bridge_domains {
        for mo in reader.objects.under(bd, "fvSubnet") {
            let claim = prefix(mo.get("ip")).map(addresses);
            all.extend(claim.map(|claim| Tagged { mo, vrf: found.vrf.clone(), claim }));
        }
    }
    for mo in reader.objects.all("fvAEPg") {
        let Some(group) = intent.groups.get(mo.dn()) else { continue };
        let vrf = || group.vrf.clone();
        all.push(Tagged { mo, vrf: vrf(), claim: Claim::Group(mo.dn().clone()) });
        for mo in reader.objects.under(mo.dn(), "fvSubnet") {
            let claim = prefix(mo.get("ip")).map(addresses);
            all.extend(claim.map(|claim| Tagged { mo, vrf: vrf(), claim }));
        }
        for mo in reader.objects.under(mo.dn(), "fvStCEp") {
            let mac = mo.get("mac").parse().ok();
            let claim = mac.map(|mac| Claim::Mac(mac, group.bd.clone()));
            all.extend(claim.map(|claim| Tagged { mo, vrf: vrf(), claim }));
        }
    }
    all
}

fn missing(reader: &mut Reader<'_>, mo: &Mo, what: &str, name: &str) {
    let text = format!("{}: nobody is chosen by it", not_found(what, name, mo.dn()));
    reader.problem(mo.dn(), Cause::BadSelector, text);
}

/// The object of this name in the tenant of `from`, else in tenant `common`.
fn named(reader: &Reader<'_>, from: &Dn, prefix: &str, name: &str) -> Option<Dn> {
    let own = reader.tree.get(&format!("{}/{prefix}-{name}", tenant(from)));
    let common = || reader.tree.get(&format!("uni/tn-common/{prefix}-{name}"));
    own.or_else(common).map(|mo| mo.dn().clone())
}

/// What several groups claim alike is left to none of them.
fn settle(reader: &mut Reader<'_>, claim: &Claim, selectors: &mut Vec<Selector>) {
    let first = selectors.first().map(|selector| selector.group.clone());
    if selectors.iter().all(|selector| Some(&selector.group) == first.as_ref()) {
        selectors.truncate(1);
        return;
    }
    for selector in &*selectors {
        let other = selectors.iter().find(|other| other.group != selector.group);
        let other = other.map_or("", |other| other.group.as_str());
        let text = format!("`{other}` claims {claim} too: it is in neither group by that");
        reader.problem(&selector.cause, Cause::ClaimedTwice, text);
    }
    selectors.clear();
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Claim::Addresses(_, prefix) => write!(f, "`{prefix}`"),
            Claim::Mac(mac, _) => write!(f, "`{mac}`"),
            Claim::Tag(key, _, value) => write!(f, "tag `{key}` `{value}`"),
            Claim::Group(epg) => write!(f, "`{epg}`"),
        }
    }
}
