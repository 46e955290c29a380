//! The wire forms of objects: what clients post and what they are answered.

pub mod json;
mod read;
mod write;
pub mod xml;

pub use read::{BodyError, Flaw};
