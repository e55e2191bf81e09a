//! Decides how one body that is being fetched reaches many readers, each at its own pace, and when it is whole.
//!
//! One task takes the frames as they come; readers start at the first byte and never wait for each other. What is held is
//! the body itself, once, however many read it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use slab::Slab;
use tokio::sync::Notify;

use crate::body::{Body, BodyError};
use crate::words::Side;

use super::budget::Lease;

/// A body on its way into the cache, shared with its readers.
pub(super) struct Growing {
    state: Mutex<State>,
    /// A reader moved on or left: the task may have to look again.
    moved: Notify,
    length: Option<u64>,
    /// Holds the place of its bytes in the budget; none for bytes that hold their own.
    lease: Option<Arc<Lease>>,
}

struct State {
    /// Without gaps; those at the end that are still as they came are `loose`.
    blocks: VecDeque<Block>,
    loose: usize,
    end: u64,
    trailers: Option<HeaderMap>,
    stage: Stage,
    /// Why it broke.
    cause: Arc<str>,
    readers: Slab<Reader>,
}

struct Block {
    from: u64,
    bytes: Bytes,
}

struct Reader {
    at: u64,
    waker: Option<Waker>,
    has_trailers: bool,
    is_cut_off: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// All of it is held, and more comes.
    Filling,
    /// Too large to hold: only what readers still need is.
    Passing,
    Whole,
    Broken,
}

impl Growing {
    /// Nothing yet. `length` is what the upstream announced.
    pub(super) fn new(length: Option<u64>, lease: Option<Arc<Lease>>) -> Arc<Self> {
        let state = State {
            blocks: VecDeque::new(),
            loose: 0,
            end: 0,
            trailers: None,
            stage: Stage::Filling,
            cause: Arc::default(),
            readers: Slab::new(),
        };
        Arc::new(Self { state: Mutex::new(state), moved: Notify::new(), length, lease })
    }

    /// All of it, as it was kept.
    pub(super) fn kept(chunks: &[Bytes]) -> Arc<Self> {
        let growing = Self::new(Some(chunks.iter().map(|chunk| wide(chunk.len())).sum()), None);
        let mut state = growing.lock();
        for bytes in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            let from = state.end;
            state.end += wide(bytes.len());
            state.blocks.push_back(Block { from, bytes: bytes.clone() });
        }
        state.stage = Stage::Whole;
        drop(state);
        growing
    }

    /// The body from its first byte; none if it is broken, or its beginning is no longer held.
    ///
    /// # Drop
    /// The reader leaves; the others go on.
    pub(super) fn read(self: &Arc<Self>) -> Option<Body> {
        let mut state = self.lock();
        if matches!(state.stage, Stage::Passing | Stage::Broken) {
            return None;
        }
        let reader = Reader { at: 0, waker: None, has_trailers: false, is_cut_off: false };
        let place = state.readers.insert(reader);
        drop(state);
        Some(Body::stream(Reading { growing: Arc::clone(self), place }))
    }

    /// Whether [`Growing::read`] would find it.
    pub(super) fn is_readable(&self) -> bool {
        matches!(self.lock().stage, Stage::Filling | Stage::Whole)
    }

    /// Takes a frame. [`Growing::wake`] tells those who wait for it.
    pub(super) fn push(&self, frame: Frame<Bytes>) {
        let mut state = self.lock();
        match frame.into_data() {
            Ok(bytes) if bytes.is_empty() => {}
            Ok(bytes) => {
                let from = state.end;
                state.end += wide(bytes.len());
                state.blocks.push_back(Block { from, bytes });
                state.loose += 1;
                if state.stage == Stage::Filling {
                    state.compact(Compact::WhenDue, self.lease.as_ref());
                }
            }
            Err(frame) => state.trailers = frame.into_trailers().ok(),
        }
    }

    /// Wakes whoever waits for bytes.
    pub(super) fn wake(&self) {
        self.lock().wake();
    }

    /// All bytes so far, in chunks that pin nothing but themselves; none if not all are held.
    pub(super) fn whole(&self) -> Option<Arc<[Bytes]>> {
        let mut state = self.lock();
        if state.stage != Stage::Filling {
            return None;
        }
        state.compact(Compact::Now, self.lease.as_ref());
        Some(state.blocks.iter().map(|block| block.bytes.clone()).collect())
    }

    /// All bytes have come.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.stage = Stage::Whole;
        state.wake();
    }

    /// The body will never be whole: every reader's connection must break.
    pub(super) fn fail(&self, cause: &str) {
        let mut state = self.lock();
        state.stage = Stage::Broken;
        state.cause = cause.into();
        state.wake();
    }

    /// From now on only what readers still need is held.
    pub(super) fn pass(&self) {
        let mut state = self.lock();
        state.stage = Stage::Passing;
        state.forget_read();
    }

    /// Resolves when nobody reads any more.
    pub(super) async fn deserted(&self) {
        loop {
            let moved = self.moved.notified();
            if self.lock().readers.is_empty() {
                return;
            }
            moved.await;
        }
    }

    /// While passing: resolves when the fastest reader is near the end, so that the next frame is wanted. A reader
    /// that is `max_bytes` behind is cut off then: it may neither hold up the others nor the memory.
    pub(super) async fn wanted(&self, max_bytes: u64) {
        loop {
            let moved = self.moved.notified();
            let is_wanted = {
                let mut state = self.lock();
                let fastest = state.readers.iter().map(|(_, reader)| reader.at).max().unwrap_or(state.end);
                let is_wanted = state.stage != Stage::Passing || state.end - fastest < AHEAD_BYTES;
                if is_wanted && state.stage == Stage::Passing {
                    state.cut_off(max_bytes);
                }
                is_wanted
            };
            if is_wanted {
                return;
            }
            moved.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy)]
enum Compact {
    Now,
    WhenDue,
}

impl State {
    /// Copies what came in small frames into one block: what is kept never pins a larger read buffer.
    fn compact(&mut self, when: Compact, lease: Option<&Arc<Lease>>) {
        let first = self.blocks.len() - self.loose;
        let Some(from) = self.blocks.get(first).map(|block| block.from) else { return };
        let loose_bytes = self.end - from;
        let is_due = loose_bytes >= BLOCK_BYTES || self.loose >= MAX_LOOSE;
        if matches!(when, Compact::WhenDue) && !is_due {
            return;
        }
        let mut whole = BytesMut::with_capacity(usize::try_from(loose_bytes).unwrap_or_default());
        for block in self.blocks.drain(first..) {
            whole.extend_from_slice(&block.bytes);
        }
        let whole = whole.freeze();
        let bytes = lease.map_or_else(|| whole.clone(), |lease| lease.on(whole.clone()));
        self.blocks.push_back(Block { from, bytes });
        self.loose = 0;
    }

    fn forget_read(&mut self) {
        let needed = self.readers.iter().map(|(_, reader)| reader.at).min().unwrap_or(self.end);
        while self.blocks.front().is_some_and(|block| block.from + wide(block.bytes.len()) <= needed) {
            self.blocks.pop_front();
        }
        self.loose = self.loose.min(self.blocks.len());
    }

    fn cut_off(&mut self, max_bytes: u64) {
        for (_, reader) in &mut self.readers {
            if self.end - reader.at > max_bytes {
                reader.is_cut_off = true;
                reader.at = self.end;
                reader.waker.take().into_iter().for_each(Waker::wake);
            }
        }
        self.forget_read();
    }

    fn wake(&mut self) {
        for (_, reader) in &mut self.readers {
            reader.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    fn next(&self, at: u64) -> Option<Bytes> {
        let index = self.blocks.partition_point(|block| block.from <= at).checked_sub(1)?;
        let block = self.blocks.get(index)?;
        let skip = usize::try_from(at - block.from).ok()?;
        (skip < block.bytes.len()).then(|| block.bytes.slice(skip..))
    }

    /// What the reader gets next; `None` if it must wait.
    fn serve(&mut self, place: usize) -> Option<Served> {
        let at = self.readers.get(place)?.at;
        let next = self.next(at);
        let (stage, trailers) = (self.stage, &self.trailers);
        let reader = self.readers.get_mut(place)?;
        if reader.is_cut_off {
            return Some(Some(Err(BodyError::Broken(Side::Client, "it read too slowly to go on".into()))));
        }
        match (next, stage) {
            (Some(bytes), _) => {
                reader.at += wide(bytes.len());
                if stage == Stage::Passing {
                    self.forget_read();
                }
                Some(Some(Ok(Frame::data(bytes))))
            }
            (None, Stage::Broken) => {
                Some(Some(Err(BodyError::Broken(Side::Upstream, self.cause.as_ref().into()))))
            }
            (None, Stage::Whole) if !reader.has_trailers => {
                reader.has_trailers = true;
                Some(trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))))
            }
            (None, Stage::Whole) => Some(None),
            (None, Stage::Filling | Stage::Passing) => None,
        }
    }
}

type Served = Option<Result<Frame<Bytes>, BodyError>>;

/// One reader's view of the body.
struct Reading {
    growing: Arc<Growing>,
    place: usize,
}

impl HttpBody for Reading {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.growing.lock();
        if let Some(served) = state.serve(self.place) {
            let is_passing = state.stage == Stage::Passing;
            drop(state);
            if is_passing {
                self.growing.moved.notify_one();
            }
            return Poll::Ready(served);
        }
        if let Some(reader) = state.readers.get_mut(self.place) {
            reader.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        let state = self.growing.lock();
        let is_read = state.readers.get(self.place).is_some_and(|reader| reader.at == state.end);
        state.stage == Stage::Whole && is_read && state.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let at = self.growing.lock().readers.get(self.place).map_or(0, |reader| reader.at);
        self.growing
            .length
            .map_or_else(SizeHint::new, |length| SizeHint::with_exact(length.saturating_sub(at)))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.growing.lock();
        state.readers.try_remove(self.place);
        if state.stage == Stage::Passing {
            state.forget_read();
        }
        drop(state);
        self.growing.moved.notify_one();
    }
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Frames are gathered into blocks of at least this size.
const BLOCK_BYTES: u64 = 256 * 1024;
/// An upstream that sends byte by byte must not make a list of bytes.
const MAX_LOOSE: usize = 256;
/// How far an unheld body is read ahead of its fastest reader.
const AHEAD_BYTES: u64 = 256 * 1024;

#[cfg(test)]
mod tests;
