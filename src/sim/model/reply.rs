//! Turns what an endpoint decided into the answer as it stands on the wire: fixed headers, error shape, packing.

use std::io::Write;
use std::time::SystemTime;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::payload::Payload;

pub(super) const JSON: &str = "application/json;charset=UTF-8";

/// What an endpoint answers.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// `None`: no `Content-Type` and no body, as of a 204.
    pub(super) body: Option<(String, Payload)>,
}

/// Why an endpoint answers with an error; the message is the one that the client reads.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// What an endpoint says.
pub(super) type Verdict = Result<Reply, Refusal>;

/// What the wrapping of an answer needs to know of its request.
#[derive(Debug, Clone)]
pub(super) struct Wrapping {
    pub(super) tracking_id: String,
    pub(super) now: SystemTime,
    pub(super) is_head: bool,
    pub(super) may_pack: bool,
}

impl Reply {
    pub(super) fn json(value: &impl Serialize) -> Self {
        // Plain data with string keys always serialises; an empty object would show in every test.
        let bytes = serde_json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec());
        let body = Some((JSON.to_owned(), Payload::Whole(bytes.into())));
        Self { status: StatusCode::OK, headers: Vec::new(), body }
    }

    pub(super) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: Vec::new(), body: None }
    }

    pub(super) fn content(media_type: &str, payload: Payload) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: Some((media_type.to_owned(), payload)) }
    }

    pub(super) fn html(status: StatusCode) -> Self {
        let title = format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or("Error"));
        let page = format!(
            "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
             <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
        );
        let body = Some(("text/html".to_owned(), Payload::Whole(page.into())));
        Self { status, headers: Vec::new(), body }
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The answer with the headers that every answer of Webex has.
    pub(super) fn wrap(self, wrapping: &Wrapping) -> Response<Payload> {
        let mut response = Response::new(Payload::empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let success = if self.status.is_server_error() { "0.0" } else { "1.0" };
        headers.insert(header::DATE, text(&httpdate::fmt_http_date(wrapping.now)));
        headers.insert("trackingid", text(&wrapping.tracking_id));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::VIA, HeaderValue::from_static("1.1 linkerd"));
        headers.insert(header::SERVER, HeaderValue::from_static("Redacted"));
        headers.insert("l5d-success-class", HeaderValue::from_static(success));
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=63072000; includeSubDomains; preload"),
        );
        if let Some((media_type, payload)) = self.body {
            let (payload, is_packed) = pack(payload, &media_type, wrapping.may_pack);
            headers.insert(header::CONTENT_TYPE, text(&media_type));
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(payload.len()));
            if is_packed {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
            }
            if !wrapping.is_head {
                *response.body_mut() = payload;
            }
        }
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), headers: Vec::new() }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "The requested resource could not be found.")
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The error in the shape of Webex.
    pub(super) fn into_reply(self, tracking_id: &str) -> Reply {
        let Self { status, message, headers } = self;
        let errors = [json!({"description": message})];
        let body = json!({"message": message, "errors": errors, "trackingId": tracking_id});
        Reply { status, headers, ..Reply::json(&body) }
    }
}

/// A header value; what cannot stand in a header is left out.
pub(super) fn text(value: &str) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn pack(payload: Payload, media_type: &str, may_pack: bool) -> (Payload, bool) {
    let is_text = media_type.starts_with("application/json") || media_type.starts_with("text/html");
    if !may_pack || !is_text {
        return (payload, false);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    match encoder.write_all(&payload.to_bytes()).and_then(|()| encoder.finish()) {
        Ok(packed) => (Payload::Whole(Bytes::from(packed)), true),
        Err(_) => (payload, false),
    }
}
