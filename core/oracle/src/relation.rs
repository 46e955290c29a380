//! Who provides and consumes which contract: directly, by an interface, by a master, as vzAny.

use selvage_model::{Mo, Tree};

use crate::esg;
use crate::place::{Place, named, tenant};

/// One end of a flow in its part as provider or consumer: as the group it is, or as a member of
/// vzAny, which is every group of the VRF (*Cisco ACI Contract Guide*, "vzAny").
#[derive(Clone, Copy)]
pub(crate) struct Party<'a> {
    /// Whose relations count: the group, or the VRF's `vzAny`.
    pub(crate) holder: &'a Mo,
    /// The holder is vzAny.
    pub(crate) any: bool,
    /// The group that the end is in, whoever speaks for it.
    pub(crate) group: &'a Mo,
    /// The VRF it is in.
    pub(crate) vrf: &'a Mo,
}

/// A contract as it is tied to a group.
pub(crate) struct Tie<'a> {
    /// The relation that names it.
    pub(crate) relation: &'a Mo,
    /// Who has the relation: the party's holder, or the master it inherits from.
    pub(crate) said_by: &'a Mo,
    /// The contract, an `vzBrCP`.
    pub(crate) contract: &'a Mo,
}

/// In which parts an end takes part in contracts.
pub(crate) fn parties<'a>(tree: &'a Tree, place: &Place<'a>) -> Vec<Party<'a>> {
    let any = tree.get(&format!("{}/any", place.vrf.dn()));
    let mut parties = Vec::new();
    for &group in &place.groups {
        let vrf = place.vrf;
        parties.push(Party { holder: group, any: false, group, vrf });
        parties.extend(any.map(|holder| Party { holder, any: true, group, vrf }));
    }
    parties
}

/// The contracts that a holder provides.
pub(crate) fn provided<'a>(tree: &'a Tree, holder: &'a Mo) -> Vec<Tie<'a>> {
    ties(tree, holder, &["fvRsProv", "vzRsAnyToProv"])
}

/// The contracts that a holder consumes, interfaces included.
pub(crate) fn consumed<'a>(tree: &'a Tree, holder: &'a Mo) -> Vec<Tie<'a>> {
    ties(tree, holder, &["fvRsCons", "fvRsConsIf", "vzRsAnyToCons", "vzRsAnyToConsIf"])
}

/// Ties of the holder and of its masters.
///
/// *Cisco ACI Contract Guide*, "Contract inheritance"; *Basic Configuration Guide*, "About contract
/// inheritance": a group inherits what its masters (`fvRsSecInherited`) provide and consume
/// *directly*: one level, never through a master of the master. Both are of one kind and of one
/// tenant. Taboos and contracts within a group are not inherited.
///
/// *Security Configuration Guide*, "Endpoint Security Groups", "EPG selectors": an ESG inherits the
/// contracts of the EPGs that it selects, so that nothing breaks on the way from the one to the other.
fn ties<'a>(tree: &'a Tree, holder: &'a Mo, classes: &[&str]) -> Vec<Tie<'a>> {
    let masters = tree.children_of_class(holder.dn(), "fvRsSecInherited").filter_map(|to| {
        let master = tree.get(to.get("tDn"))?;
        (is_kin(master, holder) && master.dn() != holder.dn()).then_some(master)
    });
    let selected = tree
        .children_of_class(holder.dn(), "fvEPgSelector")
        .filter_map(|selector| esg::epg_selected(tree, holder, selector));
    let mut ties = Vec::new();
    for said_by in std::iter::once(holder).chain(masters).chain(selected) {
        for relation in tree.children(said_by.dn()) {
            if classes.contains(&relation.class().name)
                && let Some(contract) = contract_of(tree, relation)
            {
                ties.push(Tie { relation, said_by, contract });
            }
        }
    }
    ties
}

fn is_kin(master: &Mo, heir: &Mo) -> bool {
    master.class().name == heir.class().name
        && master.get("isAttrBasedEPg") == heir.get("isAttrBasedEPg")
        && tenant(master.dn()) == tenant(heir.dn())
}

/// The contract that a relation names, sought from the tenant of the group.
///
/// *Basic Configuration Guide*, "Exporting contracts to another tenant": a contract interface (`vzCPIf`) in the consumer's tenant stands for the contract of another tenant that it
/// points at.
pub(crate) fn contract_of<'a>(tree: &'a Tree, relation: &Mo) -> Option<&'a Mo> {
    let interface = relation.get("tnVzCPIfName");
    if interface.is_empty() {
        return named(tree, relation.dn(), "brc", relation.get("tnVzBrCPName"));
    }
    let interface = named(tree, relation.dn(), "cif", interface)?;
    let to = tree.children_of_class(interface.dn(), "vzRsIf").next()?;
    tree.get(to.get("tDn")).filter(|contract| contract.class().name == "vzBrCP")
}
