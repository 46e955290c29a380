//! What a URL asks for.

use hyper::Method;

use super::reply::Refusal;

/// What a request asks for, before its body is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `POST /api/aaaLogin.json`
    Login,
    /// `GET /api/aaaRefresh.json`
    Refresh,
    /// `POST /api/aaaLogout.json`
    Logout,
    /// `GET /api/mo/DN.json`
    Get {
        /// The object.
        dn: String,
    },
    /// `POST /api/mo/DN.json`, or `/api/mo.json` with the DN in the body alone.
    Post {
        /// The object or its parent, where the URL names one.
        dn: Option<String>,
    },
    /// `DELETE /api/mo/DN.json`
    Delete {
        /// The object.
        dn: String,
    },
    /// `GET /api/class/CLASS.json`, or `/api/class/DN/CLASS.json`
    Class {
        /// The class.
        class: String,
        /// Only at and below this object.
        below: Option<String>,
    },
    /// `GET /selvage/v1/status`
    Status,
    /// `POST /selvage/v1/trace`
    Trace,
    /// `POST /selvage/v1/flows`
    Flows,
    /// `POST /selvage/v1/plan`
    Plan,
    /// What would the tree say of itself?
    Check,
    /// What would each host need?
    Capacity,
    /// `GET /selvage/v1/revision`
    Revision,
    /// `GET /selvage/v1/log`
    Log,
}

impl Route {
    /// Whether it is served without a token.
    pub fn is_open(&self) -> bool {
        matches!(self, Route::Login)
    }

    /// Whether it is served with a body.
    pub fn takes_body(&self) -> bool {
        matches!(
            self,
            Route::Login
                | Route::Logout
                | Route::Post { .. }
                | Route::Trace
                | Route::Flows
                | Route::Plan
                | Route::Check
                | Route::Capacity
        )
    }

    /// Finds the route of `method` and `path`, which is as it came: percent-encoded or raw.
    pub fn find(method: &Method, path: &str) -> Result<Route, Refusal> {
        let decoded = percent_decode(path)
            .ok_or_else(|| Refusal::bad_request("the path of the URL is not UTF-8"))?;
        let unknown = || Refusal::not_found(&decoded);
        let path = decoded.trim_end_matches('/');
        if let Some(verb) = path.strip_prefix("/selvage/v1/") {
            return match verb {
                "status" => only(method, &Method::GET, Route::Status),
                "revision" => only(method, &Method::GET, Route::Revision),
                "log" => only(method, &Method::GET, Route::Log),
                "flows" => only(method, &Method::POST, Route::Flows),
                "plan" => only(method, &Method::POST, Route::Plan),
                "check" => only(method, &Method::POST, Route::Check),
                "capacity" => only(method, &Method::POST, Route::Capacity),
                "trace" => only(method, &Method::POST, Route::Trace),
                _ => Err(unknown()),
            };
        }
        let rest = path.strip_prefix("/api/").ok_or_else(unknown)?;
        let rest = rest.strip_suffix(".json").ok_or_else(|| match rest.ends_with(".xml") {
            true => Refusal::bad_request("XML is not supported: end the path in `.json`"),
            false => unknown(),
        })?;
        match rest {
            "aaaLogin" => return only(method, &Method::POST, Route::Login),
            "aaaRefresh" => return only(method, &Method::GET, Route::Refresh),
            "aaaLogout" => return only(method, &Method::POST, Route::Logout),
            _ => {}
        }
        let rest = rest.strip_prefix("node/").unwrap_or(rest);
        if rest == "mo" {
            return only(method, &Method::POST, Route::Post { dn: None });
        }
        if let Some(dn) = rest.strip_prefix("mo/") {
            return mo(method, dn);
        }
        if let Some(target) = rest.strip_prefix("class/") {
            return only(method, &Method::GET, class(target));
        }
        Err(unknown())
    }
}

fn mo(method: &Method, dn: &str) -> Result<Route, Refusal> {
    let dn = dn.to_owned();
    match *method {
        Method::GET => Ok(Route::Get { dn }),
        Method::POST => Ok(Route::Post { dn: Some(dn) }),
        Method::DELETE => Ok(Route::Delete { dn }),
        _ => Err(Refusal::method(method, "GET, POST, DELETE")),
    }
}

/// `CLASS` or `DN/CLASS`. A class has no brackets, so the last slash separates whatever the DN
/// holds.
fn class(target: &str) -> Route {
    match target.rsplit_once('/') {
        Some((dn, class)) => Route::Class { class: class.to_owned(), below: Some(dn.to_owned()) },
        None => Route::Class { class: target.to_owned(), below: None },
    }
}

fn only(method: &Method, allowed: &'static Method, route: Route) -> Result<Route, Refusal> {
    if method == allowed { Ok(route) } else { Err(Refusal::method(method, allowed.as_str())) }
}

/// The parameters of a query string, decoded. Empty ones are skipped: clients send `?&x=y`.
pub fn parameters(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let decode = |text: &str| {
        percent_decode(&text.replace('+', " "))
            .ok_or_else(|| Refusal::bad_request("the query of the URL is not UTF-8"))
    };
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// Decodes `%41`; a `%` that starts no escape stands for itself. `None` if the result is no UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escape = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| {
            let hex = std::str::from_utf8(hex).ok()?;
            if hex.starts_with('+') { None } else { u8::from_str_radix(hex, 16).ok() }
        });
        match escape {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(method: Method, path: &str) -> Result<Route, u16> {
        Route::find(&method, path).map_err(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn the_forms_that_clients_use_are_known() {
        let get = |dn: &str| Ok(Route::Get { dn: dn.into() });
        assert_eq!(find(Method::GET, "/api/mo/uni/tn-a.json"), get("uni/tn-a"));
        assert_eq!(
            find(Method::GET, "/api/node/mo/uni/tn-a/BD-b/subnet-%5b10.0.0.1/24%5d.json"),
            get("uni/tn-a/BD-b/subnet-[10.0.0.1/24]")
        );
        assert_eq!(find(Method::POST, "/api/node/mo.json"), Ok(Route::Post { dn: None }));
        let class = |class: &str, below: Option<&str>| {
            Ok(Route::Class { class: class.into(), below: below.map(str::to_owned) })
        };
        assert_eq!(find(Method::GET, "/api/class/fvTenant.json"), class("fvTenant", None));
        assert_eq!(
            find(Method::GET, "/api/node/class/uni/tn-x/brc-y/vzSubj.json"),
            class("vzSubj", Some("uni/tn-x/brc-y"))
        );
    }

    #[test]
    fn what_is_not_offered_is_named_as_such() {
        assert_eq!(find(Method::GET, "/nothing"), Err(404));
        assert_eq!(find(Method::GET, "/api/mo/uni/tn-a.xml"), Err(400));
        assert_eq!(find(Method::PUT, "/api/mo/uni.json"), Err(405));
        assert_eq!(find(Method::GET, "/api/aaaLogin.json"), Err(405));
        assert_eq!(find(Method::GET, "/api/mo/uni/%ff.json"), Err(400));
    }

    #[test]
    fn empty_parameters_are_ignored_and_escapes_decoded_once() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            parameters("&a=eq(x,%22y%22)&b&c=%2525").unwrap(),
            [pair("a", "eq(x,\"y\")"), pair("b", ""), pair("c", "%25")]
        );
    }
}
