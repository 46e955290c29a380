//! L3Outs and the groups behind them.

use super::{
    ALIAS, Becomes, DESCRIPTION, NAME, QOS_CLASS, Shape, TARGET_DSCP, block, flag, key, keys,
    link_name, node_id, relation, relations, required, switch, yes_no,
};

pub static L3OUT: Shape = block(
    "an L3Out",
    "l3extOut",
    &[
        NAME,
        ALIAS,
        DESCRIPTION,
        required("vrf", relation("l3extRsEctx", "tnFvCtxName")),
        key(
            "domain",
            Becomes::RelationTo {
                class: "l3extRsL3DomAtt",
                attribute: "tDn",
                to: "uni/l3dom-{value}",
            },
        ),
        TARGET_DSCP,
        key("node_profiles", Becomes::Blocks(&NODE_PROFILE)),
        key("external_endpoint_groups", Becomes::Blocks(&EXTERNAL_GROUP)),
    ],
);

static NODE_PROFILE: Shape = block(
    "a node profile",
    "l3extLNodeP",
    &[
        NAME,
        DESCRIPTION,
        key("nodes", Becomes::Blocks(&BORDER_NODE)),
        key("interface_profiles", Becomes::Blocks(&INTERFACE_PROFILE)),
    ],
);

static BORDER_NODE: Shape = Shape {
    composed: &[("tDn", &["topology/pod-1/node-{node_id}"])],
    ..block(
        "a border node",
        "l3extRsNodeL3OutAtt",
        &[
            required("node_id", Becomes::Part(node_id)),
            key("router_id", Becomes::Attribute("rtrId")),
            key("router_id_as_loopback", yes_no("rtrIdLoopBack")),
            key("static_routes", Becomes::Blocks(&STATIC_ROUTE)),
        ],
    )
};

static STATIC_ROUTE: Shape = block(
    "a static route",
    "ipRouteP",
    &[
        required("prefix", Becomes::Attribute("ip")),
        DESCRIPTION,
        key("preference", Becomes::Attribute("pref")),
        key("next_hops", Becomes::Blocks(&NEXT_HOP)),
    ],
);

static NEXT_HOP: Shape = block(
    "a next hop",
    "ipNexthopP",
    &[
        required("ip", Becomes::Attribute("nhAddr")),
        DESCRIPTION,
        key("preference", Becomes::Attribute("pref")),
    ],
);

static INTERFACE_PROFILE: Shape = block(
    "an interface profile",
    "l3extLIfP",
    &[NAME, DESCRIPTION, key("interfaces", Becomes::Blocks(&BORDER_LINK))],
);

static BORDER_LINK: Shape = Shape {
    composed: &[("tDn", &["topology/pod-1/paths-{node_id}/pathep-[{channel}]"])],
    ..block(
        "an interface",
        "l3extRsPathL3OutAtt",
        &[
            required("node_id", Becomes::Part(node_id)),
            required("channel", Becomes::Part(link_name)),
            DESCRIPTION,
            key("ip", Becomes::Attribute("addr")),
        ],
    )
};

static EXTERNAL_GROUP: Shape = block(
    "an external endpoint group",
    "l3extInstP",
    &[
        NAME,
        ALIAS,
        DESCRIPTION,
        key("preferred_group", switch("prefGrMemb", "include", "exclude")),
        QOS_CLASS,
        TARGET_DSCP,
        key("subnets", Becomes::Blocks(&EXTERNAL_SUBNET)),
        key("contracts", Becomes::Keys(&EXTERNAL_CONTRACTS)),
    ],
);

static EXTERNAL_CONTRACTS: Shape = keys(
    "the contracts of an external endpoint group",
    &[
        key("providers", relations("fvRsProv", "tnVzBrCPName")),
        key("consumers", relations("fvRsCons", "tnVzBrCPName")),
        key("imported_consumers", relations("fvRsConsIf", "tnVzCPIfName")),
    ],
);

static EXTERNAL_SUBNET: Shape = block(
    "a subnet of an external endpoint group",
    "l3extSubnet",
    &[
        required("prefix", Becomes::Attribute("ip")),
        key("name", Becomes::Attribute("name")),
        DESCRIPTION,
        key("import_security", flag("scope", "import-security", true)),
        key("import_route_control", flag("scope", "import-rtctrl", false)),
        key("export_route_control", flag("scope", "export-rtctrl", false)),
        key("shared_security", flag("scope", "shared-security", false)),
        key("shared_route_control", flag("scope", "shared-rtctrl", false)),
        key("aggregate_import_route_control", flag("aggregate", "import-rtctrl", false)),
        key("aggregate_export_route_control", flag("aggregate", "export-rtctrl", false)),
        key("aggregate_shared_route_control", flag("aggregate", "shared-rtctrl", false)),
    ],
);
