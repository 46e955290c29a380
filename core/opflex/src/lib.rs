//! OpFlex without sockets: frames, messages, sessions, registry, object database.
