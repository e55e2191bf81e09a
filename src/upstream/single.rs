//! Decides how one HTTP/1.1 connection is driven: by the task that uses it, so that a request needs no other task.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Sleep;

use super::bell::Bell;
use super::sending::Watched;
use super::wire::Wire;

/// One connection, for one exchange at a time. Nothing happens on it unless it is polled.
pub(super) struct Single {
    sender: SendRequest<Watched>,
    /// None once it is over.
    connection: Option<Connection<TokioIo<Wire>, Watched>>,
    bell: Bell,
    is_suspect: bool,
    is_used: bool,
    /// For the silence of the upstream. It stays over exchanges: to set it anew costs more than to let it fire and look again.
    pub(super) timer: Option<Pin<Box<Sleep>>>,
}

impl Single {
    /// Speaks HTTP/1.1 over `wire`.
    pub(super) async fn open(http1: &Builder, wire: Wire) -> hyper::Result<Box<Self>> {
        let (sender, connection) = http1.handshake(TokioIo::new(wire)).await?;
        let (bell, timer) = (Bell::new(), None);
        let (connection, is_suspect, is_used) = (Some(connection), false, false);
        Ok(Box::new(Self { sender, connection, bell, is_suspect, is_used, timer }))
    }

    /// Moves bytes; ready once the connection is over. What came of an exchange its answer and its body tell.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { connection, bell, .. } = self;
        let Some(open) = connection else { return Poll::Ready(()) };
        let outcome = bell.poll(cx, |cx| Pin::new(open).poll(cx));
        if outcome.is_ready() {
            // A request that it has not taken, because the upstream closed it before, goes back to who asked only with it.
            *connection = None;
        }
        outcome.map(drop)
    }

    /// The next frame of the body that is on its way: what is here already, or what comes now that somebody asks.
    pub(super) fn poll_frame(
        &mut self,
        mut incoming: Pin<&mut Incoming>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let here = self.bell.muted(|cx| incoming.as_mut().poll_frame(cx));
        if here.is_ready() {
            return here;
        }
        // How it ended the body tells.
        let _is_over = self.poll(cx);
        incoming.poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    /// Takes a request; its answer comes while the connection is polled, which it must be next, and at no other time.
    ///
    /// # Drop
    /// Dropping the future ends the connection, once it is polled again.
    pub(super) fn send(
        &mut self,
        request: Request<Watched>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Watched>>>> + use<> {
        self.is_used = true;
        let Self { sender, bell, .. } = self;
        bell.muted(|_| sender.try_send_request(request))
    }

    /// Nobody uses it for now: what its last exchange still does to it concerns nobody.
    pub(super) fn rest(&self) {
        self.bell.rest();
    }

    /// Whether it can carry another exchange now.
    pub(super) fn is_ready(&self) -> bool {
        self.connection.is_some() && !self.is_suspect && self.sender.is_ready()
    }

    /// Whether it has carried an exchange: then it may have been closed behind our back.
    pub(super) fn is_used(&self) -> bool {
        self.is_used
    }

    /// It carries nothing more after this exchange.
    pub(super) fn spoil(&mut self) {
        self.is_suspect = true;
    }

    /// Drives what is left of an exchange; the connection, if it can carry another one.
    pub(super) async fn finish(mut self: Box<Self>) -> Option<Box<Self>> {
        if !self.is_suspect {
            let is_free = std::future::poll_fn(|cx| match self.poll(cx) {
                Poll::Ready(()) => Poll::Ready(false),
                Poll::Pending => self.sender.poll_ready(cx).map(|outcome| outcome.is_ok()),
            });
            if is_free.await {
                return Some(self);
            }
        }
        self.end().await;
        None
    }

    /// Takes leave of the upstream.
    pub(super) async fn end(self: Box<Self>) {
        let Self { sender, connection, .. } = *self;
        drop(sender);
        if let Some(connection) = connection {
            // How it ends concerns nobody any more.
            drop(connection.await);
        }
    }
}
