//! `/organizations`, `/licenses` and `/roles`: short lists that nobody may change.

use http::Method;
use serde_json::{Value, json};

use super::call::{Call, wrong_method};
use super::paging::{self, Order, Style};
use super::reply::{Refusal, Reply, Verdict};
use super::world::World;

pub(super) fn answer(world: &World, call: &Call<'_>, family: &str, path: &[&str]) -> Verdict {
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
