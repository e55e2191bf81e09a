//! Decides how bytes move on one upstream connection: an answer that came before the connection broke is still read, and
//! bytes that nobody asked for are nobody's answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_rustls::client::TlsStream;

use super::seat::Line;

/// Counts open connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Gauge(Arc<AtomicUsize>);

impl Gauge {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn enter(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }
}

#[derive(Debug)]
struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection to the upstream.
///
/// An API that refuses an upload half-way answers, closes, and resets what still arrives. Writing then fails while
/// the answer waits to be read, and hyper would report the failed write. So a failed write is kept back, later bytes
/// go nowhere, and reading goes on until the end, which then is that error.
///
/// Bytes that an HTTP/1.1 upstream sends on an idle connection would be taken for the answer to the next request, which
/// may be another tenant's (SECURITY 1, row 4). hyper closes such a connection as soon as it is told of them; what the
/// kernel holds and has not told of is looked for before each request but the first. Over HTTP/2 every answer names its
/// request.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    last: Last,
    write_error: Option<io::Error>,
    farewell: Option<Pin<Box<Sleep>>>,
    /// Of HTTP/2 alone.
    line: Option<Line>,
    rest: Option<Pin<Box<Sleep>>>,
    _counted: Counted,
    _place: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What was done last: a request's head that follows something read begins another exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Read,
    Written,
}

/// The upstream has said something on an idle connection, or closed it: the request was not written.
#[derive(Debug, thiserror::Error)]
#[error(
    "the upstream sent bytes that nobody asked for, or closed the connection, before the request was written"
)]
pub(super) struct Unasked;

impl Wire {
    /// `place` is given back when the connection is dropped.
    pub(super) fn new(stream: Stream, gauge: &Gauge, place: Option<OwnedSemaphorePermit>) -> Self {
        let line = stream.is_h2().then(Line::default);
        Self {
            stream,
            last: Last::Written,
            write_error: None,
            farewell: None,
            line,
            rest: None,
            _counted: gauge.enter(),
            _place: place,
        }
    }

    /// What the exchanges on it share, if it speaks HTTP/2.
    pub(super) fn line(&self) -> Option<Line> {
        self.line.clone()
    }

    /// # Errors
    /// [`Unasked`], if `bytes` are the first of a request and the upstream has spoken first.
    fn before_writing(&mut self, bytes: &[u8]) -> io::Result<()> {
        let begins = self.last == Last::Read && self.line.is_none() && begins_request(bytes);
        if begins && self.stream.has_unread() {
            return Err(io::Error::other(Unasked));
        }
        self.last = Last::Written;
        Ok(())
    }
}

impl Stream {
    fn is_h2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// Whether the kernel holds bytes, or the end of the stream, that nobody has read.
    fn has_unread(&self) -> bool {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        };
        recv(tcp, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok()
    }
}

/// Whether a write is a request's head: hyper begins no head in the middle of one. Bytes of a body that look like one cost
/// no more than a connection.
fn begins_request(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.ends_with(b" HTTP/1.1\r")
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let Self { line, rest, .. } = &mut *self;
        if line.as_ref().is_some_and(|line| line.poll_over(cx, rest).is_ready()) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        ready!(match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, buf),
        })?;
        if buf.filled().len() > before {
            self.last = Last::Read;
        } else if let Some(error) = self.write_error.take() {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(()))
    }
}

impl Wire {
    /// Lets `outcome` through unless it is an error: that one is kept until nothing is left to read.
    fn forgive<T>(&mut self, outcome: Poll<io::Result<T>>, instead: T) -> Poll<io::Result<T>> {
        match outcome {
            Poll::Ready(Err(error)) => {
                self.write_error.get_or_insert(error);
                Poll::Ready(Ok(instead))
            }
            outcome => outcome,
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.write_error.is_some() {
            return Poll::Ready(Ok(buf.len()));
        }
        self.before_writing(buf)?;
        let outcome = match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, buf),
        };
        self.forgive(outcome, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if self.write_error.is_some() {
            return Poll::Ready(Ok(all));
        }
        self.before_writing(bufs.first().map(|buf| &**buf).unwrap_or_default())?;
        let outcome = match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_write_vectored(cx, bufs),
        };
        self.forgive(outcome, all)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(tcp) => tcp.is_write_vectored(),
            Stream::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.write_error.is_some() {
            return Poll::Ready(Ok(()));
        }
        let outcome = match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
        };
        self.forgive(outcome, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
        };
        if outcome.is_ready() {
            return outcome;
        }
        let farewell = self.farewell.get_or_insert_with(|| Box::pin(tokio::time::sleep(FAREWELL)));
        farewell.as_mut().poll(cx).map(Ok)
    }
}

/// An upstream that reads nothing must not hold a closing connection's descriptor.
const FAREWELL: Duration = Duration::from_secs(5);
