//! The controller: its REST API over real sockets, its files, its end, and what agents see of it.

mod agent;
mod api;
mod bad_input;
mod client;
mod daemon;
mod durable;
mod fixture;
