//! The controller's state, and what changes it.
//!
//! ```text
//! a request --prepare--> Prepared --(the shell makes it durable)--> publish --> bytes for agents
//! bytes of agents --receive--> bytes for agents, hosts and endpoints in the tree
//! ```
//!
//! `prepare` changes nothing, so a request that is refused, or that the disk did not take, leaves no
//! trace. A commit is compiled as a whole; what is sent is only what it changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvage_model::{
    Changes, Dn, Edit, MadeBy, Mo, Post, Refusal, Tree, class, delete, implicit_children,
    initial_tree,
};
use selvage_opflex::Time;
use selvage_opflex::server::{self, ConnId, Event, Server, ServerConfig};
use selvage_policy::number::{self, Numbers};
use selvage_policy::{Compiled, compile};
use selvage_rules::Revision;

use crate::fabric::Fabric;
use crate::overlay::{self, FaultKey};
use crate::policy::Rendered;
use crate::stamp::{self, stamp};
use crate::{check, nodes, render};

/// What a request wants changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A posted tree.
    Post {
        /// The object in the URL or its parent, if the URL named one.
        at: Option<Dn>,
        /// The tree.
        post: Post,
    },
    /// One object and everything below it.
    Delete {
        /// The object.
        dn: Dn,
    },
}

/// What a commit did to an object that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// It is new.
    Created(Arc<Mo>),
    /// It is different.
    Modified(Arc<Mo>),
    /// It is gone.
    Deleted(Dn),
}

/// What a store must hold before a commit may be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The revision that the commit makes.
    pub revision: Revision,
    /// Objects, those that the system makes by itself left out.
    pub objects: Vec<Stored>,
    /// Numbers.
    pub numbers: Vec<number::Change>,
}

/// A request that can be done, and what it would change.
#[derive(Debug)]
pub struct Prepared {
    /// What it changes in the tree, computed objects included.
    pub changes: Changes,
    /// What is to be stored; `None` if nothing changes.
    pub commit: Option<Commit>,
    next: Option<Box<Derived>>,
}

/// A tree, and everything that follows from it.
#[derive(Debug)]
pub(crate) struct Derived {
    pub(crate) tree: Tree,
    pub(crate) numbers: Numbers,
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) rendered: Rendered,
    faults: BTreeSet<FaultKey>,
}

/// An object as a store gives it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its DN.
    pub dn: String,
    /// Its class.
    pub class: String,
    /// Its properties that are not at their default.
    pub props: Vec<(String, String)>,
}

/// What was stored makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A name that is none.
    #[error(transparent)]
    Dn(#[from] selvage_model::ParseDnError),
    /// A class that this version does not have.
    #[error("`{dn}` is of class `{class}`, which this version does not know")]
    Class {
        /// The object.
        dn: String,
        /// Its class.
        class: String,
    },
    /// A property that this version does not have.
    #[error("`{dn}` has a property `{prop}`, which this version does not know")]
    Prop {
        /// The object.
        dn: String,
        /// The property.
        prop: String,
    },
    /// Numbers that contradict each other.
    #[error(transparent)]
    Numbers(#[from] number::RestoreError),
}

/// What readers look at: one revision, which no later commit changes.
#[derive(Debug, Clone)]
pub struct View {
    /// The tree, with everything that is computed and observed.
    pub tree: Tree,
    /// The revision it is of.
    pub revision: Revision,
    /// Its policy.
    pub compiled: Arc<Compiled>,
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send these bytes on a connection, after those before.
    Send {
        /// Which connection.
        conn: ConnId,
        /// Whole frames.
        bytes: Vec<u8>,
    },
    /// Send what is left on a connection and close it.
    Close {
        /// Which connection.
        conn: ConnId,
    },
    /// Something happened that people may want to read about.
    Note(Event),
}

/// The controller. See the module.
#[derive(Debug)]
pub struct Core {
    pub(crate) state: Derived,
    revision: Revision,
    pub(crate) server: Server,
    fabric: Fabric,
}

impl Core {
    /// A controller as it was when these objects and numbers were stored; the first one with
    /// revision 0 and neither.
    pub fn restore(
        config: ServerConfig,
        revision: Revision,
        objects: impl IntoIterator<Item = Kept>,
        numbers: impl IntoIterator<Item = number::Row>,
        now: Time,
        wall_ms: u64,
    ) -> Result<Core, RestoreError> {
        let mut tree = initial_tree();
        for kept in objects {
            insert(&mut tree, kept)?;
        }
        Edit::new(&mut tree, stamp(wall_ms)).commit_afresh();
        let numbers = Numbers::restore(numbers)?;
        let state = derive(tree, numbers, &BTreeSet::new(), wall_ms);
        let server = Server::new(config, revision, now);
        Ok(Core { state, revision, server, fabric: Fabric::default() })
    }

    /// The tree as a request would have it, and what differs. Every reason to refuse it comes at
    /// once.
    pub(crate) fn edited(
        &self,
        write: &Write,
        wall_ms: u64,
    ) -> Result<(Tree, Changes), Vec<Refusal>> {
        let mut tree = self.state.tree.clone();
        let at = stamp(wall_ms);
        let changes = match write {
            Write::Post { at: dn, post } => selvage_model::apply(&mut tree, at, dn.as_ref(), post)?,
            Write::Delete { dn } => delete(&mut tree, at, dn)?,
        };
        Ok((tree, changes))
    }

    /// Works out what a request changes. Every reason to refuse it comes at once.
    pub fn prepare(&self, write: &Write, wall_ms: u64) -> Result<Prepared, Vec<Refusal>> {
        let (tree, changes) = self.edited(write, wall_ms)?;
        if changes.is_empty() {
            return Ok(Prepared { changes, commit: None, next: None });
        }
        let mut next = derive(tree, self.state.numbers.clone(), &self.state.faults, wall_ms);
        let before = (&self.state.tree, &*self.state.compiled);
        let mut broken = check::broken(before, (&next.tree, &next.compiled));
        broken.extend(self.too_large(&self.state.compiled, &next.compiled));
        if !broken.is_empty() {
            return Err(broken);
        }
        self.show_endpoints(&mut next.tree, wall_ms);
        let commit = Commit {
            revision: Revision(self.revision.0 + 1),
            objects: stored(&changes),
            numbers: next.numbers.drain_changes(),
        };
        Ok(Prepared { changes, commit: Some(commit), next: Some(Box::new(next)) })
    }

    /// Puts a prepared request into force, which the shell has made durable, and tells the hosts
    /// that it touches. It must be the last one that was prepared.
    pub fn publish(&mut self, prepared: Prepared, now: Time, wall_ms: u64) -> Vec<Output> {
        let (Some(commit), Some(next)) = (prepared.commit, prepared.next) else {
            return Vec::new();
        };
        let change = self.state.rendered.change_to(&next.rendered);
        self.state = *next;
        self.revision = commit.revision;
        self.fabric.committed(self.revision, now);
        self.server.commit(&self.state.rendered, &change, self.revision, now);
        self.drain(now, wall_ms)
    }

    /// An agent connected to `local`, our own address as `host:port`.
    pub fn connected(&mut self, conn: ConnId, local: &str, now: Time, wall_ms: u64) -> Vec<Output> {
        self.server.connected(conn, local, now);
        self.drain(now, wall_ms)
    }

    /// Bytes came on a connection.
    pub fn receive(&mut self, conn: ConnId, bytes: &[u8], now: Time, wall_ms: u64) -> Vec<Output> {
        self.server.receive(conn, bytes, &self.state.rendered, now);
        self.drain(now, wall_ms)
    }

    /// A connection is gone.
    pub fn disconnected(
        &mut self,
        conn: ConnId,
        why: &str,
        now: Time,
        wall_ms: u64,
    ) -> Vec<Output> {
        self.server.disconnected(conn, why, now);
        self.drain(now, wall_ms)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time, wall_ms: u64) -> Vec<Output> {
        self.server.handle_timeout(now);
        self.drain(now, wall_ms)
    }

    /// When [`Core::handle_timeout`] is to be called, and why.
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        self.server.poll_timeout()
    }

    /// The revision in force.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The hosts.
    pub fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// The endpoints that agents of ours declared.
    pub fn endpoints(&self) -> usize {
        self.server.locations().count()
    }

    /// How many of them each host has.
    pub(crate) fn endpoints_by_host(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for location in self.server.locations() {
            *counts.entry(&*location.agent).or_default() += 1;
        }
        counts
    }

    /// The tree and its policy, for readers.
    pub fn view(&self) -> View {
        View {
            tree: self.state.tree.clone(),
            revision: self.revision,
            compiled: Arc::clone(&self.state.compiled),
        }
    }

    /// Takes in what the server has to say.
    fn drain(&mut self, now: Time, wall_ms: u64) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(output) = self.server.poll_output() {
            outputs.push(match output {
                server::Output::Send { conn, bytes } => Output::Send { conn, bytes },
                server::Output::Close { conn } => Output::Close { conn },
                server::Output::Event(event) => {
                    self.note(&event, now, wall_ms);
                    Output::Note(event)
                }
            });
        }
        outputs
    }

    fn note(&mut self, event: &Event, now: Time, wall_ms: u64) {
        let looks_different = self.fabric.note(event, self.revision, now);
        let wall = stamp::text(wall_ms);
        let mut edit = Edit::new(&mut self.state.tree, stamp(wall_ms));
        if let Some((number, holder)) = self.fabric.vacated() {
            match holder.and_then(|name| Some((name, self.fabric.host(name)?))) {
                Some((name, host)) => nodes::show_host(&mut edit, name, host, &wall),
                None => nodes::hide_node(&mut edit, number),
            }
        }
        if let Some(name) = looks_different
            && let Some(host) = self.fabric.host(&name)
        {
            nodes::show_host(&mut edit, &name, host, &wall);
        }
        match event {
            Event::Located(location) => {
                let host = self.fabric.host(&location.agent);
                nodes::show_endpoint(&mut edit, location, host, &wall);
            }
            Event::Departed(location) => nodes::hide_endpoint(&mut edit, location),
            _ => {}
        }
        edit.commit();
    }

    /// Shows the endpoints of groups that came (back) with a commit.
    fn show_endpoints(&self, tree: &mut Tree, wall_ms: u64) {
        let wall = stamp::text(wall_ms);
        let mut edit = Edit::new(tree, stamp(wall_ms));
        for location in self.server.locations() {
            let dn = nodes::endpoint_dn(location);
            if dn.is_some_and(|dn| edit.tree().get(dn.as_str()).is_none()) {
                let host = self.fabric.host(&location.agent);
                nodes::show_endpoint(&mut edit, location, host, &wall);
            }
        }
        edit.commit();
    }
}

/// Puts a stored object into the tree, with the implicit children that a later version gave its
/// class.
fn insert(tree: &mut Tree, kept: Kept) -> Result<(), RestoreError> {
    let Kept { dn, class: name, props } = kept;
    let Some(class) = class(&name) else { return Err(RestoreError::Class { dn, class: name }) };
    let mut mo = Mo::new(class, dn.parse()?);
    for (prop, value) in props {
        if !mo.set(&prop, &value) {
            return Err(RestoreError::Prop { dn, prop });
        }
    }
    let implicit: Vec<Mo> = implicit_children(&mo).collect();
    tree.insert(mo);
    for child in implicit {
        if tree.get(child.dn().as_str()).is_none() {
            tree.insert(child);
        }
    }
    Ok(())
}

/// Everything that follows from a tree whose relations are settled.
fn derive(
    mut tree: Tree,
    mut numbers: Numbers,
    faults: &BTreeSet<FaultKey>,
    wall_ms: u64,
) -> Derived {
    let compiled = compile(&tree, &mut numbers);
    overlay::show_numbers(&mut tree, &compiled, &numbers);
    let mut edit = Edit::new(&mut tree, stamp(wall_ms));
    let faults = overlay::show_problems(&mut edit, &compiled.problems, faults);
    edit.commit();
    let rendered = Rendered::new(render::objects(&compiled.table));
    Derived { tree, numbers, compiled: Arc::new(compiled), rendered, faults }
}

/// The part of the changes that is stored: objects that users make, or that come with them.
fn stored(changes: &Changes) -> Vec<Stored> {
    let keeps = |mo: &Mo| mo.class().made_by != MadeBy::System;
    let created = changes.created.iter().filter(|mo| keeps(mo)).cloned().map(Stored::Created);
    let modified = changes.modified.iter().filter(|change| keeps(&change.new));
    let deleted = changes.deleted.iter().filter(|mo| keeps(mo));
    created
        .chain(modified.map(|change| Stored::Modified(change.new.clone())))
        .chain(deleted.map(|mo| Stored::Deleted(mo.dn().clone())))
        .collect()
}
