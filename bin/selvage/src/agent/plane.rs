use selvage_agent::datapath::Datapath;
use super::Args;
use crate::exit::Failure;
pub fn open(_: &Args, _: &str) -> Result<Box<dyn Datapath>, Failure> { loop {} }
pub fn remove(_: &Args, _: &str) -> Result<(), Failure> { loop {} }
