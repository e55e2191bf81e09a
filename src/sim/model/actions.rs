//! `/attachment/actions`: what people submit from cards.

use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::call::{Call, wrong_method};
use super::reply::{Refusal, Reply, Verdict};
use super::world::{Action, World};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Draft {
    #[serde(rename = "type")]
    kind: Option<String>,
    message_id: Option<String>,
    #[serde(default)]
    inputs: Value,
}

pub(super) fn answer(world: &mut World, call: &Call<'_>, path: &[&str]) -> Verdict {
    match (call.method(), path) {
        (&Method::POST, []) => {
            let draft: Draft = call.json()?;
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
