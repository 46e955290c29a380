//! The controller without sockets: commits, compilation, peers, revisions.
