//! The world outside: which external EPGs an address belongs to.

use std::net::IpAddr;

use selvage_model::{Mo, Tree};

use crate::place::named;

/// The external EPGs (`l3extInstP`) whose contracts hold for `address` outside the VRF; none if no
/// prefix covers it.
///
/// *ACI Fabric L3Out Guide*, "L3Out EPG subnets": an external EPG lists prefixes (`l3extSubnet`); those
/// with the scope *External Subnets for the External EPG* (`import-security`) classify addresses,
/// by longest prefix match over all external EPGs of the VRF, whichever L3Out they are in. The other
/// scopes are about routes.
///
/// *Cisco ACI Contract Guide*, "L3Out EPG with 0.0.0.0/0 subnet": the default prefix is an exception.
/// What only it covers has not the class of an external EPG, but that of the VRF as a source and 15
/// as a destination; contracts of every external EPG with a default prefix are programmed between
/// those two, so all of them hold for all such addresses.
pub(crate) fn groups_of<'a>(tree: &'a Tree, vrf: &Mo, address: IpAddr) -> Vec<&'a Mo> {
    let prefixes = prefixes(tree, vrf);
    let covering = prefixes.iter().filter(|(prefix, _)| prefix.covers(address));
    let Some(longest) = covering.clone().map(|(prefix, _)| prefix.length).max() else {
        return Vec::new();
    };
    if longest == 0 {
        let defaults = prefixes.iter().filter(|(prefix, _)| prefix.length == 0);
        let mut groups: Vec<&Mo> = defaults.map(|(_, group)| *group).collect();
        groups.dedup_by_key(|group| group.dn());
        return groups;
    }
    // A prefix is in one external EPG of a VRF. ACI refuses a second its place; without an order of
    // time the one of the lowest DN has it.
    let mut found: Vec<&Mo> =
        covering.filter(|(prefix, _)| prefix.length == longest).map(|(_, group)| *group).collect();
    found.sort_by_key(|group| group.dn());
    found.truncate(1);
    found
}

struct Prefix {
    address: IpAddr,
    length: u32,
}

impl Prefix {
    fn read(text: &str) -> Option<Prefix> {
        let (address, length) = text.split_once('/')?;
        Some(Prefix { address: address.parse().ok()?, length: length.parse().ok()? })
    }

    /// Bit by bit, the naive way.
    fn covers(&self, address: IpAddr) -> bool {
        let (own, other) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.octets().to_vec(), other.octets().to_vec())
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.octets().to_vec(), other.octets().to_vec())
            }
            _ => return false,
        };
        let bit = |bytes: &[u8], at: u32| {
            let byte = bytes.get(at as usize / 8).copied().unwrap_or(0);
            byte >> (7 - at % 8) & 1
        };
        (0..self.length).all(|at| bit(&own, at) == bit(&other, at))
    }
}

/// The prefixes that classify outside `vrf`, each with its external EPG.
fn prefixes<'a>(tree: &'a Tree, vrf: &Mo) -> Vec<(Prefix, &'a Mo)> {
    let mut found = Vec::new();
    for out in tree.iter().filter(|mo| mo.class().name == "l3extOut") {
        let leads = tree.children_of_class(out.dn(), "l3extRsEctx").any(|to| {
            // *ACI Fundamentals*: a relation by name, from the L3Out's tenant, then `common`.
            named(tree, out.dn(), "ctx", to.get("tnFvCtxName")).is_some_and(|c| c.dn() == vrf.dn())
        });
        if !leads {
            continue;
        }
        for group in tree.children_of_class(out.dn(), "l3extInstP") {
            for subnet in tree.children_of_class(group.dn(), "l3extSubnet") {
                if subnet.get("scope").split(',').any(|scope| scope == "import-security") {
                    found.extend(Prefix::read(subnet.get("ip")).map(|prefix| (prefix, group)));
                }
            }
        }
    }
    found
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
        let groups = super::groups_of(&tree, vrf, address.parse().unwrap());
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
