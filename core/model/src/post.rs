//! A tree as somebody posts it: not yet checked against any class.

/// One object of a posted tree, with what is to be below it.
///
/// The JSON body `{"fvTenant":{"attributes":{"name":"shop"},"children":[..]}}`, its XML twin and
/// the YAML manifest all come down to this.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Post {
    /// Name of its class.
    pub class: String,
    /// Attributes in the order in which they were written; `dn`, `rn` and `status` among them.
    pub attributes: Vec<(String, String)>,
    /// What is to be below it.
    pub children: Vec<Post>,
}

impl Post {
    /// An object of this class without attributes.
    pub fn new(class: impl Into<String>) -> Post {
        Post { class: class.into(), ..Post::default() }
    }

    /// With one more attribute.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Post {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// With one more child.
    pub fn child(mut self, child: Post) -> Post {
        self.children.push(child);
        self
    }

    /// The value of an attribute: the last one written of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}
