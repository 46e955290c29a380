//! What a class is: data, generated from `schema/aci.toml`.

/// How a property's values are written, checked and normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropType {
    /// Free text up to `max` characters.
    Text {
        /// Longest value, in characters.
        max: usize,
    },
    /// A name that becomes part of a DN: `[a-zA-Z0-9_.:-]`, 1-64 characters.
    Name,
    /// `yes` or `no`; `true` and `false` are accepted.
    Bool,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// A comma-separated set of these words, kept sorted.
    Flags(&'static [&'static str]),
    /// A whole number, both bounds included.
    Number {
        /// Least.
        min: u64,
        /// Greatest.
        max: u64,
    },
    /// A TCP or UDP port by number or name, `unspecified` for any.
    Port,
    /// An IP protocol by number or name, `unspecified` for any.
    Protocol,
    /// A MAC address, kept in upper case.
    Mac,
    /// An IP address.
    Ip,
    /// An IP address with a prefix length, host bits kept: `10.0.0.1/24`.
    IpPrefix,
    /// A DN.
    Dn,
}

/// One property of a class.
#[derive(Debug, PartialEq, Eq)]
pub struct PropDef {
    /// Its name on the wire.
    pub name: &'static str,
    /// Its values.
    pub kind: PropType,
    /// Its value where none was given.
    pub default: &'static str,
    /// Set by users; otherwise computed, and ignored when posted.
    pub configurable: bool,
    /// Part of the relative name; cannot change after creation.
    pub naming: bool,
}

/// What a relation class points at.
#[derive(Debug, PartialEq, Eq)]
pub struct RelationDef {
    /// The class of its targets.
    pub target: &'static str,
    /// The property that names the target (`tnFvCtxName`), or holds its DN (`tDn`).
    pub by: &'static str,
    /// The class of the inverse object that appears under the target (`fvRtCtx`); may be empty.
    pub inverse: &'static str,
}

/// One class of managed objects.
#[derive(Debug, PartialEq, Eq)]
pub struct ClassDef {
    /// Its name: `fvBD`.
    pub name: &'static str,
    /// Its relative-name format: `BD-{name}`, `subnet-[{ip}]`, `rsctx`.
    pub rn: &'static str,
    /// Classes whose objects may contain it.
    pub parents: &'static [&'static str],
    /// Its properties, in the order in which they are shown.
    pub props: &'static [PropDef],
    /// Children that exist with it from the start and go only with it.
    pub implicit_children: &'static [&'static str],
    /// Set for relation classes.
    pub relation: Option<RelationDef>,
    /// Users may create and delete it.
    pub creatable: bool,
}

impl ClassDef {
    /// The property of this name.
    pub fn prop(&self, name: &str) -> Option<&'static PropDef>
    where
        Self: 'static,
    {
        let props: &'static [PropDef] = self.props;
        props.iter().find(|p| p.name == name)
    }
}
