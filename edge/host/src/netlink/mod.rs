//! A route netlink socket (rtnetlink(7)), synchronous.
//!
//! Hand-built rather than from the async crates: a dozen request kinds are needed, each once, from
//! callers that run on threads as well as on an executor.

mod message;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};

pub(crate) use message::{Attrs, Message, Request, c_string, u32_of};

use crate::error::{Doing, Error, Result};
use crate::netns::NetNs;

/// Large enough for every message the kernel batches into one dump datagram (32 KiB).
const RECEIVE_BYTES: usize = 64 * 1024;

/// A socket that speaks to the kernel about the links of one network namespace: the one it was
/// opened in, wherever the threads that use it are.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// A socket of the calling thread's namespace.
    pub fn open() -> Result<Netlink> {
        let socket = open(SockProtocol::NetlinkRoute, SockFlag::SOCK_CLOEXEC, 0)?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// A socket of `namespace`.
    pub fn open_in(namespace: &NetNs) -> Result<Netlink> {
        namespace.run(Netlink::open)?
    }

    /// Sends a request and gives the messages that answer it.
    pub(crate) fn call(
        &mut self,
        mut request: Request,
        doing: impl Fn() -> String,
    ) -> Result<Vec<Message>> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request.finish(self.sequence);
        send(self.socket.as_raw_fd(), bytes, MsgFlags::empty()).doing(&doing)?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; RECEIVE_BYTES];
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                done => done.doing(&doing)?,
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            for message in Message::split(datagram) {
                let message = message.ok_or_else(|| Error::Malformed { doing: doing() })?;
                // What was left in the queue by a call that failed half-way is not ours.
                if message.sequence != self.sequence {
                    continue;
                }
                match i32::from(message.kind) {
                    libc::NLMSG_DONE => return Ok(answers),
                    libc::NLMSG_ERROR => match message.acknowledgement() {
                        Some((0, _)) => return Ok(answers),
                        Some((code, kernel)) => {
                            let source = io::Error::from_raw_os_error(code.wrapping_neg());
                            return Err(Error::Netlink { doing: doing(), source, kernel });
                        }
                        None => return Err(Error::Malformed { doing: doing() }),
                    },
                    _ => answers.push(message),
                }
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Opens a socket of `protocol` in the calling thread's namespace that also receives `groups` (a bit mask).
pub(crate) fn open(protocol: SockProtocol, flags: SockFlag, groups: u32) -> Result<OwnedFd> {
    let doing = || "opening a netlink socket".to_owned();
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).doing(doing)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups)).doing(doing)?;
    // The kernel's own words for what it refuses; older kernels give only the number.
    let _ = set_option(&socket, libc::NETLINK_EXT_ACK);
    set_option(&socket, libc::NETLINK_CAP_ACK).doing(doing)?;
    // A filter by link or namespace in a dump request is an error unless strict checks are on.
    let _ = set_option(&socket, libc::NETLINK_GET_STRICT_CHK);
    Ok(socket)
}

fn set_option(socket: &OwnedFd, option: i32) -> nix::Result<()> {
    let on: i32 = 1;
    // SAFETY: the kernel reads four bytes from `on`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop)
}
