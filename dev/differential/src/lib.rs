//! Compares the judges of a packet: the naive oracle, which reads the managed objects, and the
//! rule table that the compiler makes of them.
//!
//! Two kinds of policy are put before them: the [scenarios](scenario) of this repository, in which
//! every verdict is written down beside the story it belongs to, and generated
//! [fabrics](fabric), small and full of collisions, in which the two need only agree.

pub mod atoms;
pub mod compare;
pub mod fabric;
pub mod packet_text;
pub mod scenario;
pub mod sketch;
