//! Decides when a body that streams past is kept: only after its last byte, only if it is whole.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BodyError};

/// Kept bytes are copied into chunks of this size: what is kept never pins a larger read buffer,
/// and a small answer is one chunk.
const CHUNK_BYTES: usize = 256 * 1024;

/// A body on its way to the client, copied as it passes.
///
/// # Drop
/// Dropped before its end, nothing is kept.
pub(super) struct Fill<K> {
    inner: Body,
    copy: Option<Copy<K>>,
}

struct Copy<K> {
    chunks: Vec<Bytes>,
    open: BytesMut,
    left_bytes: u64,
    keep: K,
}

impl<K: FnOnce(Vec<Bytes>)> Fill<K> {
    /// Hands the chunks to `keep` when `inner` has ended well and is not larger than `max_bytes`.
    pub(super) fn new(inner: Body, max_bytes: u64, keep: K) -> Self {
        let exact = inner.size_hint().exact();
        let copy = Copy { chunks: Vec::new(), open: BytesMut::new(), left_bytes: max_bytes, keep };
        let mut fill = Self { inner, copy: exact.is_none_or(|bytes| bytes <= max_bytes).then_some(copy) };
        if exact == Some(0) {
            fill.finish();
        }
        fill
    }

    fn finish(&mut self) {
        if let Some(mut copy) = self.copy.take() {
            if !copy.open.is_empty() {
                copy.chunks.push(copy.open.freeze());
            }
            (copy.keep)(copy.chunks);
        }
    }
}

impl<K> Copy<K> {
    /// `None` when the body has become too large to keep.
    fn take(mut self, mut data: &[u8]) -> Option<Self> {
        self.left_bytes = self.left_bytes.checked_sub(u64::try_from(data.len()).ok()?)?;
        while !data.is_empty() {
            let room = CHUNK_BYTES - self.open.len();
            let (now, later) = data.split_at(room.min(data.len()));
            self.open.extend_from_slice(now);
            if self.open.len() == CHUNK_BYTES {
                self.chunks.push(self.open.split().freeze());
            }
            data = later;
        }
        Some(self)
    }
}

impl<K: FnOnce(Vec<Bytes>) + Unpin> HttpBody for Fill<K> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.copy = self.copy.take().and_then(|copy| copy.take(data));
                }
                // A reader that knows the length may never ask for the frame after the last one.
                if self.inner.is_end_stream() {
                    self.finish();
                }
            }
            Some(Err(_)) => self.copy = None,
            None => self.finish(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
