//! What tests share: hosts in namespaces, probes, deadlines with dumps.
