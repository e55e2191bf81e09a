//! `/contents`: attached files, whether the scan let them through, and to whom they are shown.

use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use serde_json::json;

use super::call::{Call, wrong_method};
use super::payload::Payload;
use super::reply::{Refusal, Reply, Verdict, text};
use super::stamp::since_epoch;
use super::world::{Content, ScanState, World};
use crate::sim::settings::SimSettings;

/// The largest attachment, from the seed: "limited to 100MB each".
pub(super) const MAX_BYTES: u64 = 100 * 1024 * 1024;

/// Bytes of all uploads kept together; the oldest go first.
const KEPT_BYTES: u64 = 1024 * 1024 * 1024;

pub(super) fn answer(world: &mut World, call: &Call<'_>, path: &[&str]) -> Verdict {
    let [id] = path else { return Err(Refusal::not_found()) };
    if !matches!(*call.method(), Method::GET | Method::HEAD | Method::PUT) {
        return Err(wrong_method("GET, HEAD, PUT"));
    }
    let room = world.contents.find(id).map(|content| content.room_id.clone());
    room.and_then(|room| world.room_of(&room, &call.user)).ok_or_else(Refusal::not_found)?;
    let content = world.contents.find_mut(id).ok_or_else(Refusal::not_found)?;
    if *call.method() == Method::PUT {
        return judge(content, call);
    }
    open(content, call)?;
    Ok(serve(content, call))
}

/// The URL under which a content stands in its message.
pub(super) fn url(content: &Content, settings: &SimSettings) -> String {
    let allow = if content.state == ScanState::Dlp { "?allow=dlpEvaluating" } else { "" };
    format!("{}/contents/{}{allow}", settings.public_base, content.id)
}

/// Keeps a content, and forgets the bytes of the oldest uploads when all together are too many.
pub(super) fn keep(world: &mut World, content: Content) {
    let id = content.id.clone();
    world.contents.put(&id, content);
    let held =
        |content: &Content| matches!(content.payload, Payload::Whole(_)).then(|| content.payload.len());
    let mut total: u64 = world.contents.iter().filter_map(held).sum();
    let mut oldest = Vec::new();
    for content in world.contents.iter() {
        if total <= KEPT_BYTES {
            break;
        }
        total -= held(content).unwrap_or(0);
        oldest.push(content.id.clone());
    }
    for id in oldest {
        world.contents.remove(&id);
    }
}

/// The media type of a file name.
pub(super) fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("bmp") => "image/bmp",
        Some("doc") => "application/msword",
        Some("docx") => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        Some("gif") => "image/gif",
        Some("jpeg" | "jpg") => "image/jpeg",
        Some("pdf") => "application/pdf",
        Some("png") => "image/png",
        Some("ppt") => "application/vnd.ms-powerpoint",
        Some("pptx") => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        Some("txt") => "text/plain",
        _ => "application/octet-stream",
    }
}

fn judge(content: &mut Content, call: &Call<'_>) -> Verdict {
    let result = call.query.value("result");
    content.state = match result.as_deref() {
        Some("approve") => ScanState::Clean,
        Some("reject") => ScanState::Rejected,
        _ => return Err(Refusal::bad("result must be one of approve, reject.")),
    };
    Ok(Reply::json(&json!({"id": content.id, "result": result})))
}

/// Whether the scan lets the bytes out, this time.
fn open(content: &mut Content, call: &Call<'_>) -> Result<(), Refusal> {
    if call.query.lists("allow", "dlpUnchecked") {
        content.dlp_signals += 1;
    }
    let locked = |message: &str| {
        Err(Refusal::new(StatusCode::LOCKED, message)
            .with(header::RETRY_AFTER, HeaderValue::from(call.settings.scan_retry_after)))
    };
    match content.state {
        ScanState::Clean | ScanState::Scanning(0) => Ok(()),
        ScanState::Scanning(left) => {
            content.state = ScanState::Scanning(left - 1);
            locked("The file is being scanned for malware. Try again later.")
        }
        ScanState::Dlp if call.query.lists("allow", "dlpEvaluating") => Ok(()),
        ScanState::Dlp => locked("The file is being checked for data loss. Try again later."),
        ScanState::Infected => {
            Err(Refusal::new(StatusCode::GONE, "The file was found to be infected with malware."))
        }
        ScanState::Rejected => Err(Refusal::new(StatusCode::GONE, "The file was rejected.")),
        ScanState::Unscannable if call.query.lists("allow", "unscannable") => Ok(()),
        ScanState::Unscannable => Err(Refusal::new(
            StatusCode::PRECONDITION_REQUIRED,
            "The file cannot be scanned for malware. Use allow=unscannable to download it.",
        )),
    }
}

fn serve(content: &Content, call: &Call<'_>) -> Reply {
    let settings = call.settings;
    let tag = format!("\"{}\"", content.id.get(content.id.len().saturating_sub(16)..).unwrap_or_default());
    let wanted = call.request.headers();
    let is_same = wanted.get(header::IF_NONE_MATCH).is_some_and(|tags| tags.as_bytes() == tag.as_bytes());
    let whole = content.payload.len();
    let range = wanted.get(header::RANGE).and_then(|range| range.to_str().ok()).filter(|_| settings.ranges);
    let mut reply = match range.map(|range| span(range, whole)) {
        _ if settings.validators && is_same => {
            Reply { status: StatusCode::NOT_MODIFIED, ..Reply::no_content() }
        }
        Some(Some((from, to))) => {
            let part = Reply::content(&content.media_type, content.payload.slice(from, to));
            Reply { status: StatusCode::PARTIAL_CONTENT, ..part }
                .with(header::CONTENT_RANGE, text(&format!("bytes {from}-{}/{whole}", to.saturating_sub(1))))
        }
        Some(None) => Reply { status: StatusCode::RANGE_NOT_SATISFIABLE, ..Reply::no_content() }
            .with(header::CONTENT_RANGE, text(&format!("bytes */{whole}"))),
        None => Reply::content(&content.media_type, content.payload.clone()),
    };
    reply = reply.with(header::CONTENT_DISPOSITION, disposition(&content.name, settings));
    if settings.ranges {
        reply = reply.with(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    if settings.validators {
        let created = std::time::UNIX_EPOCH + std::time::Duration::from_secs(content.created_s);
        reply = reply
            .with(header::ETAG, text(&tag))
            .with(header::LAST_MODIFIED, text(&httpdate::fmt_http_date(created)));
    }
    reply
}

/// The bytes `from..to` of a single range; `None` if they are not there or not understood.
fn span(range: &str, whole: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to) = match (first.trim(), last.trim()) {
        ("", last) => (whole.saturating_sub(last.parse().ok()?), whole),
        (first, "") => (first.parse().ok()?, whole),
        (first, last) => (first.parse().ok()?, last.parse::<u64>().ok()?.checked_add(1)?.min(whole)),
    };
    (from < to).then_some((from, to))
}

fn disposition(name: &str, settings: &SimSettings) -> HeaderValue {
    let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
    if !settings.filename_star {
        return text(&format!("attachment; filename=\"{quoted}\""));
    }
    let plain: String = quoted.chars().map(|sign| if sign.is_ascii() { sign } else { '_' }).collect();
    let encoded = name.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    text(&format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", encoded.collect::<String>()))
}

/// A content of that name; its bytes are told by `payload`.
pub(super) fn make(
    id: String,
    room: &str,
    (name, media_type): (&str, &str),
    payload: Payload,
    origin: Origin<'_>,
) -> Content {
    Content {
        id,
        room_id: room.to_owned(),
        name: name.to_owned(),
        media_type: media_type.to_owned(),
        payload,
        state: origin.state,
        source: origin.source.to_owned(),
        dlp_signals: 0,
        created_s: since_epoch(origin.now).as_secs(),
    }
}

/// How a content came to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) source: &'a str,
    pub(super) state: ScanState,
    pub(super) now: std::time::SystemTime,
}
