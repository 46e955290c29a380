//! Compares the judges of a packet: the naive oracle, which reads the managed objects, the rule
//! table that the compiler makes of them, and the data planes that enforce it, each by its lowered
//! tables and live.
//!
//! Two kinds of policy are put before them: the [scenarios](scenario) of this repository, in which
//! every verdict is written down beside the story it belongs to, and generated
//! [fabrics](fabric), small and full of collisions, in which they need only agree.

pub mod atoms;
pub mod compare;
pub mod court;
pub mod fabric;
pub mod packet_text;
pub mod planes;
pub mod scenario;
pub mod seats;
pub mod sketch;
