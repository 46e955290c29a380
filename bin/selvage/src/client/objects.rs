//! Managed objects in files, in the forms in which an APIC takes and gives them: JSON and XML, one
//! object or the `imdata` of an answer, and lists of these.

use std::collections::BTreeMap;
use std::path::Path;

use selvage_model::wire::xml;
use selvage_model::{Dn, MadeBy, Post, blank, class};
use serde_json::{Map, Value};

/// In which form objects are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// JSON.
    Json,
    /// XML.
    Xml,
}

/// The form of a file of objects, by its name, else by how it begins; `None` is YAML, which JSON of
/// another shape is too.
pub fn form_of(path: &Path, text: &str) -> Option<Form> {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let named = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    match (named.to_ascii_lowercase().as_str(), start.chars().next()) {
        ("yaml" | "yml", _) => None,
        (_, Some('<')) | ("xml", _) => Some(Form::Xml),
        ("json", _) if !is_manifest(start) => Some(Form::Json),
        (_, Some('{' | '[')) if !is_manifest(start) => Some(Form::Json),
        _ => None,
    }
}

/// Whether a JSON text is written in the keys of the YAML.
fn is_manifest(text: &str) -> bool {
    let inner = text.trim_start_matches('{').trim_start();
    inner.starts_with("\"apic\"") || inner.starts_with("\"selvage\"")
}

/// The objects in `text`.
pub fn read(form: Form, text: &str) -> Result<Vec<Post>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let mut posts = Vec::new();
    match form {
        Form::Xml => {
            let root = xml::parse(text.as_bytes()).map_err(|error| error.to_string())?;
            unwrap(root, &mut posts);
        }
        Form::Json => {
            let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
            objects(&value, &mut posts)?;
        }
    }
    Ok(posts)
}

/// Takes out what an export of a whole fabric holds and policy does not look at: objects that only
/// the system makes, and those of classes that are not known here, which are counted by class.
pub fn without_foreign(posts: Vec<Post>, foreign: &mut BTreeMap<String, usize>) -> Vec<Post> {
    let mut kept = Vec::with_capacity(posts.len());
    for mut post in posts {
        match class(&post.class) {
            Some(class) if class.made_by == MadeBy::System => {}
            Some(_) => {
                post.children = without_foreign(post.children, foreign);
                kept.push(post);
            }
            None => *foreign.entry(post.class).or_default() += 1,
        }
    }
    kept
}

/// Objects of an envelope, a list, or one.
fn objects(value: &Value, posts: &mut Vec<Post>) -> Result<(), String> {
    match value {
        Value::Array(list) => list.iter().try_for_each(|value| objects(value, posts)),
        Value::Object(map) if map.contains_key("imdata") => {
            map.get("imdata").map_or(Ok(()), |inner| objects(inner, posts))
        }
        Value::Object(map) => {
            for (class, content) in map {
                unwrap(object(class, content)?, posts);
            }
            Ok(())
        }
        other => Err(format!("`{other}` is no managed object")),
    }
}

fn object(class: &str, content: &Value) -> Result<Post, String> {
    let wrong = |what: &str| format!("object of class `{class}`: {what}");
    let content = content.as_object().ok_or_else(|| wrong("it has no `attributes`"))?;
    let mut post = Post::new(class);
    for (key, value) in content {
        match (key.as_str(), value) {
            ("attributes", Value::Object(attributes)) => {
                post.attributes = texts(class, attributes)?
            }
            ("children", Value::Array(children)) => {
                for child in children {
                    objects(child, &mut post.children)?;
                }
            }
            ("attributes" | "children", _) => return Err(wrong(&format!("`{key}` is no such"))),
            _ => return Err(wrong(&format!("unknown tag `{key}`"))),
        }
    }
    Ok(post)
}

/// Attributes are texts; numbers and truths are what they would be written as.
fn texts(class: &str, attributes: &Map<String, Value>) -> Result<Vec<(String, String)>, String> {
    let text = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(true) => "yes".to_owned(),
            Value::Bool(false) => "no".to_owned(),
            _ => return Err(format!("object of class `{class}`: `{name}` is no text")),
        };
        Ok((name.clone(), text))
    };
    attributes.iter().map(text).collect()
}

/// Takes the objects out of what only holds them.
fn unwrap(post: Post, posts: &mut Vec<Post>) {
    match post.class.as_str() {
        "polUni" | "imdata" | "topRoot" => {
            post.children.into_iter().for_each(|child| unwrap(child, posts));
        }
        _ => posts.push(post),
    }
}

/// The objects, each with what is above it up to `uni`.
pub fn placed(posts: Vec<Post>) -> Result<Vec<Post>, String> {
    posts.into_iter().map(below_uni).collect()
}

/// An object that names its place by `dn`, within the objects above it. Those are not made where the
/// object only goes.
fn below_uni(post: Post) -> Result<Post, String> {
    let Some(text) = post.get("dn").filter(|dn| !dn.is_empty()) else { return Ok(post) };
    let dn: Dn = text.parse().map_err(|error| format!("`{text}` is no DN: {error}"))?;
    let goes = post.get("status") == Some("deleted");
    let mut inner = post;
    let mut above = dn.parent().filter(|parent| parent.as_str() != "uni");
    while let Some(at) = above {
        let parent = blank(&at).ok_or_else(|| format!("no class has a name like `{at}`"))?;
        let mut outer = Post::new(parent.class().name).with("dn", at.as_str()).child(inner);
        if goes {
            outer = outer.with("status", "modified");
        }
        inner = outer;
        above = at.parent().filter(|parent| parent.as_str() != "uni");
    }
    Ok(inner)
}
