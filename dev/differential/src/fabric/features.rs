//! How each feature is generated: a handful of objects from small domains, so that they meet.

use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::sample::select;

use super::FILTERS;
use super::extra::{At, Extra};
use super::feature::Feature;

/// Contracts that relations of features name.
const NAMES: [&str; 4] = ["c", "d", "e", "gone"];
const MATCHING: [&str; 4] = ["AtleastOne", "AtmostOne", "All", "None"];
const LABELS: [&str; 3] = ["red", "blue", "green"];

/// Objects of one feature.
pub fn extras(feature: Feature) -> BoxedStrategy<Vec<Extra>> {
    match feature {
        Feature::Any => vec(any_relation(), 0..5).boxed(),
        Feature::Preferred => preferred().boxed(),
        Feature::Within => within().boxed(),
        Feature::Taboo => taboos().boxed(),
        Feature::Labels => vec(label(), 0..8).boxed(),
        Feature::Exceptions => vec(exception(), 0..4).boxed(),
        Feature::Masters => masters().boxed(),
        Feature::Interfaces => interfaces().boxed(),
        Feature::Log => vec(log(), 0..6).boxed(),
        Feature::CodePoint => vec(code_point(), 0..4).boxed(),
        Feature::Shared => shared().boxed(),
        Feature::Outside => outside().boxed(),
        Feature::Services => services().boxed(),
        Feature::Protection => protection().boxed(),
    }
}

/// A number of something; taken modulo how many there are.
fn which() -> impl Strategy<Value = usize> + Clone {
    0..12_usize
}

fn contract_name() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => select(&NAMES[..3]), 1 => Just("gone")]
}

fn any_relation() -> impl Strategy<Value = Extra> {
    (which(), any::<bool>(), contract_name()).prop_map(|(vrf, provides, name)| {
        let (class, prefix) = if provides {
            ("vzRsAnyToProv", "rsanyToProv")
        } else {
            ("vzRsAnyToCons", "rsanyToCons")
        };
        Extra::new(At::Vrf(vrf), class, format!("any/{prefix}-{name}"))
    })
}

fn preferred() -> impl Strategy<Value = Vec<Extra>> {
    let enabled = which()
        .prop_map(|vrf| Extra::new(At::Vrf(vrf), "vzAny", "any").with("prefGrMemb", "enabled"));
    let included =
        which().prop_map(|group| Extra::of(At::Group(group)).with("prefGrMemb", "include"));
    (vec(enabled, 0..4), vec(included, 0..4)).prop_map(|(mut vrfs, groups)| {
        vrfs.extend(groups);
        vrfs
    })
}

fn within() -> impl Strategy<Value = Vec<Extra>> {
    let relation = (which(), contract_name()).prop_map(|(group, name)| {
        Extra::new(At::Group(group), "fvRsIntraEpg", format!("rsintraEpg-{name}"))
    });
    vec(relation, 0..3)
}

fn taboos() -> impl Strategy<Value = Vec<Extra>> {
    // What of a broken taboo is still logged is nobody's promise: those that name nothing are a test's.
    let filter = || select(&FILTERS[..]);
    let taboo = (which(), select(&["x", "y"][..]), vec((filter(), any::<bool>()), 0..3));
    let taboo = taboo.prop_map(|(tenant, name, rules)| {
        let at = At::Tenant(tenant);
        let mut all = vec![
            Extra::new(at, "vzTaboo", format!("taboo-{name}")),
            Extra::new(at, "vzTSubj", format!("taboo-{name}/tsubj-s")),
        ];
        all.extend(rules.into_iter().map(|(filter, log)| {
            let rn = format!("taboo-{name}/tsubj-s/rsdenyRule-{filter}");
            let rule = Extra::new(at, "vzRsDenyRule", rn);
            if log { rule.with("directives", "log") } else { rule }
        }));
        all
    });
    let protected = (which(), select(&["x", "y"][..])).prop_map(|(group, name)| {
        Extra::new(At::Group(group), "fvRsProtBy", format!("rsprotBy-{name}"))
    });
    (vec(taboo, 0..3), vec(protected, 0..3))
        .prop_map(|(taboos, protected)| taboos.into_iter().flatten().chain(protected).collect())
}

/// A label of somebody, or a match type.
fn label() -> impl Strategy<Value = Extra> {
    let name = || prop_oneof![4 => select(&LABELS[..2]), 1 => Just("green")];
    let on = |class: &'static str, prefix: &'static str, at: fn(usize) -> At| {
        (which(), name()).prop_map(move |(number, name)| {
            Extra::new(at(number), class, format!("{prefix}-{name}"))
        })
    };
    let matching = |prop: &'static str, at: fn(usize) -> At| {
        (which(), select(&MATCHING[..]))
            .prop_map(move |(number, value)| Extra::of(at(number)).with(prop, value))
    };
    prop_oneof![
        on("vzProvLbl", "provlbl", At::Provided),
        on("vzConsLbl", "conslbl", At::Consumed),
        on("vzProvLbl", "provlbl", At::Group),
        on("vzConsLbl", "conslbl", At::Group),
        on("vzProvSubjLbl", "provsubjlbl", At::Provided),
        on("vzConsSubjLbl", "conssubjlbl", At::Consumed),
        on("vzProvSubjLbl", "provsubjlbl", At::Group),
        on("vzConsSubjLbl", "conssubjlbl", At::Group),
        on("vzProvSubjLbl", "provsubjlbl", At::Subject),
        on("vzConsSubjLbl", "conssubjlbl", At::Subject),
        matching("matchT", At::Provided),
        matching("matchT", At::Group),
        matching("provMatchT", At::Subject),
        matching("consMatchT", At::Subject),
    ]
}

fn exception() -> impl Strategy<Value = Extra> {
    let at = prop_oneof![which().prop_map(At::Contract), which().prop_map(At::Subject)];
    let pair = prop_oneof![
        Just(("EPg", "0", ".*")),
        Just(("EPg", "[12]", "[0-9]")),
        Just(("EPg", "1", "")),
        Just(("Dn", "uni/tn-t/ap-p/.*", ".*/epg-1")),
        Just(("Tenant", "t", "u")),
        Just(("Tenant", "t", "t")),
        Just(("Ctx", "v", "v")),
        Just(("Ctx", "w", ".*")),
        Just(("Tag", "blue", ".*")),
        Just(("Tag", ".*", "red|blue")),
        Just(("EPg", "(", "9")),
        Just(("EPg", "(", "1")),
    ];
    let excepted = (at, pair).prop_map(|(at, (field, consumer, provider))| {
        Extra::new(at, "vzException", "excp-x")
            .with("field", field)
            .with("consRegex", consumer)
            .with("provRegex", provider)
    });
    let tagged = (which(), select(&["red", "blue"][..]))
        .prop_map(|(group, tag)| Extra::of(At::Group(group)).with("exceptionTag", tag));
    prop_oneof![3 => excepted, 1 => tagged]
}

fn masters() -> impl Strategy<Value = Vec<Extra>> {
    let master = (which(), which()).prop_map(|(heir, master)| {
        Extra::new(At::Group(heir), "fvRsSecInherited", "rssecInherited-[{}]")
            .meaning("tDn", At::Group(master))
    });
    vec(master, 0..3)
}

fn interfaces() -> impl Strategy<Value = Vec<Extra>> {
    let interface =
        (which(), which(), select(&["i", "j"][..])).prop_map(|(tenant, contract, name)| {
            let at = At::Tenant(tenant);
            vec![
                Extra::new(at, "vzCPIf", format!("cif-{name}")),
                Extra::new(at, "vzRsIf", format!("cif-{name}/rsif"))
                    .meaning("tDn", At::Contract(contract)),
            ]
        });
    let consumed = (which(), prop_oneof![6 => Just("i"), 6 => Just("j"), 1 => Just("gone")])
        .prop_map(|(group, name)| {
            Extra::new(At::Group(group), "fvRsConsIf", format!("rsconsIf-{name}"))
        });
    (vec(interface, 0..4), vec(consumed, 0..4)).prop_map(|(interfaces, consumed)| {
        interfaces.into_iter().flatten().chain(consumed).collect()
    })
}

fn log() -> impl Strategy<Value = Extra> {
    which().prop_map(|used| Extra::of(At::Used(used)).with("directives", "log"))
}

fn code_point() -> impl Strategy<Value = Extra> {
    (which(), select(&["EF", "CS0", "AF21"][..]))
        .prop_map(|(entry, name)| Extra::of(At::Entry(entry)).with("matchDscp", name))
}

/// Subnets of groups and bridge domains, most of them shared, and contracts that reach beyond a VRF.
/// The prefixes cover the addresses that [`super::Fabric::people`] gives.
fn shared() -> impl Strategy<Value = Vec<Extra>> {
    let scope = || prop_oneof![5 => Just("private,shared"), 1 => Just("private")];
    let below_group = (which(), scope()).prop_map(|(group, scope)| {
        let subnet = Extra::new(At::Group(group), "fvSubnet", "subnet-[10.{m}.12{n}.1/24]");
        subnet.with("scope", scope).with("ctrl", "no-default-gateway")
    });
    let below_domain = (which(), scope()).prop_map(|(domain, scope)| {
        Extra::new(At::Domain(domain), "fvSubnet", "subnet-[10.{m}.0.1/18]").with("scope", scope)
    });
    let reaching = (which(), select(&["global", "tenant"][..]))
        .prop_map(|(contract, scope)| Extra::of(At::Contract(contract)).with("scope", scope));
    (vec(below_group, 0..5), vec(below_domain, 0..4), vec(reaching, 0..5)).prop_map(
        |(groups, domains, contracts)| groups.into_iter().chain(domains).chain(contracts).collect(),
    )
}

/// External EPGs of two L3Outs, which provide and consume like others.
fn outside() -> impl Strategy<Value = Vec<Extra>> {
    let scope = || {
        prop_oneof![
            4 => Just("import-security"),
            2 => Just("import-security,shared-security,shared-rtctrl"),
            1 => Just("export-rtctrl"),
            1 => Just("import-security,shared-rtctrl"),
        ]
    };
    let prefix = prop_oneof![
        Just("0.0.0.0/0"),
        Just("::/0"),
        Just("203.0.113.0/24"),
        Just("203.0.113.9/32"),
        Just("2001:db8:ff::/48"),
    ];
    let subnet = (select(&["x", "y"][..]), prefix, scope());
    let relation = (select(&["x", "y"][..]), any::<bool>(), contract_name());
    let out = (which(), select(&["v", "w"][..]), vec(subnet, 0..4), vec(relation, 0..4));
    out.prop_map(|(tenant, vrf, subnets, relations)| {
        let at = At::Tenant(tenant);
        let mut all = vec![
            Extra::new(at, "l3extOut", "out-o"),
            Extra::new(at, "l3extRsEctx", "out-o/rsectx").with("tnFvCtxName", vrf),
            Extra::new(at, "l3extInstP", "out-o/instP-x"),
            Extra::new(at, "l3extInstP", "out-o/instP-y"),
        ];
        for (group, prefix, scope) in subnets {
            // Shared default prefixes are for a comparison of their own.
            let scope = if prefix.ends_with("/0") { "import-security" } else { scope };
            let rn = format!("out-o/instP-{group}/extsubnet-[{prefix}]");
            all.push(Extra::new(at, "l3extSubnet", rn).with("scope", scope));
        }
        for (group, provides, name) in relations {
            let (class, rn) =
                if provides { ("fvRsProv", "rsprov") } else { ("fvRsCons", "rscons") };
            all.push(Extra::new(at, class, format!("out-o/instP-{group}/{rn}-{name}")));
        }
        all
    })
}

/// Graphs of one or two functions, in the tenants where contracts may be, and subjects that use them.
fn services() -> impl Strategy<Value = Vec<Extra>> {
    let policy = (any::<bool>(), any::<bool>(), select(&["permit", "deny", "bypass"][..]));
    let connectors = (any::<bool>(), any::<bool>());
    let tenant = (0..3_usize, policy, connectors, any::<bool>(), any::<bool>());
    let tenant = tenant.prop_map(|(tenant, policy, connectors, two, copies)| {
        let at = At::Tenant(tenant);
        let mut all = vec![Extra::new(at, "vnsAbsGraph", "AbsGraph-g")];
        let (alive, counts, action) = policy;
        all.push(Extra::new(at, "vnsSvcCont", "svcCont"));
        let pol = "svcCont/svcRedirectPol-p";
        all.push(
            Extra::new(at, "vnsSvcRedirectPol", pol)
                .with("thresholdEnable", if counts { "yes" } else { "no" })
                .with("thresholdDownAction", action),
        );
        if alive {
            let to = format!("{pol}/RedirectDest_ip-[10.9.9.9]");
            all.push(Extra::new(at, "vnsRedirectDest", to).with("mac", "02:00:00:00:99:99"));
        }
        all.push(Extra::new(at, "vnsLDevVip", "lDevVip-d"));
        for (node, copy) in [("N1", copies), ("N2", false)].into_iter().take(1 + usize::from(two)) {
            let node_rn = format!("AbsGraph-g/AbsNode-{node}");
            let copy_word = if copy { "yes" } else { "no" };
            all.push(Extra::new(at, "vnsAbsNode", node_rn).with("isCopy", copy_word));
            let context = format!("ldevCtx-c-any-g-g-n-{node}");
            all.push(Extra::new(at, "vnsLDevCtx", context.clone()));
            all.push(
                Extra::new(at, "vnsRsLDevCtxToLDev", format!("{context}/rsLDevCtxToLDev"))
                    .below("tDn", "lDevVip-d"),
            );
            for (side, redirects) in [("consumer", connectors.0), ("provider", connectors.1)] {
                let connector = format!("{context}/lIfCtx-c-{side}");
                all.push(Extra::new(at, "vnsLIfCtx", connector.clone()));
                if redirects {
                    let rn = format!("{connector}/rsLIfCtxToSvcRedirectPol");
                    all.push(Extra::new(at, "vnsRsLIfCtxToSvcRedirectPol", rn).below("tDn", pol));
                }
            }
        }
        all
    });
    let used =
        (which(), prop_oneof![9 => Just("g"), 1 => Just("gone")]).prop_map(|(subject, graph)| {
            Extra::new(At::Subject(subject), "vzRsSubjGraphAtt", "rsSubjGraphAtt")
                .with("tnVnsAbsGraphName", graph)
        });
    (vec(tenant, 1..3), vec(used, 0..4))
        .prop_map(|(tenants, used)| tenants.into_iter().flatten().chain(used).collect())
}

/// Two host protection policies of tenant `t`: see [`super::Fabric::people`] for who is under them.
fn protection() -> impl Strategy<Value = Vec<Extra>> {
    let headers = prop_oneof![
        Just(("undefined", "unspecified", "unspecified", "unspecified")),
        Just(("ipv4", "tcp", "http", "https")),
        Just(("ipv4", "udp", "1", "1023")),
        Just(("ipv6", "tcp", "unspecified", "unspecified")),
        Just(("ipv4", "tcp", "unspecified", "unspecified")),
    ];
    let remote = prop_oneof![
        2 => Just(""),
        1 => Just("10.0.0.0/16"),
        1 => Just("10.0.121.7"),
        1 => Just("203.0.113.0/24"),
    ];
    let rule = (any::<bool>(), headers, any::<bool>(), remote);
    let policy = (select(&["h", "k"][..]), vec(rule, 0..5));
    let policy = policy.prop_map(|(name, rules)| {
        let pol = format!("pol-{name}");
        let tenant = At::TenantNamed("uni/tn-t");
        let mut all = vec![
            Extra::new(tenant, "hostprotPol", pol.clone()),
            Extra::new(tenant, "hostprotSubj", format!("{pol}/subj-s")),
        ];
        for (number, (inward, (ether, proto, from, to), reflexive, remote)) in (0..).zip(rules) {
            let rule: String = format!("{pol}/subj-s/rule-{number}");
            all.push(
                Extra::new(tenant, "hostprotRule", rule.clone())
                    .with("direction", if inward { "ingress" } else { "egress" })
                    .with("ethertype", ether)
                    .with("protocol", proto)
                    .with("fromPort", from)
                    .with("toPort", to)
                    .with("connTrack", if reflexive { "reflexive" } else { "normal" }),
            );
            if !remote.is_empty() {
                let rn = format!("{rule}/ip-[{remote}]");
                all.push(Extra::new(tenant, "hostprotRemoteIp", rn));
            }
        }
        all
    });
    vec(policy, 1..3).prop_map(|policies| policies.into_iter().flatten().collect())
}
