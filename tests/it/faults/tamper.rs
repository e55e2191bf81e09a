//! The bytes of an HTTP/2 connection on their way out: frames put between others, frames cut in two, a line that dies.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::table::End;
use super::upstream::Tls;

/// Handle to a connection that misbehaves. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    fate: Option<End>,
    /// Dies after so many more bytes out.
    cut_in: Option<usize>,
    injected: Vec<u8>,
    wakers: Vec<Waker>,
}

impl Line {
    /// The connection ends at once, or freezes.
    pub(super) fn end(&self, end: End) {
        self.change(|state| state.fate = Some(end));
    }

    /// The connection ends after so many more bytes.
    pub(super) fn cut_in(&self, bytes: usize) {
        self.change(|state| state.cut_in = Some(bytes));
    }

    /// This frame leaves between two others.
    pub(super) fn inject(&self, frame: &[u8]) {
        self.change(|state| state.injected.extend_from_slice(frame));
    }

    /// Whether the connection is gone.
    pub(super) fn is_over(&self) -> bool {
        self.lock().fate.is_some()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let wakers = {
            let mut state = self.lock();
            change(&mut state);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// A connection under the control of its [`Line`].
pub(super) struct Tampered {
    tls: Tls,
    line: Line,
    /// Bytes of the frame that is being written that are still to come, and the head of the next one as far as known.
    left_in_frame: usize,
    head: Vec<u8>,
    injecting: Vec<u8>,
}

impl Tampered {
    pub(super) fn new(tls: Tls) -> (Self, Line) {
        let line = Line::default();
        (Self { tls, line: line.clone(), left_in_frame: 0, head: Vec::new(), injecting: Vec::new() }, line)
    }

    fn check(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.line.lock();
        match state.fate {
            None => {
                state.wakers.push(cx.waker().clone());
                Poll::Ready(Ok(()))
            }
            Some(End::Freeze) => {
                state.wakers.push(cx.waker().clone());
                Poll::Pending
            }
            Some(end) => {
                if end == End::Reset {
                    self.tls.get_ref().0.set_zero_linger().unwrap();
                }
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
    }

    /// Writes what was put between frames, if the last frame is out.
    fn poll_inject(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.left_in_frame == 0 && self.head.is_empty() {
            self.injecting.append(&mut self.line.lock().injected);
        }
        while !self.injecting.is_empty() {
            let written = ready!(Pin::new(&mut self.tls).poll_write(cx, &self.injecting))?;
            self.injecting.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// How many of these bytes end with the frame, or with the part of it that is visible.
    fn until_boundary(&self, buf: &[u8]) -> usize {
        if self.left_in_frame > 0 {
            return self.left_in_frame.min(buf.len());
        }
        (9 - self.head.len()).min(buf.len())
    }

    fn wrote(&mut self, bytes: &[u8]) {
        if self.left_in_frame > 0 {
            self.left_in_frame -= bytes.len();
            return;
        }
        self.head.extend_from_slice(bytes);
        if self.head.len() == 9 {
            self.left_in_frame =
                usize::try_from(u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]])).unwrap();
            self.head.clear();
        }
    }
}

impl AsyncRead for Tampered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.check(cx))?;
        if let Poll::Ready(Err(error)) = self.poll_inject(cx) {
            return Poll::Ready(Err(error));
        }
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.tls).poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tampered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.check(cx))?;
        ready!(self.poll_inject(cx))?;
        let mut part = self.until_boundary(buf);
        let cut_in = self.line.lock().cut_in;
        if let Some(left) = cut_in {
            if left == 0 {
                drop(Pin::new(&mut self.tls).poll_flush(cx));
                self.line.end(End::Cut);
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            part = part.min(left);
        }
        let written = ready!(Pin::new(&mut self.tls).poll_write(cx, &buf[..part]))?;
        self.wrote(&buf[..written]);
        if let Some(left) = cut_in {
            self.line.lock().cut_in = Some(left - written);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.check(cx))?;
        ready!(self.poll_inject(cx))?;
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
