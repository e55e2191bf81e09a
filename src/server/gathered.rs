//! Decides when the bytes of an HTTP/2 connection leave: those of one turn together.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that holds what is written until its connection's task has nothing more to write: h2 flushes behind each
/// frame of data, which would make a TLS record and a system call of each. Cloning shares it.
///
/// # Drop
/// What is held is lost: [`AsyncWrite::poll_shutdown`] sends it.
pub(super) struct Gathered<S>(Arc<Mutex<Inner<S>>>);

struct Inner<S> {
    stream: S,
    held: Vec<u8>,
    /// So much of what is held has gone.
    gone: usize,
}

impl<S> Clone for Gathered<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> Gathered<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Inner { stream, held: Vec::new(), gone: 0 })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Sends what was written in this turn; the task is woken when there is room for more of it.
    ///
    /// # Errors
    /// Those of the stream, which is of no more use then.
    pub(super) fn send(&self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.inner().poll_send(cx) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Ok(()),
        }
    }

    /// Gives the memory back that the next turn would use again.
    pub(super) fn rest(&self) {
        let mut inner = self.inner();
        if inner.held.is_empty() {
            inner.held = Vec::new();
        }
    }
}

impl<S: AsyncWrite + Unpin> Inner<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_hand_over(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_hand_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.held.get(self.gone..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.gone += written,
            }
        }
        self.held.clear();
        self.gone = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_hold(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.held.len() >= HELD_BYTES {
            ready!(self.poll_hand_over(cx))?;
        }
        let before = self.held.len();
        for piece in pieces {
            let room = HELD_BYTES.saturating_sub(self.held.len());
            self.held.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
        Poll::Ready(Ok(self.held.len().saturating_sub(before)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.inner().poll_hold(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_hold(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The end of the turn is what sends: see [`Gathered::send`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        ready!(inner.poll_send(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}

/// Four TLS records: what rustls takes at once.
const HELD_BYTES: usize = 64 * 1024;
