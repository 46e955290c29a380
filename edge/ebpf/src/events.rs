//! Drop events, out of the ring buffer.

use std::ffi::{c_int, c_void};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::time::Duration;

use libbpf_rs::MapHandle;
use selvage_agent::datapath::{Direction, Drop as Dropped, DropSource, PlaneError};
use selvage_rules::{BdId, ClassId, EtherType, Mac, Packet, Reason, RuleId, ScopeId, TcpFlags};

use crate::error::{Doing, Result, refused};
use crate::layout::{Raw, ip_of, types};
use crate::maps::Map;

/// The one reader of the ring.
pub struct Events {
    ring: NonNull<libbpf_sys::ring_buffer>,
    /// Where the callback puts what it read. Boxed: libbpf keeps its address.
    taken: Box<Taken>,
    budgets: Map<u32, types::event_budget>,
    lost: u64,
}

/// What the callback has read and nobody has taken yet.
#[derive(Default)]
struct Taken {
    drops: Vec<Dropped>,
}

// SAFETY: libbpf's ring buffer is not bound to a thread; `&mut self` keeps users apart.
unsafe impl Send for Events {}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl Events {
    pub(crate) fn open(ring: &MapHandle, budgets: Map<u32, types::event_budget>) -> Result<Events> {
        let mut taken = Box::<Taken>::default();
        let context = std::ptr::from_mut::<Taken>(&mut taken).cast::<c_void>();
        // SAFETY: the callback treats `context` as what it is; it lives in `taken`, as long as the
        // ring. libbpf maps the ring, so the descriptor need not stay open.
        let ring = unsafe {
            libbpf_sys::ring_buffer__new(
                ring.as_fd().as_raw_fd(),
                Some(take),
                context,
                std::ptr::null(),
            )
        };
        let ring = NonNull::new(ring).ok_or_else(std::io::Error::last_os_error);
        let ring = ring.doing(|| "map the event ring".to_owned())?;
        let mut events = Events { ring, taken, budgets, lost: 0 };
        events.lost = events.suppressed()?;
        Ok(events)
    }

    /// Events held back since the programs were loaded, over all CPUs and reasons.
    fn suppressed(&self) -> Result<u64> {
        let mut sum = 0;
        for reason in Reason::ALL {
            let budgets = self.budgets.per_cpu(&u32::from(*reason as u8))?;
            sum += budgets.iter().map(|budget| budget.suppressed).sum::<u64>();
        }
        Ok(sum)
    }
}

impl DropSource for Events {
    fn wait(
        &mut self,
        timeout: Duration,
        out: &mut Vec<Dropped>,
    ) -> std::result::Result<u64, PlaneError> {
        let timeout = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: made by ring_buffer__new and not freed before drop.
        let code = unsafe { libbpf_sys::ring_buffer__poll(self.ring.as_ptr(), timeout) };
        if code < 0 && code != -nix::libc::EINTR {
            let cause = std::io::Error::from_raw_os_error(-code);
            return Err(refused("read the event ring".to_owned(), cause));
        }
        out.append(&mut self.taken.drops);
        let suppressed = self.suppressed()?;
        let lost = suppressed.saturating_sub(self.lost);
        self.lost = suppressed;
        Ok(lost)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // SAFETY: made by ring_buffer__new; nobody uses it after this.
        unsafe { libbpf_sys::ring_buffer__free(self.ring.as_ptr()) }
    }
}

/// libbpf's callback, once for each event.
unsafe extern "C" fn take(context: *mut c_void, data: *mut c_void, size: u64) -> c_int {
    // SAFETY: `Events::open` gave this pointer, and polls with `&mut self`.
    let taken = unsafe { &mut *context.cast::<Taken>() };
    let len = usize::try_from(size).unwrap_or(0);
    // SAFETY: libbpf gives a sample of `size` bytes, valid during the call.
    let bytes = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) };
    if let Some(event) = types::event::from_bytes(bytes).and_then(|event| dropped(&event)) {
        taken.drops.push(event);
    }
    0
}

/// What an event says; `None` if it gives no reason that we know.
fn dropped(event: &types::event) -> Option<Dropped> {
    let reason = Reason::from_code(event.reason)?;
    let class = |class: u16| Some(ClassId(class)).filter(|class| *class != ClassId::ANY);
    let ports = |port: u16| if event.has_ports != 0 { port } else { 0 };
    Some(Dropped {
        at_ns: event.time,
        reason,
        rule: Some(RuleId(event.rule)).filter(|rule| rule.0 != 0),
        direction: match types::direction(event.direction.into()) {
            types::direction::TO_ENDPOINT => Direction::ToEndpoint,
            types::direction::FROM_OVERLAY => Direction::FromTunnel,
            types::direction::FROM_OUTSIDE => Direction::FromOutside,
            _ => Direction::FromEndpoint,
        },
        ifindex: event.ifindex,
        scope: Some(ScopeId(event.scope)).filter(|scope| scope.0 != 0),
        bd: Some(BdId(event.bd)).filter(|bd| bd.0 != 0),
        src_class: class(event.src_class),
        dst_class: class(event.dst_class),
        src_mac: Mac(event.src_mac),
        dst_mac: Mac(event.dst_mac),
        src: ip_of(&event.src),
        dst: ip_of(&event.dst),
        packet: Packet {
            ether: EtherType(event.ether),
            proto: event.proto,
            dscp: event.dscp,
            sport: ports(event.sport),
            dport: ports(event.dport),
            tcp_flags: TcpFlags(event.tcp_flags),
            icmp_type: event.icmp_type,
            icmp_code: event.icmp_code,
            arp_op: event.arp_operation,
            later_fragment: event.later_fragment != 0,
        },
        tunnel: ip_of(&event.tunnel),
        length: event.length,
    })
}
