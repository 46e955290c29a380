//! What is done with what users may write, class by class and property by property, as the schema
//! has it.

use crate::{ClassDef, MadeBy, PropDef, Support};

/// What becomes of an object or a value that users post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Packets obey it.
    Enforced,
    /// Packets obey these values only (of flags: these flags); others are kept, with a fault.
    Partly(&'static [&'static str]),
    /// Kept and returned, with a fault: packets do not obey it yet.
    Stored,
    /// Kept and returned; means nothing to packets by nature.
    Label,
    /// Computed: ignored when posted.
    Computed,
    /// The controller alone makes such objects; a POST of a new one is refused.
    Refused,
}

impl Standing {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Enforced => "enforced",
            Standing::Partly(_) => "enforced in part",
            Standing::Stored => "stored only",
            Standing::Label => "label",
            Standing::Computed => "computed",
            Standing::Refused => "refused",
        }
    }
}

impl ClassDef {
    /// What becomes of objects of this class.
    pub fn standing(&self) -> Standing {
        match (self.made_by, self.support) {
            (MadeBy::System, _) => Standing::Refused,
            (_, support) => support.into(),
        }
    }

    /// What becomes of values of a property of this class: nothing below an object that is only
    /// stored is more than stored itself.
    pub fn standing_of(&self, prop: &PropDef) -> Standing {
        match (self.standing(), Standing::from(prop.support)) {
            _ if !prop.configurable => Standing::Computed,
            (Standing::Stored, Standing::Enforced | Standing::Partly(_)) => Standing::Stored,
            (Standing::Label, Standing::Enforced | Standing::Partly(_)) => Standing::Label,
            (_, standing) => standing,
        }
    }
}

impl From<Support> for Standing {
    fn from(support: Support) -> Standing {
        match support {
            Support::Enforced => Standing::Enforced,
            Support::Only(values) => Standing::Partly(values),
            Support::Stored => Standing::Stored,
            Support::Label => Standing::Label,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class;

    #[test]
    fn standing_follows_the_schema() {
        let of = |class_name: &str, prop: &str| {
            let class = class(class_name).unwrap();
            class.standing_of(class.prop(prop).unwrap())
        };
        assert_eq!(class("fvAEPg").unwrap().standing(), Standing::Enforced);
        assert_eq!(class("fvCEp").unwrap().standing(), Standing::Refused);
        assert_eq!(class("tagAnnotation").unwrap().standing(), Standing::Label);
        assert_eq!(of("fvBD", "unicastRoute"), Standing::Enforced);
        assert_eq!(of("fvBD", "pcTag"), Standing::Computed);
        assert_eq!(of("fvBD", "descr"), Standing::Label);
        assert_eq!(of("fvBD", "type"), Standing::Partly(&["regular"]));
        assert_eq!(of("fvCtx", "knwMcastAct"), Standing::Stored);
    }

    #[test]
    fn nothing_of_a_stored_object_is_called_enforced() {
        let stored = crate::schema().iter().filter(|c| c.standing() == Standing::Stored);
        for class in stored {
            for prop in class.props {
                let standing = class.standing_of(prop);
                assert!(
                    matches!(standing, Standing::Stored | Standing::Label | Standing::Computed),
                    "{}.{}: {standing:?}",
                    class.name,
                    prop.name
                );
            }
        }
    }
}
