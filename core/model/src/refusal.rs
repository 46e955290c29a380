//! Why a post is refused.

use crate::suggest::nearest;

/// One reason why a post was refused. Its text is what APIC says, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No class has this name.
    #[error("unknown managed object class {class}")]
    UnknownClass {
        /// Where the object would have been, as far as that can be said.
        dn: String,
        /// The name.
        class: String,
    },
    /// The class has no property of this name.
    #[error("unknown attribute '{attribute}' in element '{class}'")]
    UnknownAttribute {
        /// The object.
        dn: String,
        /// Its class.
        class: String,
        /// The name.
        attribute: String,
    },
    /// A text that the property's validator refuses.
    #[error("property {prop} of {dn} failed validation for value '{value}'")]
    Invalid {
        /// The object.
        dn: String,
        /// The property.
        prop: String,
        /// The value.
        value: String,
        /// What the property takes.
        expected: String,
    },
    /// A word or number that is none of the property's.
    #[error("unknown property value {value}, name {prop}, class {class} [(Dn0)] Dn0={dn}, ")]
    UnknownValue {
        /// The object.
        dn: String,
        /// Its class.
        class: String,
        /// The property.
        prop: String,
        /// The value.
        value: String,
        /// What the property takes.
        expected: String,
    },
    /// An object that must exist does not: the parent of a new one, or one to be modified.
    #[error("configured object ((Dn0)) not found Dn0={dn}, ")]
    NotFound {
        /// The object that does not exist.
        dn: String,
    },
    /// An object that must be new exists.
    #[error("Cannot create {class}; object {dn} already exists.")]
    Exists {
        /// The object.
        dn: String,
        /// Its class.
        class: String,
    },
    /// A property that is fixed once the object exists.
    #[error(
        "Create-only and naming props cannot be modified after creation, class={class}, prop={prop}"
    )]
    Fixed {
        /// The object.
        dn: String,
        /// Its class.
        class: String,
        /// The property.
        prop: String,
    },
    /// A relative name that is none of the class, or of no class here.
    #[error("Invalid RN {rn}")]
    BadRn {
        /// The whole name.
        dn: String,
        /// The relative name.
        rn: String,
    },
    /// A name that is none.
    #[error("Invalid DN {dn}: {problem}")]
    BadDn {
        /// The text.
        dn: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The parent's class does not contain the child's.
    #[error("Invalid request. Can not contain child '{child}' under parent '{parent}'")]
    CannotContain {
        /// The parent.
        parent: String,
        /// The child, by name or class.
        child: String,
    },
    /// A naming property that was not given.
    #[error("Invalid request. naming property '{prop}' of '{class}' is missing under '{parent}'")]
    Unnamed {
        /// The parent.
        parent: String,
        /// The class.
        class: String,
        /// The property.
        prop: String,
    },
    /// Neither the URL nor the body says which object is meant.
    #[error("Invalid request. no dn for '{class}' in URL or body")]
    NoDn {
        /// The class.
        class: String,
    },
    /// The object goes only with its parent, or belongs to the system.
    #[error("{dn} can not be deleted.")]
    Undeletable {
        /// The object.
        dn: String,
    },
    /// Objects of the class are made by the system only.
    #[error("Invalid Configuration {dn}: objects of class {class} are made by the system")]
    NotCreatable {
        /// The object.
        dn: String,
        /// Its class.
        class: String,
    },
    /// A range whose first value is above its last.
    #[error("Invalid Configuration {dn}: {from} {first} is above {to} {last}")]
    UpsideDown {
        /// The object.
        dn: String,
        /// The property that holds the lower bound.
        from: String,
        /// The lower bound.
        first: String,
        /// The property that holds the upper bound.
        to: String,
        /// The upper bound.
        last: String,
    },
    /// It would make something untrue that the tree says must be true.
    #[error("Validation failed: assertion {name} would not hold ({asserts}): {why}")]
    Broken {
        /// The assertion.
        dn: String,
        /// Its name.
        name: String,
        /// What it asserts.
        asserts: String,
        /// Why it would not hold, with a packet to see it by.
        why: String,
    },
    /// A host has no room for it.
    #[error(
        "Validation failed: host {host} would need {need} entries of table `{table}` while it swaps, \
         and holds {limit}; heaviest contracts: {heaviest}"
    )]
    TooLarge {
        /// Name of the host's agent.
        host: String,
        /// The table of its data plane.
        table: &'static str,
        /// Entries it would need.
        need: u64,
        /// Entries it holds at most.
        limit: u64,
        /// The contracts that need the most, each with its number of entries.
        heaviest: String,
    },
    /// More levels of children than any class has.
    #[error("Invalid request. more than {limit} levels of children")]
    TooDeep {
        /// The object at which the limit was reached.
        dn: String,
        /// The limit.
        limit: usize,
    },
    /// More objects than one post may hold.
    #[error("Invalid request. more than {limit} objects in one request")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

impl Refusal {
    /// APIC's error code.
    pub fn code(&self) -> u16 {
        match self {
            Refusal::UnknownClass { .. } => 122,
            Refusal::Invalid { .. } => 801,
            Refusal::UnknownValue { .. }
            | Refusal::Undeletable { .. }
            | Refusal::NotCreatable { .. }
            | Refusal::UpsideDown { .. } => 120,
            Refusal::Broken { .. } | Refusal::TooLarge { .. } => 100,
            Refusal::NotFound { .. } => 102,
            Refusal::Exists { .. } => 103,
            Refusal::Fixed { .. } => 107,
            Refusal::BadRn { .. } => 104,
            Refusal::UnknownAttribute { .. }
            | Refusal::BadDn { .. }
            | Refusal::CannotContain { .. }
            | Refusal::Unnamed { .. }
            | Refusal::NoDn { .. }
            | Refusal::TooDeep { .. }
            | Refusal::TooMany { .. } => 400,
        }
    }

    /// The object it is about, as far as that can be said.
    pub fn dn(&self) -> &str {
        match self {
            Refusal::UnknownClass { dn, .. }
            | Refusal::UnknownAttribute { dn, .. }
            | Refusal::Invalid { dn, .. }
            | Refusal::UnknownValue { dn, .. }
            | Refusal::NotFound { dn }
            | Refusal::Exists { dn, .. }
            | Refusal::Fixed { dn, .. }
            | Refusal::BadRn { dn, .. }
            | Refusal::BadDn { dn, .. }
            | Refusal::Undeletable { dn }
            | Refusal::NotCreatable { dn, .. }
            | Refusal::UpsideDown { dn, .. }
            | Refusal::Broken { dn, .. }
            | Refusal::TooDeep { dn, .. } => dn,
            Refusal::CannotContain { parent, .. } | Refusal::Unnamed { parent, .. } => parent,
            Refusal::NoDn { .. } | Refusal::TooMany { .. } | Refusal::TooLarge { .. } => "",
        }
    }

    /// The property it is about, if it is about one.
    pub fn prop(&self) -> Option<&str> {
        match self {
            Refusal::UnknownAttribute { attribute: prop, .. }
            | Refusal::Invalid { prop, .. }
            | Refusal::UnknownValue { prop, .. }
            | Refusal::Fixed { prop, .. }
            | Refusal::Unnamed { prop, .. }
            | Refusal::UpsideDown { from: prop, .. } => Some(prop),
            _ => None,
        }
    }

    /// What to do about it, where something can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Refusal::UnknownClass { class, .. } => {
                nearest(class, crate::schema().iter().map(|c| c.name))
                    .map(|name| format!("did you mean `{name}`?"))
            }
            Refusal::UnknownAttribute { class, attribute, .. } => {
                let props = crate::class(class).map(|c| c.props).unwrap_or_default();
                let settable = props.iter().filter(|p| p.configurable).map(|p| p.name);
                nearest(attribute, settable).map(|name| format!("did you mean `{name}`?"))
            }
            Refusal::Invalid { expected, .. } | Refusal::UnknownValue { expected, .. } => {
                Some(format!("expected {expected}"))
            }
            Refusal::UpsideDown { from, to, .. } => Some(format!("swap `{from}` and `{to}`")),
            _ => None,
        }
    }
}
