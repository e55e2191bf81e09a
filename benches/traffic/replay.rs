//! Sends the plan's requests through a proxy and counts what came of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tollgate::body::Body;
use tollgate::clock::Clock;
use tollgate::proxy::Proxy;
use tollgate::server::Arrival;
use tollgate::words::Scheme;

use crate::plan::{Event, Plan, Wish};
use crate::rooms::Rooms;
use crate::webex::{CONTENTS, Webex};

/// What one run came to.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Reads of contents by the bots.
    pub(crate) asked: u64,
    /// Answered without any call.
    pub(crate) hits: u64,
    /// Answered from memory after the API was asked.
    pub(crate) proved: u64,
    /// Answered by a call that was under way for somebody else.
    pub(crate) coalesced: u64,
    /// HEADs that no bot sent.
    pub(crate) proofs: u64,
    /// Upstream GETs of contents.
    pub(crate) gets: u64,
    /// Upstream HEADs of contents.
    pub(crate) heads: u64,
    /// Upstream bytes of contents.
    pub(crate) bytes: u64,
    /// Entries dropped to make room.
    pub(crate) evicted: u64,
    /// Upstream calls for anything else.
    pub(crate) others: u64,
    /// Requests for anything else that shared a call.
    pub(crate) others_coalesced: u64,
}

impl Figures {
    /// Upstream calls for contents.
    pub(crate) fn calls(&self) -> u64 {
        self.gets + self.heads
    }
}

#[derive(Debug, Default)]
struct Tally {
    asked: AtomicU64,
    hits: AtomicU64,
    proved: AtomicU64,
    coalesced: AtomicU64,
    forwarded_heads: AtomicU64,
    others_coalesced: AtomicU64,
}

/// Runs the whole plan.
pub(crate) async fn replay(plan: &Plan, rooms: &Rooms) -> Figures {
    let webex = Webex::new(Arc::clone(&plan.sizes));
    let proxy = Arc::new(rooms.around(webex.clone(), Clock::system()));
    let gate = proxy.gate.clone();
    // Ends with the runtime.
    tokio::spawn(async move { gate.run().await });
    let tally = Arc::new(Tally::default());
    let began_at = Instant::now();
    let mut under_way = JoinSet::new();
    for event in &plan.events {
        tokio::time::sleep_until(began_at + event.at).await;
        let size = match event.wish {
            Wish::Get(content) => Some(plan.sizes[content]),
            _ => None,
        };
        under_way.spawn(ask(Arc::clone(&proxy), Arc::clone(&tally), (*event, size)));
        while under_way.try_join_next().is_some_and(|done| done.is_ok()) {}
    }
    while let Some(done) = under_way.join_next().await {
        done.unwrap();
    }
    let told = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counts = &webex.counts;
    Figures {
        asked: told(&tally.asked),
        hits: told(&tally.hits),
        proved: told(&tally.proved),
        coalesced: told(&tally.coalesced),
        proofs: told(&counts.heads) - told(&tally.forwarded_heads),
        gets: told(&counts.gets),
        heads: told(&counts.heads),
        bytes: told(&counts.bytes),
        evicted: proxy.cache.glance().evicted,
        others: told(&counts.others),
        others_coalesced: told(&tally.others_coalesced),
    }
}

/// One request to its last byte; `size` is what a content must come to.
async fn ask(proxy: Arc<Proxy<Webex>>, tally: Arc<Tally>, (event, size): (Event, Option<u64>)) {
    let (method, path) = match event.wish {
        Wish::Get(content) => ("GET", format!("{CONTENTS}{content}")),
        Wish::Head(content) => ("HEAD", format!("{CONTENTS}{content}")),
        Wish::Me => ("GET", "/v1/people/me".to_owned()),
        Wish::Poll(room) => ("GET", format!("/v1/messages?roomId={room}&max=50")),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost:8443")
        .header("authorization", format!("Bearer bot-{}", event.bot))
        .header("user-agent", "python-requests/2.34.2");
    let peer = ([127, 0, 0, 1], 50_000).into();
    let arrival = Arrival { scheme: Scheme::Https, peer, version: Version::HTTP_11 };
    let response = proxy.answer(arrival, request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), 200);
    let status = response.headers()["cache-status"].to_str().unwrap().to_owned();
    let is_content = matches!(event.wish, Wish::Get(_) | Wish::Head(_));
    let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
    if is_content {
        count(&tally.asked);
        if status.contains("collapsed") {
            count(&tally.coalesced);
        } else if status.contains("proved") {
            count(&tally.proved);
        } else if status.contains("; hit") {
            count(&tally.hits);
        } else if method == "HEAD" {
            count(&tally.forwarded_heads);
        }
    } else if status.contains("collapsed") {
        count(&tally.others_coalesced);
    }
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.unwrap().data_ref().map_or(0, Bytes::len) as u64;
    }
    assert!(size.is_none_or(|size| size == bytes), "{event:?}: {bytes} bytes of {size:?}");
}
