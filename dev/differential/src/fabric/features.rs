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
    let filter = || prop_oneof![9 => select(&FILTERS[..]), 1 => Just("gone")];
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
    let protected = (which(), prop_oneof![6 => Just("x"), 6 => Just("y"), 1 => Just("gone")])
        .prop_map(|(group, name)| {
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
