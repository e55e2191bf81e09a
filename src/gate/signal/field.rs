//! Decides how the text of a header becomes members, numbers and times: bounded, and a bad one is only absent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, header};

/// The lines of a field, each a readable text or `None`; those beyond the eighth are not looked at.
pub(super) fn lines<'a>(
    headers: &'a HeaderMap,
    name: &str,
    max_bytes: usize,
) -> impl Iterator<Item = Option<&'a str>> {
    let values = headers.get_all(name).into_iter().take(MAX_LINES);
    values.map(move |value| value.to_str().ok().filter(|text| text.len() <= max_bytes).map(str::trim))
}

/// The members of all readable lines of a field that holds a plain list.
pub(super) fn members<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    lines(headers, name, MAX_VALUE_BYTES).flatten().flat_map(|line| split(line, ','))
}

/// The trimmed parts of `text` between separators; one inside a quoted string separates nothing (RFC 9651 §3.3.3).
pub(super) fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(move |letter| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match letter {
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            '"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        letter == separator && !is_quoted
    });
    parts.map(str::trim)
}

/// The value of a parameter of a structured item (`"name";key=value`); of duplicates the last, as RFC 9651 §3.1.2 says.
pub(super) fn parameter<'a>(item: &'a str, key: &str) -> Option<&'a str> {
    let pairs = split(item, ';').skip(1).filter_map(|part| part.split_once('='));
    pairs.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim()).last()
}

/// A number of things. A fraction is cut off; more than fit are as many as fit.
pub(super) fn count(text: &str) -> Option<u32> {
    let (whole, _) = decimal(text)?;
    Some(u32::try_from(whole).unwrap_or(u32::MAX))
}

/// Digits with an optional fraction and an optional trailing `s`; saturates, so that no value is too large to be honoured.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let text = text.strip_suffix(['s', 'S']).map_or(text, str::trim_end);
    decimal(text).map(|(whole, nanos)| Duration::new(whole, nanos))
}

/// Time from `sent_at` until a reset that is stated as an HTTP-date, as seconds from now, or since the epoch in
/// seconds, milliseconds or finer. Which one it is, the magnitude tells; a reset that has passed is zero.
pub(super) fn until(text: &str, sent_at: SystemTime) -> Option<Duration> {
    if let Some(at) = date(text) {
        return Some(at.duration_since(sent_at).unwrap_or_default());
    }
    let stated = seconds(text)?;
    let since_epoch = sent_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let scale = since_epoch.max(EARLIEST_NOW);
    if stated < scale / 2 {
        return Some(stated);
    }
    let credible = |unit: &u32| stated / *unit < scale.saturating_mul(100);
    let unit = UNITS_PER_SECOND.into_iter().find(credible).unwrap_or(1);
    Some((stated / unit).saturating_sub(since_epoch))
}

/// An HTTP-date in any of the three forms of RFC 9110 §5.6.7.
pub(super) fn date(text: &str) -> Option<SystemTime> {
    text.contains(':').then(|| httpdate::parse_http_date(text).ok()).flatten()
}

/// When the answer was made by its sender's clock, to which the times in its headers refer; else `now`.
pub(super) fn sent_at(headers: &HeaderMap, now: SystemTime) -> SystemTime {
    lines(headers, header::DATE.as_str(), MAX_VALUE_BYTES).flatten().find_map(date).unwrap_or(now)
}

/// Whole and billionth parts of an unsigned decimal; too large a whole is `u64::MAX`.
fn decimal(text: &str) -> Option<(u64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanos = digits.fold(0_u32, |nanos, digit| nanos * 10 + u32::from(digit.saturating_sub(b'0')));
    Some((whole.parse().unwrap_or(u64::MAX), nanos))
}

/// Longer values say nothing that a limit could mean; cut before any parsing (SECURITY 3).
pub(super) const MAX_VALUE_BYTES: usize = 128;
/// Far more lines than any API sends of one field.
const MAX_LINES: usize = 8;
/// September 2001: a wall clock before it is unset and tells nothing about magnitudes.
const EARLIEST_NOW: Duration = Duration::from_secs(1_000_000_000);
/// Seconds, milliseconds, microseconds, nanoseconds since the epoch.
const UNITS_PER_SECOND: [u32; 4] = [1, 1_000, 1_000_000, 1_000_000_000];
