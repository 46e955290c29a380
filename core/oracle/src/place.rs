//! Where an end of a flow is: its group, its bridge domain and, by that, its VRF.

use std::net::IpAddr;

use selvage_model::{Dn, Mo, Tree};
use selvage_rules::{Packet, Reason};

use crate::{End, Endpoint, member, outside};

/// Where one end of a flow is: a group whose bridge domain and VRF both exist, or outside a VRF.
#[derive(Debug, Clone)]
pub(crate) struct Place<'a> {
    /// Whose contracts hold for it: one `fvAEPg`, `fvESg` or `l3extInstP`; several `l3extInstP` for
    /// an address that only default prefixes cover.
    pub(crate) groups: Vec<&'a Mo>,
    /// It is outside, and nothing but a default prefix covers it.
    pub(crate) catch_all: bool,
    /// The group that it is attached to, an `fvAEPg`; `None` outside.
    pub(crate) attached: Option<&'a Mo>,
    /// The bridge domain, an `fvBD`; `None` outside.
    pub(crate) bd: Option<&'a Mo>,
    /// The VRF, an `fvCtx`.
    pub(crate) vrf: &'a Mo,
    /// Its address.
    pub(crate) ip: Option<IpAddr>,
}

/// Where an end is; `None` if it is nowhere.
pub(crate) fn of<'a>(tree: &'a Tree, end: End<'_>) -> Option<Place<'a>> {
    match end {
        End::Member(endpoint) => of_endpoint(tree, endpoint),
        End::Outside { vrf, address } => {
            let vrf = tree.get(vrf).filter(|mo| mo.class().name == "fvCtx")?;
            let (groups, catch_all) = outside::groups_of(tree, vrf, address);
            let ip = Some(address);
            (!groups.is_empty()).then_some(Place {
                groups,
                catch_all,
                attached: None,
                bd: None,
                vrf,
                ip,
            })
        }
    }
}

/// Why the fabric does not carry the packet from one place to another of its VRF, if it does not.
///
/// *ACI Fundamentals*, "Bridge domains and subnets": between bridge domains, and to the outside,
/// packets are routed; a bridge domain without unicast routing has no part in that, nor has what is
/// not IP.
pub(crate) fn apart(from: &Place<'_>, to: &Place<'_>, packet: &Packet) -> Option<Reason> {
    let (here, there) = (from.bd.map(Mo::dn), to.bd.map(Mo::dn));
    if here == there {
        return None;
    }
    let routes = |bd: Option<&Mo>| bd.is_none_or(|bd| bd.get("unicastRoute") != "no");
    let is_ip = matches!(packet.ether.0, 0x0800 | 0x86dd);
    if !is_ip && (here.is_none() || there.is_none()) {
        return Some(Reason::UnknownDestination);
    }
    (!is_ip || !routes(from.bd) || !routes(to.bd)).then_some(Reason::NotRouted)
}

/// Finds group, bridge domain and VRF; `None` if one of them is missing, or the group is shut down.
///
/// *ACI Fundamentals*, "ACI Policy Model": an EPG is linked to one bridge domain (`fvRsBd`), a
/// bridge domain to one VRF (`fvRsCtx`). Each name is looked up from the object that says it, so
/// the VRF is searched from the tenant of the *bridge domain*. Shutting an EPG down (`shutdown`,
/// class reference of `fvAEPg`, from release 4.0) withdraws it from the leaf switches: its endpoints
/// are cut off, from each other as well.
fn of_endpoint<'a>(tree: &'a Tree, endpoint: &Endpoint) -> Option<Place<'a>> {
    let attached = tree.get(&endpoint.attached).filter(|mo| mo.class().name == "fvAEPg")?;
    if attached.get("shutdown") == "yes" {
        return None;
    }
    let bd = bridge_domain_of(tree, attached)?;
    let vrf = vrf_of_bridge_domain(tree, bd)?;
    let group = member::group_of(tree, endpoint, attached, bd, vrf)?;
    // Policy that asks for this endpoint and is withdrawn must not fall back to less of it.
    if group.get("shutdown") == "yes" {
        return None;
    }
    Some(Place {
        groups: vec![group],
        catch_all: false,
        attached: Some(attached),
        bd: Some(bd),
        vrf,
        ip: endpoint.ip,
    })
}

/// The bridge domain of an EPG.
pub(crate) fn bridge_domain_of<'a>(tree: &'a Tree, group: &Mo) -> Option<&'a Mo> {
    let to_bd = tree.children_of_class(group.dn(), "fvRsBd").next()?;
    named(tree, group.dn(), "BD", to_bd.get("tnFvBDName"))
}

/// The VRF of a bridge domain.
fn vrf_of_bridge_domain<'a>(tree: &'a Tree, bd: &Mo) -> Option<&'a Mo> {
    let to_vrf = tree.children_of_class(bd.dn(), "fvRsCtx").next()?;
    named(tree, bd.dn(), "ctx", to_vrf.get("tnFvCtxName"))
}

/// The VRF of a group of any class: an EPG's by its bridge domain, an ESG's own, an external EPG's
/// by its L3Out.
pub(crate) fn vrf_of<'a>(tree: &'a Tree, group: &Mo) -> Option<&'a Mo> {
    match group.class().name {
        "fvAEPg" => vrf_of_bridge_domain(tree, bridge_domain_of(tree, group)?),
        "fvESg" => {
            let scope = tree.children_of_class(group.dn(), "fvRsScope").next()?;
            named(tree, group.dn(), "ctx", scope.get("tnFvCtxName"))
        }
        "l3extInstP" => outside::vrf_of(tree, &group.dn().parent()?),
        _ => None,
    }
}

/// Resolves a name said by `from`: in its own tenant, then in tenant `common`.
///
/// *ACI Fundamentals*, "ACI Policy Model", on name resolution: a relation by name is sought in the
/// current tenant first and in `common` if that has none. The first found is the one; objects of
/// the same name in both tenants are two objects.
pub(crate) fn named<'a>(tree: &'a Tree, from: &Dn, prefix: &str, name: &str) -> Option<&'a Mo> {
    if name.is_empty() {
        return None;
    }
    let own = tenant(from)?;
    let here = tree.get(&format!("{own}/{prefix}-{name}"));
    here.or_else(|| tree.get(&format!("uni/tn-common/{prefix}-{name}")))
}

/// The tenant an object belongs to.
pub(crate) fn tenant(dn: &Dn) -> Option<Dn> {
    dn.ancestor("tn-")
}

/// The application profile an object belongs to.
pub(crate) fn application_profile(dn: &Dn) -> Option<Dn> {
    dn.ancestor("ap-")
}

#[cfg(test)]
mod tests {
    use super::{named, of_endpoint};
    use crate::{Endpoint, sketch};

    const TWO_TENANTS: &str = "
        fvTenant uni/tn-common
        fvCtx    uni/tn-common/ctx-v
        fvBD     uni/tn-common/BD-b
        fvRsCtx  uni/tn-common/BD-b/rsctx tnFvCtxName=v
        fvTenant uni/tn-t
        fvCtx    uni/tn-t/ctx-v
        fvAp     uni/tn-t/ap-p
        fvAEPg   uni/tn-t/ap-p/epg-a
        fvRsBd   uni/tn-t/ap-p/epg-a/rsbd tnFvBDName=b
    ";

    fn vrf_of(more: &str) -> Option<String> {
        let tree = sketch::tree(&[TWO_TENANTS, more]);
        let endpoint = Endpoint::of("uni/tn-t/ap-p/epg-a");
        of_endpoint(&tree, &endpoint).map(|place| place.vrf.dn().to_string())
    }

    /// Naive: the VRF's name is sought from the group's tenant, which has one of that name.
    #[test]
    fn a_vrf_is_sought_from_where_the_bridge_domain_is() {
        assert_eq!(vrf_of("").unwrap(), "uni/tn-common/ctx-v");
    }

    /// Naive: `common` comes first, or both are the same.
    #[test]
    fn the_own_tenant_comes_before_common() {
        let own = "fvBD uni/tn-t/BD-b\n fvRsCtx uni/tn-t/BD-b/rsctx tnFvCtxName=v";
        assert_eq!(vrf_of(own).unwrap(), "uni/tn-t/ctx-v");
    }

    /// Naive: an own bridge domain that leads nowhere falls back to the one in `common`.
    #[test]
    fn what_is_found_first_counts_even_if_it_leads_nowhere() {
        assert_eq!(vrf_of("fvBD uni/tn-t/BD-b"), None);
        assert_eq!(
            vrf_of("fvBD uni/tn-t/BD-b\n fvRsCtx uni/tn-t/BD-b/rsctx tnFvCtxName=none"),
            None
        );
    }

    /// Naive: shutting a group down takes its contracts away, so its endpoints still have each other.
    #[test]
    fn a_group_that_is_shut_down_is_nowhere() {
        assert_eq!(vrf_of("fvAEPg uni/tn-t/ap-p/epg-a shutdown=yes"), None);
    }

    #[test]
    fn a_name_is_sought_in_no_third_tenant() {
        let tree = sketch::tree(&[TWO_TENANTS, "fvTenant uni/tn-u\n vzFilter uni/tn-u/flt-f"]);
        assert!(named(&tree, &"uni/tn-t/brc-c".parse().unwrap(), "flt", "f").is_none());
        assert!(named(&tree, &"uni/tn-u/brc-c".parse().unwrap(), "flt", "f").is_some());
        assert!(named(&tree, &"uni/tn-u/brc-c".parse().unwrap(), "flt", "").is_none());
    }
}
