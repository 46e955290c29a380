//! The world outside: which external EPGs an address belongs to.

use std::net::IpAddr;

use selvage_model::{Dn, Mo, Tree};

use crate::place::{named, vrf_of as vrf_of_group};
use crate::prefix::Prefix;

/// The groups whose contracts hold for `address` outside the VRF, and whether that is by a default
/// prefix; none if no prefix covers it.
///
/// *ACI Fabric L3Out Guide*, "L3Out EPG subnets": an external EPG lists prefixes (`l3extSubnet`); those
/// with the scope *External Subnets for the External EPG* (`import-security`) classify addresses,
/// by longest prefix match over all external EPGs of the VRF, whichever L3Out they are in. The other
/// scopes are about routes. An endpoint security group classifies in the same table by its external
/// subnet selectors (*Security Configuration Guide*, "Endpoint Security Groups").
///
/// *Cisco ACI Contract Guide*, "L3Out EPG with 0.0.0.0/0 subnet": the default prefix is an exception.
/// What only it covers has not the class of an external EPG, but that of the VRF as a source and 15
/// as a destination; contracts of every external EPG with a default prefix are programmed between
/// those two, so all of them hold for all such addresses.
pub(crate) fn groups_of<'a>(tree: &'a Tree, vrf: &Mo, address: IpAddr) -> (Vec<&'a Mo>, bool) {
    let prefixes = prefixes(tree, vrf);
    let covering = prefixes.iter().filter(|at| at.prefix.covers(address));
    let Some(longest) = covering.clone().map(|at| at.prefix.length).max() else {
        return (Vec::new(), false);
    };
    if longest == 0 {
        // Of either family: the two classes of the default prefix are one pair for both.
        let defaults = prefixes.iter().filter(|at| at.prefix.length == 0);
        let mut groups: Vec<&Mo> = defaults.map(|at| at.group).collect();
        groups.sort_by_key(|group| group.dn());
        groups.dedup_by_key(|group| group.dn());
        return (groups, true);
    }
    // A prefix is in one external EPG of a VRF. ACI refuses a second its place; without an order of
    // time the one of the lowest DN has it, and any external EPG before an ESG.
    let mut found: Vec<&Mo> =
        covering.filter(|at| at.prefix.length == longest).map(|at| at.group).collect();
    found.sort_by_key(|group| (group.class().name == "fvESg", group.dn()));
    found.truncate(1);
    (found, false)
}

/// Whether what `group` says of an address outside holds in other VRFs too: its routes are leaked, and
/// it is classified there.
///
/// *L3Out Guide*, "Shared L3Out": *Shared Route Control Subnet* (`shared-rtctrl`) leaks the route,
/// *Shared Security Import Subnet* (`shared-security`) the classification, together with
/// `import-security`; it takes both. The prefix that classifies the address at home is the one that
/// must be shared.
pub(crate) fn is_shared(tree: &Tree, vrf: &Mo, group: &Mo, address: IpAddr) -> bool {
    let own = subnets(tree, group);
    let leaked =
        own.iter().any(|(prefix, at)| prefix.covers(address) && has_scope(at, "shared-rtctrl"));
    let longest = prefixes(tree, vrf)
        .iter()
        .filter(|at| at.prefix.covers(address))
        .map(|at| at.prefix.length)
        .max();
    let classified = own.iter().any(|(prefix, subnet)| {
        Some(prefix.length) == longest
            && prefix.covers(address)
            && has_scope(subnet, "import-security")
            && has_scope(subnet, "shared-security")
    });
    leaked && classified
}

/// The VRF of an L3Out.
pub(crate) fn vrf_of<'a>(tree: &'a Tree, out: &Dn) -> Option<&'a Mo> {
    // *ACI Fundamentals*: a relation by name, from the L3Out's tenant, then `common`.
    let to = tree.children_of_class(out, "l3extRsEctx").next()?;
    named(tree, out, "ctx", to.get("tnFvCtxName"))
}

/// A prefix that classifies, and for whom.
struct Classifier<'a> {
    prefix: Prefix,
    group: &'a Mo,
}

/// The prefixes that classify outside `vrf`.
fn prefixes<'a>(tree: &'a Tree, vrf: &Mo) -> Vec<Classifier<'a>> {
    let here = |found: Option<&Mo>| found.is_some_and(|found| found.dn() == vrf.dn());
    let mut found = Vec::new();
    for group in tree.of_class("l3extInstP").filter(|group| here(vrf_of_group(tree, group))) {
        for (prefix, subnet) in subnets(tree, group) {
            if has_scope(subnet, "import-security") {
                found.push(Classifier { prefix, group });
            }
        }
    }
    for group in tree.of_class("fvESg").filter(|group| here(vrf_of_group(tree, group))) {
        for selector in tree.children_of_class(group.dn(), "fvExternalSubnetSelector") {
            let prefix = Prefix::read(selector.get("ip"));
            found.extend(prefix.map(|prefix| Classifier { prefix, group }));
        }
    }
    found
}

fn subnets<'a>(tree: &'a Tree, group: &Mo) -> Vec<(Prefix, &'a Mo)> {
    let subnets = tree.children_of_class(group.dn(), "l3extSubnet");
    subnets.filter_map(|subnet| Some((Prefix::read(subnet.get("ip"))?, subnet))).collect()
}

fn has_scope(subnet: &Mo, scope: &str) -> bool {
    subnet.get("scope").split(',').any(|word| word == scope)
}

#[cfg(test)]
mod tests {
    use crate::sketch;

    const OUTSIDE: &str = "
        fvTenant    uni/tn-t
        fvCtx       uni/tn-t/ctx-v
        l3extOut    uni/tn-t/out-a
        l3extRsEctx uni/tn-t/out-a/rsectx tnFvCtxName=v
        l3extInstP  uni/tn-t/out-a/instP-any
        l3extSubnet uni/tn-t/out-a/instP-any/extsubnet-[0.0.0.0/0]
        l3extInstP  uni/tn-t/out-a/instP-net
        l3extSubnet uni/tn-t/out-a/instP-net/extsubnet-[203.0.113.0/24]
        l3extOut    uni/tn-t/out-b
        l3extRsEctx uni/tn-t/out-b/rsectx tnFvCtxName=v
        l3extInstP  uni/tn-t/out-b/instP-host
        l3extSubnet uni/tn-t/out-b/instP-host/extsubnet-[203.0.113.9/32]
        l3extSubnet uni/tn-t/out-b/instP-host/extsubnet-[198.51.100.0/24] scope=export-rtctrl
    ";

    fn names(more: &str, address: &str) -> Vec<String> {
        let tree = sketch::tree(&[OUTSIDE, more]);
        let vrf = tree.get("uni/tn-t/ctx-v").unwrap();
        let (groups, _) = super::groups_of(&tree, vrf, address.parse().unwrap());
        groups.iter().map(|group| group.dn().rn().to_owned()).collect()
    }

    /// Naive: each L3Out classifies for itself, or the first prefix that fits decides.
    #[test]
    fn the_longest_prefix_of_all_l3outs_decides() {
        assert_eq!(names("", "203.0.113.9"), ["instP-host"]);
        assert_eq!(names("", "203.0.113.8"), ["instP-net"]);
        assert_eq!(names("", "192.0.2.1"), ["instP-any"]);
        assert!(names("", "2001:db8::1").is_empty(), "another family is not covered");
    }

    /// Naive: every prefix listed classifies. One without `import-security` is about routes only.
    #[test]
    fn a_prefix_for_routes_classifies_nothing() {
        assert_eq!(names("", "198.51.100.1"), ["instP-any"]);
    }

    /// Naive: an external EPG with 0.0.0.0/0 is a group like any other. All that have one are one.
    #[test]
    fn default_prefixes_are_shared() {
        let second = "
            l3extInstP  uni/tn-t/out-b/instP-too
            l3extSubnet uni/tn-t/out-b/instP-too/extsubnet-[::/0]
        ";
        assert_eq!(names(second, "192.0.2.1"), ["instP-any", "instP-too"]);
        assert_eq!(names(second, "203.0.113.8"), ["instP-net"]);
    }
}
