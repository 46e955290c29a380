//! The next revision of a fabric: somebody changed his mind about one thing.

use proptest::prelude::{Strategy, any};

use super::{Fabric, TENANTS};

/// One change of mind. What is changed is chosen by `at`, among as many as there are.
#[derive(Debug, Clone, Copy)]
pub struct Edit {
    what: What,
    at: usize,
}

#[derive(Debug, Clone, Copy)]
enum What {
    ConsumeNothing,
    ProvideNothing,
    DropSubject,
    TurnActions,
    TurnIsolation,
    TurnEnforcement,
    TurnState,
    DropEntry,
    Nothing,
}

const ALL: [What; 9] = [
    What::Nothing,
    What::ConsumeNothing,
    What::ProvideNothing,
    What::DropSubject,
    What::TurnActions,
    What::TurnIsolation,
    What::TurnEnforcement,
    What::TurnState,
    What::DropEntry,
];

/// Any edit; nothing at all is the simplest.
pub fn edit() -> impl Strategy<Value = Edit> {
    (0..ALL.len(), any::<u8>()).prop_map(|(what, at)| Edit {
        what: ALL.get(what).copied().unwrap_or(What::Nothing),
        at: at.into(),
    })
}

impl Fabric {
    /// This fabric after `edit`. Groups, bridge domains and VRFs stay what and where they are.
    pub fn revised(&self, edit: Edit) -> Fabric {
        let mut next = self.clone();
        let at = edit.at;
        match edit.what {
            What::Nothing => {}
            What::ConsumeNothing => pick(&mut next.groups, at, |group| group.consumes.clear()),
            What::ProvideNothing => pick(&mut next.groups, at, |group| group.provides.clear()),
            What::DropSubject => pick(&mut next.contracts, at, |contract| {
                contract.subjects.pop();
            }),
            What::TurnActions => pick(&mut next.contracts, at, |contract| {
                pick(&mut contract.subjects, at / TENANTS.len(), |subject| {
                    subject.both.iter_mut().for_each(|usage| usage.deny = !usage.deny);
                });
            }),
            What::TurnIsolation => {
                pick(&mut next.groups, at, |group| group.isolated = !group.isolated);
            }
            What::TurnEnforcement => {
                pick(&mut next.vrfs, at, |vrf| vrf.unenforced = !vrf.unenforced);
            }
            What::TurnState => pick(&mut next.filters, at, |filter| {
                for entry in &mut filter.entries {
                    let before = entry.len();
                    entry.retain(|(name, _)| *name != "stateful");
                    if entry.len() == before {
                        entry.push(("stateful", "yes"));
                    }
                }
            }),
            What::DropEntry => pick(&mut next.filters, at, |filter| {
                filter.entries.pop();
            }),
        }
        next
    }
}

fn pick<T>(of: &mut [T], at: usize, change: impl FnOnce(&mut T)) {
    let count = of.len().max(1);
    if let Some(one) = of.get_mut(at % count) {
        change(one);
    }
}
