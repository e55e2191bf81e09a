//! What a status looks like at a terminal: first who is gated and until when, then everything else that is listed.

use serde_json::Value;

/// The status as text, lines of at most about a hundred characters. Fields that are missing are left out; lists that
/// this version does not know are shown as they are.
pub fn table(status: &Value) -> String {
    let mut text = String::new();
    line(&mut text, "tollgate", head(status));
    line(&mut text, "gate", gate(status));
    line(&mut text, "line", waiting(status));
    line(&mut text, "cache", cache(status));
    line(&mut text, "share", share(status));
    line(&mut text, "connections", connections(status));
    for (path, title, columns) in LISTS {
        list(&mut text, title, status.pointer(path), columns);
    }
    for (place, parent) in [("", Some(status)), ("/gate", status.get("gate"))] {
        for (name, value) in parent.and_then(Value::as_object).into_iter().flatten() {
            if !LISTS.iter().any(|(path, ..)| *path == format!("{place}/{name}")) {
                unknown(&mut text, name, value);
            }
        }
    }
    text
}

fn head(status: &Value) -> Option<String> {
    let version = status.get("version").and_then(Value::as_str).unwrap_or("of an unknown version");
    let is_ready = status.get("ready").and_then(Value::as_bool);
    let state = match is_ready {
        Some(true) => ", ready",
        Some(false) => ", DRAINING: takes no new traffic",
        None => "",
    };
    Some(format!("{version}{state}"))
}

fn gate(status: &Value) -> Option<String> {
    let gate = status.get("gate")?;
    let number = |name: &str| gate.get(name).and_then(Value::as_f64);
    let is = |name: &str| gate.get(name).and_then(Value::as_bool) == Some(true);
    let mut said = if is("closed") {
        let left =
            number("remaining_seconds").map_or_else(String::new, |left| format!(" for {}", seconds(left)));
        format!("CLOSED for everybody{left}")
    } else if is("half_open") {
        "half open: one request tries whether the API answers again".to_owned()
    } else {
        "open".to_owned()
    };
    if let Some(rate) = number("rate_per_second") {
        said.push_str(&format!("; {} requests/s", short(rate)));
    }
    if let Some(ceiling) = number("ceiling_per_second") {
        said.push_str(&format!(", ceiling {}/s", short(ceiling)));
    }
    Some(said)
}

fn waiting(status: &Value) -> Option<String> {
    let gate = status.get("gate")?;
    let waiting = gate.get("waiting").and_then(Value::as_u64)?;
    let mut said = format!("{waiting} waiting");
    if let Some(oldest) = gate.get("oldest_waited_seconds").and_then(Value::as_f64).filter(|_| waiting > 0) {
        said.push_str(&format!(", the first for {}", seconds(oldest)));
    }
    if let Some(in_flight) = gate.get("in_flight").and_then(Value::as_u64) {
        said.push_str(&format!("; {in_flight} in flight"));
    }
    Some(said)
}

fn cache(status: &Value) -> Option<String> {
    let cache = status.get("cache")?;
    let number = |name: &str| cache.get(name).and_then(Value::as_f64);
    let (entries, bytes) = (number("entries")?, number("bytes")?);
    Some(format!("{} answers, {:.1} MiB", short(entries), bytes / MIB))
}

fn share(status: &Value) -> Option<String> {
    let share = status.get("share").filter(|share| share.is_object())?;
    let number = |name: &str| share.get(name).and_then(Value::as_f64);
    let server = share.get("server").and_then(Value::as_str).unwrap_or_default();
    let members = short(number("members")?);
    if share.get("up").and_then(Value::as_bool) == Some(true) {
        return Some(format!("{members} replicas through {server}"));
    }
    let kind = share.pointer("/trouble/kind").and_then(Value::as_str).unwrap_or("not yet reached");
    let part = number("part").unwrap_or_default() * 100.0;
    Some(format!("DOWN ({server}: {kind}); {part:.0} % of the rate, as one of {members} replicas"))
}

fn connections(status: &Value) -> Option<String> {
    let connections = status.get("connections")?;
    let number = |name: &str| connections.get(name).and_then(Value::as_f64);
    Some(format!("{} of clients, {} to the API", short(number("clients")?), short(number("upstream")?)))
}

/// A list of objects that has no columns of its own: all their plain fields are columns.
fn unknown(text: &mut String, name: &str, value: &Value) {
    let rows = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(first) = rows.first().and_then(Value::as_object) else { return };
    let plain = first.iter().filter(|(_, value)| !value.is_object() && !value.is_array());
    let columns: Vec<&str> = plain.map(|(key, _)| key.as_str()).take(MAX_COLUMNS).collect();
    list(text, &name.replace('_', " "), Some(value), &columns);
}

/// A title, the names of the columns, and the first rows.
fn list(text: &mut String, title: &str, rows: Option<&Value>, columns: &[&str]) {
    let rows = rows.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return;
    }
    let heads = columns.iter().map(|column| column.replace('_', " ")).collect();
    let shown = rows.iter().take(MAX_ROWS);
    let cells = shown.map(|row| columns.iter().map(|column| cell(column, row.get(column))).collect());
    let table: Vec<Vec<String>> = std::iter::once(heads).chain(cells).collect();
    let mut widths = vec![0; columns.len()];
    for row in &table {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = (*width).max(cell.chars().count()));
    }
    text.push_str(&format!("\n{title}\n"));
    for row in &table {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        text.push_str(&format!("  {}\n", line.trim_end()));
    }
    if rows.len() > MAX_ROWS {
        text.push_str(&format!("  and {} more\n", rows.len() - MAX_ROWS));
    }
}

/// What comes from the other side is shown without its control characters: a terminal obeys them.
fn cell(column: &str, value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::Bool(is)) => if *is { "yes" } else { "no" }.to_owned(),
        Some(Value::Number(number)) => match number.as_f64() {
            Some(number) if column.ends_with("seconds") => seconds(number),
            Some(number) => short(number),
            None => number.to_string(),
        },
        Some(Value::String(said)) => said.chars().filter(|sign| !sign.is_control()).take(MAX_CELL).collect(),
        Some(Value::Array(_) | Value::Object(_)) => "...".to_owned(),
    }
}

fn line(text: &mut String, name: &str, said: Option<String>) {
    if let Some(said) = said {
        text.push_str(&format!("{name:<12} {said}\n"));
    }
}

fn seconds(number: f64) -> String {
    let minutes = (number / 60.0).floor();
    if minutes >= 2.0 {
        format!("{minutes:.0} min {:.0} s", number - minutes * 60.0)
    } else {
        format!("{number:.1} s")
    }
}

fn short(number: f64) -> String {
    if (number - number.round()).abs() < 0.05 { format!("{number:.0}") } else { format!("{number:.1}") }
}

/// The lists that are known, in the order of their worth at night.
const LISTS: &[(&str, &str, &[&str])] = &[
    (
        "/gate/gates",
        "closed gates",
        &["level", "tenant", "family", "access", "remaining_seconds", "rate_per_second", "room"],
    ),
    ("/gate/verdicts", "how far refusals reach", &["family", "access", "level"]),
];
const MAX_ROWS: usize = 20;
const MAX_COLUMNS: usize = 8;
const MAX_CELL: usize = 40;
const MIB: f64 = 1024.0 * 1024.0;

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    fn check(status: &Value, expected: &[&str]) {
        let text = table(status);
        for part in expected {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }

    #[test]
    fn who_is_gated_and_until_when_stands_first() {
        let status = json!({
            "version": "1.2.3", "ready": true,
            "gate": {
                "closed": true, "half_open": false, "remaining_seconds": 12.04, "rate_per_second": 5.0,
                "ceiling_per_second": null, "waiting": 3, "oldest_waited_seconds": 200.0, "in_flight": 4,
                "gates": [{
                    "level": "route", "tenant": "alerts", "family": "rooms", "access": "write", "room": null,
                    "closed": true, "remaining_seconds": 8.0, "rate_per_second": 2.5,
                }],
                "verdicts": [{"family": "rooms", "access": "write", "level": "tenant"}],
            },
            "cache": {"entries": 10.0, "bytes": 1048576.0}, "connections": {"clients": 2.0, "upstream": 1.0},
        });
        check(
            &status,
            &[
                "1.2.3, ready",
                "CLOSED for everybody for 12.0 s; 5 requests/s\n",
                "3 waiting, the first for 3 min 20 s; 4 in flight",
                "route  alerts  rooms   write   8.0 s              2.5",
                "10 answers, 1.0 MiB",
                "2 of clients, 1 to the API",
            ],
        );
    }

    #[test]
    fn missing_fields_are_left_out_and_later_lists_are_shown() {
        check(&json!({}), &["of an unknown version"]);
        let later = json!({
            "ready": false,
            "refusals": [{"reason": "full", "age_seconds": 3.0, "detail": {"x": 1}}],
            "gate": {"lines": [{"tenant": "al\u{1b}[2Jerts", "waiting": 7}]},
        });
        check(&later, &["DRAINING", "refusals\n", "3.0 s", "full", "lines\n", "al[2Jerts  7"]);
    }

    #[test]
    fn a_long_list_says_how_much_is_missing() {
        let gates: Vec<_> = (0..25).map(|_| json!({"level": "tenant"})).collect();
        check(&json!({"gate": {"gates": gates}}), &["and 5 more"]);
    }

    #[test]
    fn any_json_is_a_status() {
        for status in [json!(null), json!([1]), json!({"gate": 3}), json!({"gate": {"gates": {"a": 1}}})] {
            table(&status);
        }
    }
}
