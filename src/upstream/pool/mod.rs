//! Decides which connection carries a request: the one that all share, one that rests, or a new one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::clock::Clock;

use super::connect::Connector;
use super::seat::Line;
use super::sending::Watched;
use super::single::Single;
use super::{Failed, UpstreamSettings};
use builders::{http1, http2};

mod builders;
mod watch;

/// The connections to one upstream. Cloning shares them.
#[derive(Clone)]
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    connector: Connector,
    http1: conn::http1::Builder,
    http2: conn::http2::Builder<TokioExecutor>,
    max_resting: usize,
    rest_timeout: Duration,
    clock: Clock,
    host: String,
}

#[derive(Default)]
struct State {
    common: Option<(Common, Instant)>,
    /// Those used last stand last, and are used first.
    resting: Vec<Resting>,
    /// Bounded by the requests that open a connection: each stands here at most once.
    waiting: VecDeque<oneshot::Sender<Way>>,
    is_watched: bool,
    /// Something has begun to rest since the last tick of the watch.
    has_rested: bool,
}

struct Resting {
    single: Box<Single>,
    since: Instant,
}

/// How a request reaches the upstream.
pub(super) enum Way {
    /// HTTP/2, beside others.
    Common(Common),
    /// HTTP/1.1, alone.
    Own(Lent),
}

/// An HTTP/2 connection, driven by a task of its own that ends with the connection.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) sender: conn::http2::SendRequest<Watched>,
    pub(super) line: Line,
    pub(super) is_used: bool,
}

/// A connection that belongs to one exchange.
///
/// # Drop
/// It rests, if it can carry another exchange. Else a task brings this one to its end, or the connection.
pub(super) struct Lent {
    single: Option<Box<Single>>,
    pool: Weak<Shared>,
}

impl Pool {
    /// Connects to nothing yet.
    pub(super) fn new(settings: &UpstreamSettings, connector: Connector, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            connector,
            http1: http1(),
            http2: http2(),
            max_resting: settings.pool_max_idle,
            rest_timeout: settings.pool_idle_timeout,
            clock,
            host: settings.base.authority.host().to_owned(),
        }))
    }

    /// A way that is open and free, if there is one.
    pub(super) fn find(&self) -> Option<Way> {
        let mut ended = Vec::new();
        let found = self.0.take(&mut self.0.lock(), &mut ended);
        ended.into_iter().for_each(|resting| end(resting.single));
        found
    }

    /// The first way to be had: one that is opened now, or one that somebody gives back meanwhile.
    ///
    /// # Drop
    /// Gives up opening one.
    pub(super) async fn acquire(&self) -> Result<Way, Failed> {
        let mut ended = Vec::new();
        let found = {
            // In one go: what is given back in between would rest while this one waits for its place.
            let mut state = self.0.lock();
            self.0.take(&mut state, &mut ended).ok_or_else(|| state.wait())
        };
        ended.into_iter().for_each(|resting| end(resting.single));
        let given_back = match found {
            Ok(way) => return Ok(way),
            Err(given_back) => given_back,
        };
        let mut opening = Box::pin(Arc::clone(&self.0).open());
        tokio::select! {
            biased;
            Ok(way) = given_back => {
                // It is nearly there, and somebody will need it. Ends with the time that opening may take.
                tokio::spawn(async move { drop(opening.await) });
                Ok(way)
            }
            opened = &mut opening => opened,
        }
    }
}

impl State {
    /// The next way that is given back.
    fn wait(&mut self) -> oneshot::Receiver<Way> {
        while self.waiting.front().is_some_and(oneshot::Sender::is_closed) {
            self.waiting.pop_front();
        }
        let (sender, given_back) = oneshot::channel();
        self.waiting.push_back(sender);
        given_back
    }
}

impl Shared {
    fn take(self: &Arc<Self>, state: &mut State, ended: &mut Vec<Resting>) -> Option<Way> {
        let now = self.clock.now();
        if let Some((common, used_at)) = state.common.as_mut().filter(|common| self.is_kept(common, now)) {
            *used_at = now;
            return Some(Way::Common(common.clone()));
        }
        state.common = None;
        while let Some(resting) = state.resting.pop() {
            let rested_for = now.saturating_duration_since(resting.since);
            if rested_for < self.rest_timeout && resting.single.is_ready() {
                return Some(Way::Own(self.lend(resting.single)));
            }
            ended.push(resting);
        }
        None
    }

    async fn open(self: Arc<Self>) -> Result<Way, Failed> {
        let failed = |error: hyper::Error| Failed::Handshake { sni: self.host.clone(), source: error.into() };
        let wire = self.connector.open().await?;
        let Some(line) = wire.line() else {
            let single = Single::open(&self.http1, wire).await.map_err(failed)?;
            return Ok(Way::Own(self.lend(single)));
        };
        let (mut sender, connection) = self.http2.handshake(TokioIo::new(wire)).await.map_err(failed)?;
        tokio::spawn(async move { drop(connection.await) });
        sender.ready().await.map_err(failed)?;
        Ok(Way::Common(self.share(Common { sender, line, is_used: false })))
    }

    /// Has all requests use one HTTP/2 connection: this one, unless there is one already.
    fn share(self: &Arc<Self>, new: Common) -> Common {
        let mut state = self.lock();
        let now = self.clock.now();
        if let Some((known, _)) = state.common.as_ref().filter(|common| self.is_kept(common, now)) {
            return known.clone();
        }
        let used = Common { is_used: true, ..new.clone() };
        state.common = Some((used.clone(), now));
        self.look_after(&mut state);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waiter in waiting {
            // Who has left needs no way.
            drop(waiter.send(Way::Common(used.clone())));
        }
        new
    }

    fn lend(self: &Arc<Self>, single: Box<Single>) -> Lent {
        Lent { single: Some(single), pool: Arc::downgrade(self) }
    }

    /// Hands a free connection to who waits for one, else lets it rest.
    fn offer(self: &Arc<Self>, mut single: Box<Single>) {
        single.rest();
        loop {
            let mut state = self.lock();
            let Some(waiter) = state.waiting.pop_front() else {
                if state.resting.len() >= self.max_resting {
                    drop(state);
                    return end(single);
                }
                state.resting.push(Resting { single, since: self.clock.now() });
                return self.look_after(&mut state);
            };
            drop(state);
            match waiter.send(Way::Own(self.lend(single))) {
                Err(Way::Own(Lent { single: ref mut back @ Some(_), .. })) => match back.take() {
                    Some(back) => single = back,
                    None => return,
                },
                Ok(()) | Err(_) => return,
            }
        }
    }

    fn is_kept(&self, (common, used_at): &(Common, Instant), now: Instant) -> bool {
        common.is_open() && now.saturating_duration_since(*used_at) < self.rest_timeout
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.resting.drain(..).for_each(|resting| end(resting.single));
    }
}

impl Common {
    fn is_open(&self) -> bool {
        self.sender.is_ready() && !self.line.is_suspect()
    }
}

impl Lent {
    /// The connection, for as long as it is lent.
    pub(super) fn single(&mut self) -> Option<&mut Single> {
        self.single.as_deref_mut()
    }

    /// Whether it could rest now.
    pub(super) fn is_ready(&self) -> bool {
        self.single.as_ref().is_some_and(|single| single.is_ready())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(single) = self.single.take() else { return };
        let pool = self.pool.clone();
        if single.is_ready() {
            match pool.upgrade() {
                Some(pool) => pool.offer(single),
                None => end(single),
            }
            return;
        }
        // Ends with the exchange or with the connection, which no longer waits for anybody.
        spawn(async move {
            if let Some(single) = single.finish().await {
                match pool.upgrade() {
                    Some(pool) => pool.offer(single),
                    None => single.end().await,
                }
            }
        });
    }
}

/// Takes leave of an upstream. The task ends with [`Wire`](super::wire::Wire)'s farewell.
fn end(single: Box<Single>) {
    spawn(single.end());
}

/// A body may be dropped after the runtime: then its connection is only dropped, too.
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(task);
    }
}
