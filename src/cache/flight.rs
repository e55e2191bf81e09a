//! Decides who fetches when many ask for the same: one leads, the others read what it gets.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tokio::sync::watch;

use crate::body::Body;
use crate::words::CredentialId;

use super::growing::Growing;
use super::key::Key;
use super::marks::Epoch;

/// What makes two requests under way the same: the key, and every field that could make a difference.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) fields: Box<[(HeaderName, HeaderValue)]>,
}

/// Requests under way that others may join. Bounded by the requests themselves: each entry belongs to one.
#[derive(Clone, Default)]
pub(super) struct Flights {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    under_way: Mutex<HashMap<Arc<Wanted>, Flight>>,
    next_id: AtomicU64,
}

/// One request under way.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    id: u64,
    /// When it began: whoever knows of something newer must not join.
    pub(super) epoch: Epoch,
    /// Who leads.
    pub(super) credential: CredentialId,
    stage: watch::Receiver<Stage>,
}

/// How far it is.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// It cannot be shared: everyone for himself.
    Alone,
    /// No answer yet.
    Asking,
    /// An answer that others may read as it comes.
    Flowing(Arc<Flowing>),
}

/// The answer that is being fetched.
pub(super) struct Flowing {
    /// As the API wrote it.
    pub(super) status: StatusCode,
    /// As the API wrote them, to the one who leads.
    pub(super) headers: HeaderMap,
    /// Its bytes.
    pub(super) body: Arc<Growing>,
}

impl Flowing {
    /// The answer with these fields, and a body from its first byte; none if that is no longer to be had.
    pub(super) fn read(&self, headers: &HeaderMap) -> Option<Response<Body>> {
        let mut response = Response::new(self.body.read()?);
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(headers);
        Some(response)
    }
}

/// Without fields and bytes: they are the tenant's.
impl std::fmt::Debug for Flowing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Flowing({})", self.status)
    }
}

/// The lead of a flight.
///
/// # Drop
/// The flight is over. Followers that have no answer yet begin anew, unless [`Lead::part`] told them not to wait for
/// each other.
pub(super) struct Lead {
    flights: Flights,
    wanted: Arc<Wanted>,
    id: u64,
    stage: watch::Sender<Stage>,
}

/// What a follower learns.
#[derive(Debug)]
pub(super) enum Followed {
    /// The leader left before there was an answer: somebody else may lead.
    Again,
    /// The answer cannot be shared.
    Alone,
    /// Read along.
    Flowing(Arc<Flowing>),
}

impl Flights {
    /// The flight under way, if there is one that may be joined; else the lead of a new one, and an older one of the
    /// same kind gets no more followers.
    pub(super) fn join_or_lead(
        &self,
        wanted: Wanted,
        may_join: impl Fn(&Flight) -> bool,
        epoch: Epoch,
        credential: CredentialId,
    ) -> Result<Flight, Lead> {
        let wanted = Arc::new(wanted);
        let mut under_way = self.lock();
        let place = under_way.entry(Arc::clone(&wanted));
        if let Entry::Occupied(known) = &place
            && known.get().is_joinable()
            && may_join(known.get())
        {
            return Ok(known.get().clone());
        }
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, stage) = watch::channel(Stage::Asking);
        place.insert_entry(Flight { id, epoch, credential, stage });
        Err(Lead { flights: self.clone(), wanted, id, stage: sender })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<Wanted>, Flight>> {
        self.shared.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without targets and fields: they are the tenant's.
impl std::fmt::Debug for Flights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Flights({})", self.lock().len())
    }
}

/// Without target and fields: they are the tenant's.
impl std::fmt::Debug for Lead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lead({})", self.id)
    }
}

impl Flight {
    /// Waits for the answer's head. The leader's own deadlines bound it; the caller has one of its own.
    pub(super) async fn follow(mut self) -> Followed {
        loop {
            match &*self.stage.borrow_and_update() {
                Stage::Alone => return Followed::Alone,
                Stage::Flowing(flowing) => return Followed::Flowing(Arc::clone(flowing)),
                Stage::Asking => {}
            }
            if self.stage.changed().await.is_err() {
                return Followed::Again;
            }
        }
    }

    /// Its leader waits for the answer's head.
    pub(super) fn is_asking(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Asking)
    }

    /// Its leader is there, or its answer flows.
    fn is_joinable(&self) -> bool {
        match &*self.stage.borrow() {
            Stage::Alone => false,
            Stage::Asking => self.stage.has_changed().is_ok(),
            Stage::Flowing(flowing) => flowing.body.is_readable(),
        }
    }
}

impl Lead {
    /// Lets followers read along.
    pub(super) fn share(&self, flowing: Flowing) {
        self.stage.send_replace(Stage::Flowing(Arc::new(flowing)));
    }

    /// Whether somebody waits for the answer.
    pub(super) fn is_followed(&self) -> bool {
        // One receiver is the table's.
        self.stage.receiver_count() > 1
    }

    /// The answer cannot be shared: followers go on by themselves, all at once.
    pub(super) fn part(self) {
        self.stage.send_replace(Stage::Alone);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if let Entry::Occupied(known) = self.flights.lock().entry(Arc::clone(&self.wanted))
            && known.get().id == self.id
        {
            known.remove();
        }
    }
}
