//! The agent against a controller and a data plane that are values in the same test: no sockets, no
//! clock, no threads.

mod attach;
mod controller;
mod drops;
mod life;
mod world;
