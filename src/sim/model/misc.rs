//! The small endpoints: card actions, organisations, licences, roles, devices, tokens and the service catalogue.

use bytes::Bytes;
use http::{Method, Request};
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Call, unsupported, wrong_method};
use super::paging::{self, Order, Style};
use super::query::Query;
use super::reply::{Refusal, Reply, Verdict};
use super::world::{Action, World};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActionDraft {
    #[serde(rename = "type")]
    kind: Option<String>,
    message_id: Option<String>,
    #[serde(default)]
    inputs: Value,
}

pub(super) fn actions(world: &mut World, call: &Call<'_>, path: &[&str]) -> Verdict {
    match (call.method(), path) {
        (&Method::POST, []) => {
            let draft: ActionDraft = call.json()?;
            let message = draft.message_id.and_then(|id| world.messages.find(&id));
            let message = message.filter(|message| world.room_of(&message.room_id, &call.user).is_some());
            let message = message.ok_or_else(Refusal::not_found)?;
            let (message_id, room_id) = (message.id.clone(), message.room_id.clone());
            let action = Action {
                id: world.mint.id("ATTACHMENT_ACTION"),
                kind: draft.kind.unwrap_or_else(|| "submit".to_owned()),
                message_id,
                inputs: draft.inputs,
                person_id: call.user.clone(),
                room_id,
                created: call.stamp(),
            };
            let reply = Reply::json(&action);
            world.actions.put(&action.id.clone(), action);
            Ok(reply)
        }
        (&Method::GET | &Method::HEAD, [id]) => {
            let action = world.actions.find(id);
            let action = action.filter(|action| world.room_of(&action.room_id, &call.user).is_some());
            action.map(Reply::json).ok_or_else(Refusal::not_found)
        }
        (_, []) => Err(wrong_method("POST")),
        (_, [_]) => Err(wrong_method("GET, HEAD")),
        _ => Err(Refusal::not_found()),
    }
}

/// `/organizations`, `/licenses` and `/roles`: short lists that nobody may change.
pub(super) fn directory(world: &World, call: &Call<'_>, family: &str, path: &[&str]) -> Verdict {
    let id = |kind: &str, name: &str| world.mint.settled_id(kind, name);
    let (style_path, rows) = match family {
        "organizations" => (
            "organizations?",
            vec![json!({"id": world.organization, "displayName": "Acme", "created": "2016-04-21T19:01:55.966Z"})],
        ),
        "licenses" => (
            "licenses?",
            ["Messaging", "Meeting"]
                .map(|name| json!({"id": id("LICENSE", name), "name": name, "totalUnits": 100, "consumedUnits": 42}))
                .to_vec(),
        ),
        _ => (
            "roles?",
            ["Full Administrator", "Read-Only Administrator"]
                .map(|name| json!({"id": id("ROLE", name), "name": name}))
                .to_vec(),
        ),
    };
    let id_of = |row: &Value| row.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    match (call.method(), path) {
        (&Method::GET | &Method::HEAD, []) => {
            let rows: Vec<(String, Value)> = rows.into_iter().map(|row| (id_of(&row), row)).collect();
            let style =
                Style { path: style_path, cursor: "cursor", default: 100, order: Order::FiltersFirst };
            let (page, link) = paging::page(call, style, &rows, |(id, _)| id)?;
            Ok(paging::reply(page.into_iter().map(|(_, row)| row).collect(), link))
        }
        (&Method::GET | &Method::HEAD, [wanted]) => {
            let row = rows.into_iter().find(|row| id_of(row) == *wanted);
            row.map(|row| Reply::json(&row)).ok_or_else(Refusal::not_found)
        }
        (_, [] | [_]) => Err(wrong_method("GET, HEAD")),
        _ => Err(Refusal::not_found()),
    }
}

/// `/xapi`: commands to devices and their status.
pub(super) fn xapi(call: &Call<'_>, path: &[&str]) -> Verdict {
    match (call.method(), path) {
        (&Method::POST, ["command", name]) => {
            let body: Value = call.json()?;
            Ok(Reply::json(&json!({
                "deviceId": body.get("deviceId"),
                "arguments": body.get("arguments"),
                "result": {"status": "OK", "command": name},
            })))
        }
        (&Method::GET, ["status"]) => {
            let [device, name] = ["deviceId", "name"].map(|key| call.query.value(key));
            let device = device.ok_or_else(|| Refusal::bad("deviceId is required."))?;
            Ok(Reply::json(&json!({"deviceId": device, "result": {name.unwrap_or_default(): "OK"}})))
        }
        (_, ["command", _]) => Err(wrong_method("POST")),
        (_, ["status"]) => Err(wrong_method("GET")),
        _ => Err(Refusal::not_found()),
    }
}

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
