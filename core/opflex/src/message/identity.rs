//! Who a peer is, and what it offers.

use serde_json::{Map, Value as Json, json};

use crate::message::Refusal;
use crate::message::decode::{malformed, required_text, text};

/// The feature by which our agents and controllers know each other: classes `Selvage*` are sent
/// only to peers that name it.
pub const FEATURE: &str = "selvage";

/// What a peer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Enforces policy: an agent.
    PolicyElement,
    /// Answers `policy_resolve`.
    PolicyRepository,
    /// Answers `endpoint_declare` and `endpoint_resolve`.
    EndpointRegistry,
    /// Answers `state_report`.
    Observer,
}

impl Role {
    /// What a controller is.
    pub const CONTROLLER: [Role; 3] =
        [Role::PolicyRepository, Role::EndpointRegistry, Role::Observer];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Role::PolicyElement => "policy_element",
            Role::PolicyRepository => "policy_repository",
            Role::EndpointRegistry => "endpoint_registry",
            Role::Observer => "observer",
        }
    }

    fn from_name(name: &str) -> Option<Role> {
        [Role::PolicyElement, Role::PolicyRepository, Role::EndpointRegistry, Role::Observer]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

/// The parameters of `send_identity`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `1.0`.
    pub proto_version: String,
    /// The agent's name, unique in its domain.
    pub name: String,
    /// The OpFlex domain.
    pub domain: String,
    /// What an earlier server gave as `your_location`.
    pub my_location: Option<String>,
    /// Roles, as named; unknown names are left out.
    pub my_role: Vec<Role>,
    /// Free data, `features` among it.
    pub data: Option<Map<String, Json>>,
}

impl Identity {
    /// An agent of ours.
    pub fn agent(name: &str, domain: &str) -> Identity {
        Identity {
            proto_version: "1.0".into(),
            name: name.into(),
            domain: domain.into(),
            my_location: None,
            my_role: vec![Role::PolicyElement],
            data: Some(feature_data()),
        }
    }

    /// Whether the peer names the feature `selvage`.
    pub fn is_selvage(&self) -> bool {
        names_feature(self.data.as_ref())
    }

    pub(super) fn decode(params: &Json) -> Result<Identity, Refusal> {
        Ok(Identity {
            proto_version: required_text(params, "proto_version")?,
            name: required_text(params, "name")?,
            domain: required_text(params, "domain")?,
            my_location: text(params, "my_location"),
            my_role: roles(params, "my_role")?,
            data: object(params, "data"),
        })
    }

    pub(super) fn encode(&self) -> Json {
        let mut map = Map::new();
        map.insert("proto_version".into(), self.proto_version.as_str().into());
        map.insert("name".into(), self.name.as_str().into());
        map.insert("domain".into(), self.domain.as_str().into());
        insert_text(&mut map, "my_location", self.my_location.as_ref());
        map.insert("my_role".into(), role_names(&self.my_role));
        insert_object(&mut map, "data", self.data.as_ref());
        Json::Object(map)
    }
}

/// A server in the list that a server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is.
    pub role: Vec<Role>,
    /// `host:port`. An agent that does not find the text of its own configuration in the list
    /// closes the connection for good (observed).
    pub connectivity_info: String,
}

/// The result of `send_identity`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityReply {
    /// The server's name.
    pub name: String,
    /// The OpFlex domain.
    pub domain: String,
    /// What the agent is to send as `my_location` from now on.
    pub your_location: Option<String>,
    /// Free data: the tunnel proxies of a hardware fabric; `features` of ours.
    pub data: Option<Map<String, Json>>,
    /// What the server is.
    pub my_role: Vec<Role>,
    /// The servers an agent may connect to, this one among them.
    pub peers: Vec<Listed>,
}

impl IdentityReply {
    /// Whether the peer names the feature `selvage`.
    pub fn is_selvage(&self) -> bool {
        names_feature(self.data.as_ref())
    }

    pub(super) fn decode(result: &Json) -> Option<IdentityReply> {
        let listed = |peer: &Json| {
            Some(Listed {
                role: roles(peer, "role").ok()?,
                connectivity_info: text(peer, "connectivity_info")?,
            })
        };
        Some(IdentityReply {
            name: text(result, "name")?,
            domain: text(result, "domain")?,
            your_location: text(result, "your_location"),
            data: object(result, "data"),
            my_role: roles(result, "my_role").ok()?,
            peers: match result.get("peers") {
                None => Vec::new(),
                Some(peers) => peers.as_array()?.iter().map(listed).collect::<Option<_>>()?,
            },
        })
    }

    pub(super) fn encode(&self) -> Json {
        let mut map = Map::new();
        map.insert("name".into(), self.name.as_str().into());
        map.insert("domain".into(), self.domain.as_str().into());
        insert_text(&mut map, "your_location", self.your_location.as_ref());
        insert_object(&mut map, "data", self.data.as_ref());
        map.insert("my_role".into(), role_names(&self.my_role));
        let listed = |peer: &Listed| json!({ "role": role_names(&peer.role), "connectivity_info": peer.connectivity_info });
        map.insert("peers".into(), self.peers.iter().map(listed).collect());
        Json::Object(map)
    }
}

/// `data` that names the feature.
pub(crate) fn feature_data() -> Map<String, Json> {
    let mut map = Map::new();
    map.insert("features".into(), json!([FEATURE]));
    map
}

fn names_feature(data: Option<&Map<String, Json>>) -> bool {
    let features = data.and_then(|data| data.get("features")).and_then(Json::as_array);
    features.is_some_and(|list| list.iter().any(|name| name == FEATURE))
}

fn roles(value: &Json, name: &str) -> Result<Vec<Role>, Refusal> {
    let list = value.get(name).and_then(Json::as_array);
    let list = list.ok_or_else(|| malformed(&format!("no {name}")))?;
    Ok(list.iter().filter_map(Json::as_str).filter_map(Role::from_name).collect())
}

fn role_names(roles: &[Role]) -> Json {
    roles.iter().map(|role| role.name()).collect()
}

fn object(value: &Json, name: &str) -> Option<Map<String, Json>> {
    value.get(name).and_then(Json::as_object).cloned()
}

fn insert_text(map: &mut Map<String, Json>, name: &str, value: Option<&String>) {
    if let Some(value) = value {
        map.insert(name.into(), value.as_str().into());
    }
}

fn insert_object(map: &mut Map<String, Json>, name: &str, value: Option<&Map<String, Json>>) {
    if let Some(value) = value {
        map.insert(name.into(), Json::Object(value.clone()));
    }
}
