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
    let fault = format!("{RSBD}/fault-F0955");
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
    let at = "uni/tn-acme/ctx-v";
    let fault = format!("{at}/fault-{}", fault::NOT_ENFORCED);
    let apart = |value| Post::new("fvCtx").with("bdEnforcedEnable", value).with("descr", "a label");
    post(&mut tree, at, apart("yes")).unwrap();
    assert_eq!(get(&tree, &fault, "severity"), "minor");
    assert_eq!(get(&tree, &fault, "descr"), "Accepted but not enforced: bdEnforcedEnable=yes");
    post(&mut tree, at, apart("no")).unwrap();
    assert!(tree.get(&fault).is_none());
}

#[test]
fn a_relation_by_dn_keeps_its_dn_and_waits_for_its_target() {
    let mut tree = acme();
    let at = "uni/tn-acme/ap-shop/epg-web/rssecInherited-[uni/tn-acme/ap-shop/epg-master]";
    let master = "uni/tn-acme/ap-shop/epg-master";
    let heir = Post::new("fvRsSecInherited").with("tDn", master);
    post(&mut tree, "uni/tn-acme/ap-shop/epg-web", heir).unwrap();
    let fault = format!("{at}/fault-F2698");
    assert_eq!(get(&tree, at, "state"), "missing-target");
    assert_eq!(get(&tree, at, "tDn"), master);
    assert_eq!(
        get(&tree, &fault, "descr"),
        "Failed to form relation to MO uni/tn-acme/ap-shop/epg-master of class fvEPg"
    );
    post(&mut tree, "uni/tn-acme/ap-shop", Post::new("fvAEPg").with("name", "master")).unwrap();
    let inverse = format!("{master}/rtsecInherited-[uni/tn-acme/ap-shop/epg-web]");
    assert_eq!(get(&tree, at, "state"), "formed");
    assert_eq!(get(&tree, &inverse, "tCl"), "fvAEPg");
    assert!(tree.get(&fault).is_none());
    delete(&mut tree, Stamp::new("now", "1"), &dn(master)).unwrap();
    assert!(tree.get(&fault).is_some());
    delete(&mut tree, Stamp::new("now", "1"), &dn(at)).unwrap();
    assert!(tree.get(at).is_none());
}

#[test]
fn a_relation_by_dn_to_another_class_is_unresolved() {
    let mut tree = acme();
    let import = Post::new("vzCPIf")
        .with("name", "i")
        .child(Post::new("vzRsIf").with("tDn", "uni/tn-acme/BD-b"));
    post(&mut tree, "uni/tn-acme", import).unwrap();
    assert_eq!(get(&tree, "uni/tn-acme/cif-i/rsif", "state"), "missing-target");
    assert!(tree.get("uni/tn-acme/cif-i/rsif/fault-F1123").is_some());
    assert!(tree.of_class("vzRtIf").next().is_none());
}

#[test]
fn what_exists_by_itself_asks_for_nothing() {
    let mut tree = acme();
    let any = "uni/tn-acme/ctx-v/any";
    let faults = |tree: &selvage_model::Tree| {
        tree.descendants(&dn(any)).filter(|mo| mo.class().name == "faultInst").count()
    };
    assert_eq!(get(&tree, any, "prefGrMemb"), "disabled");
    assert_eq!(faults(&tree), 0);
    assert_eq!(get(&tree, "uni/tn-acme/ap-shop/epg-web/rscustQosPol", "state"), "formed");
    let qos = Post::new("fvRsCustQosPol").with("tnQosCustomPolName", "gold");
    post(&mut tree, "uni/tn-acme/ap-shop/epg-web", qos).unwrap();
    let fault = "uni/tn-acme/ap-shop/epg-web/rscustQosPol/fault-F900001";
    assert_eq!(get(&tree, fault, "severity"), "warning");
}

#[test]
fn a_value_that_would_make_the_name_of_something_else_is_refused() {
    let mut tree = acme();
    let before = tree.clone();
    for (class, prop, value) in [
        ("tagTag", "key", "a/b"),
        ("fvEPSelector", "matchExpression", "a]b"),
        ("fvRsSecInherited", "tDn", "uni/x-]"),
    ] {
        let parent = if class == "fvEPSelector" { "ap-shop/esg-e" } else { "ap-shop/epg-web" };
        let body = match class {
            "fvEPSelector" => {
                Post::new("fvESg").with("name", "e").child(Post::new(class).with(prop, value))
            }
            _ => Post::new(class).with(prop, value),
        };
        let at = if class == "fvEPSelector" { "ap-shop" } else { parent };
        assert!(post(&mut tree, &format!("uni/tn-acme/{at}"), body).is_err(), "{class} {value}");
    }
    assert_eq!(tree, before);
}
