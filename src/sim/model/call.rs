//! One request as the endpoints see it: who asks, for what, with which body.

use std::time::SystemTime;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use serde::de::DeserializeOwned;

use super::query::Query;
use super::reply::Refusal;
use super::stamp;
use crate::sim::settings::SimSettings;

/// An authenticated request below `/v1`.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) request: &'a Request<Bytes>,
    pub(super) settings: &'a SimSettings,
    pub(super) query: Query,
    /// The id of the person whose token it is.
    pub(super) user: String,
    pub(super) now: SystemTime,
}

impl Call<'_> {
    pub(super) fn method(&self) -> &Method {
        self.request.method()
    }

    pub(super) fn stamp(&self) -> String {
        stamp::stamp(self.now)
    }

    /// The media type without parameters, in lower case.
    pub(super) fn media_type(&self) -> Option<String> {
        let value = self.request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    /// The JSON body.
    ///
    /// # Errors
    /// 415 without the media type of JSON; 400 if it cannot be read.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        match self.media_type().as_deref() {
            Some("application/json") => {}
            Some(other) => return Err(unsupported(&format!("Content type '{other}' not supported"))),
            None => return Err(unsupported("Content type '' not supported")),
        }
        serde_json::from_slice(self.request.body())
            .map_err(|error| Refusal::bad(format!("The request body is not valid: {error}")))
    }
}

pub(super) fn unsupported(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
}

/// The 405 of a resource that knows only the methods in `allowed`.
pub(super) fn wrong_method(allowed: &'static str) -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "The request method is not supported by this resource.")
        .with(header::ALLOW, http::HeaderValue::from_static(allowed))
}
