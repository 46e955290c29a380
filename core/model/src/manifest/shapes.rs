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
};

static APIC: Shape = Shape {
    what: "`apic`",
    class: None,
    keys: &[key("tenants", Becomes::Blocks(&TENANT))],
    defaults: &[],
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
    ],
    defaults: &[],
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
};

static SUBNET: Shape = Shape {
    what: "a subnet",
    class: Some("fvSubnet"),
    keys: &[required("ip", Becomes::Attribute("ip")), DESCRIPTION],
    defaults: &[],
};

static APPLICATION_PROFILE: Shape = Shape {
    what: "an application profile",
    class: Some("fvAp"),
    keys: &[NAME, ALIAS, DESCRIPTION, key("endpoint_groups", Becomes::Blocks(&ENDPOINT_GROUP))],
    defaults: &[],
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
};

static GROUP_CONTRACTS: Shape = Shape {
    what: "the contracts of an endpoint group",
    class: None,
    keys: &[
        key("providers", Becomes::Relations { class: "fvRsProv", attribute: "tnVzBrCPName" }),
        key("consumers", Becomes::Relations { class: "fvRsCons", attribute: "tnVzBrCPName" }),
    ],
    defaults: &[],
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
};

static CONSUMER_TO_PROVIDER: Shape = Shape {
    what: "the direction from consumer to provider",
    class: Some("vzInTerm"),
    keys: &[key("filters", Becomes::Blocks(&ONE_WAY_FILTER))],
    defaults: &[],
};

static PROVIDER_TO_CONSUMER: Shape = Shape {
    what: "the direction from provider to consumer",
    class: Some("vzOutTerm"),
    keys: &[key("filters", Becomes::Blocks(&ONE_WAY_FILTER))],
    defaults: &[],
};

static ONE_WAY_FILTER: Shape = Shape {
    what: "a filter of one direction",
    class: Some("vzRsFiltAtt"),
    keys: SUBJECT_FILTER.keys,
    defaults: &[],
};

static FILTER: Shape = Shape {
    what: "a filter",
    class: Some("vzFilter"),
    keys: &[NAME, ALIAS, DESCRIPTION, key("entries", Becomes::Blocks(&ENTRY))],
    defaults: &[],
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
};
