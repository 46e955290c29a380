//! Files that say what the tree shall be: YAML, or objects in JSON or XML.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use selvage_model::Post;
use selvage_model::manifest::{self, Diagnostic, Span};
use serde_json::{Map, Value, json};

use super::{objects, picture};
use crate::exit::{Failure, Kind};

/// Which files.
#[derive(clap::Args)]
pub struct Files {
    /// A file of YAML, or of managed objects in JSON or XML; a directory of *.yaml and *.yml files;
    /// or - for standard input; may be repeated
    #[arg(short, long = "file", value_name = "PATH", required = true)]
    pub files: Vec<PathBuf>,
}

/// One file that was read.
pub struct Source {
    name: String,
    text: String,
    places: BTreeMap<String, Span>,
}

/// Reads every file; the failure shows all that is wrong with all of them.
pub fn read_all(paths: &[PathBuf]) -> Result<(Vec<Post>, Vec<Source>), Failure> {
    let mut posts = Vec::new();
    let mut sources = Vec::new();
    let mut pictures = Vec::new();
    let mut wrong = 0;
    for path in expand(paths)? {
        let (name, text) = read(&path)?;
        let parsed = match objects::form_of(&path, &text) {
            Some(form) => objects::read(form, &text)
                .and_then(objects::placed)
                .map(|posts| (posts, BTreeMap::new()))
                .map_err(|problem| (1, vec![format!("{name}: {problem}")])),
            None => manifest::parse(&text)
                .map(|manifest| (manifest.posts, manifest.places))
                .map_err(|wrong| (wrong.len(), draw(&name, &text, &wrong))),
        };
        match parsed {
            Ok((found, places)) => {
                posts.extend(found);
                sources.push(Source { name, text, places });
            }
            Err((count, drawn)) => {
                wrong += count;
                pictures.extend(drawn);
            }
        }
    }
    if pictures.is_empty() {
        return Ok((posts, sources));
    }
    let noun = if wrong == 1 { "mistake" } else { "mistakes" };
    let message = format!("{}\n{wrong} {noun}; nothing was sent", pictures.join("\n"));
    Err(Failure::new(Kind::Input, message))
}

/// The posts of one file, as [`read_all`] reads it, but for what an APIC exports beside policy: that
/// is left out, and counted by class where it is of a class that is not known here.
pub fn read_export(path: &Path) -> Result<(Vec<Post>, BTreeMap<String, usize>), Failure> {
    let (name, text) = read(path)?;
    let mut foreign = BTreeMap::new();
    let Some(form) = objects::form_of(path, &text) else {
        return read_all(&[path.to_owned()]).map(|(posts, _)| (posts, foreign));
    };
    let posts = objects::read(form, &text)
        .and_then(|posts| objects::placed(objects::without_foreign(posts, &mut foreign)))
        .map_err(|problem| Failure::new(Kind::Input, format!("{name}: {problem}")))?;
    Ok((posts, foreign))
}

fn draw(name: &str, text: &str, diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(|d| picture::draw(name, text, d)).collect()
}

/// Directories as the files in them, by name.
fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
        let mut found: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|p| p.extension().is_some_and(|e| e == "yaml" || e == "yml"))
            .collect();
        if found.is_empty() {
            let message = format!("no *.yaml or *.yml file in {}", path.display());
            return Err(Failure::new(Kind::Input, message));
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

fn read(path: &Path) -> Result<(String, String), Failure> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| unreadable(path, &error))?;
        return Ok(("standard input".to_owned(), text));
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    Ok((path.display().to_string(), text))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Input, format!("cannot read {}: {error}", path.display()))
}

/// How many objects a post holds.
pub fn count(post: &Post) -> usize {
    1 + post.children.iter().map(count).sum::<usize>()
}

/// The posted tree as the body of one transaction.
pub fn body(posts: &[Post]) -> Value {
    json!({"polUni": {"attributes": {}, "children": posts.iter().map(object).collect::<Vec<_>>()}})
}

fn object(post: &Post) -> Value {
    let attributes: Map<String, Value> = post
        .attributes
        .iter()
        .map(|(name, value)| (name.clone(), Value::String(value.clone())))
        .collect();
    let children: Vec<Value> = post.children.iter().map(object).collect();
    let mut object = Map::new();
    object.insert(post.class.clone(), json!({"attributes": attributes, "children": children}));
    Value::Object(object)
}

/// Where the object of a fault, or the nearest one above it, was written.
pub fn place_of(source: &Source, fault: &str) -> Option<String> {
    let (_, span) = source
        .places
        .iter()
        .filter(|(dn, _)| fault.starts_with(&format!("{dn}/")))
        .max_by_key(|(dn, _)| dn.len())?;
    debug_assert!(span.start <= source.text.len());
    Some(format!("{}:{}:{}", source.name, span.line, span.column))
}
