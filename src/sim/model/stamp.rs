//! Writes wall time as Webex does: `2016-04-21T19:12:48.920Z`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since the epoch; a time before it counts as the epoch.
pub(super) fn since_epoch(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The time in UTC with milliseconds.
pub(super) fn stamp(now: SystemTime) -> String {
    let elapsed = since_epoch(now);
    let (year, month, day) = date(elapsed.as_secs() / 86_400);
    let second = elapsed.as_secs() % 86_400;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", elapsed.subsec_millis())
}

/// Year, month and day of a day since the epoch, after Howard Hinnant's `civil_from_days`.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}
