//! One request over a socket: its body read as far as ordered, its answer sent as broken as ordered.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::activity::{Activity, Working};
use super::lock;
use crate::body::Body;
use crate::clock::Clock;
use crate::sim::model::{Answer, Chunks, Close, Early, Model};
use crate::words::Side;

/// The largest request body that is read.
const MAX_BODY_BYTES: u64 = 200 * 1024 * 1024;

/// The longest pause between two frames of a request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Time for what was already written to leave before a connection is broken.
const FLUSH_FOR: Duration = Duration::from_millis(30);

/// Time for a client to notice that it was answered early.
const LINGER_FOR: Duration = Duration::from_secs(1);

/// The ordered end of a connection, as hyper must hear it.
#[derive(Debug, thiserror::Error)]
#[error("the connection was ordered to break")]
pub(super) struct Broken;

/// Answers the requests of one connection.
#[derive(Clone)]
pub(super) struct Exchange {
    model: Arc<Mutex<Model>>,
    clock: Clock,
    activity: Activity,
    reset: Arc<AtomicBool>,
}

/// A request body as far as it was read.
enum Read {
    Broken(u64),
    TooLarge(u64),
    Whole(Bytes),
}

impl Exchange {
    pub(super) fn new(
        model: Arc<Mutex<Model>>,
        clock: Clock,
        activity: Activity,
        reset: Arc<AtomicBool>,
    ) -> Self {
        Self { model, clock, activity, reset }
    }

    pub(super) async fn answer(self, request: Request<Incoming>) -> Result<Response<Sent>, Broken> {
        let working = self.activity.begin();
        let early = lock(&self.model).early(&request, self.clock.wall());
        let (head, body) = request.into_parts();
        let mut body = Body::received(body, Side::Client).with_idle_timeout(Side::Client, BODY_TIMEOUT);
        if let Some(Early { answer, after_bytes }) = early {
            read(&mut body, None, after_bytes).await;
            // A client that waits for `100 Continue` has sent nothing, and must not be told to go on.
            if after_bytes > 0 || !head.headers.contains_key(EXPECT) {
                linger(body);
            }
            return self.send(answer, working).await;
        }
        let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let read = read(&mut body, length, u64::MAX).await;
        let answer = match read {
            Read::Whole(bytes) => {
                lock(&self.model).finish(&Request::from_parts(head, bytes), self.clock.wall())
            }
            Read::Broken(received) => {
                lock(&self.model).broken(&Request::from_parts(head, ()), received, self.clock.wall());
                return Err(Broken);
            }
            Read::TooLarge(received) => {
                lock(&self.model).broken(&Request::from_parts(head, ()), received, self.clock.wall());
                let mut response = Response::new(crate::sim::model::Payload::empty());
                *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                Answer::plain(response)
            }
        };
        self.send(answer, working).await
    }

    async fn send(self, answer: Answer, working: Working) -> Result<Response<Sent>, Broken> {
        if !answer.delay.is_zero() {
            tokio::time::sleep(answer.delay).await;
        }
        let left = match answer.close {
            Close::Never => u64::MAX,
            Close::After(bytes) => bytes,
            Close::Stream => return Err(Broken),
            Close::Before | Close::Reset => {
                self.reset.store(answer.close == Close::Reset, Ordering::Relaxed);
                self.activity.kill();
                return std::future::pending().await;
            }
        };
        Ok(answer.response.map(|payload| {
            let (chunks, whole) = (payload.chunks(), payload.len());
            Sent {
                chunks,
                unsent: whole,
                left,
                rest: Bytes::new(),
                pause: answer.pause,
                timer: None,
                activity: self.activity,
                _working: working,
            }
        }))
    }
}

/// Reads a body up to `limit` bytes.
async fn read(body: &mut Body, length: Option<usize>, limit: u64) -> Read {
    let capacity = length.unwrap_or(0).min(usize::try_from(MAX_BODY_BYTES).unwrap_or(0));
    let mut bytes = BytesMut::with_capacity(capacity);
    let mut received = 0;
    while received < limit {
        let frame = match body.frame().await {
            None => break,
            Some(Err(_)) => return Read::Broken(received),
            Some(Ok(frame)) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        received += u64::try_from(data.len()).unwrap_or(u64::MAX);
        if received > MAX_BODY_BYTES {
            return Read::TooLarge(received);
        }
        bytes.extend_from_slice(&data);
    }
    Read::Whole(bytes.freeze())
}

/// Reads on for a while after an early answer: closing at once would reset the connection under a client that is
/// still sending, and the answer could be lost. The task ends with the body, the connection or [`LINGER_FOR`].
fn linger(mut body: Body) {
    tokio::spawn(tokio::time::timeout(
        LINGER_FOR,
        async move { while let Some(Ok(_)) = body.frame().await {} },
    ));
}

/// A response body that keeps the connection busy while it flows, that may fall silent for a while, and that may
/// break the connection after `left` bytes.
pub(super) struct Sent {
    chunks: Chunks,
    unsent: u64,
    left: u64,
    /// What a pause cut off the chunk before.
    rest: Bytes,
    pause: Option<(u64, Duration)>,
    timer: Option<Pin<Box<Sleep>>>,
    activity: Activity,
    _working: Working,
}

impl Sent {
    fn wait(&mut self, time: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
        ready!(timer.as_mut().poll(cx));
        self.timer = None;
        Poll::Ready(())
    }

    /// The next bytes, none beyond `limit`.
    fn chunk(&mut self, limit: u64) -> Option<Bytes> {
        let mut chunk =
            if self.rest.is_empty() { self.chunks.next()? } else { std::mem::take(&mut self.rest) };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.rest = chunk.split_off(limit.min(chunk.len()));
        Some(chunk)
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some((0, time)) = self.pause {
            ready!(self.wait(time, cx));
            self.pause = None;
        }
        if self.left == 0 {
            ready!(self.wait(FLUSH_FOR, cx));
            self.activity.kill();
            return Poll::Ready(Some(Err(Broken)));
        }
        let limit = self.pause.map_or(self.left, |(after, _)| after.min(self.left));
        let Some(chunk) = self.chunk(limit) else { return Poll::Ready(None) };
        let size = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        self.unsent = self.unsent.saturating_sub(size);
        if self.left != u64::MAX {
            self.left -= size;
        }
        if let Some((after, _)) = &mut self.pause {
            *after -= size;
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == u64::MAX && self.unsent == 0
    }

    /// Says nothing of a body whose head carries no length: the length stands in the head, or the body is chunked.
    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}
