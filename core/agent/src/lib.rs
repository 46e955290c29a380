//! The agent without sockets: endpoints, resolved policy, what the host must enforce.
