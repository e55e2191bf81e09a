//! Decides what of a request is remembered for the operators' page: facts without path, query or credential.

use http::StatusCode;
use tokio::time::Instant;

use crate::admit::{Denied, Pass};
use crate::gate::Reason;
use crate::metrics::{Answered, RefusalReason};
use crate::reply::Problem;
use crate::upstream::ReceiveError;
use crate::words::Outcome;

use super::Record;

impl Record {
    pub(super) fn remember(&self, now: Instant) {
        let outcome = self.outcome();
        let is_throttled = self.status == Some(StatusCode::TOO_MANY_REQUESTS);
        let reason = self.refusal.or_else(|| is_throttled.then_some(RefusalReason::Api));
        let spares_bytes = outcome.is_cacheable() && outcome != Outcome::Miss;
        let answered = Answered {
            tenant: self.tenant.as_ref().map(Pass::tenant),
            route: self.route,
            outcome,
            waited: self.waited,
            upstream_for: self.upstream_for,
            saved_bytes: if spares_bytes { self.bytes } else { 0 },
            refusal: reason.map(|reason| (reason, self.retry_after)),
        };
        self.metrics.recent().note(now, &answered);
    }
}

/// The word for a problem: its text may quote a client.
pub(super) fn refusal_reason(problem: &Problem) -> RefusalReason {
    match problem {
        Problem::Admit(Denied::Unlisted) => RefusalReason::Unlisted,
        Problem::Overloaded(_) | Problem::Receive(ReceiveError::Overloaded(_)) => RefusalReason::Overloaded,
        Problem::Admit(Denied::TwoCredentials)
        | Problem::NotKept
        | Problem::Receive(_)
        | Problem::Route(_) => RefusalReason::Request,
        Problem::Failed(_) => RefusalReason::Upstream,
        Problem::Refused(refused) => match refused.reason {
            Reason::Deadline => RefusalReason::Deadline,
            Reason::Full => RefusalReason::Full,
            Reason::Shutdown => RefusalReason::Shutdown,
        },
    }
}
