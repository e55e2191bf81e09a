//! The two ways side by side, as text.

use std::time::Duration;

use super::DemoSettings;
use super::figures::{Phase, Spread};
use super::script::CALLS;

/// The whole table, with what its figures mean.
pub(super) fn render(settings: &DemoSettings, straight: &Phase, proxied: &Phase) -> String {
    let limit = settings.limit();
    let bots = settings.bots;
    let mut text = format!(
        "\n{bots} bots with {CALLS} calls each; the API takes {} calls in any window of {:.0} s from all of them \
         together, and tells nobody (seed {})\n\n",
        limit.burst,
        limit.window().as_secs_f64(),
        settings.seed,
    );
    let mut row = |label: &str, left: String, right: String| {
        text.push_str(&format!("{label:<29}{left:>23}{right:>23}\n"));
    };
    row("", "straight to the API".to_owned(), "through Tollgate".to_owned());
    let both = |figure: fn(&Phase) -> String| (figure(straight), figure(proxied));
    for (label, (left, right)) in [
        ("429s seen by bots", both(|phase| phase.throttled_bots.to_string())),
        ("429s by the API", both(|phase| phase.api.throttled.to_string())),
        ("completion time", both(|phase| format!("{:.1} s", phase.took.as_secs_f64()))),
        ("API calls", both(|phase| phase.api.calls.to_string())),
        ("  saved", saved(straight.api.calls, proxied.api.calls, |calls| calls.to_string())),
        ("bytes sent by the API", both(|phase| megabytes(phase.api.sent_bytes))),
        ("  saved", saved(straight.api.sent_bytes, proxied.api.sent_bytes, megabytes)),
        ("errors", both(|phase| phase.faults.len().to_string())),
        ("wait p50 / p99, all tenants", both(|phase| spread(phase.overall()))),
        ("  fastest tenant", both(|phase| extreme(phase, 0))),
        ("  slowest tenant", both(|phase| extreme(phase, 1))),
    ] {
        row(label, left, right);
    }
    text.push_str("\nqueue wait p50 / p99 through Tollgate, by tenant\n");
    for tenants in proxied.by_tenant().chunks(3) {
        let cells = tenants.iter().map(|(name, waits)| format!("  {name:<8}{:<16}", spread(*waits)));
        text.push_str(cells.collect::<String>().trim_end());
        text.push('\n');
    }
    text.push_str(CAPTION);
    text
}

fn saved(straight: u64, proxied: u64, show: impl Fn(u64) -> String) -> (String, String) {
    let saved = straight.saturating_sub(proxied);
    let percent = (saved * 100).checked_div(straight).unwrap_or_default();
    (String::new(), format!("{} ({percent} %)", show(saved)))
}

fn extreme(phase: &Phase, which: usize) -> String {
    let extremes = phase.extremes();
    let found = extremes.as_ref().and_then(|both| both.get(which));
    found.map_or_else(String::new, |(name, waits)| format!("{name} {}", spread(*waits)))
}

fn spread(spread: Spread) -> String {
    format!("{} / {} s", seconds(spread.p50), seconds(spread.p99))
}

fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{:02} MB", bytes / 1_000_000, bytes % 1_000_000 / 10_000)
}

const CAPTION: &str = "
Wait: straight, how long each call slept as Retry-After told it; through Tollgate, how long each request
that went to the API stood in line, as its own log line says (wait_ms). Bytes are TLS bytes on the API's sockets.
";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::figures::Api;
    use super::*;

    fn phase(calls: u64, throttled: u64, sent_bytes: u64) -> Phase {
        let waits = [("bot-01", 100), ("bot-02", 2500)];
        let waits = waits.map(|(name, millis)| (name.to_owned(), vec![Duration::from_millis(millis); 3]));
        Phase {
            took: Duration::from_millis(12_340),
            api: Api { calls, throttled, sent_bytes },
            throttled_bots: throttled,
            faults: Vec::new(),
            waits: BTreeMap::from(waits),
        }
    }

    #[test]
    fn the_table_says_what_was_saved_and_who_waited() {
        let settings = DemoSettings::new(3, 2);
        let text = render(&settings, &phase(400, 90, 4_500_000), &phase(100, 0, 1_480_000));
        let has = |words: &[&str]| {
            let is_row = |line: &str| line.split_whitespace().collect::<Vec<_>>() == words;
            assert!(text.lines().any(is_row), "{words:?} in\n{text}");
        };
        has(&["429s", "seen", "by", "bots", "90", "0"]);
        has(&["completion", "time", "12.3", "s", "12.3", "s"]);
        has(&["saved", "300", "(75", "%)"]);
        has(&["saved", "3.02", "MB", "(67", "%)"]);
        has(&["bot-01", "0.10", "/", "0.10", "s", "bot-02", "2.50", "/", "2.50", "s"]);
        let slowest = "bot-02 2.50 / 2.50 s";
        assert!(text.contains(&format!("slowest tenant{slowest:>36}{slowest:>23}")), "{text}");
    }
}
