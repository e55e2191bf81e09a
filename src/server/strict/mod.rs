//! Refuses what hyper forgives in HTTP/1 requests: whatever another parser may read differently is spoilt on its way in,
//! one request at a time.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::scan::Scan;
use super::activity::Activity;

mod scan;

/// A connection whose bytes are checked as hyper reads them. hyper alone decides what is a request; where it would
/// accept an ambiguous one it finds a NUL, which no head, chunk size or trailer may contain, and answers 400.
///
/// While a request is in progress hyper reads on, to see its client leave; but not once it holds bytes of the next
/// request. So these are kept from it until their turn.
#[derive(Debug)]
pub(super) struct Strict<S> {
    stream: S,
    scan: Scan,
    activity: Arc<Activity>,
    /// What came behind the request in progress, not looked at; one read of hyper's and [`AHEAD_BYTES`] at most.
    ahead: BytesMut,
}

impl<S> Strict<S> {
    /// `max_line_bytes` is more than hyper takes for a head; `activity` knows when a request is in progress.
    pub(super) fn new(stream: S, max_line_bytes: usize, activity: Arc<Activity>) -> Self {
        Self { stream, scan: Scan::new(max_line_bytes), activity, ahead: BytesMut::new() }
    }

    /// The connection alone, once nothing more is read as a request.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Strict<S> {
    /// Waits for the first bytes of the next request, or until the client has left: that is read again by whoever reads.
    ///
    /// # Errors
    /// What broke the connection: it is not said twice, so nobody may read again.
    ///
    /// # Drop
    /// Loses nothing: what has come is held for the next read.
    pub(super) async fn begun(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            if !self.ahead.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let read = self.poll_ahead(cx)?;
            // What TLS answers by itself, such as a refused renegotiation, nobody else would send.
            if read.is_pending()
                && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx)
            {
                flushed?;
            }
            read.map(|_bytes| Ok(()))
        })
        .await
    }
}

impl<S: AsyncRead + Unpin> Strict<S> {
    /// Reads a few bytes that nobody may see yet; tells how many, none of which at the end.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut buf = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        self.ahead.extend_from_slice(buf.filled());
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Ready when the client has left, or broke off: nothing of what comes meanwhile is handed out.
    ///
    /// Looks no further than a few requests ahead: whoever sends more is not seen to leave before its turn.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.ahead.len() < AHEAD_BYTES {
            if ready!(self.poll_ahead(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    }

    /// Fills `buf` with what comes next, up to the end of one request.
    fn poll_next(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.ahead.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            let read = buf.filled_mut().get_mut(before..).unwrap_or_default();
            let passed = self.scan.pass(read);
            self.ahead.extend_from_slice(read.get(passed..).unwrap_or_default());
            buf.set_filled(before + passed);
        } else {
            let read = self.ahead.len().min(buf.remaining());
            let passed = self.scan.pass(self.ahead.get_mut(..read).unwrap_or_default());
            buf.put_slice(self.ahead.get(..passed).unwrap_or_default());
            self.ahead.advance(passed);
            if self.ahead.is_empty() {
                // An idle connection holds no memory for what it once sent.
                self.ahead = BytesMut::new();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.scan.is_between() && !self.activity.is_quiet() {
            let left = self.poll_left(cx);
            // hyper takes this for a socket without bytes: once its turn has come it must be told that there are some.
            if left.is_ready() || self.ahead.is_empty() || self.activity.poll_quiet(cx).is_pending() {
                return left;
            }
        }
        self.poll_next(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A dozen requests of a bot: what hyper reads at first, too.
const AHEAD_BYTES: usize = 8 * 1024;
/// What is read at a time of it.
const READ_BYTES: usize = 1024;
