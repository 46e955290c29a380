//! Which keys the format has, where they may stand, and what each becomes. Data, read by `build`.

/// The keys of one kind of block.
pub struct Shape {
    /// What one such block is called, with its article.
    pub what: &'static str,
    /// The class it becomes; `None` for a block that only groups keys of the one around it.
    pub class: Option<&'static str>,
    /// Its keys.
    pub keys: &'static [Key],
    /// Attributes the format sets where no key does, since its defaults differ from the class's.
    pub defaults: &'static [(&'static str, &'static str)],
    /// Attributes made of several keys: the attribute, and its text with `{key}` where the value of
    /// a [`Becomes::Part`] stands.
    pub composed: &'static [(&'static str, &'static str)],
}

/// One key.
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it becomes.
    pub becomes: Becomes,
    /// The block is nothing without it.
    pub required: bool,
}

/// What a key's value becomes.
pub enum Becomes {
    /// An attribute of the block's object, by this name and with the same values.
    Attribute(&'static str),
    /// An attribute that has words of its own for `true` and `false`.
    Switch {
        /// The attribute.
        attribute: &'static str,
        /// What it is when true.
        yes: &'static str,
        /// What it is when false.
        no: &'static str,
    },
    /// A word in a set of words: it is in if true.
    Flag {
        /// The attribute that holds the set.
        attribute: &'static str,
        /// The word.
        word: &'static str,
        /// Whether it is in where the key is missing.
        default: bool,
    },
    /// A part of a composed attribute of the block, if the check finds nothing wrong with it.
    Part(fn(&str) -> Result<(), &'static str>),
    /// A child object that points at the DN that the value completes.
    RelationTo {
        /// Its class.
        class: &'static str,
        /// The attribute that holds the DN.
        attribute: &'static str,
        /// What the DN begins with.
        before: &'static str,
    },
    /// A child object that points at what the value names.
    Relation {
        /// Its class.
        class: &'static str,
        /// The attribute that holds the name.
        attribute: &'static str,
    },
    /// A list of names, each a child object that points at it.
    Relations {
        /// Their class.
        class: &'static str,
        /// The attribute that holds the name.
        attribute: &'static str,
    },
    /// A list of blocks, each a child object.
    Blocks(&'static Shape),
    /// A block that is a child object, the only one of its class.
    Block(&'static Shape),
    /// Keys that belong to this block's own object.
    Keys(&'static Shape),
}

const fn key(name: &'static str, becomes: Becomes) -> Key {
    Key { name, becomes, required: false }
}

const fn required(name: &'static str, becomes: Becomes) -> Key {
    Key { name, becomes, required: true }
}

const NAME: Key = required("name", Becomes::Attribute("name"));
const ALIAS: Key = key("alias", Becomes::Attribute("nameAlias"));
const DESCRIPTION: Key = key("description", Becomes::Attribute("descr"));

const fn yes_no(attribute: &'static str) -> Becomes {
    Becomes::Switch { attribute, yes: "yes", no: "no" }
}

/// The whole file.
pub static FILE: Shape = Shape {
    what: "a file",
    class: None,
    keys: &[required("apic", Becomes::Keys(&APIC))],
    defaults: &[],
    composed: &[],
};

static APIC: Shape = Shape {
    what: "`apic`",
    class: None,
    keys: &[key("tenants", Becomes::Blocks(&TENANT))],
    defaults: &[],
    composed: &[],
};

static TENANT: Shape = Shape {
    what: "a tenant",
    class: Some("fvTenant"),
    keys: &[
        NAME,
        ALIAS,
        DESCRIPTION,
        key("vrfs", Becomes::Blocks(&VRF)),
        key("bridge_domains", Becomes::Blocks(&BRIDGE_DOMAIN)),
        key("application_profiles", Becomes::Blocks(&APPLICATION_PROFILE)),
        key("contracts", Becomes::Blocks(&CONTRACT)),
        key("filters", Becomes::Blocks(&FILTER)),
        key("l3outs", Becomes::Blocks(&L3OUT)),
    ],
    defaults: &[],
    composed: &[],
};

static VRF: Shape = Shape {
    what: "a VRF",
    class: Some("fvCtx"),
    keys: &[
        NAME,
        ALIAS,
        DESCRIPTION,
        key("enforcement_preference", Becomes::Attribute("pcEnfPref")),
    ],
    defaults: &[],
    composed: &[],
};

static BRIDGE_DOMAIN: Shape = Shape {
    what: "a bridge domain",
    class: Some("fvBD"),
    keys: &[
        NAME,
        ALIAS,
        DESCRIPTION,
        required("vrf", Becomes::Relation { class: "fvRsCtx", attribute: "tnFvCtxName" }),
        key("mac", Becomes::Attribute("mac")),
        key("unicast_routing", yes_no("unicastRoute")),
        key("subnets", Becomes::Blocks(&SUBNET)),
    ],
    defaults: &[],
    composed: &[],
};

static SUBNET: Shape = Shape {
    what: "a subnet",
    class: Some("fvSubnet"),
    keys: &[
        required("ip", Becomes::Attribute("ip")),
        DESCRIPTION,
        key("public", Becomes::Switch { attribute: "scope", yes: "public", no: "private" }),
    ],
    defaults: &[],
    composed: &[],
};

static APPLICATION_PROFILE: Shape = Shape {
    what: "an application profile",
    class: Some("fvAp"),
    keys: &[NAME, ALIAS, DESCRIPTION, key("endpoint_groups", Becomes::Blocks(&ENDPOINT_GROUP))],
    defaults: &[],
    composed: &[],
};

static ENDPOINT_GROUP: Shape = Shape {
    what: "an endpoint group",
    class: Some("fvAEPg"),
    keys: &[
        NAME,
        ALIAS,
        DESCRIPTION,
        required("bridge_domain", Becomes::Relation { class: "fvRsBd", attribute: "tnFvBDName" }),
        key(
            "intra_epg_isolation",
            Becomes::Switch { attribute: "pcEnfPref", yes: "enforced", no: "unenforced" },
        ),
        key("contracts", Becomes::Keys(&GROUP_CONTRACTS)),
    ],
    defaults: &[],
    composed: &[],
};

static GROUP_CONTRACTS: Shape = Shape {
    what: "the contracts of an endpoint group",
    class: None,
    keys: &[
        key("providers", Becomes::Relations { class: "fvRsProv", attribute: "tnVzBrCPName" }),
        key("consumers", Becomes::Relations { class: "fvRsCons", attribute: "tnVzBrCPName" }),
    ],
    defaults: &[],
    composed: &[],
};

static CONTRACT: Shape = Shape {
    what: "a contract",
    class: Some("vzBrCP"),
    keys: &[
        NAME,
        ALIAS,
        DESCRIPTION,
        key("scope", Becomes::Attribute("scope")),
        key("subjects", Becomes::Blocks(&SUBJECT)),
    ],
    defaults: &[],
    composed: &[],
};

static SUBJECT: Shape = Shape {
    what: "a subject",
    class: Some("vzSubj"),
    keys: &[
        NAME,
        ALIAS,
        DESCRIPTION,
        key("reverse_filter_ports", yes_no("revFltPorts")),
        key("filters", Becomes::Blocks(&SUBJECT_FILTER)),
        key("consumer_to_provider", Becomes::Block(&CONSUMER_TO_PROVIDER)),
        key("provider_to_consumer", Becomes::Block(&PROVIDER_TO_CONSUMER)),
    ],
    defaults: &[],
    composed: &[],
};

static SUBJECT_FILTER: Shape = Shape {
    what: "a filter of a subject",
    class: Some("vzRsSubjFiltAtt"),
    keys: &[
        required("filter", Becomes::Attribute("tnVzFilterName")),
        key("action", Becomes::Attribute("action")),
        key("priority", Becomes::Attribute("priorityOverride")),
    ],
    defaults: &[],
    composed: &[],
};

static CONSUMER_TO_PROVIDER: Shape = Shape {
    what: "the direction from consumer to provider",
    class: Some("vzInTerm"),
    keys: &[key("filters", Becomes::Blocks(&ONE_WAY_FILTER))],
    defaults: &[],
    composed: &[],
};

static PROVIDER_TO_CONSUMER: Shape = Shape {
    what: "the direction from provider to consumer",
    class: Some("vzOutTerm"),
    keys: &[key("filters", Becomes::Blocks(&ONE_WAY_FILTER))],
    defaults: &[],
    composed: &[],
};

static ONE_WAY_FILTER: Shape = Shape {
    what: "a filter of one direction",
    class: Some("vzRsFiltAtt"),
    keys: SUBJECT_FILTER.keys,
    defaults: &[],
    composed: &[],
};

static FILTER: Shape = Shape {
    what: "a filter",
    class: Some("vzFilter"),
    keys: &[NAME, ALIAS, DESCRIPTION, key("entries", Becomes::Blocks(&ENTRY))],
    defaults: &[],
    composed: &[],
};

static ENTRY: Shape = Shape {
    what: "a filter entry",
    class: Some("vzEntry"),
    keys: &[
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
    // The data model's own defaults; an entry of the class itself matches every packet.
    defaults: &[("etherT", "ip"), ("prot", "tcp")],
    composed: &[],
};

static L3OUT: Shape = Shape {
    what: "an L3Out",
    class: Some("l3extOut"),
    keys: &[
        NAME,
        ALIAS,
        DESCRIPTION,
        required("vrf", Becomes::Relation { class: "l3extRsEctx", attribute: "tnFvCtxName" }),
        key(
            "domain",
            Becomes::RelationTo {
                class: "l3extRsL3DomAtt",
                attribute: "tDn",
                before: "uni/l3dom-",
            },
        ),
        key("node_profiles", Becomes::Blocks(&NODE_PROFILE)),
        key("external_endpoint_groups", Becomes::Blocks(&EXTERNAL_GROUP)),
    ],
    defaults: &[],
    composed: &[],
};

static NODE_PROFILE: Shape = Shape {
    what: "a node profile",
    class: Some("l3extLNodeP"),
    keys: &[
        NAME,
        DESCRIPTION,
        key("nodes", Becomes::Blocks(&BORDER_NODE)),
        key("interface_profiles", Becomes::Blocks(&INTERFACE_PROFILE)),
    ],
    defaults: &[],
    composed: &[],
};

static BORDER_NODE: Shape = Shape {
    what: "a border node",
    class: Some("l3extRsNodeL3OutAtt"),
    keys: &[
        required("node_id", Becomes::Part(node_id)),
        key("router_id", Becomes::Attribute("rtrId")),
        key("router_id_as_loopback", yes_no("rtrIdLoopBack")),
        key("static_routes", Becomes::Blocks(&STATIC_ROUTE)),
    ],
    defaults: &[],
    composed: &[("tDn", "topology/pod-1/node-{node_id}")],
};

static STATIC_ROUTE: Shape = Shape {
    what: "a static route",
    class: Some("ipRouteP"),
    keys: &[
        required("prefix", Becomes::Attribute("ip")),
        DESCRIPTION,
        key("preference", Becomes::Attribute("pref")),
        key("next_hops", Becomes::Blocks(&NEXT_HOP)),
    ],
    defaults: &[],
    composed: &[],
};

static NEXT_HOP: Shape = Shape {
    what: "a next hop",
    class: Some("ipNexthopP"),
    keys: &[
        required("ip", Becomes::Attribute("nhAddr")),
        DESCRIPTION,
        key("preference", Becomes::Attribute("pref")),
    ],
    defaults: &[],
    composed: &[],
};

static INTERFACE_PROFILE: Shape = Shape {
    what: "an interface profile",
    class: Some("l3extLIfP"),
    keys: &[NAME, DESCRIPTION, key("interfaces", Becomes::Blocks(&BORDER_LINK))],
    defaults: &[],
    composed: &[],
};

static BORDER_LINK: Shape = Shape {
    what: "an interface",
    class: Some("l3extRsPathL3OutAtt"),
    keys: &[
        required("node_id", Becomes::Part(node_id)),
        required("channel", Becomes::Part(link_name)),
        DESCRIPTION,
        key("ip", Becomes::Attribute("addr")),
    ],
    defaults: &[],
    composed: &[("tDn", "topology/pod-1/paths-{node_id}/pathep-[{channel}]")],
};

static EXTERNAL_GROUP: Shape = Shape {
    what: "an external endpoint group",
    class: Some("l3extInstP"),
    keys: &[
        NAME,
        ALIAS,
        DESCRIPTION,
        key("subnets", Becomes::Blocks(&EXTERNAL_SUBNET)),
        key("contracts", Becomes::Keys(&EXTERNAL_CONTRACTS)),
    ],
    defaults: &[],
    composed: &[],
};

static EXTERNAL_CONTRACTS: Shape = Shape {
    what: "the contracts of an external endpoint group",
    class: None,
    keys: GROUP_CONTRACTS.keys,
    defaults: &[],
    composed: &[],
};

static EXTERNAL_SUBNET: Shape = Shape {
    what: "a subnet of an external endpoint group",
    class: Some("l3extSubnet"),
    keys: &[
        required("prefix", Becomes::Attribute("ip")),
        key("name", Becomes::Attribute("name")),
        DESCRIPTION,
        key("import_security", scope_flag("import-security", true)),
        key("import_route_control", scope_flag("import-rtctrl", false)),
        key("export_route_control", scope_flag("export-rtctrl", false)),
        key("shared_security", scope_flag("shared-security", false)),
        key("shared_route_control", scope_flag("shared-rtctrl", false)),
    ],
    defaults: &[],
    composed: &[],
};

const fn scope_flag(word: &'static str, default: bool) -> Becomes {
    Becomes::Flag { attribute: "scope", word, default }
}

/// APIC numbers switches from 101 to 4000 and allows up to 16000.
fn node_id(text: &str) -> Result<(), &'static str> {
    let number = text.parse::<u16>().ok().filter(|n| (1..=16000).contains(n));
    if number.is_some_and(|n| n.to_string() == text) {
        Ok(())
    } else {
        Err("a node's number, from 1 to 16000")
    }
}

/// What the kernel takes for a link's name (dev_valid_name).
fn link_name(text: &str) -> Result<(), &'static str> {
    let odd = |b: u8| b == b'/' || b == b':' || b == b'[' || b == b']' || b.is_ascii_whitespace();
    if (1..=15).contains(&text.len()) && text != "." && text != ".." && !text.bytes().any(odd) {
        Ok(())
    } else {
        Err("the name of a link of the host, such as `eth1`")
    }
}
