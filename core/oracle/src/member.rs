//! Which group an endpoint is treated as.
//!
//! | asked for by | who wins | source |
//! |---|---|---|
//! | nobody | the EPG it is attached to | *ACI Fundamentals*, "Endpoint groups" |
//! | a microsegment | the microsegment | *ACI Virtualization Guide*, "Microsegmentation with Cisco ACI" |
//! | an endpoint security group | the ESG, over EPG and microsegment | *Security Configuration Guide*, "Endpoint Security Groups" |

use selvage_model::{Mo, Tree};

use crate::{Endpoint, esg, useg};

/// The group of an endpoint that is attached to `attached`, in this bridge domain and VRF; `None`
/// if it is in none.
pub(crate) fn group_of<'a>(
    tree: &'a Tree,
    endpoint: &Endpoint,
    attached: &'a Mo,
    bd: &Mo,
    vrf: &Mo,
) -> Option<&'a Mo> {
    let epg = useg::group_of(tree, endpoint, attached, bd, vrf)?;
    Some(esg::group_of(tree, endpoint, epg, bd, vrf).unwrap_or(epg))
}
