//! The object database against a model that recomputes everything.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use selvage_opflex::Uri;
use selvage_opflex::message::Update;
use selvage_opflex::mo::{Object, Reference, Value};
use selvage_opflex::modb::Modb;

use crate::support::cases;

#[derive(Debug, Clone)]
enum Step {
    Want(Uri),
    Unwant(Uri),
    Update(Update),
    Answer(Vec<Uri>, Vec<Object>),
}

/// Slow and plain: objects with the parent they hang below, and what is wanted.
#[derive(Debug, Default)]
struct Model {
    objects: BTreeMap<Uri, (Object, Option<Uri>)>,
    wanted: BTreeSet<Uri>,
}

impl Model {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Want(uri) => drop(self.wanted.insert(uri.clone())),
            Step::Unwant(uri) => drop(self.wanted.remove(uri)),
            Step::Update(update) => {
                update.replace.iter().for_each(|object| self.store(object, true));
                update.merge_children.iter().for_each(|object| self.store(object, false));
                update.delete.iter().for_each(|gone| self.delete(&gone.uri));
            }
            Step::Answer(asked, objects) => {
                objects.iter().for_each(|object| self.store(object, true));
                for uri in asked {
                    if !objects.iter().any(|object| object.uri == *uri) {
                        self.delete(uri);
                    }
                }
            }
        }
        while let Some(orphan) = self.orphan() {
            self.delete(&orphan);
        }
    }

    fn store(&mut self, object: &Object, replace: bool) {
        let parent = object.parent.as_ref().map(|parent| parent.uri.clone());
        let parent = parent.filter(|parent| self.objects.contains_key(parent));
        self.objects.insert(object.uri.clone(), (object.clone(), parent));
        if replace {
            for child in self.children(&object.uri) {
                if !object.children.contains(&child) {
                    self.delete_all(&child);
                }
            }
        }
    }

    fn children(&self, uri: &Uri) -> Vec<Uri> {
        let below = self.objects.iter().filter(|(_, (_, parent))| parent.as_ref() == Some(uri));
        below.map(|(child, _)| child.clone()).collect()
    }

    fn delete_all(&mut self, uri: &Uri) {
        for child in self.children(uri) {
            self.delete_all(&child);
        }
        self.objects.remove(uri);
    }

    fn delete(&mut self, uri: &Uri) {
        for child in self.children(uri) {
            self.objects.get_mut(&child).unwrap().1 = None;
        }
        self.objects.remove(uri);
    }

    fn tracked(&self) -> BTreeSet<Uri> {
        let references = self.objects.values().flat_map(|(object, _)| object.references());
        references.map(|r| r.uri.clone()).chain(self.wanted.iter().cloned()).collect()
    }

    fn orphan(&self) -> Option<Uri> {
        let tracked = self.tracked();
        let orphan = |(uri, (_, parent)): &(&Uri, &(Object, Option<Uri>))| {
            parent.is_none() && !tracked.contains(*uri)
        };
        self.objects.iter().find(orphan).map(|(uri, _)| uri.clone())
    }
}

const URIS: [&str; 9] =
    ["/a/", "/a/b/", "/a/b/c/", "/a/d/", "/e/", "/e/f/", "/e/f/g/", "/h/", "/i/"];

fn uri() -> impl Strategy<Value = Uri> {
    prop::sample::select(URIS.to_vec()).prop_map(|text| Uri::parse(text).unwrap())
}

fn reference(uri: Uri) -> Reference {
    Reference::new("C", uri)
}

prop_compose! {
    fn object()(uri in uri(), value in 0u64..3, linked in prop::bool::weighted(0.8),
                targets in proptest::collection::vec(uri(), 0..3),
                children in proptest::collection::btree_set(uri(), 0..4)) -> Object {
        let above = uri.ancestry().nth(1).filter(|above| linked && *above != "/");
        let targets = targets.into_iter().map(|target| Value::Reference(reference(target)));
        let mut object = Object::new("C", uri.clone())
            .with("value", value)
            .with("targets", Value::List(targets.collect()));
        if let Some(above) = above {
            object = object.below("C", Uri::parse(above).unwrap());
        }
        object.children = children.into_iter().collect();
        object
    }
}

fn objects() -> impl Strategy<Value = Vec<Object>> {
    proptest::collection::vec(object(), 0..5)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => uri().prop_map(Step::Want),
        1 => uri().prop_map(Step::Unwant),
        4 => (objects(), objects(), proptest::collection::vec(uri().prop_map(reference), 0..3))
            .prop_map(|(replace, merge_children, delete)| {
                Step::Update(Update { replace, merge_children, delete })
            }),
        2 => (proptest::collection::vec(uri(), 1..3), objects())
            .prop_map(|(asked, objects)| Step::Answer(asked, objects)),
    ]
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn the_database_does_what_the_model_does(steps in proptest::collection::vec(step(), 0..12)) {
        let (mut db, mut model) = (Modb::default(), Model::default());
        let (mut mirror, mut leases) = (BTreeMap::new(), BTreeSet::new());
        for step in &steps {
            model.apply(step);
            let delta = match step.clone() {
                Step::Want(uri) => db.want(&reference(uri)),
                Step::Unwant(uri) => db.unwant(&reference(uri)),
                Step::Update(update) => db.update(update),
                Step::Answer(asked, objects) => {
                    let asked: Vec<Reference> = asked.into_iter().map(reference).collect();
                    db.resolved(&asked, objects)
                }
            };
            let held: BTreeSet<&Uri> = db.objects().map(|object| &object.uri).collect();
            prop_assert_eq!(&held, &model.objects.keys().collect(), "after {:?}", step);
            for (uri, (object, _)) in &model.objects {
                prop_assert_eq!(db.get(uri), Some(object));
            }
            let tracked: BTreeSet<Uri> = db.tracked().map(|t| t.uri).collect();
            prop_assert_eq!(&tracked, &model.tracked(), "after {:?}", step);

            // Whoever follows the deltas knows as much as the database.
            for uri in &delta.changed {
                match db.get(uri) {
                    Some(object) => drop(mirror.insert(uri.clone(), object.clone())),
                    None => drop(mirror.remove(uri)),
                }
            }
            prop_assert_eq!(mirror.len(), held.len());
            for object in db.objects() {
                prop_assert!(mirror[&object.uri].says_the_same(object));
            }
            for target in &delta.tracked {
                prop_assert!(leases.insert(target.uri.clone()), "{:?} was tracked", target);
            }
            for target in &delta.untracked {
                prop_assert!(leases.remove(&target.uri), "{:?} was not tracked", target);
            }
            prop_assert_eq!(&leases, &tracked);
        }
    }
}

#[test]
fn a_child_before_its_parent_is_an_orphan() {
    let parent = || Object::new("P", Uri::parse("/p/").unwrap());
    let child =
        || Object::new("C", Uri::parse("/p/c/").unwrap()).below("P", Uri::parse("/p/").unwrap());
    for (list, kept) in [(vec![parent(), child()], 2), (vec![child(), parent()], 1)] {
        let mut db = Modb::default();
        db.want(&Reference::new("P", Uri::parse("/p/").unwrap()));
        db.update(Update { merge_children: list, ..Update::default() });
        assert_eq!(db.objects().count(), kept);
    }
}
