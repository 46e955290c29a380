//! VRFs, bridge domains and the gateways of their subnets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use selvage_model::Dn;
use selvage_rules::{Gateway, Inside, Mac, Prefix};

use super::group::as_dn;
use super::objects::tenant;
use super::{Reader, any, not_found};
use crate::ir::{BridgeDomain, Intent, Vrf};
use crate::problem::Cause;

/// The MAC of every gateway that has none of its own (the APIC's default).
const DEFAULT_MAC: Mac = Mac([0x00, 0x22, 0xbd, 0xf8, 0x19, 0xff]);

pub(super) fn vrfs(reader: &mut Reader<'_>, intent: &mut Intent) {
    for mo in reader.objects.all("fvCtx") {
        let enforced = mo.get("pcEnfPref") != "unenforced";
        let Some(any) = any::of(reader, mo.dn()) else { continue };
        intent.vrfs.insert(
            mo.dn().clone(),
            Vrf { tenant: as_dn(tenant(mo.dn()), mo.dn()), enforced, any },
        );
    }
}

pub(super) fn bridge_domains(reader: &mut Reader<'_>, intent: &mut Intent) {
    for mo in reader.objects.all("fvBD") {
        let Some(vrf) = vrf_of(reader, mo.dn()) else { continue };
        let bd = BridgeDomain {
            vrf,
            mac: mo.get("mac").parse().unwrap_or(DEFAULT_MAC),
            routed: mo.get("unicastRoute") != "no",
            gateways: Vec::new(),
        };
        intent.bridge_domains.insert(mo.dn().clone(), bd);
    }
}

fn vrf_of(reader: &mut Reader<'_>, bd: &Dn) -> Option<Dn> {
    let relation = reader.objects.under(bd, "fvRsCtx").first().copied();
    let found = relation.and_then(|mo| reader.target(mo));
    if found.is_none() {
        let missing = not_found("VRF", relation.map_or("", |mo| mo.get("tnFvCtxName")), bd);
        let text = format!("{missing}: the bridge domain and its groups are in quarantine");
        reader.problem(bd, Cause::NoVrf, text);
    }
    found
}

/// The bridge domain a group is in and its VRF, if both are enforceable.
pub(super) fn bridge_domain_of(
    reader: &mut Reader<'_>,
    intent: &Intent,
    group: &Dn,
) -> Option<(Dn, Dn)> {
    let relation = reader.objects.under(group, "fvRsBd").first().copied();
    let Some(bd) = relation.and_then(|mo| reader.target(mo)) else {
        let name = relation.map_or("", |mo| mo.get("tnFvBDName"));
        let missing = not_found("bridge domain", name, group);
        let text = format!("{missing}: the group is in quarantine");
        reader.problem(group, Cause::NoBridgeDomain, text);
        return None;
    };
    let Some(found) = intent.bridge_domains.get(&bd) else {
        let text = format!("bridge domain `{bd}` is in no VRF: the group is in quarantine");
        reader.problem(group, Cause::NoBridgeDomain, text);
        return None;
    };
    Some((bd, found.vrf.clone()))
}

/// Reads the gateways. Comes last, since a subnet under a group belongs to the group's bridge
/// domain.
pub(super) fn subnets(reader: &mut Reader<'_>, intent: &mut Intent) {
    let mut owners: Vec<(Dn, Dn)> =
        intent.bridge_domains.keys().map(|bd| (bd.clone(), bd.clone())).collect();
    let of_groups = intent.groups.iter();
    owners.extend(of_groups.filter_map(|(dn, group)| Some((dn.clone(), group.bd.clone()?))));
    let mut by_vrf: BTreeMap<Dn, Vec<Subnet>> = BTreeMap::new();
    for (owner, bd) in owners {
        let Some(vrf) = intent.bridge_domains.get(&bd).map(|found| found.vrf.clone()) else {
            continue;
        };
        for mo in reader.objects.under(&owner, "fvSubnet") {
            match gateway(mo.get("ip")) {
                Ok(gateway) => by_vrf.entry(vrf.clone()).or_default().push(Subnet {
                    dn: mo.dn().clone(),
                    owner: owner.clone(),
                    bd: bd.clone(),
                    gateway,
                    shared: mo.get("scope").split(',').any(|word| word == "shared"),
                    public: mo.get("scope").split(',').any(|word| word == "public"),
                    is_gateway: !mo.get("ctrl").split(',').any(|c| c == "no-default-gateway"),
                }),
                Err(text) => reader.problem(mo.dn(), Cause::BadSubnet, text),
            }
        }
    }
    for (vrf, subnets) in by_vrf {
        for subnet in without_overlaps(reader, subnets) {
            let prefix = Prefix::new(subnet.gateway.ip, subnet.gateway.prefix_len);
            let outside = intent.outside.entry(vrf.clone()).or_default();
            if let Some(prefix) = prefix {
                // Where several gateways share a prefix, one that is not public hides it.
                let inside = outside.inside.entry(prefix).or_insert(Inside { public: true });
                inside.public &= subnet.public;
                if subnet.shared {
                    intent.leaks.entry(subnet.owner).or_default().insert(prefix);
                }
            }
            if let Some(bd) = intent.bridge_domains.get_mut(&subnet.bd)
                && subnet.is_gateway
            {
                bd.gateways.push(subnet.gateway);
            }
        }
    }
    for bd in intent.bridge_domains.values_mut() {
        bd.gateways.sort();
        bd.gateways.dedup();
    }
}

struct Subnet {
    dn: Dn,
    /// What it is under: a bridge domain, or a group in one.
    owner: Dn,
    bd: Dn,
    /// Other VRFs may know it.
    shared: bool,
    gateway: Gateway,
    public: bool,
    is_gateway: bool,
}

fn gateway(text: &str) -> Result<Gateway, String> {
    let wrong = |why: &str| format!("subnet `{text}` {why}: it has no gateway");
    let (ip, len) = text.split_once('/').ok_or_else(|| wrong("has no prefix length"))?;
    let ip: IpAddr = ip.parse().map_err(|_| wrong("is no address with a prefix length"))?;
    let prefix_len: u8 = len.parse().map_err(|_| wrong("is no address with a prefix length"))?;
    if prefix_len == 0 || prefix_len > width(ip) {
        return Err(wrong("has a prefix length no subnet can have"));
    }
    if ip.is_multicast() || ip.is_unspecified() || ip.is_loopback() {
        return Err(wrong("is not made of unicast addresses"));
    }
    Ok(Gateway { ip, prefix_len })
}

/// Drops each subnet that overlaps one of another bridge domain of the VRF. The one with the
/// lowest address and the shortest prefix stays, so that the outcome depends on no order.
fn without_overlaps(reader: &mut Reader<'_>, mut subnets: Vec<Subnet>) -> Vec<Subnet> {
    subnets.sort_by(|a, b| range(&a.gateway).cmp(&range(&b.gateway)).then(a.dn.cmp(&b.dn)));
    let mut kept: Vec<Subnet> = Vec::with_capacity(subnets.len());
    // Prefixes nest or are apart, so only the widest open one can overlap the next. Several open
    // ones exist only inside one bridge domain, and then any of them tells.
    let mut open: Option<(bool, u128, usize)> = None;
    for subnet in subnets {
        let (is_v6, first, _) = range(&subnet.gateway);
        let last = last_address(&subnet.gateway);
        let holder = open
            .filter(|(v6, end, _)| *v6 == is_v6 && first <= *end)
            .and_then(|(_, _, at)| kept.get(at));
        match holder {
            Some(holder) if holder.bd != subnet.bd => {
                let text = format!(
                    "subnet `{}/{}` overlaps `{}`: it has no gateway",
                    subnet.gateway.ip, subnet.gateway.prefix_len, holder.dn,
                );
                reader.problem(&subnet.dn, Cause::OverlappingSubnets, text);
                continue;
            }
            Some(_) => {}
            None => open = Some((is_v6, last, kept.len())),
        }
        kept.push(subnet);
    }
    kept
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Sorts subnets by family, lowest address, then widest first.
fn range(gateway: &Gateway) -> (bool, u128, u8) {
    (gateway.ip.is_ipv6(), bits(gateway.ip) & !host_mask(gateway), gateway.prefix_len)
}

fn last_address(gateway: &Gateway) -> u128 {
    bits(gateway.ip) | host_mask(gateway)
}

fn host_mask(gateway: &Gateway) -> u128 {
    let host_bits = u32::from(width(gateway.ip).saturating_sub(gateway.prefix_len));
    u128::MAX.checked_shr(128 - host_bits).unwrap_or(0)
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_an_address_with_a_length() {
        assert!(gateway("10.0.0.1/24").is_ok());
        assert!(gateway("2001:db8::1/64").is_ok());
        for bad in ["10.0.0.1", "10.0.0.1/33", "10.0.0.1/0", "x/24", "224.0.0.1/24", "::/64", ""] {
            assert!(gateway(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn masks_cover_the_host_bits() {
        let gateway = gateway("10.1.2.3/24").unwrap();
        assert_eq!(range(&gateway).1, u128::from(u32::from_be_bytes([10, 1, 2, 0])));
        assert_eq!(last_address(&gateway), u128::from(u32::from_be_bytes([10, 1, 2, 255])));
        let host = super::gateway("10.1.2.3/32").unwrap();
        assert_eq!(range(&host).1, last_address(&host));
    }
}
