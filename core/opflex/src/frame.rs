//! NUL-terminated frames out of a stream of bytes.

/// Frames up to this size are taken from a peer that has introduced itself as a server, whose
/// answers carry whole subtrees.
pub const SERVER_FRAME_LIMIT: usize = 64 * 1024 * 1024;

/// Frames up to this size are taken from an agent that has introduced itself.
///
/// Parsed JSON takes up to some thirty times the memory of its text, so this bounds what one agent
/// can make a controller hold.
pub const AGENT_FRAME_LIMIT: usize = 4 * 1024 * 1024;

/// Frames up to this size are taken from anybody who can connect.
pub const STRANGER_FRAME_LIMIT: usize = 64 * 1024;

/// A frame grew beyond the limit. The rest of the stream cannot be made sense of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame is longer than the {limit} bytes that are allowed")]
pub struct FrameTooLong {
    /// The limit, in bytes.
    pub limit: usize,
}

/// Splits a stream at NUL bytes. How the stream is cut into reads makes no difference.
///
/// Frames of nothing but white space are skipped, as observed for empty ones; white space around
/// an object is left to the JSON parser.
#[derive(Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Where the unread part of `buffer` starts.
    start: usize,
    /// Up to where it is known to hold no NUL.
    scanned: usize,
    limit: usize,
}

impl Framer {
    /// Takes frames of at most `limit` bytes.
    pub fn new(limit: usize) -> Framer {
        Framer { buffer: Vec::new(), start: 0, scanned: 0, limit }
    }

    /// Changes the limit, for the frames that are not yet taken.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes bytes as they come from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, without its NUL.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameTooLong> {
        loop {
            let unseen = self.buffer.get(self.scanned..).unwrap_or_default();
            let Some(length) = unseen.iter().position(|byte| *byte == 0) else {
                self.scanned = self.buffer.len();
                self.check(self.scanned - self.start)?;
                return Ok(None);
            };
            let (start, end) = (self.start, self.scanned + length);
            self.check(end - start)?;
            self.start = end + 1;
            self.scanned = self.start;
            let frame = self.buffer.get(start..end).unwrap_or_default();
            if !frame.iter().all(u8::is_ascii_whitespace) {
                // Looked up again: a borrow returned from inside a loop would last for all of it.
                return Ok(self.buffer.get(start..end));
            }
        }
    }

    fn check(&self, length: usize) -> Result<(), FrameTooLong> {
        if length > self.limit { Err(FrameTooLong { limit: self.limit }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(framer: &mut Framer) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(frame) = framer.next_frame().unwrap() {
            all.push(String::from_utf8(frame.to_vec()).unwrap());
        }
        all
    }

    #[test]
    fn frames_end_at_nul_and_empty_ones_are_skipped() {
        let mut framer = Framer::new(100);
        framer.push(b"\0\0{\"a\":1}\n\0 \n\0{");
        assert_eq!(frames(&mut framer), ["{\"a\":1}\n"]);
        framer.push(b"}\0");
        assert_eq!(frames(&mut framer), ["{}"]);
    }

    #[test]
    fn a_frame_may_be_as_long_as_the_limit_and_no_longer() {
        let mut framer = Framer::new(3);
        framer.push(b"abc\0abc");
        assert_eq!(frames(&mut framer), ["abc"]);
        framer.push(b"d");
        assert_eq!(framer.next_frame(), Err(FrameTooLong { limit: 3 }));
    }
}
