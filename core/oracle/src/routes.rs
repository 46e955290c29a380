//! Who is known in another VRF: subnets and prefixes that contracts leak.

use selvage_model::{Mo, Tree};

use crate::contract::in_scope;
use crate::outside;
use crate::place::{Place, vrf_of};
use crate::prefix::Prefix;
use crate::relation::{Party, consumed, provided};

/// Whether two ends of different VRFs know each other's addresses.
///
/// *Cisco ACI Contract Guide*, "Inter-VRF contracts (shared services)"; *ACI Fundamentals*, "Shared
/// services contracts usage": a contract whose scope reaches beyond the VRF leaks subnets marked
/// *Shared between VRFs* (`shared`): those below the provider's EPG into the consumer's VRF, those of
/// the consumer's bridge domain or EPG into the provider's. One of the two must offer to the other's
/// VRF, and the other use what that one's VRF offers; whether packets may pass between these two
/// groups is for the contracts to say.
pub(crate) fn know_each_other(tree: &Tree, from: &Place<'_>, to: &Place<'_>) -> bool {
    let offers = |one: &Place<'_>, into: &Mo| is_part(tree, one, into, Part::Provider);
    let uses = |one: &Place<'_>, of: &Mo| is_part(tree, one, of, Part::Consumer);
    let meet =
        offers(from, to.vrf) && uses(to, from.vrf) || offers(to, from.vrf) && uses(from, to.vrf);
    meet && is_known(tree, from, to.vrf) && is_known(tree, to, from.vrf)
}

/// Whether contracts make one of the groups at `place`, or its vzAny, a part of what passes between
/// its VRF and another.
fn is_part(tree: &Tree, place: &Place<'_>, other: &Mo, part: Part) -> bool {
    let any = tree.get(&format!("{}/any", place.vrf.dn()));
    let speakers = place.groups.iter().copied().chain(any.filter(|_| part == Part::Consumer));
    speakers.into_iter().any(|of| is_tied(tree, of, place.vrf, other, part))
}

/// Whether the address at `place` is leaked into another VRF.
fn is_known(tree: &Tree, place: &Place<'_>, into: &Mo) -> bool {
    let Some(address) = place.ip else { return false };
    let Some(bd) = place.bd else {
        let shared = |group: &&&Mo| outside::is_shared(tree, place.vrf, group, address);
        return place.groups.iter().any(|group| shared(&group));
    };
    let shares = |of: &Mo| {
        tree.children_of_class(of.dn(), "fvSubnet").any(|subnet| {
            subnet.get("scope").split(',').any(|word| word == "shared")
                && Prefix::read(subnet.get("ip")).is_some_and(|prefix| prefix.covers(address))
        })
    };
    let own = place.groups.iter().chain(&place.attached).any(|of| shares(of));
    own || shares(bd) && is_part(tree, place, into, Part::Consumer)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Provider,
    Consumer,
}

/// Whether a contract ties `holder`, in this part, to anybody of the other VRF.
fn is_tied(tree: &Tree, holder: &Mo, own: &Mo, other: &Mo, part: Part) -> bool {
    let there = ["fvAEPg", "fvESg", "l3extInstP"]
        .into_iter()
        .flat_map(|class| tree.of_class(class))
        .filter(|group| vrf_of(tree, group).is_some_and(|vrf| vrf.dn() == other.dn()));
    let any = tree.get(&format!("{}/any", other.dn()));
    let is_any = |of: &Mo| of.class().name == "vzAny";
    for group in there {
        for speaker in std::iter::once(group).chain(any) {
            let here = Party { holder, any: is_any(holder), group: holder, vrf: own };
            let there = Party { holder: speaker, any: is_any(speaker), group, vrf: other };
            let (consumer, provider) = match part {
                Part::Provider => (there, here),
                Part::Consumer => (here, there),
            };
            if provider.any {
                continue;
            }
            let offers = provided(tree, provider.holder);
            let tied = consumed(tree, consumer.holder).iter().any(|wanted| {
                offers.iter().any(|offered| {
                    offered.contract.dn() == wanted.contract.dn()
                        && in_scope(wanted.contract, &consumer, &provider)
                })
            });
            if tied {
                return true;
            }
        }
    }
    false
}
