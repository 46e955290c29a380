//! The rendered policy, as the OpFlex server asks for it, and what a commit changes of it.

use std::collections::{BTreeMap, BTreeSet};

use selvage_opflex::Uri;
use selvage_opflex::mo::{Object, Reference};
use selvage_opflex::server::{Change, PolicySource};

/// Every object that an agent may resolve, by URI. A parent sorts before what is below it, because
/// its URI is a prefix of theirs.
#[derive(Debug, Default)]
pub struct Rendered(BTreeMap<Uri, Object>);

impl Rendered {
    /// Takes objects in any order.
    pub fn new(objects: Vec<Object>) -> Rendered {
        Rendered(objects.into_iter().map(|object| (object.uri.clone(), object)).collect())
    }

    /// What is different in `after`. An object goes out with all that is below it, so nothing below
    /// a changed one is named again.
    pub fn change_to(&self, after: &Rendered) -> Change {
        let differs = |(uri, object): &(&Uri, &Object)| {
            self.0.get(*uri).is_none_or(|before| !before.says_the_same(object))
        };
        let changed = outermost(after.0.iter().filter(differs));
        let gone = outermost(self.0.iter().filter(|(uri, _)| !after.0.contains_key(*uri)));
        let covered = |target: &Reference| {
            changed.iter().any(|changed: &Reference| target.uri.is_within(changed.uri.as_str()))
        };
        let deleted = gone.into_iter().filter(|target| !covered(target)).collect();
        Change { changed, deleted }
    }
}

/// Leaves out what is below another of them. They come with parents first.
fn outermost<'a>(objects: impl Iterator<Item = (&'a Uri, &'a Object)>) -> BTreeSet<Reference> {
    let mut top: Option<&Uri> = None;
    let mut set = BTreeSet::new();
    for (uri, object) in objects {
        if top.is_some_and(|top| uri.is_within(top.as_str())) {
            continue;
        }
        top = Some(uri);
        set.insert(object.reference());
    }
    set
}

impl PolicySource for Rendered {
    fn resolve(&self, subject: &str, uri: &Uri) -> Vec<Object> {
        if self.0.get(uri).is_none_or(|object| *object.subject != *subject) {
            return Vec::new();
        }
        let below = self.0.range(uri.clone()..);
        let within = below.take_while(|(found, _)| found.is_within(uri.as_str()));
        within.map(|(_, object)| object.clone()).collect()
    }
}
