//! Small things with a name: the time, a request, a group's DN.

use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use crate::local::{Code, Refusal};

/// A point of a clock that never goes back: microseconds since an origin of the caller's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Now(pub u64);

impl Now {
    /// How many microseconds ago `earlier` was; 0 if it lies ahead.
    pub fn since(self, earlier: Now) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Now {
    type Output = Now;
    fn add(self, duration: Duration) -> Now {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Now(self.0.saturating_add(micros))
    }
}

/// A request of the local socket that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The DN of the group that a user calls `TENANT/APP/EPG`, or by its DN.
pub fn group_dn(text: &str) -> Result<Arc<str>, Refusal> {
    let name_ok = |name: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        !name.is_empty() && name.len() <= 64 && name.chars().all(allowed)
    };
    let parts: Vec<&str> = text.split('/').collect();
    let names = match parts[..] {
        ["uni", tenant, app, epg] => {
            let names =
                (tenant.strip_prefix("tn-"), app.strip_prefix("ap-"), epg.strip_prefix("epg-"));
            match names {
                (Some(tenant), Some(app), Some(epg)) => Some([tenant, app, epg]),
                _ => None,
            }
        }
        [tenant, app, epg] => Some([tenant, app, epg]),
        _ => None,
    };
    match names.filter(|names| names.iter().all(|name| name_ok(name))) {
        Some([tenant, app, epg]) => Ok(format!("uni/tn-{tenant}/ap-{app}/epg-{epg}").into()),
        None => Err(Refusal::new(Code::BadRequest, format!("`{text}` is not the name of an EPG"))
            .hint("write TENANT/APP/EPG, or uni/tn-TENANT/ap-APP/epg-EPG")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_called_by_its_names_or_by_its_dn() {
        let dn = "uni/tn-shop/ap-store/epg-web";
        assert_eq!(&*group_dn("shop/store/web").unwrap(), dn);
        assert_eq!(&*group_dn(dn).unwrap(), dn);
        for bad in ["", "web", "shop/web", "shop//web", "a/b/c/d", "uni/tn-a/ap-b/web", "a/b/c d"] {
            assert_eq!(group_dn(bad).unwrap_err().code, Code::BadRequest, "{bad}");
        }
    }
}
