//! Decides whether what the clients were told agrees with what the upstream did.

use http::{HeaderMap, Method};
use serde_json::Value;

use super::book::{Attempt, Said};
use super::bots::{Told, What};
use super::table::{Case, Door, End, Fault, Framing, GoAway, Kind, Parting, Stage};

/// Whether other requests share process and connections, so that their faults are everybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    Alone,
    Crowd,
    /// The process was told to stop.
    Leaving,
}

/// Everything that is wrong about a case; nothing, if all is well.
pub(super) fn judge(case: &Case, told: &[Told], attempts: &[Attempt], company: Company) -> Vec<String> {
    let mut faults = Vec::new();
    let effects = attempts.iter().filter(|attempt| attempt.is_applied).count();
    if case.is_write() && effects > 1 {
        faults.push(format!("done {effects} times"));
    }
    for told in told {
        let found = match &told.what {
            What::Hung => Err("no end".to_owned()),
            What::Failed(error) => failed(case, error, attempts, company),
            What::Answer { status, headers, body } if is_ours(headers) => {
                ours(case, *status, headers, body).and_then(|()| allowed(case, *status, headers, company))
            }
            What::Answer { status, headers, body } => theirs(case, *status, headers, body, attempts)
                .and_then(|()| promised(case, *status, body, company)),
        };
        faults.extend(found.err());
    }
    faults
}

/// Whether Tollgate itself says so.
pub(super) fn is_ours(headers: &HeaderMap) -> bool {
    text(headers, "proxy-status").starts_with("Tollgate; error=")
}

/// A connection may break instead of an answer only if the upstream's own answer broke.
fn failed(case: &Case, error: &str, attempts: &[Attempt], company: Company) -> Result<(), String> {
    let is_broken = attempts.iter().any(|attempt| matches!(attempt.said, Said::Part(_)));
    let is_done = attempts.iter().any(|attempt| attempt.is_applied);
    // A reset behind an answer takes with it what of it is still on the way.
    let is_torn = matches!(case.fault, Fault::Break(Stage::Answered, _) | Fault::Early(_, Parting::Leaves))
        && promise(case) == Promise::Open;
    let is_allowed = match company {
        Company::Alone => {
            is_broken || (is_torn && attempts.iter().any(|attempt| attempt.said != Said::Nothing))
        }
        Company::Crowd => is_broken || attempts.iter().any(|attempt| attempt.said != Said::Nothing),
        Company::Leaving => is_broken || !is_done || !case.is_write(),
    };
    if is_allowed { Ok(()) } else { Err(format!("the connection failed: {error}")) }
}

/// Our own errors look like Webex's, and say what happened.
fn ours(
    case: &Case,
    status: u16,
    headers: &HeaderMap,
    body: &Result<bytes::Bytes, String>,
) -> Result<(), String> {
    if !matches!(status, 429 | 502 | 503 | 504) {
        return Err(format!("Tollgate says {status}"));
    }
    let id = format!("case_{}", case.id);
    if text(headers, "trackingid") != id {
        return Err("no trackingid".to_owned());
    }
    if status == 429 && text(headers, "retry-after").parse::<u32>().is_err() {
        return Err("429 without a time".to_owned());
    }
    let body = body.as_ref().map_err(|error| format!("our own error broke off: {error}"))?;
    if case.method == Method::HEAD {
        return Ok(());
    }
    let body: Value = serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
    let message = body["message"].as_str().unwrap_or_default();
    let is_said = message.starts_with("Tollgate: ") && message.len() > 20;
    if !is_said || body["errors"][0]["description"] != message || body["trackingId"] != id.as_str() {
        return Err(format!("not in Webex's shape: {body}"));
    }
    Ok(())
}

/// The upstream's answer is the one that it gave, whole, or visibly broken.
fn theirs(
    case: &Case,
    status: u16,
    headers: &HeaderMap,
    body: &Result<bytes::Bytes, String>,
    attempts: &[Attempt],
) -> Result<(), String> {
    let number: usize =
        text(headers, "x-attempt").parse().map_err(|_| format!("{status} from nowhere: {headers:?}"))?;
    if text(headers, "x-case") != case.id.to_string() {
        return Err(format!("the answer to {}", text(headers, "x-case")));
    }
    let attempt = attempts.get(number).ok_or("an answer to no attempt")?;
    let said = match attempt.said {
        Said::Nothing => return Err(format!("{status} out of silence")),
        Said::Part(said) | Said::Whole(said) => said,
    };
    if said != status {
        return Err(format!("{status} instead of {said}"));
    }
    if status == 200 && case.is_write() && !(attempt.is_applied && attempt.is_right) {
        return Err(format!("acknowledged, but not done as sent: {attempt:?}"));
    }
    let Ok(bytes) = body else { return Ok(()) };
    let is_early = matches!(case.fault, Fault::Early(..)) && number < usize::try_from(case.times).unwrap();
    if status != 200 || is_early {
        let words = String::from_utf8_lossy(bytes);
        let is_spelt_out = words.contains("in Tollgate's words") || words.contains("did not come whole");
        let is_whole = &bytes[..] == b"{}" || is_spelt_out || case.method == Method::HEAD;
        let may_be_lost = bytes.is_empty() && matches!(case.fault, Fault::Early(_, Parting::Leaves));
        return if is_whole || may_be_lost { Ok(()) } else { Err(format!("{status} with {bytes:?}")) };
    }
    if case.method == Method::HEAD {
        return Ok(());
    }
    if *bytes != case.answer(number) {
        return Err(format!("wrong bytes: {} of {}", bytes.len(), case.answer(number).len()));
    }
    // The proof of access to a content may be another attempt than the one that brought the bytes.
    let is_whole =
        |attempt: &Attempt| matches!(attempt.said, Said::Whole(200)) && attempt.method == Method::GET;
    let is_known = case.kind == Kind::Content && attempts.iter().any(is_whole);
    if matches!(attempt.said, Said::Part(_)) && !is_known {
        return Err("a broken answer shown as whole".to_owned());
    }
    Ok(())
}

/// What must become of a request that is alone with its fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// It is answered as if nothing had happened.
    Served,
    /// It is answered with this status of the upstream's.
    Said(u16),
    /// It is answered by Tollgate: nobody can know what became of it. With one of these words.
    Broken(&'static [&'static str]),
    Open,
}

fn promise(case: &Case) -> Promise {
    let is_write = case.is_write();
    match case.fault {
        Fault::None | Fault::Interim(_) | Fault::Drip => Promise::Served,
        Fault::GoAway(GoAway::At | GoAway::Above) => Promise::Served,
        // What is still in the upstream's own buffers goes with its connection.
        Fault::Break(Stage::Answered, End::Cut) if case.answer_bytes > 20_000 => Promise::Open,
        // An end that nobody says is no end.
        Fault::Break(Stage::Answered, End::Cut | End::Stall) if case.framing == Framing::UntilClose => {
            Promise::Open
        }
        Fault::Break(Stage::Answered, End::Close | End::Cut | End::HalfClose | End::Stall) => Promise::Served,
        Fault::Door(Door::Streams(1)) => Promise::Served,
        Fault::Door(Door::Window) if case.body.is_empty() => Promise::Served,
        Fault::Door(Door::SilentAfterHandshake) if is_write => Promise::Broken(TIMEOUT),
        // Until its SETTINGS arrive, an upstream takes 65,535 bytes (RFC 9113 §6.9.2).
        Fault::Door(Door::Window) if case.body.len() > 65_535 => Promise::Broken(TIMEOUT),
        Fault::Door(Door::Stranger) if case.times > 8 => Promise::Broken(&["certificate"]),
        Fault::Door(Door::Refused) if case.times > 8 => Promise::Broken(&["cannot connect"]),
        Fault::Door(Door::SilentBeforeTls) if case.times > 8 => Promise::Broken(TIMEOUT),
        Fault::Door(Door::Garbage) if case.times > 8 => Promise::Broken(&["handshake"]),
        Fault::Says(status, _) if is_write && !matches!(status, 429) => Promise::Said(status),
        Fault::Says(500, _) if case.at_once == 1 => Promise::Said(500),
        Fault::Early(200, Parting::Keeps) => Promise::Served,
        Fault::Early(status, Parting::Keeps) if is_write && status != 429 => Promise::Said(status),
        Fault::Break(_, End::Rst(7)) => Promise::Open,
        Fault::Break(Stage::Head | Stage::MidBody | Stage::Done | Stage::Status, end) if is_write => {
            match end {
                End::Stall | End::Freeze => Promise::Broken(TIMEOUT),
                _ => Promise::Broken(BROKEN),
            }
        }
        Fault::GoAway(GoAway::ThenCut | GoAway::CalmThenCut) if is_write => Promise::Broken(BROKEN),
        _ => Promise::Open,
    }
}

const TIMEOUT: &[&str] = &["timed out"];
const BROKEN: &[&str] = &["broke the exchange off"];

fn allowed(case: &Case, status: u16, headers: &HeaderMap, company: Company) -> Result<(), String> {
    let said = text(headers, "proxy-status");
    match promise(case) {
        _ if company != Company::Alone => Ok(()),
        Promise::Open => Ok(()),
        Promise::Broken(words) if words.iter().any(|word| said.contains(word)) => Ok(()),
        promise => Err(format!("{promise:?}, but Tollgate says {status}: {said}")),
    }
}

fn promised(
    case: &Case,
    status: u16,
    body: &Result<bytes::Bytes, String>,
    company: Company,
) -> Result<(), String> {
    let is_kept = match promise(case) {
        _ if company != Company::Alone => true,
        Promise::Open => true,
        Promise::Served => status == 200 && body.is_ok(),
        Promise::Said(said) => status == said && body.is_ok(),
        Promise::Broken(_) => false,
    };
    if is_kept { Ok(()) } else { Err(format!("{:?}, but told {status} with {body:?}", promise(case))) }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
