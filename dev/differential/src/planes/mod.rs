//! The data planes, as judges.

mod ebpf;
mod ovs;
mod switch;

use selvage_agent::judge::{Case, Opinion};
use selvage_rules::Desired;

pub use ebpf::{Cell, LiveEbpf, LoweredEbpf};
pub use ovs::LoweredOvs;
pub use switch::LiveOvs;

/// Something that enforces, and can be asked about one packet.
pub trait Plane {
    /// What it is called where judges are listed.
    fn name(&self) -> &'static str;

    /// Makes `desired` what is enforced.
    fn install(&mut self, desired: &Desired) -> Result<(), String>;

    /// What becomes of the packet of `case`, among the connections that there are. One that answers
    /// is told as such to those that keep none.
    fn judge(&mut self, case: &Case) -> Result<Opinion, String>;

    /// Forgets all connections.
    fn forget(&mut self) -> Result<(), String>;

    /// Whether it sees of the packet, and of what it answers, all that the rules can ask for. Where it
    /// does not, it is not asked.
    fn carries(&self, case: &Case) -> bool {
        let _ = case;
        true
    }
}
