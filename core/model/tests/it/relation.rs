//! Relations resolve, show their inverse, and raise a fault when they lead nowhere.

use selvage_model::{Post, Stamp, delete, fault, target};

use crate::{acme, dn, get, post};

const RSBD: &str = "uni/tn-acme/ap-shop/epg-web/rsbd";

fn name_bd(tree: &mut selvage_model::Tree, name: &str) {
    let epg = Post::new("fvRsBd").with("tnFvBDName", name);
    post(tree, "uni/tn-acme/ap-shop/epg-web", epg).unwrap();
}

#[test]
fn a_name_leads_to_the_own_tenant_then_to_common() {
    let mut tree = acme();
    assert_eq!(get(&tree, RSBD, "tDn"), "uni/tn-acme/BD-b");
    assert_eq!(get(&tree, RSBD, "state"), "formed");
    name_bd(&mut tree, "default");
    assert_eq!(get(&tree, RSBD, "tDn"), "uni/tn-common/BD-default");
    post(&mut tree, "uni/tn-acme", Post::new("fvBD").with("name", "default")).unwrap();
    assert_eq!(get(&tree, RSBD, "tDn"), "uni/tn-acme/BD-default");
    assert_eq!(target(&tree, tree.get(RSBD).unwrap()).unwrap().get("name"), "default");
    delete(&mut tree, Stamp::new("now", "1"), &dn("uni/tn-acme/BD-default")).unwrap();
    name_bd(&mut tree, "");
    assert_eq!(get(&tree, RSBD, "tDn"), "uni/tn-common/BD-default");
    assert_eq!(get(&tree, RSBD, "stateQual"), "default-target");
}

#[test]
fn targets_know_who_points_at_them() {
    let mut tree = acme();
    let inverse = "uni/tn-acme/BD-b/rtbd-[uni/tn-acme/ap-shop/epg-web]";
    assert_eq!(get(&tree, inverse, "tCl"), "fvAEPg");
    assert_eq!(get(&tree, inverse, "tDn"), "uni/tn-acme/ap-shop/epg-web");
    name_bd(&mut tree, "other");
    assert!(tree.get(inverse).is_none());
}

#[test]
fn what_leads_nowhere_is_a_fault_until_it_leads_somewhere() {
    let mut tree = acme();
    name_bd(&mut tree, "late");
    let fault = format!("{RSBD}/fault-F0951");
    assert_eq!(get(&tree, RSBD, "state"), "missing-target");
    assert_eq!(get(&tree, RSBD, "tDn"), "");
    assert_eq!(get(&tree, &fault, "cause"), "resolution-failed");
    assert_eq!(get(&tree, &fault, "rule"), "fv-rs-bd-resolve-fail");
    assert_eq!(
        get(&tree, &fault, "descr"),
        "Failed to form relation to MO BD-late of class fvBD in context"
    );
    let changes = post(&mut tree, "uni/tn-acme", Post::new("fvBD").with("name", "late")).unwrap();
    assert!(tree.get(&fault).is_none());
    assert!(changes.deleted.iter().any(|mo| mo.dn().as_str() == fault));
    delete(&mut tree, Stamp::new("now", "1"), &dn("uni/tn-acme/BD-late")).unwrap();
    assert!(tree.get(&fault).is_some());
}

#[test]
fn a_target_replaced_within_one_post_keeps_its_inverse_objects() {
    let mut tree = acme();
    let before = tree.clone();
    let bd = || Post::new("fvBD").with("name", "b");
    let body =
        Post::new("fvTenant").with("name", "acme").child(bd().with("status", "deleted")).child(
            bd().child(Post::new("fvRsCtx").with("tnFvCtxName", "v"))
                .child(Post::new("fvSubnet").with("ip", "10.0.0.1/24")),
        );
    assert!(post(&mut tree, "uni", body).unwrap().is_empty());
    assert_eq!(tree, before);
}

#[test]
fn what_packets_do_not_obey_yet_says_so() {
    let mut tree = acme();
    let at = "uni/tn-acme/ap-shop/epg-web";
    let fault = format!("{at}/fault-{}", fault::NOT_ENFORCED);
    let include = |value| Post::new("fvAEPg").with("prefGrMemb", value).with("descr", "a label");
    post(&mut tree, at, include("include")).unwrap();
    assert_eq!(get(&tree, &fault, "severity"), "minor");
    assert_eq!(get(&tree, &fault, "descr"), "Accepted but not enforced: prefGrMemb=include");
    post(&mut tree, at, include("exclude")).unwrap();
    assert!(tree.get(&fault).is_none());
}
