//! `/webhooks`: kept and listed for their owner; none is ever fired.

use http::Method;
use serde::Deserialize;

use super::call::{Call, wrong_method};
use super::paging::{self, Order, Style};
use super::reply::{Refusal, Reply, Verdict};
use super::world::{Webhook, World};

const WEBHOOKS: Style =
    Style { path: "webhooks?", cursor: "cursor", default: 100, order: Order::FiltersFirst };

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Draft {
    name: Option<String>,
    target_url: Option<String>,
    resource: Option<String>,
    event: Option<String>,
    filter: Option<String>,
    secret: Option<String>,
    status: Option<String>,
}

pub(super) fn answer(world: &mut World, call: &Call<'_>, path: &[&str]) -> Verdict {
    match (call.method(), path) {
        (&Method::GET | &Method::HEAD, []) => {
            let own = world.webhooks.iter().filter(|webhook| webhook.owner == call.user);
            let found: Vec<Webhook> = own.cloned().collect();
            paging::list(call, WEBHOOKS, &found, |webhook| &webhook.id)
        }
        (&Method::POST, []) => create(world, call),
        (&Method::GET | &Method::HEAD, [id]) => find(world, call, id).map(Reply::json),
        (&Method::PUT, [id]) => {
            find(world, call, id)?;
            let draft: Draft = call.json()?;
            let webhook = world.webhooks.find_mut(id).ok_or_else(Refusal::not_found)?;
            webhook.name = draft.name.unwrap_or_else(|| webhook.name.clone());
            webhook.target_url = draft.target_url.unwrap_or_else(|| webhook.target_url.clone());
            webhook.status = draft.status.unwrap_or_else(|| webhook.status.clone());
            Ok(Reply::json(webhook))
        }
        (&Method::DELETE, [id]) => {
            find(world, call, id)?;
            world.webhooks.remove(id);
            Ok(Reply::no_content())
        }
        (_, []) => Err(wrong_method("GET, HEAD, POST")),
        (_, [_]) => Err(wrong_method("GET, HEAD, PUT, DELETE")),
        _ => Err(Refusal::not_found()),
    }
}

fn find<'a>(world: &'a World, call: &Call<'_>, id: &str) -> Result<&'a Webhook, Refusal> {
    let webhook = world.webhooks.find(id).filter(|webhook| webhook.owner == call.user);
    webhook.ok_or_else(Refusal::not_found)
}

fn create(world: &mut World, call: &Call<'_>) -> Verdict {
    let draft: Draft = call.json()?;
    let (Some(name), Some(target_url), Some(resource), Some(event)) =
        (draft.name, draft.target_url, draft.resource, draft.event)
    else {
        return Err(Refusal::bad("name, targetUrl, resource and event are required."));
    };
    let id = world.mint.id("WEBHOOK");
    let webhook = Webhook {
        id: id.clone(),
        name,
        target_url,
        resource,
        event,
        filter: draft.filter,
        secret: draft.secret,
        status: "active".to_owned(),
        created: call.stamp(),
        owner: call.user.clone(),
    };
    world.webhooks.put(&id, webhook);
    find(world, call, &id).map(Reply::json)
}
