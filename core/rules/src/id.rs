//! Numbers with meaning. Each is a newtype, so that none can be passed for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number was outside its range, or an address was not in its usual form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseIdError {
    what: &'static str,
    got: String,
}

impl ParseIdError {
    pub(crate) fn new(what: &'static str, got: &str) -> ParseIdError {
        ParseIdError { what, got: got.to_owned() }
    }
}

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not {}", self.got, self.what)
    }
}

impl std::error::Error for ParseIdError {}

/// The class of a group within its VRF: ACI's pcTag, and the group id in a VXLAN-GBP header.
///
/// 0 is [`ClassId::ANY`], 1-15 are reserved, 16-16385 are unique in the whole fabric (groups that
/// provide contracts to other VRFs), 16386-65535 are unique in their VRF only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClassId(pub u16);

impl ClassId {
    /// In a pair: every class of the VRF. Never the class of an endpoint.
    pub const ANY: ClassId = ClassId(0);
    /// As a destination: addresses outside that no longer prefix than the default one covers (ACI's
    /// reserved pcTag). Never the class of a sender.
    pub const DEFAULT_OUTSIDE: ClassId = ClassId(15);
    /// The first id handed out to fabric-global groups.
    pub const FIRST_GLOBAL: ClassId = ClassId(16);
    /// The first id handed out within one VRF.
    pub const FIRST_LOCAL: ClassId = ClassId(16386);
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($repr:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $repr);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
    };
}

number! {
    /// A VRF: the scope within which class ids mean something. 24 bits, nonzero: it is the VNI of
    /// routed overlay packets. Shares its number space with [`BdId`].
    ScopeId(u32)
}
number! {
    /// A bridge domain. 24 bits, nonzero: it is the VNI of bridged overlay packets. Shares its
    /// number space with [`ScopeId`], so that a VNI says which of the two it is.
    BdId(u32)
}
number! {
    /// The fabric-wide number of a group, OpFlex's `encapId`. 24 bits, nonzero.
    GroupId(u32)
}
number! {
    /// A host, as the policy names it: ACI's node id.
    NodeId(u16)
}
number! {
    /// One rule: a filter entry of a contract subject in one direction. Stable under change.
    RuleId(u32)
}
number! {
    /// An immutable, ordered set of rules. A changed set gets a new number.
    RuleSetId(u32)
}
number! {
    /// A service that traffic is sent through or copied to: ACI's redirect policy.
    ServiceId(u32)
}
number! {
    /// A commit of the controller. 0 is the empty tree.
    Revision(u64)
}

impl fmt::Display for ClassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == ClassId::ANY { f.write_str("any") } else { self.0.fmt(f) }
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Mac, ParseIdError> {
        let error = || ParseIdError { what: "a MAC address", got: text.to_owned() };
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(error)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        if parts.next().is_some() { Err(error()) } else { Ok(Mac(bytes)) }
    }
}

impl TryFrom<String> for Mac {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Mac, ParseIdError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_round_trips_and_refuses_what_is_none() {
        let mac: Mac = "00:22:BD:f8:19:ff".parse().unwrap();
        assert_eq!(mac.to_string(), "00:22:bd:f8:19:ff");
        for bad in
            ["", "00:22:bd:f8:19", "00:22:bd:f8:19:ff:00", "0:22:bd:f8:19:ff", "zz:22:bd:f8:19:ff"]
        {
            assert!(bad.parse::<Mac>().is_err(), "{bad} was accepted");
        }
    }
}
