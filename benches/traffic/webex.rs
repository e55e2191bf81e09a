//! The API as the traffic needs it: every bot may read, answers take their time, and all that leaves is counted.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use http_body::{Body as HttpBody, Frame};
use tokio::time::Sleep;
use tollgate::body::{Body, BodyError};
use tollgate::gate::Permit;
use tollgate::rewrite::Outbound;
use tollgate::upstream::{Answer, Failed, Transport};

/// Where the number of a content begins.
pub(crate) const CONTENTS: &str = "/v1/contents/";

/// From the request to the head of its answer.
const ROUND_TRIP: Duration = Duration::from_millis(120);
/// How fast a body flows.
const BYTES_PER_SECOND: u64 = 20_000_000;
const CHUNK: u64 = 256 * 1024;
/// A page of 50 short messages.
const PAGE_BYTES: usize = 25_000;

/// Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Webex {
    sizes: Arc<[u64]>,
    block: Bytes,
    page: Bytes,
    pub(crate) counts: Arc<Counts>,
}

/// What reached the API.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) gets: AtomicU64,
    pub(crate) heads: AtomicU64,
    pub(crate) others: AtomicU64,
    /// Of contents alone.
    pub(crate) bytes: AtomicU64,
}

impl Webex {
    /// Contents of these sizes.
    pub(crate) fn new(sizes: Arc<[u64]>) -> Self {
        let page = format!("{{\"items\":[{{\"text\":\"{}\"}}]}}", "x".repeat(PAGE_BYTES));
        Self { sizes, block: vec![7; CHUNK as usize].into(), page: page.into(), counts: Arc::default() }
    }
}

impl Transport for Webex {
    async fn send(&self, permit: Permit, outbound: Outbound) -> Result<Answer, Failed> {
        let receipt = permit.spend();
        let request = outbound.into_request();
        tokio::time::sleep(ROUND_TRIP).await;
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let head = Response::builder()
            .header("date", "Fri, 20 Nov 2026 12:00:00 GMT")
            .header("trackingid", "ROUTER_1")
            .header("cache-control", "no-cache")
            .header("via", "1.1 linkerd");
        let number = request.uri().path().strip_prefix(CONTENTS).map(|id| id.parse::<usize>().unwrap());
        let response = match number.map(|number| self.sizes[number]) {
            Some(size) => {
                let head = head
                    .header("content-type", "application/pdf")
                    .header("content-disposition", "attachment; filename=\"example.pdf\"")
                    .header("content-length", size);
                if request.method() == Method::HEAD {
                    count(&self.counts.heads);
                    head.body(Body::empty())
                } else {
                    count(&self.counts.gets);
                    let counts = Arc::clone(&self.counts);
                    head.body(Body::stream(Flow {
                        block: self.block.clone(),
                        left: size,
                        pause: None,
                        counts,
                    }))
                }
            }
            None => {
                count(&self.counts.others);
                head.header("content-type", "application/json;charset=UTF-8")
                    .body(Body::whole(self.page.clone()))
            }
        };
        Ok(Answer { response: response.unwrap(), receipt })
    }
}

/// A content on its way: chunks that share one block, each after the time it takes.
struct Flow {
    block: Bytes,
    left: u64,
    pause: Option<Pin<Box<Sleep>>>,
    counts: Arc<Counts>,
}

impl HttpBody for Flow {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let size = self.left.min(CHUNK);
        if size == 0 {
            return Poll::Ready(None);
        }
        let time = Duration::from_micros(size * 1_000_000 / BYTES_PER_SECOND);
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
        ready!(pause.as_mut().poll(cx));
        self.pause = None;
        self.left -= size;
        self.counts.bytes.fetch_add(size, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(self.block.slice(..size as usize)))))
    }
}
