//! JSON as APIC speaks it: `{"fvTenant":{"attributes":{"name":"acme"},"children":[..]}}`.

pub use super::read::parse;
pub use super::write::{answer, errors, post, refusals};
