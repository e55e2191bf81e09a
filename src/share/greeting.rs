//! What a replica does first on a new connection: it says what it knows, hears what others know, and takes its place.

use crate::gate::{Level, News, NodeKey, Wish};

use super::calls::{acquire, report};
use super::message::Word;
use super::session::{MAX_REASSERTED, Session};
use super::spelling;
use super::tally::{Answered, Event};
use super::trouble::{Trouble, TroubleKind};

impl Session<'_> {
    /// Says what this replica knows, hears what the others know, and takes its place among them.
    pub(super) async fn greet(&mut self) -> Result<(), Trouble> {
        let shared = self.shared;
        shared.remember_nodes(&self.link.caller).await;
        // Whatever was voided while nobody listened may be kept here.
        shared.cache.doubt();
        // What shut while the server was away is told below, as it stands now; the rest is over.
        drop(shared.gate.news());
        for closure in shared.gate.closures().into_iter().take(MAX_REASSERTED) {
            self.report(News::Rests(closure.key, closure.until)).await?;
        }
        for (family, level) in shared.gate.verdicts() {
            self.report(News::Verdict(family, level)).await?;
        }
        self.learn_verdicts().await?;
        let Some(wish) = shared.gate.wish(NodeKey::Egress) else { return Ok(()) };
        let wish = Wish { slots: 0, ..wish };
        let asked_at = shared.clock.now();
        let acquired = acquire(shared, &self.link.caller, &wish).await;
        let answered_at = shared.clock.now();
        (self.tell)(Event::Called(Answered::of(&acquired), answered_at - asked_at));
        if acquired.as_ref().is_err_and(|trouble| !trouble.kind.is_of_one()) {
            return acquired.map(drop);
        }
        self.desks.asked(NodeKey::Egress);
        self.asked(&wish, (asked_at, answered_at), acquired).map_or(Ok(()), Err)?;
        self.rouse().await
    }

    /// The last of those who lost the server together is back: the others wait for it, and may learn so at once.
    async fn rouse(&self) -> Result<(), Trouble> {
        let shared = self.shared;
        if self.is_settling() || shared.tally.read().members < 2 {
            return Ok(());
        }
        let channel = &shared.names.gate;
        let mut call = redis::cmd("PUBLISH");
        call.arg(channel).arg(shared.pen.write(channel, &Word::Look(NodeKey::Egress)));
        match self.link.caller.call::<i64>(call).await {
            Err(trouble) => self.weigh(trouble).map_or(Ok(()), Err),
            Ok(_) => Ok(()),
        }
    }

    /// How far refusals reach, as others have found out.
    async fn learn_verdicts(&self) -> Result<(), Trouble> {
        let shared = self.shared;
        let [state, _] = shared.names.keys(&shared.settings.secret, NodeKey::Egress);
        let mut call = redis::cmd("HGETALL");
        call.arg(state);
        let fields: Vec<(String, String)> = match self.link.caller.call(call).await {
            Err(trouble) if !trouble.kind.is_of_one() && trouble.kind != TroubleKind::Server => {
                return Err(trouble);
            }
            Err(trouble) => {
                self.odd(trouble);
                return Ok(());
            }
            Ok(fields) => fields,
        };
        for (field, value) in fields {
            let Some(family) = field.strip_prefix("v:").and_then(|family| family.split_once(':')) else {
                continue;
            };
            let family = spelling::read_family(family.0, family.1);
            let level = value.split(' ').next().and_then(Level::named);
            if let (Some(family), Some(level)) = (family, level) {
                shared.gate.hear_verdict(family, level);
            }
        }
        Ok(())
    }

    async fn report(&self, news: News) -> Result<(), Trouble> {
        let began_at = self.shared.clock.now();
        let result = report(self.shared, &self.link.caller, news).await;
        (self.tell)(Event::Called(Answered::of(&result), self.shared.clock.now() - began_at));
        match result {
            Err(trouble) => self.weigh(trouble).map_or(Ok(()), Err),
            Ok(()) => Ok(()),
        }
    }
}
