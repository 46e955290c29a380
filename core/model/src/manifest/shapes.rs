//! Which keys the format has, where they may stand, and what each becomes. Data, read by `build`.

mod contracts;
mod groups;
mod network;
mod outside;
mod selvage;

use crate::Chars;
use contracts::{CONTRACT, FILTER, IMPORTED_CONTRACT};
use groups::APPLICATION_PROFILE;
use network::{BRIDGE_DOMAIN, POLICIES, VRF};
use outside::L3OUT;
use selvage::SELVAGE;

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
    /// a [`Becomes::Part`] stands, or `{@tn}` for the name of the tenant around (`{@ap}` and so on).
    /// Of several texts the first counts whose keys are all there.
    pub composed: &'static [(&'static str, &'static [&'static str])],
    /// Child objects that several keys make: there if one of the texts has all its keys.
    pub grown: &'static [Grown],
}

/// A child object with an attribute that is composed of keys of the block around.
pub struct Grown {
    /// Its class.
    pub class: &'static str,
    /// The attribute.
    pub attribute: &'static str,
    /// Its text, as in [`Shape::composed`].
    pub texts: &'static [&'static str],
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
    /// An attribute that holds a list, by comma; one word may stand without the list.
    Words(&'static str),
    /// An attribute that has words of its own for `true` and `false`.
    Switch {
        /// The attribute.
        attribute: &'static str,
        /// What it is when true.
        yes: &'static str,
        /// What it is when false.
        no: &'static str,
    },
    /// An attribute that has another name for one of its values.
    Word {
        /// The attribute.
        attribute: &'static str,
        /// What is written.
        word: &'static str,
        /// What it stands for.
        means: &'static str,
    },
    /// A word in a set of words: it is in if true.
    Flag {
        /// The attribute that holds the set.
        attribute: &'static str,
        /// The word.
        word: &'static str,
        /// The word that is in when this one is not; may be empty.
        otherwise: &'static str,
        /// Whether it is in where the key is missing.
        default: bool,
    },
    /// A part of a composed attribute of the block, if the check finds nothing wrong with it.
    Part(Check),
    /// Such a part with a text that stands in its place where the key is missing: `@ap` is the name
    /// of the application profile around.
    PartOr(Check, &'static str),
    /// A child object that points at a DN: its text has `{value}` in it.
    RelationTo {
        /// Its class.
        class: &'static str,
        /// The attribute that holds the DN.
        attribute: &'static str,
        /// The DN.
        to: &'static str,
    },
    /// A list of such values.
    RelationsTo {
        /// Their class.
        class: &'static str,
        /// The attribute that holds the DN.
        attribute: &'static str,
        /// The DN.
        to: &'static str,
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
    /// Keys that belong to the only child of a class.
    KeysIn(&'static str, &'static Shape),
    /// What the key becomes within the only child of a class.
    In(&'static str, &'static Becomes),
}

/// Says what is wrong with a text, if anything is.
pub type Check = fn(&str) -> Result<(), &'static str>;

/// A block that becomes an object.
const fn block(what: &'static str, class: &'static str, keys: &'static [Key]) -> Shape {
    Shape { what, class: Some(class), keys, defaults: &[], composed: &[], grown: &[] }
}

/// A block that only groups keys.
const fn keys(what: &'static str, keys: &'static [Key]) -> Shape {
    Shape { what, class: None, keys, defaults: &[], composed: &[], grown: &[] }
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
const QOS_CLASS: Key = key("qos_class", Becomes::Attribute("prio"));
const TARGET_DSCP: Key = key("target_dscp", Becomes::Attribute("targetDscp"));

const fn switch(attribute: &'static str, yes: &'static str, no: &'static str) -> Becomes {
    Becomes::Switch { attribute, yes, no }
}

const fn yes_no(attribute: &'static str) -> Becomes {
    switch(attribute, "yes", "no")
}

const fn flag(attribute: &'static str, word: &'static str, default: bool) -> Becomes {
    Becomes::Flag { attribute, word, otherwise: "", default }
}

const fn relation(class: &'static str, attribute: &'static str) -> Becomes {
    Becomes::Relation { class, attribute }
}

const fn relations(class: &'static str, attribute: &'static str) -> Becomes {
    Becomes::Relations { class, attribute }
}

/// The whole file.
pub static FILE: Shape =
    keys("a file", &[key("apic", Becomes::Keys(&APIC)), key("selvage", Becomes::Keys(&SELVAGE))]);

static APIC: Shape = keys("`apic`", &[key("tenants", Becomes::Blocks(&TENANT))]);

static TENANT: Shape = block(
    "a tenant",
    "fvTenant",
    &[
        NAME,
        ALIAS,
        DESCRIPTION,
        key("vrfs", Becomes::Blocks(&VRF)),
        key("bridge_domains", Becomes::Blocks(&BRIDGE_DOMAIN)),
        key("application_profiles", Becomes::Blocks(&APPLICATION_PROFILE)),
        key("contracts", Becomes::Blocks(&CONTRACT)),
        key("imported_contracts", Becomes::Blocks(&IMPORTED_CONTRACT)),
        key("filters", Becomes::Blocks(&FILTER)),
        key("l3outs", Becomes::Blocks(&L3OUT)),
        key("policies", Becomes::Keys(&POLICIES)),
    ],
);

/// APIC numbers switches from 101 to 4000 and allows up to 16000.
fn node_id(text: &str) -> Result<(), &'static str> {
    let number = text.parse::<u16>().ok().filter(|n| (1..=16000).contains(n));
    if number.is_some_and(|n| n.to_string() == text) {
        Ok(())
    } else {
        Err("a node's number, from 1 to 16000")
    }
}

/// A small number: of a pod, a port, a VLAN.
fn number(text: &str) -> Result<(), &'static str> {
    match text.parse::<u16>() {
        Ok(number) if number.to_string() == text => Ok(()),
        _ => Err("a number"),
    }
}

/// VLANs are 1 to 4094 (IEEE 802.1Q; 0 and 4095 are reserved).
fn vlan(text: &str) -> Result<(), &'static str> {
    match text.parse::<u16>() {
        Ok(1..=4094) => Ok(()),
        _ => Err("a VLAN, from 1 to 4094"),
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

/// What APIC takes for the name of most objects.
fn name(text: &str) -> Result<(), &'static str> {
    if (1..=64).contains(&text.len()) && text.chars().all(|c| Chars::NameColon.allows(c)) {
        Ok(())
    } else {
        Err("1 to 64 letters, digits and `_.:-`")
    }
}
