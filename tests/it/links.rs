//! Where the URLs in answers point.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::world::{Bot, World, world};

/// A room of Alice's with so many messages.
fn room(world: &World, messages: u64) -> String {
    let room = world.control("rooms", json!({"members": ["alice"], "messages": messages}));
    room["id"].as_str().unwrap().to_owned()
}

/// The target of the next link and the authority that it names; none on the last page.
fn next(link: &str) -> Option<(String, String)> {
    let url = link.strip_prefix('<')?.split_once(">; rel=\"next\"")?.0;
    let (authority, target) = url.strip_prefix("https://")?.split_once('/')?;
    Some((authority.to_owned(), format!("/{target}")))
}

async fn whole_list(bot: &Bot, host: &str, first: String) -> Vec<Value> {
    let (mut items, mut target) = (Vec::new(), first);
    loop {
        let page = bot.get(&target).await;
        items.extend(page.json()["items"].as_array().unwrap().iter().cloned());
        let Some((authority, following)) = next(&page.header("link")) else { return items };
        assert_eq!(authority, host);
        target = following;
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_messages_are_listed_by_following_links_to_the_host_that_was_called() {
    let world = world().start();
    let path = format!("/v1/messages?roomId={}&max=70", room(&world, 1_000));
    let bot = world.bot("alice").at("localhost:8443");
    let items = whole_list(&bot, "localhost:8443", path).await;
    let ids: BTreeSet<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!((items.len(), ids.len()), (1_000, 1_000));
    assert_eq!(world.calls().len(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_bot_that_calls_webex_by_name_is_told_webexs_own_links() {
    for host in ["webexapis.com", "api.ciscospark.com"] {
        let world = world().start();
        let path = format!("/v1/messages?roomId={}&max=4", room(&world, 5));
        let told = world.bot("alice").at(host).get(&path).await;
        assert_eq!(next(&told.header("link")).unwrap().0, "webexapis.com", "{host}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_is_found_at_the_host_that_was_called() {
    for (host, expected) in
        [("localhost:8443", "https://localhost:8443"), ("webexapis.com", "https://webexapis.com")]
    {
        let world = world().start();
        let made = world.control("content", json!({"members": ["alice"]}));
        let bot = world.bot("alice").at(host);
        let message = bot.get(&format!("/v1/messages/{}", made["messageId"].as_str().unwrap())).await.json();
        let file = message["files"][0].as_str().unwrap();
        let path = file.strip_prefix(expected).unwrap();
        assert_eq!(bot.get(path).await.bytes().len(), 44_752, "{host}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_people_wrote_stays_as_they_wrote_it() {
    let world = world().start();
    let text =
        "see https://webexapis.com/v1/contents/1 or \"files\":[\"https://webexapis.com/v1/contents/2\"]";
    let room = room(&world, 0);
    let made = world.control("messages", json!({"room_id": room, "text": text, "markdown": text}));
    let told = world.bot("alice").get(&format!("/v1/messages/{}", made["id"].as_str().unwrap())).await.json();
    assert_eq!((&told["text"], &told["markdown"]), (&json!(text), &json!(text)));
}

#[tokio::test(start_paused = true)]
async fn packed_lists_are_rewritten_too() {
    let world = world().webex("gzip", "on").start();
    let made = world.control("content", json!({"members": ["alice"]}));
    let path = format!("/v1/messages?roomId={}", made["roomId"].as_str().unwrap());
    let told = world.bot("alice").with("accept-encoding", "gzip").get(&path).await;
    assert_eq!(told.header("content-encoding"), "");
    let file = told.json()["items"][0]["files"][0].as_str().unwrap().to_owned();
    assert!(file.starts_with("https://localhost:8443/v1/contents/"), "{file}");
}
