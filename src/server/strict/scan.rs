//! Decides whether the bytes of HTTP/1 requests can be read in one way only (RFC 9112 §2.2, §6, §7.1). No I/O.

use memchr::memchr;

/// Where in a stream of requests the next byte belongs, and what must be known to tell where the next one begins.
///
/// Knows just enough of the grammar: what hyper refuses by itself is not looked at again.
#[derive(Debug)]
pub(super) struct Scan {
    part: Part,
    /// What came of the line that has not ended; at most `max_line_bytes` long, and empty within bodies.
    line: Vec<u8>,
    max_line_bytes: usize,
}

#[derive(Debug, Default)]
enum Part {
    /// Before a request: nothing, or empty lines.
    #[default]
    Start,
    Fields(Framing),
    /// Counted bytes; a chunk's or the whole body's.
    Data {
        left: u64,
        of: Whole,
    },
    ChunkSize,
    ChunkEnd,
    Trailers,
    /// hyper ends the connection here: nothing behind this is a request.
    Over,
}

#[derive(Debug, Clone, Copy)]
enum Whole {
    Body,
    Chunk,
}

/// What a head says about the body behind it.
#[derive(Debug, Default)]
struct Framing {
    length: Option<u64>,
    is_chunked: bool,
}

/// The line cannot be read in one way only.
struct Ambiguous;

impl Scan {
    /// At the begin of a connection whose heads are at most `max_line_bytes` long, and whose chunk extensions too.
    pub(super) fn new(max_line_bytes: usize) -> Self {
        Self { part: Part::Start, line: Vec::new(), max_line_bytes }
    }

    /// Between two requests: nothing of the next one has been seen.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.part, Part::Start) && self.line.is_empty()
    }

    /// Looks at the next bytes of the connection, up to the end of one request; puts a NUL where the first ambiguity is.
    /// Says how many it looked at.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) -> usize {
        let mut passed = 0;
        while let Some(rest) = bytes.get_mut(passed..).filter(|rest| !rest.is_empty()) {
            let was_between = matches!(self.part, Part::Start);
            passed += match &mut self.part {
                Part::Over => rest.len(),
                Part::Data { left, of } => {
                    let skipped = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left = left.saturating_sub(u64::try_from(skipped).unwrap_or(u64::MAX));
                    if *left == 0 {
                        self.part = match of {
                            Whole::Body => Part::Start,
                            Whole::Chunk => Part::ChunkEnd,
                        };
                    }
                    skipped
                }
                Part::Start | Part::Fields(_) | Part::ChunkSize | Part::ChunkEnd | Part::Trailers => {
                    self.pass_line(rest)
                }
            };
            if !was_between && self.is_between() {
                break;
            }
        }
        passed
    }

    /// Takes bytes up to the end of the line; says how many.
    fn pass_line(&mut self, bytes: &mut [u8]) -> usize {
        let end = memchr(b'\n', bytes);
        let taken = end.map_or(bytes.len(), |end| end + 1);
        let piece = bytes.get(..taken).unwrap_or_default();
        let mut held = std::mem::take(&mut self.line);
        let is_too_long = held.len() + taken > self.max_line_bytes;
        // Most lines come whole: those are looked at where they lie.
        if !is_too_long && (end.is_none() || !held.is_empty()) {
            held.extend_from_slice(piece);
        }
        if !is_too_long && end.is_none() {
            self.line = held;
            return taken;
        }
        let line = if held.is_empty() { piece } else { &held };
        let verdict = match line.strip_suffix(b"\r\n") {
            Some(line) if !is_too_long => self.end_line(line),
            _ => Err(Ambiguous),
        };
        if verdict.is_err() {
            let last = taken.checked_sub(1).and_then(|last| bytes.get_mut(last));
            if let Some(byte) = last.filter(|_| is_too_long || self.forgives()) {
                *byte = 0;
            }
            self.part = Part::Over;
        }
        taken
    }

    /// hyper refuses an LF alone around chunks by itself, but would take a NUL for a part of an extension.
    fn forgives(&self) -> bool {
        !matches!(self.part, Part::ChunkSize | Part::ChunkEnd)
    }

    fn end_line(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        self.part = match std::mem::take(&mut self.part) {
            Part::Start if line.is_empty() => Part::Start,
            Part::Start => Part::Fields(Framing::of_request_line(line)?),
            Part::Fields(framing) if line.is_empty() => framing.body()?,
            Part::Fields(framing) => Part::Fields(framing.and_field(line)?),
            Part::ChunkSize => match chunk_size(line) {
                Some(0) => Part::Trailers,
                Some(left) => Part::Data { left, of: Whole::Chunk },
                None => Part::Over,
            },
            Part::ChunkEnd if line.is_empty() => Part::ChunkSize,
            Part::Trailers if line.is_empty() => Part::Start,
            Part::Trailers => Part::Trailers,
            Part::ChunkEnd | Part::Data { .. } | Part::Over => Part::Over,
        };
        Ok(())
    }
}

impl Framing {
    /// A fragment is no part of a target; hyper would cut it off.
    fn of_request_line(line: &[u8]) -> Result<Self, Ambiguous> {
        if line.contains(&b'#') { Err(Ambiguous) } else { Ok(Self::default()) }
    }

    fn and_field(mut self, line: &[u8]) -> Result<Self, Ambiguous> {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = number(value, 10).ok_or(Ambiguous)?;
            if self.length.is_some_and(|other| other != length) {
                return Err(Ambiguous);
            }
            self.length = Some(length);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Ambiguous);
            }
            self.is_chunked = true;
        }
        Ok(self)
    }

    fn body(self) -> Result<Part, Ambiguous> {
        match (self.is_chunked, self.length) {
            (true, Some(_)) => Err(Ambiguous),
            (true, None) => Ok(Part::ChunkSize),
            (false, None | Some(0)) => Ok(Part::Start),
            (false, Some(left)) => Ok(Part::Data { left, of: Whole::Body }),
        }
    }
}

/// The size in front of an extension, if there is one; none where hyper refuses it.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, rest) = line.split_at_checked(end)?;
    let rest = rest.trim_ascii_start();
    if rest.is_empty() || rest.starts_with(b";") { number(digits, 16) } else { None }
}

/// Digits alone: `parse` would take a sign.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let is_plain = text.chars().all(|digit| digit.is_digit(radix));
    if is_plain { u64::from_str_radix(text, radix).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const MAX: usize = 64 * 1024;

    /// However many requests there are in it.
    fn pass_all(scan: &mut Scan, mut piece: &mut [u8]) {
        while !piece.is_empty() {
            let passed = scan.pass(piece);
            piece = &mut piece[passed..];
        }
    }

    /// The bytes after a scan that saw them in pieces of at most `step`.
    fn passed(sent: &[u8], step: usize) -> Vec<u8> {
        let mut bytes = sent.to_vec();
        let mut scan = Scan::new(MAX);
        bytes.chunks_mut(step).for_each(|piece| pass_all(&mut scan, piece));
        bytes
    }

    fn check(sent: &str, is_plain: bool) {
        for step in [1, 2, 7, MAX] {
            let spoilt = passed(sent.as_bytes(), step);
            assert_eq!(spoilt == sent.as_bytes(), is_plain, "{sent:?}");
            assert_eq!(spoilt.iter().filter(|&&byte| byte == 0).count(), usize::from(!is_plain));
        }
    }

    #[test]
    fn what_can_be_read_in_one_way_passes_as_it_is() {
        for sent in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na\nbGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-LENGTH:3\r\nContent-Length: 3\r\n\r\n\n\n\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding:\tChunked \r\n\r\n2;a=b\r\n\n\n\r\nA \r\n0123456789\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            // What hyper refuses by itself is left to it, and so is everything behind that.
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nGET / HTTP/1.1\n\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\n\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;a=\"\n\"\r\na\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
        ] {
            check(sent, true);
        }
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_spoilt() {
        for sent in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "\nGET / HTTP/1.1\r\n\r\n",
            "GET /a#b HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\n\n",
        ] {
            check(sent, false);
        }
    }

    #[test]
    fn a_scan_stops_at_the_end_of_each_request() {
        let requests = [
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n\r\n\r",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX: y\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
        ];
        let mut sent = requests.concat().into_bytes();
        let mut scan = Scan::new(MAX);
        let mut rest = &mut sent[..];
        for request in requests {
            let passed = scan.pass(rest);
            assert_eq!(passed, request.len(), "{request:?}");
            assert!(scan.is_between());
            rest = &mut rest[passed..];
        }
        assert_eq!(scan.pass(&mut b"GET /".to_vec()), 5);
        assert!(!scan.is_between());
    }

    #[test]
    fn a_line_without_end_is_not_collected() {
        let mut zeros = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        zeros.resize(3 * MAX, b'0');
        for step in [1000, MAX, 3 * MAX] {
            let mut scan = Scan::new(MAX);
            let mut bytes = zeros.clone();
            bytes.chunks_mut(step).for_each(|piece| pass_all(&mut scan, piece));
            assert!(bytes.contains(&0));
            assert!(scan.line.capacity() <= 2 * MAX);
        }
    }

    /// A body, and the fields and bytes that carry it.
    fn framed() -> impl Strategy<Value = Vec<u8>> {
        let body = proptest::collection::vec(any::<u8>(), 0..200);
        let chunks = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..5);
        prop_oneof![
            Just(b"\r\n".to_vec()),
            body.prop_map(|body| {
                [format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes(), body].concat()
            }),
            chunks.prop_map(|chunks| {
                let mut sent = b"Transfer-Encoding: chunked\r\n\r\n".to_vec();
                for chunk in chunks {
                    sent.extend(format!("{:X};x\r\n", chunk.len()).into_bytes());
                    sent.extend(chunk);
                    sent.extend(b"\r\n");
                }
                sent.extend(b"0\r\nX-T: 1\r\n\r\n");
                sent
            }),
        ]
    }

    proptest! {
        #[test]
        fn no_byte_of_a_well_framed_request_is_touched(
            requests in proptest::collection::vec(framed(), 1..6),
            step in 1_usize..300,
        ) {
            let head = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\n".as_slice();
            let sent: Vec<u8> = requests.iter().flat_map(|rest| [head, rest].concat()).collect();
            prop_assert_eq!(passed(&sent, step), sent);
        }

        #[test]
        fn strangers_get_one_nul_at_most(sent in proptest::collection::vec(1_u8.., 0..400), step in 1_usize..100) {
            let spoilt = passed(&sent, step);
            let changed: Vec<_> = sent.iter().zip(&spoilt).filter(|(was, is)| was != is).collect();
            prop_assert!(changed.len() <= 1 && changed.iter().all(|(_, is)| **is == 0));
        }
    }
}
