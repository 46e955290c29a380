//! The calls of libnetwork's remote driver and remote IPAM, as JSON.
//!
//! Field names are those of libnetwork's `drivers/remote/api` and `ipams/remote/api`, observed with
//! Docker 20.10 and 26.1. The two halves name their errors differently: a network driver says `Err`,
//! an IPAM driver `Error`, and either takes an answer with the other's key for a success.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::local::Refusal;

/// Which half of the plugin a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Network,
    Ipam,
}

/// The answer to a call: always status 200 unless the method is unknown.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    pub(crate) fn of(value: &impl Serialize) -> Reply {
        // What is written here has text for keys and no numbers but integers, so it is JSON.
        Reply { status: 200, body: serde_json::to_vec(value).unwrap_or_default() }
    }

    pub(crate) fn done() -> Reply {
        Reply { status: 200, body: b"{}".to_vec() }
    }

    /// Docker shows the text after its own words, on one line.
    pub(crate) fn refusal(half: Half, refusal: &Refusal) -> Reply {
        let text = match &refusal.hint {
            Some(hint) => format!("selvage: {}; hint: {hint}", refusal.message),
            None => format!("selvage: {}", refusal.message),
        };
        Reply::of(&match half {
            Half::Network => json!({ "Err": text }),
            Half::Ipam => json!({ "Error": text }),
        })
    }

    /// libnetwork knows by this very text that a method is not supported.
    pub(crate) fn unknown() -> Reply {
        Reply { status: 404, body: b"404 page not found\n".to_vec() }
    }
}

/// `NetworkDriver.CreateNetwork`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateNetwork {
    #[serde(rename = "NetworkID")]
    pub network: String,
    #[serde(default, deserialize_with = "or_default")]
    pub options: Map<String, Value>,
    #[serde(default, rename = "IPv4Data", deserialize_with = "or_default")]
    pub v4: Vec<PoolChoice>,
    #[serde(default, rename = "IPv6Data", deserialize_with = "or_default")]
    pub v6: Vec<PoolChoice>,
}

/// What the IPAM driver gave a network.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PoolChoice {
    #[serde(default)]
    pub address_space: String,
    /// The pool, `10.1.0.0/24`.
    #[serde(default)]
    pub pool: String,
    /// The gateway with a prefix length, `10.1.0.1/24`.
    #[serde(default)]
    pub gateway: String,
}

/// `NetworkDriver.CreateEndpoint`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateEndpoint {
    #[serde(rename = "NetworkID")]
    pub network: String,
    #[serde(rename = "EndpointID")]
    pub endpoint: String,
    #[serde(default, deserialize_with = "or_default")]
    pub interface: Interface,
    #[serde(default, deserialize_with = "or_default")]
    pub options: Map<String, Value>,
}

/// What Docker chose for an interface; empty texts for what it did not.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Interface {
    #[serde(default)]
    pub address: String,
    #[serde(default, rename = "AddressIPv6")]
    pub address_v6: String,
    #[serde(default)]
    pub mac_address: String,
}

/// `NetworkDriver.Join`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Join {
    #[serde(rename = "NetworkID")]
    pub network: String,
    #[serde(rename = "EndpointID")]
    pub endpoint: String,
    #[serde(default)]
    pub sandbox_key: String,
}

/// Whatever is about one endpoint and says nothing more.
#[derive(Debug, Deserialize)]
pub(crate) struct OneEndpoint {
    #[serde(rename = "EndpointID")]
    pub endpoint: String,
}

/// Whatever is about one network and says nothing more.
#[derive(Debug, Deserialize)]
pub(crate) struct OneNetwork {
    #[serde(rename = "NetworkID")]
    pub network: String,
}

/// `IpamDriver.RequestPool`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RequestPool {
    #[serde(default)]
    pub pool: String,
    #[serde(default)]
    pub sub_pool: String,
    #[serde(default, deserialize_with = "or_default")]
    pub options: BTreeMap<String, String>,
    #[serde(default)]
    pub v6: bool,
}

/// `IpamDriver.RequestAddress` and, without options, `ReleaseAddress` and `ReleasePool`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RequestAddress {
    #[serde(rename = "PoolID")]
    pub pool: String,
    #[serde(default)]
    pub address: String,
    #[serde(default, deserialize_with = "or_default")]
    pub options: BTreeMap<String, String>,
}

/// The answer to `Join`: the link is in the host's namespace under `src_name`, and becomes `eth0` or
/// the next in the container's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Joined {
    pub interface_name: InterfaceName,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    #[serde(rename = "GatewayIPv6", skip_serializing_if = "String::is_empty")]
    pub gateway_v6: String,
    /// Without this and without a gateway Docker would give the container a second interface on a
    /// bridge of its own, past every contract.
    pub disable_gateway_service: bool,
}

/// Names of a link before and after it is moved.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InterfaceName {
    pub src_name: String,
    pub dst_prefix: String,
}

/// Go writes an absent map or list as `null`.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
