//! Decides how an event becomes a line of JSON: time, level, and its fields side by side.

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::format_rfc3339_micros;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;

/// What the library's own JSON says, written as the fields come: it collects them in a map of JSON values first, which cost
/// more than all of the cache (decision 0021).
pub(super) struct Lines {
    clock: Clock,
}

impl Lines {
    /// Lines that tell the machine's time.
    pub(super) fn new() -> Self {
        Self { clock: Clock::system() }
    }

    /// A clock that is far off must not cost the line.
    fn now(&self) -> SystemTime {
        self.clock.wall().clamp(UNIX_EPOCH, UNIX_EPOCH + LAST_SECOND)
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // The writer is a trait object: each small piece would go through a table of functions.
        let mut text = String::with_capacity(USUAL_BYTES);
        text.push_str("{\"timestamp\":\"");
        write!(text, "{}", format_rfc3339_micros(self.now()))?;
        text.push_str("\",\"level\":\"");
        text.push_str(event.metadata().level().as_str());
        text.push('"');
        let mut fields = Fields { line: &mut text, result: Ok(()) };
        event.record(&mut fields);
        fields.result?;
        text.push_str("}\n");
        line.write_str(&text)
    }
}

/// Writes each field that it is shown, until one cannot be written.
struct Fields<'a> {
    line: &'a mut String,
    result: fmt::Result,
}

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: impl FnOnce(&mut String) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = self.try_put(field, value);
        }
    }

    /// Names are words of the program: none needs escaping.
    fn try_put(&mut self, field: &Field, value: impl FnOnce(&mut String) -> fmt::Result) -> fmt::Result {
        self.line.push_str(",\"");
        self.line.push_str(field.name());
        self.line.push_str("\":");
        value(self.line)
    }

    fn put_text(&mut self, field: &Field, text: impl FnOnce(&mut Escaped<'_>) -> fmt::Result) {
        self.put(field, |line| {
            line.write_char('"')?;
            text(&mut Escaped(line))?;
            line.write_char('"')
        });
    }
}

impl Visit for Fields<'_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, |line| line.write_str(if value { "true" } else { "false" }));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_text(field, |text| write!(text, "{value:?}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON knows no others.
        if value.is_finite() {
            self.put(field, |line| write!(line, "{value}"));
        } else {
            self.put(field, |line| line.write_str("null"));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, |line| line.write_str(itoa::Buffer::new().format(value)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, |text| text.write_str(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, |line| line.write_str(itoa::Buffer::new().format(value)));
    }
}

/// The inside of a JSON string (RFC 8259 §7).
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_special = |byte| matches!(byte, b'"' | b'\\' | 0..=0x1f);
        // All bytes, though the first one would tell: so many are looked at in one step. Most texts have none.
        if !text.bytes().fold(false, |found, byte| found | is_special(byte)) {
            return self.0.write_str(text);
        }
        let mut rest = text;
        while let Some(at) = rest.bytes().position(is_special) {
            let (plain, special) = rest.split_at(at);
            self.0.write_str(plain)?;
            // All that is found is ASCII, so a character is a byte.
            let (sign, behind) = special.split_at(1);
            match sign {
                "\"" => self.0.write_str("\\\"")?,
                "\\" => self.0.write_str("\\\\")?,
                "\n" => self.0.write_str("\\n")?,
                "\r" => self.0.write_str("\\r")?,
                "\t" => self.0.write_str("\\t")?,
                sign => sign.chars().try_for_each(|sign| write!(self.0, "\\u{:04x}", u32::from(sign)))?,
            }
            rest = behind;
        }
        self.0.write_str(rest)
    }
}

/// Of a request's line.
const USUAL_BYTES: usize = 768;

/// Of the year 9999: RFC 3339 knows no later one.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    use serde_json::{Value, json};
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What one event leaves, by our lines and by the library's.
    fn said(speak: impl Fn()) -> [Value; 2] {
        let (ours, theirs) = (Written::default(), Written::default());
        let (to_ours, to_theirs) = (ours.clone(), theirs.clone());
        let layer = || tracing_subscriber::fmt::layer().with_target(false).with_ansi(false).json();
        let by_ours = layer().event_format(Lines::new()).with_writer(move || to_ours.clone());
        let by_theirs = layer().flatten_event(true).with_writer(move || to_theirs.clone());
        with_default(tracing_subscriber::registry().with(by_ours), &speak);
        with_default(tracing_subscriber::registry().with(by_theirs), &speak);
        [ours, theirs].map(|written| {
            let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            let mut line: Value = serde_json::from_str(&text).unwrap();
            let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
            assert_eq!(timestamp.as_str().unwrap().len(), "2026-11-30T01:02:03.456789Z".len());
            line
        })
    }

    #[test]
    fn a_clock_that_is_far_off_costs_no_line() {
        let at = |wall| Lines { clock: Clock::starting_at(wall) }.now();
        let shown = |wall| format_rfc3339_micros(at(wall)).to_string();
        assert_eq!(shown(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(shown(UNIX_EPOCH + LAST_SECOND * 2), "9999-12-31T23:59:59.000000Z");
    }

    #[test]
    fn a_line_says_what_the_librarys_own_says() {
        let odd = "\" \\ \n \r \t \u{0} \u{1f} \u{7f} \u{fffd} \u{1f600} /";
        let [ours, theirs] = said(|| {
            tracing::warn!(
                text = odd,
                shown = %odd,
                debug = ?odd,
                none = None::<u64>,
                some = Some(u64::MAX),
                least = i64::MIN,
                is_true = true,
                half = 0.5,
                not_a_number = f64::NAN,
                http.path = "/v1",
                "gate closed"
            );
        });
        assert_eq!(ours, theirs);
        assert_eq!(ours["message"], json!("gate closed"));
        assert_eq!(ours["http.path"], json!("/v1"));
        assert_eq!(ours["text"], json!(odd));
    }
}
