//! Contracts, filters, and contracts of other tenants.

use super::{
    ALIAS, Becomes, DESCRIPTION, Grown, NAME, QOS_CLASS, Shape, TARGET_DSCP, block, flag, key,
    name, relation, required, yes_no,
};

pub static CONTRACT: Shape = block(
    "a contract",
    "vzBrCP",
    &[
        NAME,
        ALIAS,
        DESCRIPTION,
        key("scope", Becomes::Attribute("scope")),
        QOS_CLASS,
        TARGET_DSCP,
        key("subjects", Becomes::Blocks(&SUBJECT)),
    ],
);

static SUBJECT: Shape = block(
    "a subject",
    "vzSubj",
    &[
        NAME,
        ALIAS,
        DESCRIPTION,
        key("reverse_filter_ports", yes_no("revFltPorts")),
        QOS_CLASS,
        TARGET_DSCP,
        key("service_graph", relation("vzRsSubjGraphAtt", "tnVnsAbsGraphName")),
        key("filters", Becomes::Blocks(&SUBJECT_FILTER)),
        key("consumer_to_provider", Becomes::Block(&CONSUMER_TO_PROVIDER)),
        key("provider_to_consumer", Becomes::Block(&PROVIDER_TO_CONSUMER)),
    ],
);

static SUBJECT_FILTER: Shape = block(
    "a filter of a subject",
    "vzRsSubjFiltAtt",
    &[
        required("filter", Becomes::Attribute("tnVzFilterName")),
        key("action", Becomes::Attribute("action")),
        key("priority", Becomes::Attribute("priorityOverride")),
        key("log", flag("directives", "log", false)),
        key("no_stats", flag("directives", "no_stats", false)),
    ],
);

static CONSUMER_TO_PROVIDER: Shape = block(
    "the direction from consumer to provider",
    "vzInTerm",
    &[
        QOS_CLASS,
        TARGET_DSCP,
        key("service_graph", relation("vzRsInTermGraphAtt", "tnVnsAbsGraphName")),
        key("filters", Becomes::Blocks(&ONE_WAY_FILTER)),
    ],
);

static PROVIDER_TO_CONSUMER: Shape = block(
    "the direction from provider to consumer",
    "vzOutTerm",
    &[
        QOS_CLASS,
        TARGET_DSCP,
        key("service_graph", relation("vzRsOutTermGraphAtt", "tnVnsAbsGraphName")),
        key("filters", Becomes::Blocks(&ONE_WAY_FILTER)),
    ],
);

static ONE_WAY_FILTER: Shape =
    block("a filter of one direction", "vzRsFiltAtt", SUBJECT_FILTER.keys);

pub static FILTER: Shape = block(
    "a filter",
    "vzFilter",
    &[NAME, ALIAS, DESCRIPTION, key("entries", Becomes::Blocks(&ENTRY))],
);

static ENTRY: Shape = Shape {
    // The data model's own defaults; an entry of the class itself matches every packet.
    defaults: &[("etherT", "ip"), ("prot", "tcp")],
    ..block(
        "a filter entry",
        "vzEntry",
        &[
            NAME,
            ALIAS,
            DESCRIPTION,
            key("ethertype", Becomes::Attribute("etherT")),
            key("protocol", Becomes::Attribute("prot")),
            key("source_from_port", Becomes::Attribute("sFromPort")),
            key("source_to_port", Becomes::Attribute("sToPort")),
            key("destination_from_port", Becomes::Attribute("dFromPort")),
            key("destination_to_port", Becomes::Attribute("dToPort")),
            key("stateful", yes_no("stateful")),
            key("match_only_fragments", yes_no("applyToFrag")),
        ],
    )
};

pub static IMPORTED_CONTRACT: Shape = Shape {
    grown: &[Grown {
        class: "vzRsIf",
        attribute: "tDn",
        texts: &["uni/tn-{tenant}/brc-{contract}"],
    }],
    ..block(
        "an imported contract",
        "vzCPIf",
        &[NAME, required("tenant", Becomes::Part(name)), required("contract", Becomes::Part(name))],
    )
};
