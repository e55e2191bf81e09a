//! What needs no token: the grant of one, and the catalogue that tells SDKs where the services are.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::json;

use super::call::{unsupported, wrong_method};
use super::query::Query;
use super::reply::{Reply, Verdict};
use super::world::World;

/// `POST /access_token`: a fresh token for any grant; it needs none itself.
pub(super) fn access_token(world: &mut World, request: &Request<Bytes>) -> Verdict {
    if *request.method() != Method::POST {
        return Err(wrong_method("POST"));
    }
    let is_form = request.headers().get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !is_form.is_some_and(|value| value.starts_with("application/x-www-form-urlencoded")) {
        return Err(unsupported("Content type '' not supported"));
    }
    let form = Query::parse(&String::from_utf8_lossy(request.body()));
    if form.value("grant_type").is_none() {
        return Ok(Reply {
            status: http::StatusCode::BAD_REQUEST,
            ..Reply::json(&json!({"error": "invalid_request", "error_description": "grant_type is missing"}))
        });
    }
    let [access, refresh] = [(); 2].map(|()| world.mint.uuid().simple().to_string());
    Ok(Reply::json(&json!({
        "access_token": access,
        "expires_in": 1_209_599,
        "refresh_token": refresh,
        "refresh_token_expires_in": 7_776_000,
    })))
}

/// The U2C catalogue: it leads a JS SDK away from its configured base, as production does.
pub(super) fn catalog() -> Reply {
    let hydra = "https://hydra-a.wbx2.com/v1";
    let wdm = "https://wdm-a.wbx2.com/wdm/api/v1";
    let host = |host: &str| json!([{"host": host, "ttl": -1, "priority": 5, "id": format!("urn:TEAM:us-east-2_a:{host}")}]);
    Reply::json(&json!({
        "serviceLinks": {"hydra": hydra, "wdm": wdm},
        "hostCatalog": {"hydra-a.wbx2.com": host("hydra-a.wbx2.com"), "wdm-a.wbx2.com": host("wdm-a.wbx2.com")},
        "format": "hostmap",
    }))
}
