//! The two scripts: what they are called with, and what their answers mean.

use std::time::Duration;

use aws_lc_rs::digest;

use crate::gate::{Booking, Found, NodeKey, Rate, Stand, Wish};

use super::trouble::{Trouble, TroubleKind};

/// A script, and the name under which a server that has seen it knows it.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) text: &'static str,
    pub(super) sha1: String,
}

impl Script {
    /// Books slots.
    pub(super) fn acquire() -> Self {
        Self::new(include_str!("scripts/acquire.lua"))
    }

    /// Notes what a gate did.
    pub(super) fn gate() -> Self {
        Self::new(include_str!("scripts/gate.lua"))
    }

    fn new(text: &'static str) -> Self {
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        Self { text, sha1: digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect() }
    }
}

/// What is the same in each call for slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) horizon: Duration,
    pub(super) member_ttl: Duration,
    pub(super) highest: Rate,
    pub(super) burst: u32,
}

/// The arguments of `acquire.lua`.
pub(super) fn acquire_args(me: &str, wish: &Wish, terms: &Terms) -> Vec<String> {
    vec![
        me.to_owned(),
        wish.slots.to_string(),
        micros(terms.horizon),
        millis(terms.highest),
        terms.burst.max(1).to_string(),
        wish.weight.to_string(),
        micros(terms.member_ttl),
        millis(wish.rate),
        number(wish.found).to_string(),
        micros(TRIED_FOR),
        u8::from(wish.is_alone).to_string(),
        // The one bucket for which each replica says that it lives.
        u8::from(wish.key == NodeKey::Egress).to_string(),
    ]
}

/// What came of a call for slots.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Acquired {
    pub(super) booking: Booking,
    /// When asking again can help, if nothing was booked.
    pub(super) again_in: Duration,
    /// Nobody had asked before, or the server has forgotten.
    pub(super) is_fresh: bool,
}

/// Reads the answer of `acquire.lua`; `weight` is what was asked with.
///
/// # Errors
/// [`TroubleKind::Server`] if it is none.
pub(super) fn acquired(answer: &[i64], wish: &Wish) -> Result<Acquired, Trouble> {
    let none = || Trouble::new(TroubleKind::Server, "an answer that acquire.lua does not give");
    let [slots, first, interval, gate, members, weights, rate, met, phase, wait, acquitted, fresh] = *answer
    else {
        return Err(none());
    };
    let duration = |micros: i64| u64::try_from(micros).map(Duration::from_micros).map_err(|_| none());
    let count = |number: i64| u32::try_from(number).map_err(|_| none());
    let slots = count(slots)?;
    let stand = match phase {
        0 => Stand::Open,
        1 => Stand::Shut(duration(gate)?),
        2 => Stand::Ours,
        3 => Stand::Theirs,
        _ => return Err(none()),
    };
    let booking = Booking {
        stand,
        // Never more than was asked for, whatever the answer says.
        slots: slots.min(wish.slots),
        first_in: if first < 0 { Duration::ZERO } else { duration(first)? },
        interval: duration(interval)?,
        part: part(wish, weights),
        members: count(members)?.max(1),
        rate: Rate::new(f64::from(count(rate)?) / 1000.0).ok_or_else(none)?,
        found: match met {
            1 => Found::Limit,
            2 => Found::Ceiling,
            _ => Found::Nothing,
        },
        acquitted_for: if acquitted < 0 { None } else { Some(duration(acquitted)?) },
    };
    Ok(Acquired { booking, again_in: duration(wait)?, is_fresh: fresh == 1 })
}

/// The part of the rate that falls to whoever asked, by weight among all that wait; of one that has nobody waiting, what it
/// would have with one.
fn part(wish: &Wish, weights: i64) -> f64 {
    let told = wish.weight.max(u64::from(wish.slots > 0));
    let others = u64::try_from(weights).unwrap_or_default().saturating_sub(told);
    let own = wish.weight.max(1);
    let (own, others) = (u32::try_from(own), u32::try_from(others));
    let (own, others) = (f64::from(own.unwrap_or(u32::MAX)), f64::from(others.unwrap_or(u32::MAX)));
    own / (own + others)
}

/// What `gate.lua` is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    Acquit { sent_ago: Duration },
    Open,
    Rest { remaining: Duration },
    Shut { remaining: Duration, sent_ago: Duration },
    Verdict,
}

/// The arguments of `gate.lua`, but for a verdict's own two.
pub(super) fn gate_args(
    me: &str,
    report: Report,
    known: Option<&Wish>,
    highest: Rate,
    (channel, message): (&str, String),
) -> Vec<String> {
    let zero = Duration::ZERO;
    let (what, remaining, sent_ago) = match report {
        Report::Acquit { sent_ago } => ("acquit", zero, sent_ago),
        Report::Open => ("open", zero, zero),
        Report::Rest { remaining } => ("rest", remaining, zero),
        Report::Shut { remaining, sent_ago } => ("shut", remaining, sent_ago),
        Report::Verdict => ("verdict", zero, zero),
    };
    let (rate, found) = known.map_or((highest, Found::Nothing), |wish| (wish.rate, wish.found));
    vec![
        what.to_owned(),
        me.to_owned(),
        micros(remaining),
        micros(sent_ago),
        millis(rate),
        number(found).to_string(),
        millis(highest),
        channel.to_owned(),
        message,
    ]
}

fn number(found: Found) -> u8 {
    match found {
        Found::Nothing => 0,
        Found::Limit => 1,
        Found::Ceiling => 2,
    }
}

fn micros(duration: Duration) -> String {
    duration.as_micros().to_string()
}

/// Milli-requests a second.
fn millis(rate: Rate) -> String {
    format!("{:.0}", (rate.per_second() * 1000.0).max(1.0))
}

/// One replica alone tries a gate for so long: longer than the API takes for an answer, as a rule.
const TRIED_FOR: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(slots: u32, weight: u64) -> Wish {
        let rate = Rate::new(5.0).unwrap();
        Wish { key: NodeKey::Egress, slots, weight, rate, found: Found::Nothing, is_alone: false }
    }

    #[test]
    fn a_script_is_known_by_its_sha_1() {
        assert_eq!(Script::new("return 1").sha1, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }

    #[test]
    fn an_answer_becomes_what_the_gate_takes() {
        let answer = [3, -900, 2000, 0, 4, 8, 500_000, 1, 0, 0, -1, 0];
        let Acquired { booking, again_in, is_fresh } = acquired(&answer, &wish(10, 2)).unwrap();
        assert_eq!((booking.stand, booking.slots, booking.members), (Stand::Open, 3, 4));
        assert_eq!((booking.first_in, booking.interval), (Duration::ZERO, Duration::from_millis(2)));
        assert_eq!((booking.part, booking.rate.per_second()), (0.25, 500.0));
        assert_eq!((booking.found, booking.acquitted_for), (Found::Limit, None));
        assert_eq!((again_in, is_fresh), (Duration::ZERO, false));
        let shut = [0, 0, 2000, 1_500_000, 1, 0, 500_000, 0, 1, 1_500_000, 20, 1];
        let shut = acquired(&shut, &wish(0, 0)).unwrap();
        assert_eq!(shut.booking.stand, Stand::Shut(Duration::from_millis(1500)));
        assert_eq!((shut.booking.part, shut.is_fresh), (1.0, true));
    }

    #[test]
    fn an_answer_of_another_shape_is_trouble_and_none_gives_more_than_was_asked() {
        let good = [1, 0, 2000, 0, 1, 1, 5000, 0, 0, 0, -1, 0];
        for (at, value) in [(0, -1), (1, i64::MIN), (2, -5), (4, -1), (6, 0), (6, -1), (8, 9), (9, -1)] {
            let mut bad = good;
            bad[at] = value;
            let is_trouble = acquired(&bad, &wish(1, 1)).is_err();
            assert!(is_trouble || at == 1, "{at} {value}");
        }
        assert!(acquired(&good[..11], &wish(1, 1)).is_err());
        let mut many = good;
        many[0] = 1_000_000;
        assert_eq!(acquired(&many, &wish(2, 1)).unwrap().booking.slots, 2);
    }
}
