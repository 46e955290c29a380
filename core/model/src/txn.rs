//! Applying a posted tree: the whole of it or nothing, and every error at once.

use std::borrow::Cow;

use crate::{
    Changes, ClassDef, Dn, Edit, MadeBy, Mo, Post, PropDef, Refusal, Stamp, Tree, UNSPECIFIED,
    blank, child_class, class,
};

/// How deep a posted tree may be. No class stands deeper than half of this.
pub const MAX_DEPTH: usize = 32;

/// How many objects one post may hold.
pub const MAX_OBJECTS: usize = 500_000;

/// Attributes that say where an object is and what to do with it; no property of any class.
const CONTROL: [&str; 4] = ["childAction", "dn", "rn", "status"];

/// Applies `post`, in a transaction of its own.
///
/// `at` is the DN in the URL, if there was one: the object itself or its parent. A `dn` in the body
/// wins over it. Either everything is done and [`Changes`] says what differs now (nothing, if the
/// tree said all that already), or the tree is as it was and every error is returned.
pub fn apply(
    tree: &mut Tree,
    stamp: Stamp,
    at: Option<&Dn>,
    post: &Post,
) -> Result<Changes, Vec<Refusal>> {
    let mut edit = Edit::new(tree, stamp);
    apply_in(&mut edit, at, post)?;
    Ok(edit.commit())
}

/// Applies `post` within a transaction, which must be dropped if this fails.
pub fn apply_in(edit: &mut Edit, at: Option<&Dn>, post: &Post) -> Result<(), Vec<Refusal>> {
    let mut work = Work { edit, refusals: Vec::new(), objects: 0 };
    match root(at, post) {
        Ok((dn, class)) => work.object(dn, class, post, true, 0),
        Err(refusal) => {
            work.refusals.extend(refusal);
            work.shape("", post, 0);
        }
    }
    if work.refusals.is_empty() { Ok(()) } else { Err(work.refusals) }
}

/// Deletes an object and everything below it, as a DELETE does.
pub fn delete(tree: &mut Tree, stamp: Stamp, dn: &Dn) -> Result<Changes, Vec<Refusal>> {
    let (dn, class) = canonical(dn)?;
    let post = Post::new(class.name).with("status", "deleted");
    apply(tree, stamp, Some(&dn), &post)
}

/// A DN with every naming value in its canonical form, and the class it leads to.
pub fn canonical(dn: &Dn) -> Result<(Dn, &'static ClassDef), Vec<Refusal>> {
    let mut at: Option<(Dn, &'static ClassDef)> = None;
    for rn in dn.rns() {
        let parent = at.as_ref().map(|(_, class)| *class);
        let class = child_class(parent, rn)
            .ok_or_else(|| vec![Refusal::BadRn { dn: dn.to_string(), rn: rn.to_owned() }])?;
        at = Some((place(at.as_ref().map(|(dn, _)| dn), class, rn)?, class));
    }
    at.ok_or_else(|| vec![bad_dn(dn.as_str(), "it is empty")])
}

/// The canonical DN of the object of class `class` that `rn` names below `parent`.
fn place(parent: Option<&Dn>, class: &'static ClassDef, rn: &str) -> Result<Dn, Vec<Refusal>> {
    let name = |rn: &str| match parent {
        Some(parent) => parent.child(rn).to_string(),
        None => rn.to_owned(),
    };
    let bad = || vec![Refusal::BadRn { dn: name(rn), rn: rn.to_owned() }];
    let mut refusals = Vec::new();
    let mut values: Vec<(&str, Cow<str>)> = Vec::new();
    for (prop, value) in class.parse_rn(rn).ok_or_else(bad)? {
        match class.prop(prop).map(|def| def.normalise(value)) {
            Some(Ok(value)) => values.push((prop, value)),
            Some(Err(error)) => refusals.push(refused_value(&name(rn), class, prop, error)),
            None => {}
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let given = |prop: &str| values.iter().find(|(p, _)| *p == prop).map(|(_, v)| &**v);
    let rn = class.format_rn(given).ok_or_else(bad)?;
    name(&rn).parse().map_err(|error| vec![bad_dn(&name(&rn), error)])
}

/// Which object the root of a post is about.
fn root(at: Option<&Dn>, post: &Post) -> Result<(Dn, &'static ClassDef), Vec<Refusal>> {
    let class = known(&post.class, at.map_or("", Dn::as_str)).map_err(|refusal| vec![refusal])?;
    if let Some(text) = post.get("dn").filter(|text| !text.is_empty()) {
        let dn: Dn = text.parse().map_err(|error| vec![bad_dn(text, error)])?;
        let (dn, found) = canonical(&dn)?;
        let wrong = || vec![Refusal::BadRn { dn: text.to_owned(), rn: dn.rn().to_owned() }];
        return if found == class { Ok((dn, class)) } else { Err(wrong()) };
    }
    let Some(at) = at else {
        return Err(vec![Refusal::NoDn { class: class.name.to_owned() }]);
    };
    let (at, found) = canonical(at)?;
    if found == class { Ok((at, class)) } else { Ok((below(&at, found, class, post)?, class)) }
}

/// The DN of a posted child: by its `dn`, its `rn`, or its naming properties.
fn below(
    parent: &Dn,
    parent_class: &ClassDef,
    class: &'static ClassDef,
    post: &Post,
) -> Result<Dn, Vec<Refusal>> {
    let cannot = |child: &str| {
        vec![Refusal::CannotContain { parent: parent.to_string(), child: child.to_owned() }]
    };
    if !parent_class.children.contains(&class.name) {
        return Err(cannot(class.name));
    }
    let given = |name: &str| post.get(name).filter(|text| !text.is_empty());
    if let Some(text) = given("dn") {
        let dn: Dn = text.parse().map_err(|error| vec![bad_dn(text, error)])?;
        let (dn, found) = canonical(&dn)?;
        let here = found == class && dn.parent().as_ref() == Some(parent);
        return if here { Ok(dn) } else { Err(cannot(text)) };
    }
    if let Some(rn) = given("rn") {
        return place(Some(parent), class, rn);
    }
    if let Some(prop) = class.naming_props().find(|prop| post.get(prop).is_none()) {
        return Err(vec![Refusal::Unnamed {
            parent: parent.to_string(),
            class: class.name.to_owned(),
            prop: prop.to_owned(),
        }]);
    }
    named(parent, class, post)
}

/// The DN that a post's naming properties make.
fn named(parent: &Dn, class: &'static ClassDef, post: &Post) -> Result<Dn, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let mut values: Vec<(&str, Cow<str>)> = Vec::new();
    for prop in class.naming_props() {
        let (Some(def), Some(value)) = (class.prop(prop), post.get(prop)) else { continue };
        match def.normalise(value) {
            Ok(value) => values.push((prop, value)),
            Err(error) => {
                let dn = format!("{parent}/{}", class.rn.replace(&format!("{{{prop}}}"), value));
                refusals.push(refused_value(&dn, class, prop, error));
            }
        }
    }
    let given = |prop: &str| values.iter().find(|(p, _)| *p == prop).map(|(_, v)| &**v);
    let rn = class.format_rn(given).ok_or(refusals)?;
    let text = format!("{parent}/{rn}");
    let dn: Dn = text.parse().map_err(|error| vec![bad_dn(&text, error)])?;
    // A `/` or a bracket in a value could make it a name of something else.
    let leads_back = dn.parent().as_ref() == Some(parent)
        && class
            .parse_rn(dn.rn())
            .is_some_and(|parsed| parsed.iter().all(|(prop, value)| given(prop) == Some(*value)));
    if leads_back { Ok(dn) } else { Err(vec![Refusal::BadRn { dn: text, rn }]) }
}

fn known(name: &str, dn: &str) -> Result<&'static ClassDef, Refusal> {
    class(name).ok_or_else(|| Refusal::UnknownClass { dn: dn.to_owned(), class: name.to_owned() })
}

fn bad_dn(dn: &str, problem: impl ToString) -> Refusal {
    Refusal::BadDn { dn: dn.to_owned(), problem: problem.to_string() }
}

fn refused_value(dn: &str, class: &ClassDef, prop: &str, error: crate::ValueError) -> Refusal {
    let (dn, prop) = (dn.to_owned(), prop.to_owned());
    let crate::ValueError { value, expected, unknown_word } = error;
    if unknown_word {
        Refusal::UnknownValue { dn, class: class.name.to_owned(), prop, value, expected }
    } else {
        Refusal::Invalid { dn, prop, value, expected }
    }
}

/// What `status` asks for.
#[derive(Clone, Copy, PartialEq)]
enum Intent {
    CreateOrModify,
    Create,
    Modify,
    Delete,
}

struct Work<'w, 't> {
    edit: &'w mut Edit<'t>,
    refusals: Vec<Refusal>,
    objects: usize,
}

impl Work<'_, '_> {
    /// Applies one object and what is below it. `parent_is_sound` is false below an object that
    /// was refused, so that its children are not refused for that too.
    fn object(
        &mut self,
        dn: Dn,
        class: &'static ClassDef,
        post: &Post,
        parent_is_sound: bool,
        depth: usize,
    ) {
        if !self.within_limits(dn.as_str(), depth) {
            return;
        }
        let Some(intent) = self.intent(&dn, class, post) else { return };
        if intent == Intent::Delete {
            return self.delete(&dn, class);
        }
        let exists = self.edit.tree().get(dn.as_str()).is_some();
        let sound = parent_is_sound && self.may_be_put(&dn, class, intent, exists);
        let mo = self.merged(&dn, class, post);
        self.edit.put(mo);
        for child in &post.children {
            self.child(&dn, class, child, sound, depth + 1);
        }
    }

    fn child(
        &mut self,
        parent: &Dn,
        parent_class: &ClassDef,
        post: &Post,
        parent_is_sound: bool,
        depth: usize,
    ) {
        let placed = known(&post.class, parent.as_str())
            .map_err(|refusal| vec![refusal])
            .and_then(|class| Ok((below(parent, parent_class, class, post)?, class)));
        match placed {
            Ok((dn, class)) => self.object(dn, class, post, parent_is_sound, depth),
            Err(refusals) => {
                self.refusals.extend(refusals);
                self.shape(parent.as_str(), post, depth);
            }
        }
    }

    fn within_limits(&mut self, dn: &str, depth: usize) -> bool {
        self.objects += 1;
        if depth > MAX_DEPTH {
            self.refusals.push(Refusal::TooDeep { dn: dn.to_owned(), limit: MAX_DEPTH });
        } else if self.objects == MAX_OBJECTS + 1 {
            self.refusals.push(Refusal::TooMany { limit: MAX_OBJECTS });
        }
        depth <= MAX_DEPTH && self.objects <= MAX_OBJECTS
    }

    /// What can still be said of objects that have no place: unknown classes and attributes.
    fn shape(&mut self, dn: &str, post: &Post, depth: usize) {
        if !self.within_limits(dn, depth) {
            return;
        }
        if let Some(class) = class(&post.class) {
            for (name, _) in &post.attributes {
                self.attribute(dn, class, name);
            }
        }
        for child in &post.children {
            if class(&child.class).is_none() {
                let (dn, class) = (dn.to_owned(), child.class.clone());
                self.refusals.push(Refusal::UnknownClass { dn, class });
            }
            self.shape(dn, child, depth + 1);
        }
    }

    fn intent(&mut self, dn: &Dn, class: &ClassDef, post: &Post) -> Option<Intent> {
        let status = post.get("status").unwrap_or_default();
        let mut words: Vec<&str> =
            status.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        words.sort_unstable();
        words.dedup();
        match words.as_slice() {
            [] | ["created", "modified"] => Some(Intent::CreateOrModify),
            ["created"] => Some(Intent::Create),
            ["modified"] => Some(Intent::Modify),
            ["deleted"] => Some(Intent::Delete),
            _ => {
                self.refusals.push(Refusal::UnknownValue {
                    dn: dn.to_string(),
                    class: class.name.to_owned(),
                    prop: "status".to_owned(),
                    value: status.to_owned(),
                    expected: "`created`, `modified`, `created,modified` or `deleted`".to_owned(),
                });
                None
            }
        }
    }

    fn delete(&mut self, dn: &Dn, class: &'static ClassDef) {
        let exists = self.edit.tree().get(dn.as_str()).is_some();
        match class.made_by {
            _ if !exists => {}
            MadeBy::User if !crate::schema::is_initial(dn) => self.edit.remove(dn),
            MadeBy::Parent => {
                self.edit.remove_below(dn);
                if let Some(reset) = blank(dn) {
                    self.edit.put(reset);
                }
            }
            MadeBy::User | MadeBy::System => {
                self.refusals.push(Refusal::Undeletable { dn: dn.to_string() });
            }
        }
    }

    /// Whether the object may exist after this, given whether it exists.
    fn may_be_put(&mut self, dn: &Dn, class: &ClassDef, intent: Intent, exists: bool) -> bool {
        let (name, class_name) = (dn.to_string(), class.name.to_owned());
        let parent = dn.parent();
        let orphan = parent.filter(|parent| self.edit.tree().get(parent.as_str()).is_none());
        let refusal = match (exists, intent, class.made_by) {
            (true, Intent::Create, _) => Refusal::Exists { dn: name, class: class_name },
            (true, ..) => return true,
            (false, Intent::Modify, _) => Refusal::NotFound { dn: name },
            (false, _, MadeBy::System) => Refusal::NotCreatable { dn: name, class: class_name },
            (false, ..) => match orphan {
                Some(parent) => Refusal::NotFound { dn: parent.to_string() },
                None => return true,
            },
        };
        self.refusals.push(refusal);
        false
    }

    /// The object with the posted attributes; those that are wrong are left as they were.
    fn merged(&mut self, dn: &Dn, class: &'static ClassDef, post: &Post) -> Mo {
        let old = self.edit.tree().shared(dn.as_str());
        let mut mo = old
            .as_deref()
            .cloned()
            .or_else(|| blank(dn))
            .unwrap_or_else(|| Mo::new(class, dn.clone()));
        for (name, value) in &post.attributes {
            let Some(def) = self.attribute(dn.as_str(), class, name) else { continue };
            // A relation's computed name for its target, a status of last time: read back by
            // clients and posted again. They mean nothing here.
            if !def.configurable && !def.naming {
                continue;
            }
            match def.normalise(value) {
                Ok(value) if *value == *mo.get(name) => {}
                Ok(_) if def.naming || (def.create_only && old.is_some()) => {
                    self.refusals.push(Refusal::Fixed {
                        dn: dn.to_string(),
                        class: class.name.to_owned(),
                        prop: name.clone(),
                    });
                }
                Ok(value) => {
                    mo.set(name, &value);
                }
                // A bad naming value was refused when the object was placed.
                Err(_) if def.naming => {}
                Err(error) => {
                    self.refusals.push(refused_value(dn.as_str(), class, name, error));
                }
            }
        }
        for (from, to) in class.ranges {
            self.range(&mut mo, from, to, post);
        }
        mo
    }

    fn attribute(
        &mut self,
        dn: &str,
        class: &'static ClassDef,
        name: &str,
    ) -> Option<&'static PropDef> {
        let def = class.prop(name);
        if def.is_none() && !CONTROL.contains(&name) {
            self.refusals.push(Refusal::UnknownAttribute {
                dn: dn.to_owned(),
                class: class.name.to_owned(),
                attribute: name.to_owned(),
            });
        }
        def
    }

    /// One bound given alone stands for both where the other was left open.
    fn range(&mut self, mo: &mut Mo, from: &str, to: &str, post: &Post) {
        let posted = (post.get(from).is_some(), post.get(to).is_some());
        let open = mo.get(from) == UNSPECIFIED || mo.get(to) == UNSPECIFIED;
        match posted {
            (true, false) if open => {
                let value = mo.get(from).to_owned();
                mo.set(to, &value);
            }
            (false, true) if open => {
                let value = mo.get(to).to_owned();
                mo.set(from, &value);
            }
            (true, true) if open => {
                let given = [from, to].into_iter().find(|bound| mo.get(bound) != UNSPECIFIED);
                let value = given.map_or(UNSPECIFIED, |bound| mo.get(bound)).to_owned();
                mo.set(from, &value);
                mo.set(to, &value);
            }
            _ => {}
        }
        if let (Some(first), Some(last)) = (mo.number(from), mo.number(to))
            && first > last
        {
            self.refusals.push(Refusal::UpsideDown {
                dn: mo.dn().to_string(),
                from: from.to_owned(),
                first: mo.get(from).to_owned(),
                to: to.to_owned(),
                last: mo.get(to).to_owned(),
            });
        }
    }
}
