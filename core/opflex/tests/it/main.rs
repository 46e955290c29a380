//! OpFlex from outside: recordings replayed, hostile peers, and whole fabrics in one process.
#![allow(missing_docs)]

mod declarations;
mod hostile;
mod modb_model;
mod network;
mod recordings;
mod round_trip;
mod support;
