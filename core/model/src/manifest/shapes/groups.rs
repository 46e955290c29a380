//! Application profiles and their groups: EPGs, microsegments, ESGs.

use super::network::SUBNET;
use super::{
    ALIAS, Becomes, DESCRIPTION, Grown, Key, NAME, QOS_CLASS, Shape, block, flag, key, keys,
    link_name, name, node_id, number, relation, relations, required, switch, vlan, yes_no,
};

pub static APPLICATION_PROFILE: Shape = block(
    "an application profile",
    "fvAp",
    &[
        NAME,
        ALIAS,
        DESCRIPTION,
        key("endpoint_groups", Becomes::Blocks(&ENDPOINT_GROUP)),
        key("useg_endpoint_groups", Becomes::Blocks(&MICROSEGMENT)),
        key("endpoint_security_groups", Becomes::Blocks(&SECURITY_GROUP)),
    ],
);

const ISOLATION: Becomes = switch("pcEnfPref", "enforced", "unenforced");
const PREFERRED_GROUP: Key = key("preferred_group", switch("prefGrMemb", "include", "exclude"));
const BRIDGE_DOMAIN: Key = required("bridge_domain", relation("fvRsBd", "tnFvBDName"));
const FLOOD_IN_ENCAP: Key = key("flood_in_encap", switch("floodOnEncap", "enabled", "disabled"));
const CUSTOM_QOS: Key = key("custom_qos_policy", relation("fvRsCustQosPol", "tnQosCustomPolName"));
const PHYSICAL_DOMAINS: Key = key(
    "physical_domains",
    Becomes::RelationsTo { class: "fvRsDomAtt", attribute: "tDn", to: "uni/phys-{value}" },
);
const TAGS: Key = key("tags", relations("tagInst", "name"));
const TAG_ANNOTATIONS: Key = key("tag_annotations", Becomes::Blocks(&TAG_ANNOTATION));
const IMMEDIACY: Key = key("deployment_immediacy", Becomes::Attribute("instrImedcy"));
const MODE: Key = key("mode", Becomes::Attribute("mode"));

static ENDPOINT_GROUP: Shape = block(
    "an endpoint group",
    "fvAEPg",
    &[
        NAME,
        ALIAS,
        DESCRIPTION,
        BRIDGE_DOMAIN,
        key("intra_epg_isolation", ISOLATION),
        key("proxy_arp", flag("fwdCtrl", "proxy-arp", false)),
        PREFERRED_GROUP,
        FLOOD_IN_ENCAP,
        QOS_CLASS,
        CUSTOM_QOS,
        key("data_plane_policing_policy", relation("fvRsDppPol", "tnQosDppPolName")),
        key("subnets", Becomes::Blocks(&SUBNET)),
        key("contracts", Becomes::Keys(&GROUP_CONTRACTS)),
        PHYSICAL_DOMAINS,
        key("vmware_vmm_domains", Becomes::Blocks(&VMM_DOMAIN)),
        key("static_ports", Becomes::Blocks(&STATIC_PORT)),
        key("static_leafs", Becomes::Blocks(&STATIC_LEAF)),
        key("static_aaeps", Becomes::Blocks(&STATIC_AAEP)),
        key("static_endpoints", Becomes::Blocks(&STATIC_ENDPOINT)),
        TAGS,
        TAG_ANNOTATIONS,
    ],
);

static GROUP_CONTRACTS: Shape = keys(
    "the contracts of an endpoint group",
    &[
        key("providers", relations("fvRsProv", "tnVzBrCPName")),
        key("consumers", relations("fvRsCons", "tnVzBrCPName")),
        key("imported_consumers", relations("fvRsConsIf", "tnVzCPIfName")),
        key("intra_epgs", relations("fvRsIntraEpg", "tnVzBrCPName")),
        key("masters", Becomes::Blocks(&EPG_MASTER)),
    ],
);

static EPG_MASTER: Shape = Shape {
    composed: &[("tDn", &["uni/tn-{@tn}/ap-{application_profile}/epg-{endpoint_group}"])],
    ..block(
        "a contract master",
        "fvRsSecInherited",
        &[
            required("endpoint_group", Becomes::Part(name)),
            key("application_profile", Becomes::PartOr(name, "@ap")),
        ],
    )
};

static VMM_DOMAIN: Shape = Shape {
    composed: &[("tDn", &["uni/vmmp-VMware/dom-{name}"])],
    ..block(
        "a VMware domain",
        "fvRsDomAtt",
        &[
            required("name", Becomes::Part(name)),
            key("u_segmentation", switch("classPref", "useg", "encap")),
            IMMEDIACY,
            key("resolution_immediacy", Becomes::Attribute("resImedcy")),
            key("custom_epg_name", Becomes::Attribute("customEpgName")),
        ],
    )
};

/// Names of ports, by the keys that were written: a channel or a link by its name, or a port by its
/// numbers; of one node, of two, or of an extender behind them.
const PORTS: &[&str] = &[
    "topology/pod-{pod_id}/protpaths-{node_id}-{node2_id}/extprotpaths-{fex_id}-{fex2_id}/pathep-[{channel}]",
    "topology/pod-{pod_id}/paths-{node_id}/extpaths-{fex_id}/pathep-[{channel}]",
    "topology/pod-{pod_id}/protpaths-{node_id}-{node2_id}/pathep-[{channel}]",
    "topology/pod-{pod_id}/paths-{node_id}/pathep-[{channel}]",
    "topology/pod-{pod_id}/paths-{node_id}/extpaths-{fex_id}/pathep-[eth{module}/{port}]",
    "topology/pod-{pod_id}/paths-{node_id}/pathep-[eth{module}/{port}/{sub_port}]",
    "topology/pod-{pod_id}/paths-{node_id}/pathep-[eth{module}/{port}]",
];
const POD: Key = key("pod_id", Becomes::PartOr(number, "1"));
const NODE: Key = required("node_id", Becomes::Part(node_id));
const SECOND_NODE: Key = key("node2_id", Becomes::Part(node_id));
const MODULE: Key = key("module", Becomes::PartOr(number, "1"));
const PORT: Key = key("port", Becomes::Part(number));
const CHANNEL: Key = key("channel", Becomes::Part(name));
const VLAN: Key = key("vlan", Becomes::Part(vlan));

static STATIC_PORT: Shape = Shape {
    composed: &[
        ("tDn", PORTS),
        ("encap", &["vlan-{vlan}"]),
        ("primaryEncap", &["vlan-{primary_vlan}"]),
    ],
    ..block(
        "a static port",
        "fvRsPathAtt",
        &[
            DESCRIPTION,
            POD,
            NODE,
            SECOND_NODE,
            key("fex_id", Becomes::Part(number)),
            key("fex2_id", Becomes::Part(number)),
            MODULE,
            PORT,
            key("sub_port", Becomes::Part(number)),
            CHANNEL,
            VLAN,
            key("primary_vlan", Becomes::Part(vlan)),
            MODE,
            IMMEDIACY,
        ],
    )
};

static STATIC_LEAF: Shape = Shape {
    composed: &[("tDn", &["topology/pod-{pod_id}/node-{node_id}"]), ("encap", &["vlan-{vlan}"])],
    ..block("a static leaf", "fvRsNodeAtt", &[POD, NODE, VLAN, MODE, IMMEDIACY])
};

static STATIC_AAEP: Shape = Shape {
    composed: &[("encap", &["vlan-{encap}"]), ("primaryEncap", &["vlan-{primary_encap}"])],
    ..block(
        "an access entity profile",
        "fvRsAepAtt",
        &[
            required("name", Becomes::Attribute("tnInfraAttEntityPName")),
            required("encap", Becomes::Part(vlan)),
            key("primary_encap", Becomes::Part(vlan)),
            MODE,
            IMMEDIACY,
        ],
    )
};

static STATIC_ENDPOINT: Shape = Shape {
    composed: &[("encap", &["vlan-{vlan}"])],
    grown: &[Grown { class: "fvRsStCEpToPathEp", attribute: "tDn", texts: PORTS }],
    ..block(
        "a static endpoint",
        "fvStCEp",
        &[
            key("name", Becomes::Attribute("name")),
            ALIAS,
            required("mac", Becomes::Attribute("mac")),
            required("type", Becomes::Attribute("type")),
            key("ip", Becomes::Attribute("ip")),
            key("additional_ips", relations("fvStIp", "addr")),
            POD,
            key("node_id", Becomes::Part(node_id)),
            SECOND_NODE,
            MODULE,
            PORT,
            key("channel", Becomes::Part(link_name)),
            VLAN,
        ],
    )
};

static TAG_ANNOTATION: Shape = block(
    "an annotation",
    "tagAnnotation",
    &[required("key", Becomes::Attribute("key")), required("value", Becomes::Attribute("value"))],
);

static MICROSEGMENT: Shape = Shape {
    defaults: &[("isAttrBasedEPg", "yes")],
    ..block(
        "a microsegment",
        "fvAEPg",
        &[
            NAME,
            ALIAS,
            DESCRIPTION,
            BRIDGE_DOMAIN,
            key("intra_epg_isolation", ISOLATION),
            PREFERRED_GROUP,
            FLOOD_IN_ENCAP,
            QOS_CLASS,
            CUSTOM_QOS,
            key("useg_attributes", Becomes::Block(&CRITERIA)),
            key("subnets", Becomes::Blocks(&SUBNET)),
            key("contracts", Becomes::Keys(&GROUP_CONTRACTS)),
            PHYSICAL_DOMAINS,
            key("vmware_vmm_domains", Becomes::Blocks(&VMM_DOMAIN)),
            key("static_leafs", Becomes::Blocks(&STATIC_LEAF)),
            TAGS,
            TAG_ANNOTATIONS,
        ],
    )
};

static CRITERIA: Shape = block(
    "the attributes of a microsegment",
    "fvCrtrn",
    &[
        key("match_type", Becomes::Attribute("match")),
        // Not in the data model, which cannot say it.
        key("precedence", Becomes::Attribute("prec")),
        key("ip_statements", Becomes::Blocks(&IP_STATEMENT)),
        key("mac_statements", Becomes::Blocks(&MAC_STATEMENT)),
        key("vm_statements", Becomes::Blocks(&VM_STATEMENT)),
    ],
);

static IP_STATEMENT: Shape = Shape {
    // The data model's default, where no address is written.
    defaults: &[("usefvSubnet", "yes")],
    ..block(
        "an IP statement",
        "fvIpAttr",
        &[NAME, key("use_epg_subnet", yes_no("usefvSubnet")), key("ip", Becomes::Attribute("ip"))],
    )
};

static MAC_STATEMENT: Shape =
    block("a MAC statement", "fvMacAttr", &[NAME, required("mac", Becomes::Attribute("mac"))]);

static VM_STATEMENT: Shape = block(
    "a VM statement",
    "fvVmAttr",
    &[
        NAME,
        key("type", Becomes::Attribute("type")),
        key("operator", Becomes::Attribute("operator")),
        required("value", Becomes::Attribute("value")),
        key("category", Becomes::Attribute("category")),
        key("label", Becomes::Attribute("labelName")),
    ],
);

static SECURITY_GROUP: Shape = block(
    "an endpoint security group",
    "fvESg",
    &[
        NAME,
        DESCRIPTION,
        required("vrf", relation("fvRsScope", "tnFvCtxName")),
        key("shutdown", yes_no("shutdown")),
        key("intra_esg_isolation", ISOLATION),
        PREFERRED_GROUP,
        IMMEDIACY,
        key("contracts", Becomes::Keys(&SECURITY_GROUP_CONTRACTS)),
        key("tag_selectors", Becomes::Blocks(&TAG_SELECTOR)),
        key("epg_selectors", Becomes::Blocks(&EPG_SELECTOR)),
        key("ip_subnet_selectors", Becomes::Blocks(&IP_SELECTOR)),
        key("ip_external_subnet_selectors", Becomes::Blocks(&EXTERNAL_SELECTOR)),
    ],
);

static SECURITY_GROUP_CONTRACTS: Shape = keys(
    "the contracts of an endpoint security group",
    &[
        key("providers", relations("fvRsProv", "tnVzBrCPName")),
        key("consumers", relations("fvRsCons", "tnVzBrCPName")),
        key("imported_consumers", relations("fvRsConsIf", "tnVzCPIfName")),
        key("intra_esgs", relations("fvRsIntraEpg", "tnVzBrCPName")),
        key("masters", Becomes::Blocks(&ESG_MASTER)),
    ],
);

static ESG_MASTER: Shape = Shape {
    composed: &[("tDn", &["uni/tn-{@tn}/ap-{application_profile}/esg-{endpoint_security_group}"])],
    ..block(
        "a contract master",
        "fvRsSecInherited",
        &[
            required("endpoint_security_group", Becomes::Part(name)),
            key("application_profile", Becomes::PartOr(name, "@ap")),
        ],
    )
};

static TAG_SELECTOR: Shape = block(
    "a tag selector",
    "fvTagSelector",
    &[
        required("key", Becomes::Attribute("matchKey")),
        required("value", Becomes::Attribute("matchValue")),
        key("operator", Becomes::Attribute("valueOperator")),
        DESCRIPTION,
    ],
);

static EPG_SELECTOR: Shape = Shape {
    composed: &[("matchEpgDn", &["uni/tn-{@tn}/ap-{application_profile}/epg-{endpoint_group}"])],
    ..block(
        "an EPG selector",
        "fvEPgSelector",
        &[
            required("endpoint_group", Becomes::Part(name)),
            key("application_profile", Becomes::PartOr(name, "@ap")),
            DESCRIPTION,
        ],
    )
};

static IP_SELECTOR: Shape = Shape {
    composed: &[("matchExpression", &["ip=='{value}'"])],
    ..block(
        "an IP selector",
        "fvEPSelector",
        &[required("value", Becomes::Part(address_or_prefix)), DESCRIPTION],
    )
};

static EXTERNAL_SELECTOR: Shape = block(
    "an external subnet selector",
    "fvExternalSubnetSelector",
    &[required("ip", Becomes::Attribute("ip")), key("shared", yes_no("shared")), DESCRIPTION],
);

fn address_or_prefix(text: &str) -> Result<(), &'static str> {
    crate::ip_or_prefix(text)
        .map(|_| ())
        .ok_or("an IP address, with or without a prefix length, such as `10.0.0.0/24`")
}
