//! URLs as clients write them.
//!
//! Filters hold quotes, brackets and spaces, and many a script sends them as they are:
//! `?query-target-filter=eq(fvTenant.name,"acme")`. The HTTP library refuses such a request line
//! before anybody can answer it, so what must not stand there raw is escaped on the way in. The
//! framing is followed just far enough to find the request lines; if it is followed wrongly, it is
//! the client's own bytes that suffer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest line that is looked at.
const MAX_LINE: usize = 64 << 10;

/// A stream of requests whose request lines are escaped.
pub struct Lenient<S> {
    inner: S,
    rewriter: Rewriter,
    /// Rewritten, and not read yet; from `at` on.
    ready: Vec<u8>,
    at: usize,
}

impl<S> Lenient<S> {
    /// Reads from `inner`.
    pub fn new(inner: S) -> Lenient<S> {
        Lenient { inner, rewriter: Rewriter::default(), ready: Vec::new(), at: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lenient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.at == this.ready.len() {
            let mut piece = [0; 8192];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.ready.clear();
            this.at = 0;
            this.rewriter.push(piece.filled(), &mut this.ready);
        }
        let unread = this.ready.get(this.at..).unwrap_or_default();
        let now = unread.get(..buffer.remaining()).unwrap_or(unread);
        buffer.put_slice(now);
        this.at += now.len();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lenient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// Where in a request the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// In its first line.
    #[default]
    RequestLine,
    /// In its headers; so many bytes of body follow.
    Headers(Length),
    /// In its body, so many bytes before its end.
    Body(u64),
    /// In the line before a chunk.
    ChunkSize,
    /// In a chunk, so many bytes before its end, its line end included.
    Chunk(u64),
    /// In what follows the last chunk.
    Trailers,
    /// Somewhere: nothing is looked at any more.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Fixed(u64),
    Chunked,
}

#[derive(Debug, Default)]
struct Rewriter {
    place: Place,
    /// The line that has begun and not ended.
    line: Vec<u8>,
}

impl Rewriter {
    /// Takes bytes of the stream and appends what the server is to read. The last line is held
    /// back until its end is there.
    fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let taken = match self.place {
                Place::Lost => {
                    out.extend_from_slice(bytes);
                    bytes.len()
                }
                Place::Body(left) => {
                    let (taken, left) = pass(left, bytes, out);
                    self.place = if left == 0 { Place::RequestLine } else { Place::Body(left) };
                    taken
                }
                Place::Chunk(left) => {
                    let (taken, left) = pass(left, bytes, out);
                    self.place = if left == 0 { Place::ChunkSize } else { Place::Chunk(left) };
                    taken
                }
                _ => self.take_line(bytes, out),
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// Takes bytes up to the end of the line.
    fn take_line(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(bytes.len());
        self.line.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            self.end_line(&line, out);
        } else if self.line.len() > MAX_LINE {
            out.append(&mut self.line);
            self.place = Place::Lost;
        }
        taken
    }

    fn end_line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let text = line.trim_ascii();
        self.place = match self.place {
            Place::RequestLine if !text.is_empty() => {
                escape(text, out);
                out.extend_from_slice(b"\r\n");
                self.place = Place::Headers(Length::Fixed(0));
                return;
            }
            Place::Headers(length) if text.is_empty() => match length {
                Length::Fixed(0) => Place::RequestLine,
                Length::Fixed(length) => Place::Body(length),
                Length::Chunked => Place::ChunkSize,
            },
            Place::Headers(length) => Place::Headers(length_in(text).unwrap_or(length)),
            Place::ChunkSize => match chunk_size(text) {
                Some(0) => Place::Trailers,
                Some(size) => Place::Chunk(size.saturating_add(2)),
                None => Place::Lost,
            },
            Place::Trailers if text.is_empty() => Place::RequestLine,
            place => place,
        };
        out.extend_from_slice(line);
    }
}

/// Passes at most `left` bytes on. Returns how many, and how many are left then.
fn pass(left: u64, bytes: &[u8], out: &mut Vec<u8>) -> (usize, u64) {
    let count = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    out.extend_from_slice(bytes.get(..count).unwrap_or_default());
    (count, left.saturating_sub(count as u64))
}

/// What a header line says about the length of the body.
fn length_in(line: &[u8]) -> Option<Length> {
    let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
    let value = value.trim();
    if name.eq_ignore_ascii_case("content-length") {
        return value.parse().ok().map(Length::Fixed);
    }
    let chunked = name.eq_ignore_ascii_case("transfer-encoding")
        && value.to_ascii_lowercase().ends_with("chunked");
    chunked.then_some(Length::Chunked)
}

/// The number in front of a chunk, without the extensions behind it.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let number = std::str::from_utf8(line).ok()?.split(';').next()?;
    u64::from_str_radix(number.trim(), 16).ok()
}

/// `METHOD TARGET VERSION`, with everything in the target escaped that must not stand in a URL.
fn escape(line: &[u8], out: &mut Vec<u8>) {
    let first = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let last = line.iter().rposition(|byte| *byte == b' ').unwrap_or(line.len());
    for (at, byte) in line.iter().enumerate() {
        let in_target = first < at && at < last;
        let must = matches!(byte, 0..=b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | 0x7f..)
            || matches!(byte, b'{' | b'|' | b'}');
        if in_target && must {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the stream is cut, the result is the same.
    fn check(stream: &str, expected: &str) {
        for cut in [1, 2, 3, 7, stream.len()] {
            let (mut rewriter, mut out) = (Rewriter::default(), Vec::new());
            stream.as_bytes().chunks(cut).for_each(|piece| rewriter.push(piece, &mut out));
            assert_eq!(String::from_utf8(out).unwrap(), expected, "in pieces of {cut}");
        }
    }

    #[test]
    fn what_must_not_stand_in_a_url_is_escaped_and_nothing_else() {
        check(
            "GET /api/x.json?f=eq(a.b, \"ü\")&y=[%22]|z HTTP/1.1\r\nHost: \"x\"\r\n\r\n",
            "GET /api/x.json?f=eq(a.b,%20%22%C3%BC%22)&y=[%22]%7Cz HTTP/1.1\r\nHost: \"x\"\r\n\r\n",
        );
    }

    #[test]
    fn bodies_pass_untouched_and_the_next_request_line_is_found() {
        check(
            "POST /a HTTP/1.1\r\ncontent-length: 15\r\n\r\nGET /\" HTTP/1.\nGET /\" HTTP/1.1\r\n\r\n",
            "POST /a HTTP/1.1\r\ncontent-length: 15\r\n\r\nGET /\" HTTP/1.\nGET /%22 HTTP/1.1\r\n\r\n",
        );
        let chunks = "Transfer-Encoding: chunked\r\n\r\n3;x\r\n\"\n\"\r\n0\r\nT: \"\r\n\r\n";
        check(
            &format!("POST /a HTTP/1.1\r\n{chunks}GET /\" HTTP/1.1\r\n\r\n"),
            &format!("POST /a HTTP/1.1\r\n{chunks}GET /%22 HTTP/1.1\r\n\r\n"),
        );
    }

    #[test]
    fn what_is_no_http_passes_as_it_is() {
        let line = "x".repeat(MAX_LINE + 10);
        let (mut rewriter, mut out) = (Rewriter::default(), Vec::new());
        rewriter.push(line.as_bytes(), &mut out);
        assert_eq!(out, line.as_bytes());
    }
}
