//! `/xapi`: commands to devices, and their status.

use http::Method;
use serde_json::{Value, json};

use super::call::{Call, wrong_method};
use super::reply::{Refusal, Reply, Verdict};

pub(super) fn answer(call: &Call<'_>, path: &[&str]) -> Verdict {
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
