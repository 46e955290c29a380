//! VRFs, bridge domains, subnets, and policies that have no place elsewhere.

use super::{
    ALIAS, Becomes, DESCRIPTION, Key, NAME, Shape, block, flag, key, keys, relation, relations,
    required, switch, yes_no,
};

const PREFERRED_GROUP_OF_A_VRF: Becomes = switch("prefGrMemb", "enabled", "disabled");

pub static VRF: Shape = block(
    "a VRF",
    "fvCtx",
    &[
        NAME,
        ALIAS,
        DESCRIPTION,
        key("enforcement_preference", Becomes::Attribute("pcEnfPref")),
        key("enforcement_direction", Becomes::Attribute("pcEnfDir")),
        key("data_plane_learning", switch("ipDataPlaneLearning", "enabled", "disabled")),
        key("preferred_group", Becomes::In("vzAny", &PREFERRED_GROUP_OF_A_VRF)),
        key("contracts", Becomes::KeysIn("vzAny", &VRF_CONTRACTS)),
        key("leaked_internal_subnets", Becomes::In("leakRoutes", &Becomes::Blocks(&LEAK))),
        key(
            "leaked_external_prefixes",
            Becomes::In("leakRoutes", &Becomes::Blocks(&EXTERNAL_LEAK)),
        ),
    ],
);

static VRF_CONTRACTS: Shape = keys(
    "the contracts of a VRF",
    &[
        key("providers", relations("vzRsAnyToProv", "tnVzBrCPName")),
        key("consumers", relations("vzRsAnyToCons", "tnVzBrCPName")),
        key("imported_consumers", relations("vzRsAnyToConsIf", "tnVzCPIfName")),
    ],
);

static LEAK: Shape = block(
    "a leaked subnet",
    "leakInternalSubnet",
    &[
        required("prefix", Becomes::Attribute("ip")),
        key("public", switch("scope", "public", "private")),
        key("destinations", Becomes::Blocks(&LEAK_DESTINATION)),
    ],
);

static EXTERNAL_LEAK: Shape = block(
    "a leaked prefix",
    "leakExternalPrefix",
    &[
        required("prefix", Becomes::Attribute("ip")),
        key("from_prefix_length", Becomes::Attribute("ge")),
        key("to_prefix_length", Becomes::Attribute("le")),
        key("destinations", Becomes::Blocks(&LEAK_DESTINATION)),
    ],
);

static LEAK_DESTINATION: Shape = block(
    "a destination of a leak",
    "leakTo",
    &[
        required("tenant", Becomes::Attribute("tenantName")),
        required("vrf", Becomes::Attribute("ctxName")),
        DESCRIPTION,
        key("public", switch("scope", "public", "private")),
    ],
);

pub static BRIDGE_DOMAIN: Shape = block(
    "a bridge domain",
    "fvBD",
    &[
        NAME,
        ALIAS,
        DESCRIPTION,
        required("vrf", relation("fvRsCtx", "tnFvCtxName")),
        key("mac", Becomes::Attribute("mac")),
        key("virtual_mac", Becomes::Attribute("vmac")),
        key("unicast_routing", yes_no("unicastRoute")),
        key("arp_flooding", yes_no("arpFlood")),
        key("unknown_unicast", Becomes::Attribute("unkMacUcastAct")),
        key("unknown_ipv4_multicast", Becomes::Attribute("unkMcastAct")),
        key("unknown_ipv6_multicast", Becomes::Attribute("v6unkMcastAct")),
        key("multi_destination_flooding", Becomes::Attribute("multiDstPktAct")),
        key("limit_ip_learn_to_subnets", yes_no("limitIpLearnToSubnets")),
        key("ip_dataplane_learning", yes_no("ipLearning")),
        key("multicast_arp_drop", yes_no("mcastARPDrop")),
        key("advertise_host_routes", yes_no("hostBasedRouting")),
        key("ep_move_detection", switch("epMoveDetectMode", "garp", "")),
        key("clear_remote_mac_entries", yes_no("epClear")),
        key("l3_multicast", yes_no("mcastAllow")),
        key("l3_multicast_ipv6", yes_no("ipv6McastAllow")),
        key("subnets", Becomes::Blocks(&SUBNET)),
    ],
);

pub static SUBNET: Shape = block(
    "a subnet",
    "fvSubnet",
    &[
        required("ip", Becomes::Attribute("ip")),
        DESCRIPTION,
        key("primary_ip", yes_no("preferred")),
        key("virtual", yes_no("virtual")),
        key(
            "public",
            Becomes::Flag {
                attribute: "scope",
                word: "public",
                otherwise: "private",
                default: false,
            },
        ),
        key("shared", flag("scope", "shared", false)),
        key("nd_ra_prefix", flag("ctrl", "nd", true)),
        key("no_default_gateway", flag("ctrl", "no-default-gateway", false)),
        key("igmp_querier", flag("ctrl", "querier", false)),
        key("ip_dataplane_learning", switch("ipDPLearning", "enabled", "disabled")),
    ],
);

pub static POLICIES: Shape = keys(
    "`policies`",
    &[
        key("endpoint_ip_tags", Becomes::In("fvEpTags", &Becomes::Blocks(&IP_TAG))),
        key("endpoint_mac_tags", Becomes::In("fvEpTags", &Becomes::Blocks(&MAC_TAG))),
        key("qos", Becomes::Blocks(&CUSTOM_QOS)),
        key("data_plane_policing_policies", Becomes::Blocks(&POLICING)),
    ],
);

static IP_TAG: Shape = block(
    "a tagged address",
    "fvEpIpTag",
    &[
        required("ip", Becomes::Attribute("ip")),
        required("vrf", Becomes::Attribute("ctxName")),
        key("tags", Becomes::Blocks(&TAG)),
    ],
);

static MAC_TAG: Shape = block(
    "a tagged MAC address",
    "fvEpMacTag",
    &[
        required("mac", Becomes::Attribute("mac")),
        required("bridge_domain", Becomes::Word { attribute: "bdName", word: "all", means: "*" }),
        key("vrf", Becomes::Attribute("ctxName")),
        key("tags", Becomes::Blocks(&TAG)),
    ],
);

static TAG: Shape = block(
    "a tag",
    "tagTag",
    &[required("key", Becomes::Attribute("key")), required("value", Becomes::Attribute("value"))],
);

static CUSTOM_QOS: Shape = block(
    "a custom quality-of-service policy",
    "qosCustomPol",
    &[
        NAME,
        ALIAS,
        DESCRIPTION,
        key("dscp_priority_maps", Becomes::Blocks(&DSCP_MAP)),
        key("dot1p_classifiers", Becomes::Blocks(&DOT1P_MAP)),
    ],
);

const PRIORITY: Key = key("priority", Becomes::Attribute("prio"));
const DSCP_TARGET: Key = key("dscp_target", Becomes::Attribute("target"));
const COS_TARGET: Key = key("cos_target", Becomes::Attribute("targetCos"));

static DSCP_MAP: Shape = block(
    "a range of DSCP values",
    "qosDscpClass",
    &[
        required("dscp_from", Becomes::Attribute("from")),
        required("dscp_to", Becomes::Attribute("to")),
        PRIORITY,
        DSCP_TARGET,
        COS_TARGET,
    ],
);

static DOT1P_MAP: Shape = block(
    "a range of 802.1p values",
    "qosDot1PClass",
    &[
        required("dot1p_from", Becomes::Attribute("from")),
        required("dot1p_to", Becomes::Attribute("to")),
        PRIORITY,
        DSCP_TARGET,
        COS_TARGET,
    ],
);

static POLICING: Shape = block(
    "a policing policy",
    "qosDppPol",
    &[
        NAME,
        key("admin_state", switch("adminSt", "enabled", "disabled")),
        key("mode", Becomes::Attribute("mode")),
        key("type", Becomes::Attribute("type")),
        key("sharing_mode", Becomes::Attribute("sharingMode")),
        key("rate", Becomes::Attribute("rate")),
        key("rate_unit", Becomes::Attribute("rateUnit")),
        key("burst", Becomes::Attribute("burst")),
        key("burst_unit", Becomes::Attribute("burstUnit")),
        key("peak_rate", Becomes::Attribute("pir")),
        key("peak_rate_unit", Becomes::Attribute("pirUnit")),
        key("burst_excessive", Becomes::Attribute("be")),
        key("burst_excessive_unit", Becomes::Attribute("beUnit")),
        key("conform_action", Becomes::Attribute("conformAction")),
        key("conform_mark_cos", Becomes::Attribute("conformMarkCos")),
        key("conform_mark_dscp", Becomes::Attribute("conformMarkDscp")),
        key("exceed_action", Becomes::Attribute("exceedAction")),
        key("exceed_mark_cos", Becomes::Attribute("exceedMarkCos")),
        key("exceed_mark_dscp", Becomes::Attribute("exceedMarkDscp")),
        key("violate_action", Becomes::Attribute("violateAction")),
        key("violate_mark_cos", Becomes::Attribute("violateMarkCos")),
        key("violate_mark_dscp", Becomes::Attribute("violateMarkDscp")),
    ],
);
