//! OVSDB (RFC 7047) over the switch's unix socket.
