//! The calls of the two scripts, as a gate's wishes and news need them.

use tokio::time::Instant;

use crate::gate::{Closure, News, NodeKey, Wish};

use super::Shared;
use super::link::Caller;
use super::message::{Shut, Word};
use super::script::{self, Acquired, Report, Terms};
use super::spelling;
use super::trouble::Trouble;

/// Asks for slots.
pub(super) async fn acquire(shared: &Shared, caller: &Caller, wish: &Wish) -> Result<Acquired, Trouble> {
    let [state, members] = shared.names.keys(&shared.settings.secret, wish.key);
    let terms = Terms {
        horizon: shared.settings.horizon,
        member_ttl: shared.settings.member_ttl,
        highest: shared.gate.highest_rate(),
        burst: shared.gate.burst(),
    };
    let args = script::acquire_args(&shared.pen.me, wish, &terms);
    let answer = caller.run(&shared.acquire, &[&state, &members], &args).await?;
    script::acquired(&answer, wish)
}

/// Tells what a gate has done.
pub(super) async fn report(shared: &Shared, caller: &Caller, news: News) -> Result<(), Trouble> {
    let now = shared.clock.now();
    let key = key_of(&news);
    let left = |until: Instant| until.saturating_duration_since(now);
    let ago = |at: Instant| now.saturating_duration_since(at);
    let shut = |key, refused, remaining| Word::Shut(Shut { key, refused, remaining });
    let (report, word) = match news {
        News::Acquitted(key, sent_at) => (Report::Acquit { sent_ago: ago(sent_at) }, Word::Look(key)),
        News::Opened(key) => (Report::Open, Word::Look(key)),
        News::Rests(key, until) => {
            let remaining = left(until);
            (Report::Rest { remaining }, shut(key, None, remaining))
        }
        News::Shut(Closure { key, refused, sent_at, until }) => {
            let (remaining, sent_ago) = (left(until), ago(sent_at));
            (Report::Shut { remaining, sent_ago }, shut(key, refused, remaining))
        }
        News::Verdict(family, level) => (Report::Verdict, Word::Verdict(family, level)),
    };
    let [state, _] = shared.names.keys(&shared.settings.secret, key);
    let channel = &shared.names.gate;
    let message = shared.pen.write(channel, &word);
    let known = shared.gate.wish(key);
    let highest = shared.gate.highest_rate();
    let mut args = script::gate_args(&shared.pen.me, report, known.as_ref(), highest, (channel, message));
    if let News::Verdict(family, level) = news {
        args.extend([spelling::family(family), level.as_str().to_owned()]);
    }
    caller.run(&shared.report, &[&state], &args).await.map(drop)
}

/// The bucket that is told. Verdicts are kept with the widest.
pub(super) fn key_of(news: &News) -> NodeKey {
    match news {
        News::Acquitted(key, _) | News::Opened(key) | News::Rests(key, _) => *key,
        News::Shut(closure) => closure.key,
        News::Verdict(..) => NodeKey::Egress,
    }
}
