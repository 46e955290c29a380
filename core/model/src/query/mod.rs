//! Questions to the tree, and their answers: APIC's query parameters as a pure function.

mod filter;
mod modified;

use std::cmp::Ordering;

pub use filter::{Filter, MAX_FILTER_DEPTH};
pub use modified::modified;

use crate::suggest::nearest;
use crate::{Dn, Mo, Tree, class, is_known, schema};

/// The abstract class of faults, which are listed below an object only when they are asked for.
const FAULTS: &str = "faultInfo";

/// A question that cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// No class has this name.
    #[error("unknown managed object class {class}{}", meant(.hint))]
    UnknownClass {
        /// The name.
        class: String,
        /// A class that was perhaps meant.
        hint: Option<String>,
    },
    /// The class has no property of this name.
    #[error("Prop '{prop}' not found in class '{class}' property table{}", meant(.hint))]
    UnknownProp {
        /// The class.
        class: String,
        /// The property.
        prop: String,
        /// A property that was perhaps meant.
        hint: Option<String>,
    },
    /// A parameter has a value it does not take.
    #[error("Invalid query parameter {name}={value}: expected {expected}")]
    Parameter {
        /// The parameter.
        name: String,
        /// Its value.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A filter that does not follow the grammar.
    #[error("Invalid filter, at character {at}: expected {expected}")]
    Filter {
        /// Where, counted in bytes from 0.
        at: usize,
        /// What should stand there.
        expected: &'static str,
    },
}

impl QueryError {
    /// APIC's error code.
    pub fn code(&self) -> u16 {
        match self {
            QueryError::UnknownClass { .. } => 122,
            QueryError::UnknownProp { .. } => 121,
            QueryError::Parameter { .. } | QueryError::Filter { .. } => 400,
        }
    }
}

fn meant(hint: &Option<String>) -> String {
    hint.as_ref().map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

fn unknown_class(name: &str) -> QueryError {
    let hint = nearest(name, schema().iter().map(|c| c.name)).map(str::to_owned);
    QueryError::UnknownClass { class: name.to_owned(), hint }
}

/// Where a query starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// At one object.
    Object(Dn),
    /// At every object of a class, or of an abstract one.
    Class {
        /// The class.
        class: String,
        /// Only objects at and below this one.
        below: Option<Dn>,
    },
}

/// Which properties are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Show {
    /// Every one.
    #[default]
    All,
    /// What users configure, and the names.
    Config,
    /// The names alone.
    Naming,
}

/// How far below an object a query looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Reach {
    #[default]
    Itself,
    Children,
    Subtree,
}

/// One key of an order: a property, and whether it descends.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OrderKey {
    prop: String,
    descending: bool,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    scope: Scope,
    target: Reach,
    target_classes: Vec<String>,
    filter: Option<Filter>,
    subtree: Reach,
    subtree_classes: Vec<String>,
    subtree_filter: Option<Filter>,
    faults: bool,
    only_included: bool,
    show: Show,
    page: usize,
    page_size: Option<usize>,
    order: Vec<OrderKey>,
}

/// An answer. Its nodes borrow from the tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer<'t> {
    /// How many objects there are in all, before paging.
    pub total: usize,
    /// The objects of this page.
    pub nodes: Vec<Node<'t>>,
}

/// An object in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node<'t> {
    /// The object.
    pub mo: &'t Mo,
    /// What is shown below it.
    pub children: Vec<Node<'t>>,
    /// Which of its properties are shown.
    pub show: Show,
    /// Whether it stands in another's `children`.
    pub inner: bool,
    /// `created`, `modified` or `deleted` in the answer to a change; empty otherwise.
    pub status: &'static str,
}

impl Query {
    /// The question that a URL's path and decoded parameters ask. Parameters that this is not
    /// about (`subscription`, a time stamp against caches) are ignored.
    pub fn parse<'p>(
        scope: Scope,
        parameters: impl IntoIterator<Item = (&'p str, &'p str)>,
    ) -> Result<Query, QueryError> {
        if let Scope::Class { class, .. } = &scope {
            known(class)?;
        }
        let mut query = Query {
            scope,
            target: Reach::Itself,
            target_classes: Vec::new(),
            filter: None,
            subtree: Reach::Itself,
            subtree_classes: Vec::new(),
            subtree_filter: None,
            faults: false,
            only_included: false,
            show: Show::All,
            page: 0,
            page_size: None,
            order: Vec::new(),
        };
        for (name, value) in parameters {
            query.parameter(name, value)?;
        }
        Ok(query)
    }

    fn parameter(&mut self, name: &str, value: &str) -> Result<(), QueryError> {
        let wrong = |expected| {
            let (name, value) = (name.to_owned(), value.to_owned());
            Err(QueryError::Parameter { name, value, expected })
        };
        match name {
            "query-target" => match value {
                "self" => self.target = Reach::Itself,
                "children" => self.target = Reach::Children,
                "subtree" => self.target = Reach::Subtree,
                _ => return wrong("`self`, `children` or `subtree`"),
            },
            "rsp-subtree" => match value {
                // What changed is the answer to a change; a question has none.
                "no" | "modified" => self.subtree = Reach::Itself,
                "children" => self.subtree = Reach::Children,
                "full" => self.subtree = Reach::Subtree,
                _ => return wrong("`no`, `children`, `full` or `modified`"),
            },
            "rsp-prop-include" => match value {
                "all" => self.show = Show::All,
                "config-only" => self.show = Show::Config,
                "naming-only" => self.show = Show::Naming,
                _ => return wrong("`all`, `config-only` or `naming-only`"),
            },
            "target-subtree-class" => self.target_classes = classes(value)?,
            "rsp-subtree-class" => self.subtree_classes = classes(value)?,
            "query-target-filter" => self.filter = Filter::parse(value)?,
            "rsp-subtree-filter" => self.subtree_filter = Filter::parse(value)?,
            "rsp-subtree-include" => {
                self.faults |= words(value).any(|word| word == "faults");
                self.only_included |= words(value).any(|word| word == "no-scoped");
            }
            // A page that is no number is the first: clients send `None`.
            "page" => self.page = value.parse().unwrap_or(0),
            "page-size" => match value.parse() {
                Ok(size) if size > 0 => self.page_size = Some(size),
                _ => return wrong("a number above 0"),
            },
            "order-by" => self.order = order(value)?,
            _ => {}
        }
        Ok(())
    }

    /// The answer.
    pub fn run<'t>(&self, tree: &'t Tree) -> Answer<'t> {
        let mut found: Vec<&Mo> = self.targets(tree);
        found.retain(|mo| {
            let class_fits = self.target_classes.is_empty()
                || self.target_classes.iter().any(|c| mo.class().is_a(c));
            class_fits && self.filter.as_ref().is_none_or(|filter| filter.matches(mo))
        });
        if !self.order.is_empty() {
            found.sort_by(|a, b| self.compare(a, b));
        }
        if self.only_included {
            found = self.included(tree, &found);
        }
        let total = found.len();
        let size = self.page_size.unwrap_or(total.max(1));
        let page = found.into_iter().skip(self.page.saturating_mul(size)).take(size);
        let nodes = page.map(|mo| self.node(tree, mo)).collect();
        Answer { total, nodes }
    }

    fn targets<'t>(&self, tree: &'t Tree) -> Vec<&'t Mo> {
        let starts: Vec<&Mo> = match &self.scope {
            Scope::Object(dn) => tree.get(dn.as_str()).into_iter().collect(),
            Scope::Class { class, below } => {
                let within = |mo: &&Mo| below.as_ref().is_none_or(|dn| dn.contains(mo.dn()));
                let classes = schema().iter().filter(|c| c.is_a(class));
                match below {
                    // Below an object: at the cost of what is there, not of the whole class.
                    Some(dn) => {
                        at_and_below(tree, dn).filter(|mo| mo.class().is_a(class)).collect()
                    }
                    None => classes.flat_map(|c| tree.of_class(c.name)).filter(within).collect(),
                }
            }
        };
        match self.target {
            Reach::Itself => starts,
            Reach::Children => starts.iter().flat_map(|mo| tree.children(mo.dn())).collect(),
            Reach::Subtree => starts.iter().flat_map(|mo| at_and_below(tree, mo.dn())).collect(),
        }
    }

    /// With `no-scoped`, only what was asked to be included stands in the answer.
    fn included<'t>(&self, tree: &'t Tree, found: &[&'t Mo]) -> Vec<&'t Mo> {
        let is_fault = |mo: &&Mo| self.faults && mo.class().is_a(FAULTS);
        found.iter().flat_map(|mo| at_and_below(tree, mo.dn())).filter(is_fault).collect()
    }

    fn compare(&self, a: &Mo, b: &Mo) -> Ordering {
        let by_key = |key: &OrderKey| {
            let ordering = filter::compare(value(a, &key.prop), value(b, &key.prop));
            if key.descending { ordering.reverse() } else { ordering }
        };
        let first = self.order.iter().map(by_key).find(|ordering| ordering.is_ne());
        first.unwrap_or_else(|| a.dn().cmp(b.dn()))
    }

    fn node<'t>(&self, tree: &'t Tree, mo: &'t Mo) -> Node<'t> {
        let reach = if self.only_included { Reach::Itself } else { self.subtree };
        let reach = if self.faults && reach == Reach::Itself { Reach::Children } else { reach };
        Node {
            mo,
            children: self.children(tree, mo, reach),
            show: self.show,
            inner: false,
            status: "",
        }
    }

    fn children<'t>(&self, tree: &'t Tree, mo: &'t Mo, reach: Reach) -> Vec<Node<'t>> {
        let below = match reach {
            Reach::Itself => return Vec::new(),
            Reach::Children => Reach::Itself,
            Reach::Subtree => Reach::Subtree,
        };
        let mut nodes: Vec<Node> = tree
            .children(mo.dn())
            .map(|child| Node {
                mo: child,
                children: self.children(tree, child, below),
                show: self.show,
                inner: true,
                status: "",
            })
            .filter(|node| !node.children.is_empty() || self.is_shown(node.mo))
            .collect();
        nodes.sort_by_key(|node| std::cmp::Reverse(node.mo.class().order));
        nodes
    }

    /// Whether an object stands below another in the answer for its own sake.
    fn is_shown(&self, mo: &Mo) -> bool {
        let is_fault = mo.class().is_a(FAULTS);
        let class_fits = match self.subtree_classes.as_slice() {
            [] if is_fault => self.faults,
            [] => self.subtree != Reach::Itself,
            classes => classes.iter().any(|class| mo.class().is_a(class)),
        };
        class_fits && self.subtree_filter.as_ref().is_none_or(|filter| filter.matches(mo))
    }
}

fn at_and_below<'t>(tree: &'t Tree, dn: &Dn) -> impl Iterator<Item = &'t Mo> + use<'t> {
    tree.get(dn.as_str()).into_iter().chain(tree.descendants(dn))
}

/// A property of an object, `dn` among them.
fn value<'m>(mo: &'m Mo, prop: &str) -> &'m str {
    match prop {
        "dn" => mo.dn().as_str(),
        "rn" => mo.dn().rn(),
        _ => mo.get(prop),
    }
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn known(name: &str) -> Result<(), QueryError> {
    if is_known(name) { Ok(()) } else { Err(unknown_class(name)) }
}

fn classes(list: &str) -> Result<Vec<String>, QueryError> {
    words(list).map(|name| known(name).map(|()| name.to_owned())).collect()
}

/// `Class.prop|asc,Class.prop|desc`
fn order(list: &str) -> Result<Vec<OrderKey>, QueryError> {
    words(list)
        .map(|key| {
            let (path, direction) = key.split_once('|').unwrap_or((key, "asc"));
            let (class, prop) = path.split_once('.').unwrap_or(("", path));
            property(class, prop)?;
            let descending = match direction {
                "asc" => false,
                "desc" => true,
                _ => {
                    return Err(QueryError::Parameter {
                        name: "order-by".to_owned(),
                        value: list.to_owned(),
                        expected: "`CLASS.PROPERTY|asc` or `|desc`",
                    });
                }
            };
            Ok(OrderKey { prop: prop.to_owned(), descending })
        })
        .collect()
}

/// Checks that a class, abstract or not, has a property.
fn property(name: &str, prop: &str) -> Result<(), QueryError> {
    known(name)?;
    let mut of_class = schema().iter().filter(|c| c.is_a(name));
    if matches!(prop, "dn" | "rn") || of_class.any(|c| c.prop(prop).is_some()) {
        return Ok(());
    }
    let props = class(name).map(|c| c.props).unwrap_or_default();
    let hint = nearest(prop, props.iter().map(|p| p.name)).map(str::to_owned);
    Err(QueryError::UnknownProp { class: name.to_owned(), prop: prop.to_owned(), hint })
}
