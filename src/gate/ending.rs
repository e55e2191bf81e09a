//! What the end of the process means for those who wait or are on their way: a turn, an answer, or a refusal in time.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Gate, Reason, Refused};

/// The end of the process, as the gate must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// From then on nobody goes.
    pub turns_until: Instant,
    /// By then every request is answered, if need be with a refusal.
    pub answers_until: Instant,
}

impl Gate {
    /// Refuses everyone in line whose turn is projected to come too late, now; and who comes later likewise, on arrival.
    pub fn end(&self, ending: Ending) {
        self.shared.ending.send_replace(Some(ending));
        self.shared.change(|core, offer| core.end(Instant::now(), ending.turns_until, offer));
    }

    /// Does the work, unless the end comes before its answer.
    ///
    /// # Errors
    /// [`Reason::Shutdown`] at [`Ending::answers_until`]; the work is dropped.
    pub async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Result<T, Refused> {
        let mut told = self.shared.ending.subscribe();
        let over = async {
            // The sender lives as long as this gate.
            let ending = told.wait_for(Option::is_some).await.ok().and_then(|ending| *ending);
            match ending {
                Some(ending) => sleep_until(ending.answers_until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = over => Err(Refused::new(Reason::Shutdown, Duration::ZERO)),
        }
    }

    /// Whether no turn can come after `pause` any more.
    pub(super) fn ends_within(&self, pause: Duration) -> bool {
        let end = self.shared.ending.borrow().map(|ending| ending.turns_until);
        end.is_some_and(|end| Instant::now().checked_add(pause).is_none_or(|at| at >= end))
    }
}

/// The next process is there by then, as a rule: nobody gains by asking this one again.
pub(super) const SUCCESSOR_WITHIN: Duration = Duration::from_secs(5);
