//! Policies in short: one managed object a line, `class dn property=value ..`.
//!
//! For regressions and generated fabrics; people write [scenarios](crate::scenario).

use selvage_model::{Dn, Post, Refusal, Stamp, Tree, apply, initial_tree};

/// A sketch that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SketchError {
    /// A line is not `class dn property=value ..`.
    #[error("`{line}` is not `class dn property=value ..`")]
    Line {
        /// The line.
        line: String,
    },
    /// The model refuses the objects.
    #[error("refused: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Refusal>),
}

/// The tree that a sketch makes of an empty fabric.
pub fn tree(text: &str) -> Result<Tree, SketchError> {
    let mut tree = initial_tree();
    apply(&mut tree, Stamp::new("never", "0"), None, &post(text)?).map_err(SketchError::Refused)?;
    Ok(tree)
}

/// The objects of a sketch as one posted tree, `polUni` at its top.
///
/// A parent stands before its children; one that is only mentioned in a DN need not be listed, but
/// then its class is not known and the transaction will say so.
pub fn post(text: &str) -> Result<Post, SketchError> {
    let mut top = Post::new("polUni").with("dn", "uni");
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let fail = || SketchError::Line { line: line.to_owned() };
        let mut words = line.split_whitespace();
        let (class, dn) = (words.next().ok_or_else(fail)?, words.next().ok_or_else(fail)?);
        let dn: Dn = dn.parse().map_err(|_| fail())?;
        let mut object = Post::new(class).with("dn", dn.as_str());
        for word in words {
            let (name, value) = word.split_once('=').ok_or_else(fail)?;
            object = object.with(name, value);
        }
        place(&mut top, &dn, object);
    }
    Ok(top)
}

/// Puts `object` below the deepest object that contains it.
fn place(under: &mut Post, dn: &Dn, object: Post) {
    let contains = |child: &Post| {
        child
            .get("dn")
            .and_then(|text| text.parse::<Dn>().ok())
            .is_some_and(|above| above.contains(dn))
    };
    match under.children.iter().position(contains) {
        Some(at) => match under.children.get_mut(at) {
            // The same object again: an application profile is named by each of its groups.
            Some(found) if found.get("dn") == Some(dn.as_str()) => {}
            Some(found) => place(found, dn, object),
            None => {}
        },
        None => under.children.push(object),
    }
}
