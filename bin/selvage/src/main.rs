//! Application-centric infrastructure for Linux: controller, agent and client in one binary.
fn main() {}
