//! What a tree says of itself: which assertions hold, what lint finds, what is wrong. And the gate:
//! a request that would make an assertion false is refused.

use selvage_model::{Dn, Post, Refusal, Tree, apply};
use selvage_policy::lint::{self, Finding};
use selvage_policy::verify::{self, Answer};
use selvage_policy::{Compiled, Numbers, compile};
use serde::Serialize;

use crate::stamp::stamp;

/// What was found in a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Every assertion, and whether it holds.
    pub assertions: Vec<Answer>,
    /// What lint found.
    pub lint: Vec<Finding>,
    /// What is wrong.
    pub faults: Vec<Wrong>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Wrong {
    /// The object.
    pub dn: String,
    /// The code of the fault that it would raise.
    pub code: String,
    /// How bad it is.
    pub severity: String,
    /// What is wrong, in one sentence.
    pub text: String,
}

/// Looks at `tree` as it would be with each of `posts` applied to it, in order.
///
/// # Errors
/// Why a post is refused, all of it at once.
pub fn check(tree: &Tree, posts: &[Post]) -> Result<Checked, Vec<Refusal>> {
    let uni: Dn = "uni".parse().map_err(|_| Vec::new())?;
    let mut tree = tree.clone();
    for post in posts {
        apply(&mut tree, stamp(0), Some(&uni), post)?;
    }
    let compiled = compile(&tree, &mut Numbers::default());
    Ok(Checked {
        assertions: verify::verify(&tree, &compiled),
        lint: lint::lint(&tree, &compiled),
        faults: faults(&tree, &compiled),
    })
}

/// What the tree itself raised, and what the compiler found.
fn faults(tree: &Tree, compiled: &Compiled) -> Vec<Wrong> {
    let of_compiler: Vec<Wrong> = compiled
        .problems
        .iter()
        .map(|problem| Wrong {
            dn: problem.dn.to_string(),
            code: problem.code().to_owned(),
            severity: format!("{:?}", problem.severity()).to_lowercase(),
            text: problem.text.clone(),
        })
        .collect();
    let ours = |code: &str| selvage_policy::Cause::ALL.iter().any(|cause| cause.code() == code);
    let raised = tree.of_class("faultInst").filter(|mo| !ours(mo.get("code")));
    let mut all: Vec<Wrong> = raised
        .map(|mo| Wrong {
            dn: mo.dn().parent().map(|dn| dn.to_string()).unwrap_or_default(),
            code: mo.get("code").to_owned(),
            severity: mo.get("severity").to_owned(),
            text: mo.get("descr").to_owned(),
        })
        .chain(of_compiler)
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Assertions that `after` makes false: those that held before, or are new or different.
pub(crate) fn broken(before: (&Tree, &Compiled), after: (&Tree, &Compiled)) -> Vec<Refusal> {
    let mut broken = verify::verify(after.0, after.1);
    broken.retain(|answer| !answer.holds);
    if broken.is_empty() {
        return Vec::new();
    }
    // One that was false already must not stand in the way of whoever mends something else.
    let was = verify::verify(before.0, before.1);
    let known = |new: &Answer| {
        was.iter().any(|old| old.dn == new.dn && old.asserts == new.asserts && !old.holds)
    };
    let refusal = |answer: Answer| Refusal::Broken {
        dn: answer.dn.to_string(),
        name: answer.name,
        asserts: answer.asserts,
        why: answer.why,
    };
    broken.into_iter().filter(|answer| !known(answer)).map(refusal).collect()
}
