//! JSON-RPC 1.0 over a unix socket, as OVSDB (RFC 7047, 4) and the control sockets of Open vSwitch
//! speak it: JSON values one after the other, with nothing between them.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A message may have so many bytes.
const LIMIT: usize = 64 * 1024 * 1024;

/// What went wrong with a call; who called says it in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection, and what the system said.
    Connect(String),
    /// The other end is gone, and why.
    Closed(String),
    /// No answer in time.
    Timeout,
    /// It sent what cannot be, and what is wrong with it.
    Malformed(String),
    /// It answered with an error.
    Refused(Value),
}

/// Cuts a stream into JSON objects. Pure: bytes in, values out.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    bytes: Vec<u8>,
    /// How far was looked.
    seen: usize,
    depth: u32,
    in_text: bool,
    escaped: bool,
}

impl Splitter {
    /// Takes more of the stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole object. After an error there is no next one.
    pub(crate) fn next(&mut self) -> Result<Option<Value>, Failure> {
        while let Some(byte) = self.bytes.get(self.seen).copied() {
            self.seen += 1;
            if self.step(byte)? {
                let value = self.bytes.get(..self.seen).unwrap_or_default();
                let value = serde_json::from_slice(value);
                self.bytes.drain(..self.seen);
                self.seen = 0;
                return value.map(Some).map_err(|error| Failure::Malformed(error.to_string()));
            }
        }
        if self.bytes.len() > LIMIT {
            let what = format!("a message of more than {LIMIT} bytes");
            return Err(Failure::Malformed(what));
        }
        Ok(None)
    }

    /// Looks at one byte; true when it ends an object.
    fn step(&mut self, byte: u8) -> Result<bool, Failure> {
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return Ok(false);
        }
        match byte {
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                return Ok(self.depth == 0);
            }
            b'"' if self.depth > 0 => self.in_text = true,
            _ if self.depth == 0 && !byte.is_ascii_whitespace() => {
                return Err(Failure::Malformed(format!("byte {byte:#04x} outside of an object")));
            }
            _ => {}
        }
        Ok(false)
    }
}

/// One connection; a call at a time.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: UnixStream,
    splitter: Splitter,
    number: u64,
    timeout: Duration,
}

impl Peer {
    /// Connects; no call may take longer than `timeout`.
    pub(crate) fn connect(path: &Path, timeout: Duration) -> Result<Peer, Failure> {
        let failed = |error: std::io::Error| Failure::Connect(error.to_string());
        let stream = UnixStream::connect(path).map_err(failed)?;
        stream.set_write_timeout(Some(timeout)).map_err(failed)?;
        Ok(Peer { stream, splitter: Splitter::default(), number: 0, timeout })
    }

    /// How long a call may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Calls `method` and waits for its result.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Result<Value, Failure> {
        let id = self.begin(method, params)?;
        self.finish(id, self.timeout)
    }

    /// Calls `method` and does not wait yet.
    pub(crate) fn begin(&mut self, method: &str, params: &Value) -> Result<u64, Failure> {
        self.number += 1;
        let id = self.number;
        self.send(&json!({"id": id, "method": method, "params": params}))?;
        Ok(id)
    }

    /// Waits for the result of the call that [`Peer::begin`] gave this number. May be called again
    /// after a timeout.
    pub(crate) fn finish(&mut self, id: u64, timeout: Duration) -> Result<Value, Failure> {
        let deadline = Instant::now() + timeout;
        loop {
            let mut message = self.receive(deadline)?;
            if message.get("method").is_some() {
                self.serve(&message)?;
                continue;
            }
            if message.get("id").and_then(Value::as_u64) != Some(id) {
                // Of a call that was given up.
                continue;
            }
            return match message.get_mut("error").map(Value::take) {
                Some(error) if !error.is_null() => Err(Failure::Refused(error)),
                _ => Ok(message.get_mut("result").map(Value::take).unwrap_or_default()),
            };
        }
    }

    /// Answers what the other end asks: whether we are there (RFC 7047, 4.1.11).
    fn serve(&mut self, message: &Value) -> Result<(), Failure> {
        let text = |name| message.get(name).cloned().unwrap_or_default();
        if text("method") == "echo" {
            let answer = json!({"id": text("id"), "result": text("params"), "error": null});
            self.send(&answer)?;
        }
        Ok(())
    }

    fn send(&mut self, message: &Value) -> Result<(), Failure> {
        self.stream.write_all(message.to_string().as_bytes()).map_err(failure)
    }

    fn receive(&mut self, deadline: Instant) -> Result<Value, Failure> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(message) = self.splitter.next()? {
                return Ok(message);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::Timeout);
            }
            self.stream.set_read_timeout(Some(left)).map_err(failure)?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Failure::Closed("it closed the connection".to_owned())),
                Ok(count) => self.splitter.push(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failure(error)),
            }
        }
    }
}

fn failure(error: std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::Timeout,
        _ => Failure::Closed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&[u8]]) -> Result<Vec<Value>, Failure> {
        let mut splitter = Splitter::default();
        let mut values = Vec::new();
        for piece in pieces {
            splitter.push(piece);
            while let Some(value) = splitter.next()? {
                values.push(value);
            }
        }
        Ok(values)
    }

    #[test]
    fn values_are_cut_apart_wherever_the_pieces_end() {
        let stream = br#"{"a":"}\"{","b":[1,{"c":null}]}{"id":2} {"id":3}"#;
        let whole = split(&[stream]).unwrap();
        assert_eq!(whole.len(), 3);
        for end in 0..stream.len() {
            let (first, rest) = stream.split_at(end);
            assert_eq!(split(&[first, rest]).unwrap(), whole, "cut at {end}");
        }
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for stream in [&b"hello"[..], b"{]", b"}", b"{\"a\":}", b"\xff\xfe", b"{\xff}"] {
            assert!(split(&[stream]).is_err(), "{stream:?}");
        }
    }
}
