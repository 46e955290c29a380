//! Netlink messages as bytes (netlink(7)): a 16-byte header, a fixed body, attributes padded to 4.

use nix::libc;

const HEADER: usize = 16;

/// A request under construction.
#[derive(Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A request of this kind with `flags` beside REQUEST and ACK.
    pub fn new(kind: u16, flags: i32, body: &[u8]) -> Request {
        let flags = flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags as u16).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(body);
        Request { bytes }
    }

    /// Adds an attribute.
    pub fn attr(&mut self, kind: u16, value: &[u8]) -> &mut Request {
        let length = (4 + value.len()) as u16;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.pad()
    }

    /// Adds a string with its NUL.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Request {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    /// Adds an attribute that holds what `fill` adds.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Request)) -> &mut Request {
        self.nest_after(kind, &[], fill)
    }

    /// Adds an attribute that holds `body` and then what `fill` adds.
    pub fn nest_after(
        &mut self,
        kind: u16,
        body: &[u8],
        fill: impl FnOnce(&mut Request),
    ) -> &mut Request {
        let start = self.bytes.len();
        self.attr(kind, body);
        fill(self);
        let length = (self.bytes.len() - start) as u16;
        if let Some(place) = self.bytes.get_mut(start..start + 2) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
        self
    }

    /// Fills in length and sequence number, and gives the whole.
    pub fn finish(&mut self, sequence: u32) -> &[u8] {
        let length = self.bytes.len() as u32;
        for (at, value) in [(0, length), (8, sequence)] {
            if let Some(place) = self.bytes.get_mut(at..at + 4) {
                place.copy_from_slice(&value.to_ne_bytes());
            }
        }
        &self.bytes
    }

    fn pad(&mut self) -> &mut Request {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
        self
    }
}

/// A message from the kernel.
#[derive(Debug)]
pub(crate) struct Message {
    /// `NLMSG_*` or `RTM_*`.
    pub kind: u16,
    /// `NLM_F_*`.
    pub flags: u16,
    /// Sequence number of the request it answers; 0 for a notification.
    pub sequence: u32,
    /// Everything after the header.
    pub payload: Vec<u8>,
}

impl Message {
    /// The messages of one datagram; `None` where the rest is no message.
    pub fn split(mut rest: &[u8]) -> impl Iterator<Item = Option<Message>> {
        std::iter::from_fn(move || {
            if rest.len() < HEADER {
                return None;
            }
            let length = u32_of(rest).unwrap_or(0) as usize;
            let Some(payload) = rest.get(HEADER..length) else {
                rest = &[];
                return Some(None);
            };
            let message = Message {
                kind: rest.get(4..).and_then(u16_of).unwrap_or(0),
                flags: rest.get(6..).and_then(u16_of).unwrap_or(0),
                sequence: rest.get(8..).and_then(u32_of).unwrap_or(0),
                payload: payload.to_vec(),
            };
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some(Some(message))
        })
    }

    /// Of an `NLMSG_ERROR`: the negated error number and the kernel's words.
    pub fn acknowledgement(&self) -> Option<(i32, String)> {
        let code = u32_of(&self.payload)? as i32;
        // After the code comes the header of the request, whose body NETLINK_CAP_ACK leaves out.
        let words = if i32::from(self.flags) & libc::NLM_F_ACK_TLVS != 0 {
            Attrs::at(&self.payload, 4 + HEADER).get(1).map(c_string).unwrap_or_default()
        } else {
            String::new()
        };
        Some((code, words))
    }

    /// The attributes after a body of `body` bytes.
    pub fn attrs(&self, body: usize) -> Attrs<'_> {
        Attrs::at(&self.payload, body)
    }
}

/// A list of attributes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attrs<'a> {
    bytes: &'a [u8],
}

impl<'a> Attrs<'a> {
    /// Those that begin `offset` bytes into `bytes`.
    pub fn at(bytes: &'a [u8], offset: usize) -> Attrs<'a> {
        Attrs { bytes: bytes.get(offset..).unwrap_or_default() }
    }

    /// The value of the first attribute of this kind.
    pub fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.iter().find(|(k, _)| *k == kind).map(|(_, value)| value)
    }

    /// The attributes inside the first one of this kind; none when it is missing.
    pub fn nested(self, kind: u16) -> Attrs<'a> {
        Attrs { bytes: self.get(kind).unwrap_or_default() }
    }

    /// Every attribute, in order.
    pub fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let length = usize::from(u16_of(rest)?);
            let kind = rest.get(2..).and_then(u16_of)? & libc::NLA_TYPE_MASK as u16;
            let value = rest.get(4..length)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some((kind, value))
        })
    }
}

/// The first two bytes, in this machine's order.
pub(crate) fn u16_of(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.first_chunk()?))
}

/// The first four bytes, in this machine's order.
pub(crate) fn u32_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.first_chunk()?))
}

/// Text up to its NUL.
pub(crate) fn c_string(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nested_attribute_reads_back() {
        let mut request = Request::new(16, 0, &[0; 16]);
        request.text(3, "eth0").nest(18, |r| {
            r.text(1, "veth").attr(2, &7u32.to_ne_bytes());
        });
        let bytes = request.finish(9).to_vec();
        let messages: Vec<_> = Message::split(&bytes).collect();
        let message = messages[0].as_ref().unwrap();
        assert_eq!((message.kind, message.sequence), (16, 9));
        let attrs = message.attrs(16);
        assert_eq!(attrs.get(3).map(c_string).as_deref(), Some("eth0"));
        assert_eq!(attrs.nested(18).get(2).and_then(u32_of), Some(7));
        assert_eq!(attrs.nested(99).get(2), None);
    }

    #[test]
    fn truncated_bytes_end_the_list_and_do_not_panic() {
        let mut request = Request::new(16, 0, &[0; 16]);
        request.text(3, "a-longer-name").nest(18, |r| {
            r.text(1, "veth");
        });
        let whole = request.finish(1).to_vec();
        for end in 0..whole.len() {
            for message in Message::split(&whole[..end]).flatten() {
                let _ = message.acknowledgement();
            }
            let _ = Attrs::at(&whole, end).iter().count();
        }
    }
}
