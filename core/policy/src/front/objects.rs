//! The tree's objects sorted by class and parent, in one pass.

use std::collections::BTreeMap;

use selvage_model::{Dn, Mo, Tree};

/// Classes whose objects are read one after the other.
const LISTED: &[&str] = &[
    "fvCtx",
    "fvBD",
    "fvAEPg",
    "fvESg",
    "fvEpIpTag",
    "fvEpMacTag",
    "vzFilter",
    "vzBrCP",
    "vzTaboo",
    "l3extOut",
    "vnsSvcRedirectPol",
    "hostprotPol",
];

/// Classes whose objects are read through the object that contains them.
const SHELVED: &[&str] = &[
    "fvRsCtx",
    "fvRsBd",
    "fvSubnet",
    "fvRsProv",
    "fvRsCons",
    "vzEntry",
    "vzSubj",
    "vzRsSubjFiltAtt",
    "vzInTerm",
    "vzOutTerm",
    "vzRsFiltAtt",
    "fvRsIntraEpg",
    "fvRsProtBy",
    "vzAny",
    "vzRsAnyToProv",
    "vzRsAnyToCons",
    "vzTSubj",
    "vzRsDenyRule",
    "fvRsSecInherited",
    "fvRsConsIf",
    "fvCrtrn",
    "fvSCrtrn",
    "fvIpAttr",
    "fvMacAttr",
    "fvVmAttr",
    "fvDnsAttr",
    "fvIdGroupAttr",
    "fvRsScope",
    "fvEPSelector",
    "fvEPgSelector",
    "fvTagSelector",
    "fvExternalSubnetSelector",
    "fvStCEp",
    "tagTag",
    "vzProvLbl",
    "vzConsLbl",
    "vzProvSubjLbl",
    "vzConsSubjLbl",
    "vzException",
    "vzRsIf",
    "tagInst",
    "vzRsSubjGraphAtt",
    "vzRsInTermGraphAtt",
    "vzRsOutTermGraphAtt",
    "vzRsGraphAtt",
    "vnsAbsNode",
    "vnsAbsConnection",
    "vnsRsAbsConnectionConns",
    "vnsRsNodeToLDev",
    "vnsLDevCtx",
    "vnsRsLDevCtxToLDev",
    "vnsLIfCtx",
    "vnsRsLIfCtxToSvcRedirectPol",
    "vnsRedirectDest",
    "vnsL1L2RedirectDest",
    "vnsRsRedirectHealthGroup",
    "vnsRsIPSLAMonitoringPol",
    "fvRsCustQosPol",
    "hostprotSubj",
    "hostprotRule",
    "hostprotRemoteIp",
    "hostprotRsRemoteIpContainer",
    "hostprotFilterContainer",
    "hostprotPodFilter",
    "hostprotEpLabel",
    "fvRsDppPol",
    "qosDscpClass",
    "qosDot1PClass",
    "l3extRsEctx",
    "l3extInstP",
    "l3extSubnet",
    "l3extLNodeP",
    "l3extRsNodeL3OutAtt",
    "ipRouteP",
    "ipNexthopP",
    "l3extLIfP",
    "l3extRsPathL3OutAtt",
];

/// Objects of the classes that mean something to policy, by ascending DN.
pub(super) struct Objects<'a> {
    listed: BTreeMap<&'static str, Vec<&'a Mo>>,
    shelved: BTreeMap<&'static str, BTreeMap<&'a str, Vec<&'a Mo>>>,
}

impl<'a> Objects<'a> {
    pub fn new(tree: &'a Tree) -> Objects<'a> {
        let mut listed: BTreeMap<_, _> = LISTED.iter().map(|c| (*c, Vec::new())).collect();
        let mut shelved: BTreeMap<_, BTreeMap<_, Vec<_>>> =
            SHELVED.iter().map(|c| (*c, BTreeMap::new())).collect();
        for mo in tree.iter() {
            let class = mo.class().name;
            if let Some(list) = listed.get_mut(class) {
                list.push(mo);
            } else if let Some(shelf) = shelved.get_mut(class) {
                shelf.entry(parent(mo.dn())).or_default().push(mo);
            }
        }
        Objects { listed, shelved }
    }

    /// Every object of a listed class.
    pub fn all(&self, class: &str) -> Vec<&'a Mo> {
        self.listed.get(class).cloned().unwrap_or_default()
    }

    /// The objects of a shelved class that `dn` contains.
    pub fn under(&self, dn: &Dn, class: &str) -> Vec<&'a Mo> {
        self.shelved
            .get(class)
            .and_then(|shelf| shelf.get(dn.as_str()))
            .cloned()
            .unwrap_or_default()
    }
}

/// The text of the DN that contains `dn`; empty at the top.
pub(super) fn parent(dn: &Dn) -> &str {
    let text = dn.as_str();
    text.get(..text.len().saturating_sub(dn.rn().len() + 1)).unwrap_or_default()
}

/// The text of the tenant's DN that `dn` is in: its first two relative names.
pub(super) fn tenant(dn: &Dn) -> &str {
    let text = dn.as_str();
    let end = text.match_indices('/').nth(1).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_and_tenant_are_found_in_the_text() {
        let dn: Dn = "uni/tn-a/BD-b/subnet-[10.0.0.1/24]".parse().unwrap();
        assert_eq!(parent(&dn), "uni/tn-a/BD-b");
        assert_eq!(tenant(&dn), "uni/tn-a");
        assert_eq!(parent(&"uni".parse().unwrap()), "");
    }
}
