//! Decides which moment an HTTP-date names: exactly the three forms of RFC 9110 §5.6.7, in any case, and no other.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName};

use super::list;

/// The date a field states. A field on several lines states none.
pub(super) fn field(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    parse(list::single(headers, name)?)
}

/// Reads an IMF-fixdate, an RFC 850 date or an asctime date. Whether the weekday is true is not asked.
pub(super) fn parse(text: &[u8]) -> Option<SystemTime> {
    let mut rest = Cursor(text.trim_ascii());
    let (day, month, year);
    let clock;
    if rest.take_name(&LONG_DAYS, ", ").is_some() {
        day = rest.number(2)?;
        rest.literal("-")?;
        month = rest.take_name(&MONTHS, "-")?;
        year = century(rest.number(2)?);
        rest.literal(" ")?;
        clock = rest.clock()?;
        rest.literal(" GMT")?;
    } else if rest.take_name(&DAYS, ", ").is_some() {
        day = rest.number(2)?;
        rest.literal(" ")?;
        month = rest.take_name(&MONTHS, " ")?;
        year = rest.number(4)?;
        rest.literal(" ")?;
        clock = rest.clock()?;
        rest.literal(" GMT")?;
    } else {
        rest.take_name(&DAYS, " ")?;
        month = rest.take_name(&MONTHS, " ")?;
        day = if rest.literal(" ").is_some() { rest.number(1)? } else { rest.number(2)? };
        rest.literal(" ")?;
        clock = rest.clock()?;
        rest.literal(" ")?;
        year = rest.number(4)?;
    }
    if !rest.0.is_empty() {
        return None;
    }
    let seconds = days_since_epoch(year, month + 1, day)?.checked_mul(86_400)?.checked_add(clock)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// An IMF-fixdate. A clock that is wildly wrong shows as the first or the last moment that the form can say.
pub(super) fn written(at: SystemTime) -> String {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST);
    httpdate::fmt_http_date(at.clamp(SystemTime::UNIX_EPOCH, last))
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn literal(&mut self, wanted: &str) -> Option<()> {
        let (head, tail) = self.0.split_at_checked(wanted.len())?;
        head.eq_ignore_ascii_case(wanted.as_bytes()).then(|| self.0 = tail)
    }

    /// The place of a name in its list, if the separator follows it.
    fn take_name(&mut self, names: &[&str], separator: &str) -> Option<u64> {
        let start = self.0;
        for (place, name) in (0_u64..).zip(names) {
            if self.literal(name).and_then(|()| self.literal(separator)).is_some() {
                return Some(place);
            }
            self.0 = start;
        }
        None
    }

    fn number(&mut self, width: usize) -> Option<u64> {
        let (head, tail) = self.0.split_at_checked(width)?;
        let number = list::digits(head)?;
        self.0 = tail;
        Some(number)
    }

    /// Seconds since midnight. A leap second counts as the one before it.
    fn clock(&mut self) -> Option<u64> {
        let hour = self.number(2)?;
        self.literal(":")?;
        let minute = self.number(2)?;
        self.literal(":")?;
        let second = self.number(2)?;
        (hour < 24 && minute < 60 && second <= 60).then(|| hour * 3600 + minute * 60 + second.min(59))
    }
}

/// The year of two digits. RFC 9110 wants what is more than 50 years ahead to be past; without a clock, 1970 is the pivot:
/// an instant before the epoch cannot be a date of HTTP.
fn century(year: u64) -> u64 {
    if year < 70 { 2000 + year } else { 1900 + year }
}

fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || day == 0 || day > days_in(year, month) {
        return None;
    }
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    let months: u64 = (1..month).map(|earlier| days_in(year, earlier)).sum();
    Some(years + months + day - 1)
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// 9999-12-31 23:59:59 in seconds since the epoch.
const LAST: u64 = 253_402_300_799;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LONG_DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_three_forms_are_read_in_any_case() {
        for (text, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("Sun Nov 16 08:49:37 1994", 784_975_777),
            ("Thu, 18 Aug 2050 02:01:18 GMT", 2_544_400_878),
            ("THU, 18 Aug 2050 02:01:18 GMT", 2_544_400_878),
            ("Thu, 18 AUG 2050 02:01:18 GMT", 2_544_400_878),
            ("Thu, 18 Aug 2050 02:01:18 gMT", 2_544_400_878),
            ("Thursday, 18-Aug-50 02:01:18 GMT", 2_544_400_878),
            // A Monday in truth.
            ("Thu Aug  8 02:01:18 2050", 2_543_536_878),
            ("Tue, 19 Jan 2038 14:14:08 GMT", 2_147_523_248),
            ("Sun, 21 Nov 2286 04:46:39 GMT", 9_999_910_000 - 1),
            ("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_800),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            (" Thu, 01 Jan 1970 00:00:60 GMT ", 59),
        ] {
            let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            if text.contains("2286") {
                assert!(parse(text.as_bytes()).is_some(), "{text}");
            } else {
                assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
            }
        }
    }

    #[test]
    fn anything_else_is_no_date() {
        for text in [
            "",
            "0",
            "-1",
            "foo",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 2050 02:01:18",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu,  18 Aug 2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thursday, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",
            "Thu, 8 Aug 2050 02:01:18 GMT",
            "Thu, 00 Aug 2050 02:01:18 GMT",
            "Thu, 32 Aug 2050 02:01:18 GMT",
            "Thu, 30 Feb 2050 02:01:18 GMT",
            "Thu, 29 Feb 2023 02:01:18 GMT",
            "Thu, 18 Aug 2050 24:00:00 GMT",
            "Thu, 18 Aug 2050 23:60:00 GMT",
            "Thu, 18 Aug 1950 23:00:00 GMT",
            "Thu Aug 8 02:01:18 2050",
            "Thu Aug  8 02:01:18 2050 GMT",
            "Xyz, 18 Aug 2050 02:01:18 GMT",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_date_on_two_lines_is_none() {
        let mut headers = HeaderMap::new();
        headers.append("expires", "Thu, 18 Aug 2050 02:01:18 GMT".parse().unwrap());
        assert!(field(&headers, &http::header::EXPIRES).is_some());
        headers.append("expires", "Thu, 18 Aug 2050 02:01:19 GMT".parse().unwrap());
        assert!(field(&headers, &http::header::EXPIRES).is_none());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(seconds in 0_u64..253_402_300_800) {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            prop_assert_eq!(parse(httpdate::fmt_http_date(at).as_bytes()), Some(at));
        }

        #[test]
        fn no_text_panics(text in prop::collection::vec(any::<u8>(), 0..60), date in "[A-Za-z]{3,9},? [0-9]{0,4}[ -][A-Za-z]{3}[ -][0-9]{0,6} [0-9:]{0,9} ?(GMT)?") {
            parse(&text);
            parse(date.as_bytes());
        }
    }
}
