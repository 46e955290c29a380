//! Masquerade by nf_tables: a table of our own for each exit, written over netlink (nfnetlink, the
//! subsystem of linux/netfilter/nf_tables.h). A handful of messages, always the same, so that neither
//! the `nft` program nor its library has to be on the host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, SockFlag, SockProtocol, recv, send};
use selvage_rules::Prefix;

use crate::error::{Doing, Error, Result};
use crate::netlink::{self, Message, Request, c_string};
use crate::route::octets;

/// The chain in each table, for those who list it.
const CHAIN: &str = "masquerade";

/// Longer than any answer to a batch, and than a part of a dump.
const RECEIVE_BYTES: usize = 64 * 1024;

/// linux/netfilter/nf_tables.h, where the libc crate is silent. Numbers are big-endian.
mod nf {
    pub const BATCH_BEGIN: u16 = 0x10;
    pub const BATCH_END: u16 = 0x11;
    pub const SUBSYSTEM: u16 = 10;
    pub const NEW_TABLE: u16 = 0;
    pub const GET_TABLE: u16 = 1;
    pub const DEL_TABLE: u16 = 2;
    pub const NEW_CHAIN: u16 = 3;
    pub const NEW_RULE: u16 = 6;
    /// Both IPv4 and IPv6.
    pub const INET: u8 = 1;
    pub const POSTROUTING: u32 = 4;
    /// `NF_IP_PRI_NAT_SRC`
    pub const SOURCE_NAT: u32 = 100;
    pub const TABLE_NAME: u16 = 1;
    pub const CHAIN_TABLE: u16 = 1;
    pub const CHAIN_NAME: u16 = 3;
    pub const CHAIN_HOOK: u16 = 4;
    pub const CHAIN_TYPE: u16 = 7;
    pub const HOOK_NUMBER: u16 = 1;
    pub const HOOK_PRIORITY: u16 = 2;
    pub const RULE_TABLE: u16 = 1;
    pub const RULE_CHAIN: u16 = 2;
    pub const RULE_EXPRESSIONS: u16 = 4;
    pub const ELEMENT: u16 = 1;
    pub const EXPRESSION_NAME: u16 = 1;
    pub const EXPRESSION_DATA: u16 = 2;
    pub const VALUE: u16 = 1;
    pub const REGISTER: u32 = 1;
    pub const META_IIFNAME: u32 = 6;
    pub const META_FAMILY: u32 = 15;
    pub const NETWORK_HEADER: u32 = 1;
}

/// A socket that speaks to nf_tables of one network namespace.
#[derive(Debug)]
pub struct Nft {
    socket: OwnedFd,
    sequence: u32,
    /// What this process wrote, by table: writing the same again would only disturb.
    written: BTreeMap<String, BTreeSet<Prefix>>,
}

impl Nft {
    /// A socket of the calling thread's namespace.
    pub fn open() -> Result<Nft> {
        let socket = netlink::open(SockProtocol::NetlinkNetFilter, SockFlag::empty(), 0)?;
        Ok(Nft { socket, sequence: 0, written: BTreeMap::new() })
    }

    /// Makes a table called `link` whose one chain gives what comes in by that link from `hidden`
    /// the address of the link it leaves by. A table of that name is replaced, in one step;
    /// connections keep what they have.
    pub fn masquerade(&mut self, link: &str, hidden: &BTreeSet<Prefix>) -> Result<()> {
        if self.written.get(link) == Some(hidden) {
            return Ok(());
        }
        let flags = libc::NLM_F_CREATE;
        let mut batch = vec![table(nf::NEW_TABLE, flags, link), table(nf::DEL_TABLE, 0, link)];
        batch.push(table(nf::NEW_TABLE, flags, link));
        let mut chain = message(nf::NEW_CHAIN, flags);
        chain.text(nf::CHAIN_TABLE, link).text(nf::CHAIN_NAME, CHAIN).nest(nf::CHAIN_HOOK, |r| {
            number(r, nf::HOOK_NUMBER, nf::POSTROUTING);
            number(r, nf::HOOK_PRIORITY, nf::SOURCE_NAT);
        });
        chain.text(nf::CHAIN_TYPE, "nat");
        batch.push(chain);
        for prefix in hidden {
            let mut rule = message(nf::NEW_RULE, flags | libc::NLM_F_APPEND);
            rule.text(nf::RULE_TABLE, link).text(nf::RULE_CHAIN, CHAIN);
            rule.nest(nf::RULE_EXPRESSIONS, |r| expressions(r, link, *prefix));
            batch.push(rule);
        }
        self.commit(batch, || format!("writing the nftables table `{link}`"))?;
        self.written.insert(link.to_owned(), hidden.clone());
        Ok(())
    }

    /// Removes the table called `link`; none is as good.
    pub fn remove(&mut self, link: &str) -> Result<()> {
        self.written.remove(link);
        let batch = vec![table(nf::DEL_TABLE, 0, link)];
        match self.commit(batch, || format!("removing the nftables table `{link}`")) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(()),
            done => done,
        }
    }

    /// The names of the tables that begin with `prefix`.
    pub fn tables(&mut self, prefix: &str) -> Result<Vec<String>> {
        let doing = || "listing nftables tables".to_owned();
        let sequence = self.next();
        let mut request = message(nf::GET_TABLE, libc::NLM_F_DUMP);
        self.send(request.finish(sequence), doing)?;
        let mut names = Vec::new();
        loop {
            for answer in self.receive(doing)? {
                if answer.sequence != sequence {
                    continue;
                }
                match i32::from(answer.kind) {
                    libc::NLMSG_DONE => return Ok(names),
                    libc::NLMSG_ERROR => outcome(&answer, doing)?,
                    _ => names.extend(answer.attrs(4).get(nf::TABLE_NAME).map(c_string)),
                }
            }
            names.retain(|name| name.starts_with(prefix));
        }
    }

    /// Sends messages that take effect together or not at all.
    fn commit(&mut self, batch: Vec<Request>, doing: impl Fn() -> String + Copy) -> Result<()> {
        let first = self.next();
        let mut bytes = frame(nf::BATCH_BEGIN, first);
        let mut waiting = batch.len();
        for mut request in batch {
            let sequence = self.next();
            bytes.extend(request.finish(sequence));
        }
        bytes.extend(frame(nf::BATCH_END, self.next()));
        self.send(&bytes, doing)?;
        while waiting > 0 {
            for answer in self.receive(doing)? {
                // A batch that failed is answered to its end; nobody waited for that.
                if answer.sequence.wrapping_sub(first) as i32 >= 0 {
                    outcome(&answer, doing)?;
                    waiting = waiting.saturating_sub(1);
                }
            }
        }
        Ok(())
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&self, bytes: &[u8], doing: impl Fn() -> String) -> Result<()> {
        send(self.socket.as_raw_fd(), bytes, MsgFlags::empty()).doing(doing).map(drop)
    }

    /// The answers of one datagram.
    fn receive(&self, doing: impl Fn() -> String + Copy) -> Result<Vec<Message>> {
        let mut buffer = vec![0; RECEIVE_BYTES];
        let length = loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                done => break done.doing(doing)?,
            }
        };
        let datagram = buffer.get(..length).unwrap_or_default();
        let whole: Option<Vec<Message>> = Message::split(datagram).collect();
        whole.ok_or_else(|| Error::Malformed { doing: doing() })
    }
}

fn outcome(answer: &Message, doing: impl Fn() -> String) -> Result<()> {
    match answer.acknowledgement() {
        Some((0, _)) => Ok(()),
        Some((code, kernel)) => {
            let source = std::io::Error::from_raw_os_error(code.wrapping_neg());
            Err(Error::Netlink { doing: doing(), source, kernel })
        }
        None => Err(Error::Malformed { doing: doing() }),
    }
}

/// `struct nfgenmsg`.
const FAMILY_BODY: [u8; 4] = [nf::INET, 0, 0, 0];

fn message(kind: u16, flags: i32) -> Request {
    Request::new(nf::SUBSYSTEM << 8 | kind, flags, &FAMILY_BODY)
}

fn table(kind: u16, flags: i32, name: &str) -> Request {
    let mut request = message(kind, flags);
    request.text(nf::TABLE_NAME, name);
    request
}

/// The message that begins or ends a batch. It is not acknowledged.
fn frame(kind: u16, sequence: u32) -> Vec<u8> {
    let mut bytes = 20_u32.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([0, 0]);
    bytes.extend(nf::SUBSYSTEM.to_be_bytes());
    bytes
}

fn number(request: &mut Request, kind: u16, value: u32) {
    request.attr(kind, &value.to_be_bytes());
}

/// `iifname LINK meta nfproto FAMILY saddr & MASK == PREFIX masquerade`
fn expressions(rule: &mut Request, link: &str, prefix: Prefix) {
    let mut name = link.as_bytes().to_vec();
    name.resize(libc::IFNAMSIZ, 0);
    let (family, offset) = match prefix.address() {
        IpAddr::V4(_) => (libc::NFPROTO_IPV4, 12),
        IpAddr::V6(_) => (libc::NFPROTO_IPV6, 8),
    };
    let address = octets(prefix.address());
    let mask: Vec<u8> = (0..address.len())
        .map(|at| {
            let bits = usize::from(prefix.length()).saturating_sub(at * 8).min(8) as u32;
            u8::MAX.checked_shl(8 - bits).unwrap_or(0)
        })
        .collect();
    expression(rule, "meta", |r| {
        number(r, 1, nf::REGISTER);
        number(r, 2, nf::META_IIFNAME);
    });
    equals(rule, &name);
    expression(rule, "meta", |r| {
        number(r, 1, nf::REGISTER);
        number(r, 2, nf::META_FAMILY);
    });
    equals(rule, &[family as u8]);
    expression(rule, "payload", |r| {
        number(r, 1, nf::REGISTER);
        number(r, 2, nf::NETWORK_HEADER);
        number(r, 3, offset);
        number(r, 4, address.len() as u32);
    });
    expression(rule, "bitwise", |r| {
        number(r, 1, nf::REGISTER);
        number(r, 2, nf::REGISTER);
        number(r, 3, address.len() as u32);
        r.nest(4, |r| {
            r.attr(nf::VALUE, &mask);
        });
        r.nest(5, |r| {
            r.attr(nf::VALUE, &vec![0; address.len()]);
        });
    });
    equals(rule, &address);
    expression(rule, "masq", |_| {});
}

fn equals(rule: &mut Request, value: &[u8]) {
    expression(rule, "cmp", |r| {
        number(r, 1, nf::REGISTER);
        number(r, 2, 0);
        r.nest(3, |r| {
            r.attr(nf::VALUE, value);
        });
    });
}

fn expression(rule: &mut Request, name: &str, fill: impl FnOnce(&mut Request)) {
    rule.nest(nf::ELEMENT, |r| {
        r.text(nf::EXPRESSION_NAME, name).nest(nf::EXPRESSION_DATA, fill);
    });
}
