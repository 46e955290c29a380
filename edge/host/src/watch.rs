//! News of links: what changed, and what is gone.
//!
//! A namespace that ends takes its links with it, and with a far end of a veth pair goes the near
//! one (veth(4)); so watching the host's own links also tells when a workload's namespace is gone.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, SockFlag, SockProtocol, recv};

use crate::error::{Doing, Error, Result};
use crate::link::Link;
use crate::netlink::{self, Message};
use crate::netns::NetNs;

/// What happened to a link of the watched namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is new, or something about it changed.
    Changed(Link),
    /// It is gone: deleted, moved away, or its other end's namespace ended.
    Gone {
        /// The number it had.
        index: u32,
        /// The name it had.
        name: String,
    },
    /// The kernel had more news than the socket could hold; list the links again.
    Missed,
}

/// A subscription to the links of one namespace. Nonblocking, and pollable through [`AsFd`].
#[derive(Debug)]
pub struct Watcher {
    socket: OwnedFd,
}

impl Watcher {
    /// Watches the links of the calling thread's namespace, from now on. Subscribe first and list
    /// afterwards, so that nothing falls in between.
    pub fn open() -> Result<Watcher> {
        let socket = netlink::open(
            SockProtocol::NetlinkRoute,
            SockFlag::SOCK_NONBLOCK,
            libc::RTMGRP_LINK as u32,
        )?;
        Ok(Watcher { socket })
    }

    /// Watches the links of `namespace`.
    pub fn open_in(namespace: &NetNs) -> Result<Watcher> {
        namespace.run(Watcher::open)?
    }

    /// The news so far, in the order in which it happened; empty when there is none.
    pub fn drain(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EAGAIN) => return Ok(events),
                Err(Errno::EINTR) => continue,
                // netlink(7): the receive buffer overran and messages were dropped.
                Err(Errno::ENOBUFS) => {
                    events.push(Event::Missed);
                    continue;
                }
                done => done.doing(|| "watching links".to_owned())?,
            };
            for message in Message::split(buffer.get(..length).unwrap_or_default()) {
                let malformed = || Error::Malformed { doing: "watching links".to_owned() };
                events.extend(read(&message.ok_or_else(malformed)?));
            }
        }
    }

    /// The next news, or nothing when `patience` runs out first.
    pub fn wait(&mut self, patience: Duration) -> Result<Vec<Event>> {
        let deadline = Instant::now() + patience;
        loop {
            let events = self.drain()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !events.is_empty() || left.is_zero() {
                return Ok(events);
            }
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error).doing(|| "watching links".to_owned()),
            }
        }
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn read(message: &Message) -> Option<Event> {
    let link = Link::read(message)?;
    match message.kind {
        libc::RTM_NEWLINK => Some(Event::Changed(link)),
        // A bridge port that leaves its bridge is told of in the same words, as AF_BRIDGE.
        libc::RTM_DELLINK if message.payload.first() == Some(&0) => {
            Some(Event::Gone { index: link.index, name: link.name })
        }
        _ => None,
    }
}
