//! What tests share: hosts in namespaces, probes, deadlines with dumps.

mod echo;
pub mod probe;
