//! Decides how an answer goes on: straight to its client, or through a fill that others may read and the cache keeps.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body::Body as _;

use crate::body::Body;

use super::fill::Fill;
use super::flight::{Flight, Flowing, Followed, Lead};
use super::growing::Growing;
use super::marks::Subject;
use super::note::Stored;
use super::slot::Slot;
use super::{Query, Shared};

/// What to do with all bytes once they are there.
pub(super) type Keep = Box<dyn FnOnce(Arc<[Bytes]>) + Send>;

impl Shared {
    /// Lets the body stream to its client, to those who follow `lead`, and to `keep`. Where there is no room for it, it
    /// streams to its client alone.
    pub(super) fn stream(
        &self,
        lead: Option<Lead>,
        response: Response<Body>,
        keep: Option<Keep>,
    ) -> (Response<Body>, Stored) {
        let stored = if keep.is_some() { Stored::Yes } else { Stored::No };
        let (head, body) = response.into_parts();
        let stated = stated_length(&head.headers);
        let length: Option<u64> = body.size_hint().exact().or(stated);
        if body.is_end_stream() && length.is_none_or(|length| length == 0) {
            if let Some(keep) = keep {
                keep(Arc::from([]));
            }
            return (Response::from_parts(head, body), stored);
        }
        let fits = length.is_none_or(|length| length <= self.settings.max_entry);
        let lease = fits.then(|| self.budget.lease(length.unwrap_or(0))).flatten();
        let growing = Growing::new(length, lease.clone());
        let (Some(lease), Some(reading)) = (lease, growing.read()) else {
            lead.into_iter().for_each(Lead::part);
            return (Response::from_parts(head, body), Stored::No);
        };
        if let Some(lead) = &lead {
            let (status, headers) = (head.status, head.headers.clone());
            lead.share(Flowing { status, headers, body: Arc::clone(&growing) });
        }
        let keep = move |chunks| {
            if let Some(keep) = keep {
                keep(chunks);
            }
        };
        let max_bytes = self.settings.max_entry;
        let finish_percent = self.settings.finish_percent;
        let fill = Fill { growing, body, length, max_bytes, finish_percent, lease, keep };
        // Ends with the body, which the upstream's silence ends, or with its last reader.
        tokio::spawn(async move {
            fill.run().await;
            // Until the bytes are kept, new readers find them here.
            drop(lead);
        });
        (Response::from_parts(head, reading), stored)
    }

    /// Waits for the answer of a flight for as long as the query may still wait.
    pub(super) async fn follow(&self, query: &Query<'_>, slot: &mut Slot, flight: Flight) -> Followed {
        let waited = self.clock.now().saturating_duration_since(query.began_at);
        let left = (query.patience)().saturating_sub(waited);
        let followed = tokio::time::timeout(left, flight.follow()).await;
        slot.spent = query.spent + self.clock.now().saturating_duration_since(query.began_at);
        followed.unwrap_or(Followed::Alone)
    }

    /// Whether a query may have the answer of a flight: not if its own tenant has written to the family since, or its
    /// credential was refused.
    pub(super) fn may_join(&self, flight: &Flight, query: &Query<'_>) -> bool {
        let credential = query.pass.credential();
        let family = query.route.family().segment;
        [
            Subject::Credential(credential),
            Subject::OwnWrite(credential, family),
            Subject::Target(query.route.target().as_str()),
            Subject::Underway,
        ]
        .into_iter()
        .all(|subject| self.marks.stands(flight.epoch, subject))
    }
}

/// What an answer announces of its body, in bytes.
pub(super) fn stated_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
