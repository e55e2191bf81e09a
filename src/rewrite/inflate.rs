//! Unpacks gzip and deflate while they stream, never more than a bound allows, never less than was sent.

use std::io::{self, BufRead, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};

use crate::body::{Body, BodyError};
use crate::words::Side;

/// A content coding that can be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// zlib, or the bare deflate that some senders take it for.
    Deflate,
    /// One or more gzip members.
    Gzip,
}

/// How far a body may grow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of content, unpacked.
    pub(super) max_decoded_bytes: u64,
    /// Bytes out for each byte in, beyond the first [`FREE_BYTES`] out.
    pub(super) max_ratio: u32,
}

/// The content of `body`. Trailers pass; the length is no longer known.
///
/// Fails with [`BodyError::Garbled`] when the coding is broken, ends early or grows beyond `bounds`.
pub(super) fn inflated(body: Body, coding: Coding, bounds: Bounds) -> Body {
    let decoder = match coding {
        Coding::Deflate => Decoder::Deflate(Deflate { feed: Feed::default(), engine: None, is_done: false }),
        Coding::Gzip => Decoder::Gzip(MultiGzDecoder::new(Feed::default())),
    };
    let scratch = vec![0; FRAME_BYTES].into();
    Body::stream(Inflated {
        inner: body,
        decoder,
        bounds,
        scratch,
        decoded: 0,
        trailers: None,
        is_over: false,
    })
}

struct Inflated {
    inner: Body,
    decoder: Decoder,
    bounds: Bounds,
    scratch: Box<[u8]>,
    decoded: u64,
    trailers: Option<HeaderMap>,
    is_over: bool,
}

impl Inflated {
    /// The next content: empty at its end, none when more must be fed first.
    fn read(&mut self) -> Result<Option<Bytes>, BodyError> {
        let taken = match self.decoder.read(&mut self.scratch) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(BodyError::Garbled(Side::Upstream, error.into())),
        };
        let bytes = Bytes::copy_from_slice(self.scratch.get(..taken).unwrap_or_default());
        self.decoded = self.decoded.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
        let earned = self.decoder.feed().taken.saturating_mul(self.bounds.max_ratio.into());
        if self.decoded > self.bounds.max_decoded_bytes.min(earned.max(FREE_BYTES)) {
            return Err(BodyError::Garbled(Side::Upstream, "it unpacks to more than it may".into()));
        }
        Ok(Some(bytes))
    }
}

impl HttpBody for Inflated {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        while !self.is_over {
            match self.read() {
                Err(error) => {
                    self.is_over = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Ok(Some(bytes)) if !bytes.is_empty() => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Ok(Some(_)) if self.decoder.feed().is_over => self.is_over = true,
                // What follows the end of the content is read, so that a broken connection still shows.
                Ok(_) => match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                    None => self.decoder.feed().is_over = true,
                    Some(Err(error)) => {
                        self.is_over = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(chunk) => self.decoder.feed().chunk = chunk,
                        Err(last) => {
                            self.trailers = last.into_trailers().ok();
                            self.decoder.feed().is_over = true;
                        }
                    },
                },
            }
        }
        Poll::Ready(self.trailers.take().map(|fields| Ok(Frame::trailers(fields))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over && self.trailers.is_none()
    }
}

enum Decoder {
    Deflate(Deflate),
    Gzip(MultiGzDecoder<Feed>),
}

impl Decoder {
    fn feed(&mut self) -> &mut Feed {
        match self {
            Self::Deflate(deflate) => &mut deflate.feed,
            Self::Gzip(gzip) => gzip.get_mut(),
        }
    }

    /// Bytes written to `out`, 0 at the end of the content, `WouldBlock` when the feed is empty.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let feed = self.feed();
        // No byte at all is an empty body, whatever its coding says: error answers come like that.
        if feed.is_over && feed.taken == 0 && feed.chunk.is_empty() {
            return Ok(0);
        }
        match self {
            Self::Deflate(deflate) => deflate.read(out),
            Self::Gzip(gzip) => gzip.read(out),
        }
    }
}

struct Deflate {
    feed: Feed,
    engine: Option<Decompress>,
    is_done: bool,
}

impl Deflate {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.is_done {
            let input = self.feed.fill_buf()?;
            // zlib's first byte says "deflate" in its low half; no encoder starts bare deflate like that.
            let is_zlib = input.first().is_some_and(|byte| byte & 0x0F == 8);
            let engine = self.engine.get_or_insert_with(|| Decompress::new(is_zlib));
            let before = (engine.total_in(), engine.total_out());
            let flush = if input.is_empty() { FlushDecompress::Finish } else { FlushDecompress::None };
            let status = engine.decompress(input, out, flush).map_err(io::Error::other)?;
            let taken = usize::try_from(engine.total_in() - before.0).unwrap_or(usize::MAX);
            let written = usize::try_from(engine.total_out() - before.1).unwrap_or(usize::MAX);
            self.feed.consume(taken);
            self.is_done = status == Status::StreamEnd;
            if written > 0 {
                return Ok(written);
            }
            if taken == 0 && !self.is_done {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}

/// What the decoder may read now: one chunk; behind it `WouldBlock`, or the end.
#[derive(Default)]
struct Feed {
    chunk: Bytes,
    taken: u64,
    is_over: bool,
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty() && !self.is_over {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.chunk.len());
        self.chunk.advance(amount);
        self.taken = self.taken.saturating_add(u64::try_from(amount).unwrap_or(u64::MAX));
    }
}

impl Read for Feed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let taken = self.fill_buf()?.read(out)?;
        self.consume(taken);
        Ok(taken)
    }
}

/// One frame of content: as much as hyper reads from a socket at once.
const FRAME_BYTES: usize = 16 * 1024;

/// A short text of repetitions may pack very well; only beyond this does the ratio count.
const FREE_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http_body_util::BodyExt;

    use super::super::tests::chunked;

    const BOUNDS: Bounds = Bounds { max_decoded_bytes: 1 << 20, max_ratio: 200 };

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn bare(text: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn sample() -> Vec<u8> {
        (0..9_000u32)
            .flat_map(|number| format!("{:x},", number.wrapping_mul(2_654_435_761)).into_bytes())
            .collect()
    }

    async fn read(packed: &[u8], size: usize, coding: Coding) -> Result<Bytes, BodyError> {
        let body = inflated(chunked(packed, size, true), coding, BOUNDS).collect().await?;
        assert_eq!(body.trailers().map(|fields| fields["x-sum"].clone()).unwrap(), "1");
        Ok(body.to_bytes())
    }

    #[tokio::test]
    async fn content_is_the_same_however_it_is_cut() {
        let text = sample();
        let members = [gzip(&text[..100]), gzip(b""), gzip(&text[100..])].concat();
        for size in [1, 2, 7, 1000, 16_384, 1 << 20] {
            for (packed, coding) in [
                (gzip(&text), Coding::Gzip),
                (members.clone(), Coding::Gzip),
                (zlib(&text), Coding::Deflate),
                (bare(&text), Coding::Deflate),
            ] {
                assert_eq!(read(&packed, size, coding).await.unwrap(), text, "{coding:?} in {size}");
            }
        }
        assert_eq!(read(b"", 1, Coding::Gzip).await.unwrap(), "");
        assert_eq!(read(&gzip(b""), 1, Coding::Gzip).await.unwrap(), "");
        assert_eq!(read(&zlib(b""), 1, Coding::Deflate).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_body_that_ends_early_or_is_damaged_never_ends_well() {
        let text = b"{\"items\":[]}".repeat(20);
        for (packed, coding) in
            [(gzip(&text), Coding::Gzip), (zlib(&text), Coding::Deflate), (bare(&text), Coding::Deflate)]
        {
            for length in 1..packed.len() {
                let result = read(&packed[..length], 5, coding).await;
                assert!(
                    matches!(result, Err(BodyError::Garbled(Side::Upstream, _))),
                    "{coding:?} cut at {length}"
                );
            }
        }
        let mut damaged = gzip(&text);
        let checksum = damaged.len() - 8;
        damaged[checksum] ^= 1;
        assert!(matches!(read(&damaged, 5, Coding::Gzip).await, Err(BodyError::Garbled(Side::Upstream, _))));
        assert!(matches!(read(&text, 5, Coding::Gzip).await, Err(BodyError::Garbled(Side::Upstream, _))));
    }

    #[tokio::test]
    async fn a_bomb_stops_at_its_ratio_or_its_total() {
        for (size, bounds) in [
            (16 << 20, Bounds { max_decoded_bytes: u64::MAX, max_ratio: 100 }),
            (300_000, Bounds { max_decoded_bytes: 200_000, max_ratio: u32::MAX }),
        ] {
            let packed = gzip(&vec![b' '; size]);
            for chunk in [1, 4096, packed.len()] {
                let mut body = inflated(chunked(&packed, chunk, false), Coding::Gzip, bounds);
                let mut bytes = 0;
                let error = loop {
                    match body.frame().await.expect("a bomb must not end well") {
                        Ok(frame) => bytes += frame.data_ref().unwrap().len(),
                        Err(error) => break error,
                    }
                };
                assert!(matches!(error, BodyError::Garbled(Side::Upstream, _)), "{error}");
                assert!(bytes <= 2 << 20, "{bytes} bytes of {size} in chunks of {chunk}");
                assert!(body.frame().await.is_none());
            }
        }
        // Short texts may pack as well as they like.
        let body = inflated(
            chunked(&gzip(&[b' '; 60_000]), 9, false),
            Coding::Gzip,
            Bounds { max_ratio: 10, ..BOUNDS },
        );
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 60_000);
    }
}
