//! The host: namespaces, links, tunnels, the sandbox.
