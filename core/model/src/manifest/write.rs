//! A posted tree as a file: the way back through [`shapes`](super::shapes), for the keys that name
//! one attribute or one child. What the format has no such key for cannot be written.

use std::collections::BTreeSet;

use super::build::defaults;
use super::shapes::{Becomes, FILE, Shape};
use crate::Post;

/// What a file says, before it is text.
enum Yaml {
    Scalar(String),
    List(Vec<Yaml>),
    Map(Vec<(&'static str, Yaml)>),
}

/// The file that makes these objects below `uni`. `None` if it takes more than the format has keys
/// for: a deletion, or an attribute of APIC only.
pub fn write(posts: &[Post]) -> Option<String> {
    let mut all = Post::new("polUni");
    all.children = posts.to_vec();
    let Yaml::Map(keys) = object(&FILE, &all)? else { return None };
    let mut text = String::new();
    render(&keys, 0, &mut text);
    Some(text)
}

/// What of a post was said: attributes by name, children by place.
#[derive(Default)]
struct Said {
    attributes: BTreeSet<String>,
    children: BTreeSet<usize>,
}

fn object(shape: &Shape, post: &Post) -> Option<Yaml> {
    let mut said = Said::default();
    let keys = keys(shape, post, &mut said)?;
    // What the format would add must not be missing here.
    let more = !defaults(shape, post).is_empty();
    let by_default = |name: &str, value: &str| shape.defaults.contains(&(name, value));
    let mut attributes = post.attributes.iter();
    let all =
        attributes.all(|(name, value)| said.attributes.contains(name) || by_default(name, value));
    (all && !more && said.children.len() == post.children.len()).then_some(Yaml::Map(keys))
}

fn keys(shape: &Shape, post: &Post, said: &mut Said) -> Option<Vec<(&'static str, Yaml)>> {
    let mut keys_here = Vec::new();
    for key in shape.keys {
        if let Becomes::Keys(inner) = &key.becomes {
            let within = keys(inner, post, said)?;
            if !within.is_empty() {
                keys_here.push((key.name, Yaml::Map(within)));
            }
        } else if let Some(value) = value(&key.becomes, post, said)? {
            keys_here.push((key.name, value));
        }
    }
    Some(keys_here)
}

/// The value of one key, if the post has what it becomes. The outer `None` is what no value says.
fn value(becomes: &Becomes, post: &Post, said: &mut Said) -> Option<Option<Yaml>> {
    let attribute = |name: &str, said: &mut Said| {
        let text = post.get(name)?;
        said.attributes.insert(name.to_owned());
        Some(text.to_owned())
    };
    let switch = |on: bool| Yaml::Scalar(on.to_string());
    Some(match becomes {
        Becomes::Attribute(name) | Becomes::Words(name) => attribute(name, said).map(Yaml::Scalar),
        Becomes::Switch { attribute: name, yes, no } => match attribute(name, said) {
            Some(text) if text == *yes => Some(switch(true)),
            Some(text) if text == *no => Some(switch(false)),
            Some(_) => return None,
            None => None,
        },
        Becomes::Flag { attribute: name, word, .. } => {
            let text = attribute(name, said);
            let has = text.is_some_and(|text| text.split(',').any(|one| one == *word));
            has.then(|| switch(true))
        }
        Becomes::Relation { class, attribute } => {
            targets(post, class, attribute, said)?.into_iter().next()
        }
        Becomes::Relations { class, attribute } => {
            let list = targets(post, class, attribute, said)?;
            (!list.is_empty()).then_some(Yaml::List(list))
        }
        Becomes::Blocks(shape) => {
            let list = blocks(post, shape, said);
            (!list.is_empty()).then_some(Yaml::List(list))
        }
        Becomes::Block(shape) => blocks(post, shape, said).into_iter().next(),
        _ => None,
    })
}

/// What the children of one class point at. `None` if one says more than that.
fn targets(post: &Post, class: &str, attribute: &str, said: &mut Said) -> Option<Vec<Yaml>> {
    let mut list = Vec::new();
    for (at, child) in post.children.iter().enumerate().filter(|(_, child)| child.class == class) {
        let [(name, value)] = &child.attributes[..] else { return None };
        if name != attribute || !child.children.is_empty() {
            return None;
        }
        said.children.insert(at);
        list.push(Yaml::Scalar(value.clone()));
    }
    Some(list)
}

/// The children that are such blocks. Several shapes may be of one class: a child that is none of
/// this one may be of another.
fn blocks(post: &Post, shape: &Shape, said: &mut Said) -> Vec<Yaml> {
    let mut list = Vec::new();
    for (at, child) in post.children.iter().enumerate() {
        if Some(&*child.class) != shape.class || said.children.contains(&at) {
            continue;
        }
        if let Some(block) = object(shape, child) {
            said.children.insert(at);
            list.push(block);
        }
    }
    list
}

fn render(keys: &[(&'static str, Yaml)], indent: usize, text: &mut String) {
    let margin = " ".repeat(indent);
    for (key, value) in keys {
        match value {
            Yaml::Scalar(value) => text.push_str(&format!("{margin}{key}: {}\n", quoted(value))),
            Yaml::Map(keys) => {
                text.push_str(&format!("{margin}{key}:\n"));
                render(keys, indent + 2, text);
            }
            Yaml::List(items) => {
                text.push_str(&format!("{margin}{key}:\n"));
                items.iter().for_each(|item| render_item(item, indent + 2, text));
            }
        }
    }
}

fn render_item(item: &Yaml, indent: usize, text: &mut String) {
    let margin = " ".repeat(indent);
    match item {
        Yaml::Scalar(value) => text.push_str(&format!("{margin}- {}\n", quoted(value))),
        Yaml::List(items) => items.iter().for_each(|item| render_item(item, indent, text)),
        Yaml::Map(keys) => {
            let mut inner = String::new();
            render(keys, indent + 2, &mut inner);
            // The first key stands behind the dash.
            let rest = inner.get(indent + 2..).unwrap_or_default();
            text.push_str(&format!("{margin}- {rest}"));
        }
    }
}

/// A value as YAML reads it back: in quotes where it could be taken for something else.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_word = matches!(&*text.to_ascii_lowercase(), "null" | "true" | "false" | "yes" | "no");
    if first && text.chars().all(plain) && (!is_word || ["true", "false"].contains(&text)) {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let text = "\
apic:
  tenants:
    - name: shop
      application_profiles:
        - name: store
          endpoint_groups:
            - name: web
              bridge_domain: front
              proxy_arp: true
              contracts:
                providers:
                  - http
                consumers:
                  - app
                  - \"null\"
      contracts:
        - name: http
          subjects:
            - name: web
              filters:
                - filter: http
                  action: deny
      filters:
        - name: http
          entries:
            - name: \"a:b\"
              ethertype: ip
              protocol: tcp
              destination_from_port: http
              destination_to_port: http
              stateful: true
";
        let posts = parse(text).unwrap().posts;
        let mut written = posts.clone();
        // What flags leave out is not said.
        fn strip(post: &mut Post) {
            post.attributes.retain(|(_, value)| !value.is_empty());
            post.children.iter_mut().for_each(strip);
        }
        written.iter_mut().for_each(strip);
        assert_eq!(write(&written).unwrap(), text);
        let gone = Post::new("fvTenant").with("name", "x").with("status", "deleted");
        assert_eq!(write(&[gone]), None);
    }
}
