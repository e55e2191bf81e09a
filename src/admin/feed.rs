//! Decides who hears of the state as it changes: one snapshot a second, shared by a bounded number of pages.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use serde_json::Value;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::body::{Body, BodyError};

use super::history::{Beat, History, STEP_SECONDS};

/// Snapshots on their way to pages.
#[derive(Debug)]
pub(super) struct Feed {
    news: watch::Sender<News>,
    places: Arc<Semaphore>,
    wanted: Notify,
    history: Mutex<History>,
}

/// What there is to hear.
#[derive(Debug, Clone)]
enum News {
    /// Nobody has listened lately: what was last said is old.
    Nothing,
    /// The snapshot of a second, and its number.
    Snapshot(u64, Bytes),
    /// There will be no more.
    Over,
}

impl Feed {
    pub(super) fn new() -> Self {
        Self {
            news: watch::Sender::new(News::Nothing),
            places: Arc::new(Semaphore::new(SUBSCRIBERS)),
            wanted: Notify::new(),
            history: Mutex::default(),
        }
    }

    /// Notes a beat every other second, and while anybody listens takes a snapshot every second. Ends when dropped;
    /// pages then hear no more.
    pub(super) async fn run(&self, beat: impl Fn() -> Beat, snapshot: impl Fn() -> Value) {
        let _over = Over(&self.news);
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 0_u64;
        loop {
            // In this order: a newcomer at the full second costs no second snapshot.
            let ticked = tokio::select! {
                biased;
                _ = seconds.tick() => true,
                () = self.wanted.notified() => false,
            };
            if ticked && number.is_multiple_of(STEP_SECONDS) {
                self.lock().note(beat());
            }
            number += u64::from(ticked);
            let is_heard = self.news.receiver_count() > 0;
            let is_new = matches!(*self.news.borrow(), News::Nothing);
            if is_heard && (ticked || is_new) {
                let text = format!("data: {}\n\n", snapshot());
                self.news.send_replace(News::Snapshot(number, text.into()));
            } else if !is_heard {
                self.news.send_replace(News::Nothing);
            }
        }
    }

    /// A stream of snapshots, the first at once; none if too many listen already.
    ///
    /// # Drop
    /// Dropping the body gives its place to another.
    pub(super) fn subscribe(&self) -> Option<Body> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut news = self.news.subscribe();
        news.mark_changed();
        self.wanted.notify_one();
        Some(Body::stream(Events { next: Box::pin(next(news)), heard: None, left: EVENTS, _place: place }))
    }

    /// The history as status shows it.
    pub(super) fn history(&self) -> Value {
        self.lock().shown()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells every page that there will be no more, however the feed ends.
struct Over<'a>(&'a watch::Sender<News>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.send_replace(News::Over);
    }
}

type Heard = (watch::Receiver<News>, Option<(u64, Bytes)>);

async fn next(mut news: watch::Receiver<News>) -> Heard {
    loop {
        if news.changed().await.is_err() {
            return (news, None);
        }
        let heard = news.borrow_and_update().clone();
        match heard {
            News::Nothing => {}
            News::Snapshot(number, event) => return (news, Some((number, event))),
            News::Over => return (news, None),
        }
    }
}

/// The body of one page's stream. Only the latest snapshot is held, however slowly it is read.
struct Events {
    next: Pin<Box<dyn Future<Output = Heard> + Send>>,
    heard: Option<u64>,
    left: u32,
    _place: OwnedSemaphorePermit,
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let (news, heard) = ready!(self.next.as_mut().poll(cx));
        let Some((number, event)) = heard else {
            self.left = 0;
            self.next = Box::pin(next(news));
            return Poll::Ready(None);
        };
        // The connection asks for the next one only when it could write the last: whoever missed many is not reading.
        let missed = number.saturating_sub(self.heard.unwrap_or(number));
        self.left = if missed > MAX_MISSED { 0 } else { self.left.saturating_sub(1) };
        self.heard = Some(number);
        self.next = Box::pin(next(news));
        Poll::Ready((missed <= MAX_MISSED).then_some(Ok(Frame::data(event))))
    }
}

/// Half of what the operators' listener takes: scrapes and probes always find a place beside the pages.
const SUBSCRIBERS: usize = 32;
/// After ten minutes a page asks anew, which its browser does by itself: so a place is not held for ever by a machine
/// that went away without a word.
const EVENTS: u32 = 600;
/// Seconds; a laptop that sleeps longer has to ask anew.
const MAX_MISSED: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::{AtomicU64, Ordering};

    use http_body_util::BodyExt;
    use serde_json::json;
    use tokio::time::{advance, timeout};

    const BEAT: Beat = Beat { waiting: 1, rate_per_second: 5.0, is_closed: false, answered: 0, refused: 0 };

    /// A feed that runs, and how many snapshots it has taken.
    fn running() -> (Arc<Feed>, tokio::task::JoinHandle<()>, Arc<AtomicU64>) {
        let (feed, taken) = (Arc::new(Feed::new()), Arc::new(AtomicU64::new(0)));
        let (runs, counts) = (Arc::clone(&feed), Arc::clone(&taken));
        let task = tokio::spawn(async move {
            runs.run(|| BEAT, || json!(counts.fetch_add(1, Ordering::Relaxed))).await;
        });
        (feed, task, taken)
    }

    async fn hear(body: &mut Body) -> Option<String> {
        let frame = timeout(Duration::from_secs(5), body.frame()).await.unwrap()?;
        Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn all_pages_hear_the_same_snapshot_each_second() {
        let (feed, _task, taken) = running();
        let mut pages = [feed.subscribe().unwrap(), feed.subscribe().unwrap()];
        for number in 0..3 {
            for page in &mut pages {
                assert_eq!(hear(page).await, Some(format!("data: {number}\n\n")));
            }
        }
        assert_eq!(taken.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_reckoned_while_nobody_listens() {
        let (feed, _task, taken) = running();
        advance(Duration::from_secs(1)).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(taken.load(Ordering::Relaxed), 0);
        let mut page = feed.subscribe().unwrap();
        assert_eq!(hear(&mut page).await.unwrap(), "data: 0\n\n");
        drop(page);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(taken.load(Ordering::Relaxed) <= 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_hears_something_new_at_once() {
        let (feed, _task, _) = running();
        tokio::time::sleep(Duration::from_millis(2300)).await;
        let mut page = feed.subscribe().unwrap();
        let heard = timeout(Duration::from_millis(1), page.frame()).await;
        assert!(heard.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_bounded_and_given_back() {
        let (feed, _task, _) = running();
        let pages: Vec<_> = std::iter::from_fn(|| feed.subscribe()).collect();
        assert_eq!(pages.len(), SUBSCRIBERS);
        drop(pages);
        assert!(feed.subscribe().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_does_not_read_is_dropped() {
        let (feed, _task, _) = running();
        let mut page = feed.subscribe().unwrap();
        assert!(hear(&mut page).await.is_some());
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(hear(&mut page).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_after_ten_minutes() {
        let (feed, _task, _) = running();
        let mut page = feed.subscribe().unwrap();
        for _ in 0..EVENTS {
            assert!(hear(&mut page).await.is_some());
        }
        assert_eq!(hear(&mut page).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn all_streams_end_with_the_feed() {
        let (feed, task, _) = running();
        let mut page = feed.subscribe().unwrap();
        assert!(hear(&mut page).await.is_some());
        task.abort();
        drop(task.await);
        assert_eq!(hear(&mut page).await, None);
        let mut late = feed.subscribe().unwrap();
        assert_eq!(hear(&mut late).await, None);
    }
}
