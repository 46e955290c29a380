//! Writing answers: `{"totalCount":"1","imdata":[..]}`.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::query::{Answer, Node, Show};
use crate::{Post, Refusal};

/// An answer as a JSON text.
pub fn answer(answer: &Answer) -> String {
    text(&Imdata { total: answer.total, items: &answer.nodes })
}

/// The answer that refuses a post, every reason in it; the first is the one most clients read.
pub fn refusals(refusals: &[Refusal]) -> String {
    let texts: Vec<(u16, String)> = refusals
        .iter()
        .map(|refusal| {
            let hint = refusal.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            (refusal.code(), format!("{refusal}{hint}"))
        })
        .collect();
    errors(&texts)
}

/// An answer that holds errors: codes and texts.
pub fn errors(errors: &[(u16, String)]) -> String {
    let items: Vec<ErrorItem> = errors.iter().map(|(code, text)| ErrorItem(*code, text)).collect();
    text(&Imdata { total: items.len(), items: &items })
}

/// A posted tree as a JSON text, which [`super::json::parse`] reads back.
pub fn post(post: &Post) -> String {
    text(&PostItem(post))
}

/// Writing to memory what has only texts for keys cannot fail.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

struct Imdata<'a, T> {
    total: usize,
    items: &'a [T],
}

impl<T: Serialize> Serialize for Imdata<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(2))?;
        map.serialize_entry("totalCount", &self.total.to_string())?;
        map.serialize_entry("imdata", self.items)?;
        map.end()
    }
}

struct ErrorItem<'a>(u16, &'a str);

impl Serialize for ErrorItem<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let code = self.0.to_string();
        let attributes = [("code", code.as_str()), ("text", self.1)];
        object(to, "error", &Attributes(&attributes), &[] as &[ErrorItem])
    }
}

struct PostItem<'a>(&'a Post);

impl Serialize for PostItem<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Post { class, attributes, children } = self.0;
        let attributes: Vec<(&str, &str)> =
            attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let children: Vec<PostItem> = children.iter().map(PostItem).collect();
        object(to, class, &Attributes(&attributes), &children)
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        object(to, self.mo.class().name, &Shown(self), &self.children)
    }
}

/// `{CLASS: {"attributes": .., "children": [..]}}`, without `children` where there are none.
fn object<S: Serializer>(
    to: S,
    class: &str,
    attributes: &impl Serialize,
    children: &[impl Serialize],
) -> Result<S::Ok, S::Error> {
    let mut outer = to.serialize_map(Some(1))?;
    outer.serialize_entry(class, &Content { attributes, children })?;
    outer.end()
}

struct Content<'a, A, C> {
    attributes: &'a A,
    children: &'a [C],
}

impl<A: Serialize, C: Serialize> Serialize for Content<'_, A, C> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("attributes", self.attributes)?;
        if !self.children.is_empty() {
            map.serialize_entry("children", &List(self.children))?;
        }
        map.end()
    }
}

struct List<'a, T>(&'a [T]);

impl<T: Serialize> Serialize for List<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(self.0.len()))?;
        self.0.iter().try_for_each(|item| list.serialize_element(item))?;
        list.end()
    }
}

struct Attributes<'a>(&'a [(&'a str, &'a str)]);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().copied())
    }
}

/// The attributes of an object that its query asked for. What stands alone is named by `dn`, what
/// stands in `children` by `rn`; secure properties are never shown.
struct Shown<'a>(&'a Node<'a>);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Node { mo, show, inner, status, .. } = self.0;
        let mut map = to.serialize_map(None)?;
        if *inner {
            map.serialize_entry("rn", mo.dn().rn())?;
        } else {
            map.serialize_entry("dn", mo.dn().as_str())?;
        }
        for (def, value) in mo.props() {
            let wanted = match show {
                Show::All => true,
                Show::Config => def.configurable || def.naming,
                Show::Naming => def.naming,
            };
            if wanted && !def.secure {
                let value = if def.name == "status" { status } else { value };
                map.serialize_entry(def.name, value)?;
            }
        }
        map.end()
    }
}
