//! What bots see of the API's `Retry-After`, in whatever form it comes.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::world::{Told, world};

const SECOND: Duration = Duration::from_secs(1);

/// The simulator's forms; 5 stands for any fixed number, true or not.
const FORMS: &[&str] = &["int", "missing", "garbage", "http-date", "zero", "decimal", "5"];

/// Twelve bots against a limit of five requests in ten seconds.
async fn twelve_bots(form: &str, max_wait: Duration) -> Vec<Told> {
    let world = world()
        .webex("limit", "egress=30:5")
        .webex("limit_mode", "sliding-log")
        .webex("retry_after", form)
        .paced(5.0)
        .max_wait(max_wait)
        .start();
    let mut bots = JoinSet::new();
    for number in 0..12 {
        let bot = world.bot(&format!("bot-{number}"));
        bots.spawn(async move { bot.get("/v1/people/me").await });
    }
    bots.join_all().await
}

async fn is_absorbed(form: &str) {
    let told = twelve_bots(form, 600 * SECOND).await;
    let statuses: Vec<u16> = told.iter().map(|told| told.status).collect();
    assert_eq!(statuses, [200; 12], "{form}");
}

macro_rules! absorbed {
    ($($name:ident: $form:literal),* $(,)?) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $name() {
                is_absorbed($form).await;
            }
        )*
    };
}

absorbed! {
    whole_seconds_are_absorbed: "int",
    a_missing_retry_after_is_absorbed: "missing",
    webexs_unfilled_template_is_absorbed: "garbage",
    a_date_is_absorbed: "http-date",
    a_zero_that_is_not_true_is_absorbed: "zero",
    decimals_are_absorbed: "decimal",
    a_number_that_is_too_small_is_absorbed: "5",
}

#[tokio::test(start_paused = true)]
async fn a_bot_that_must_see_a_refusal_sees_whole_seconds_whatever_the_api_wrote() {
    for form in FORMS {
        let told = twelve_bots(form, SECOND).await;
        let refused: Vec<&Told> = told.iter().filter(|told| told.status != 200).collect();
        assert!(!refused.is_empty(), "{form}: nobody was refused");
        for told in refused {
            assert_eq!(told.status, 429, "{form}");
            told.retry_after();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_hour_is_an_hour_for_everybody_and_the_api_hears_nothing_meanwhile() {
    let world = world().egress().start();
    world.force(json!({"status": 429, "headers": {"retry-after": "3600"}}));
    let first = world.bot("alice").get("/v1/people/me").await;
    assert_eq!((first.status, first.at), (429, Duration::ZERO));
    let mut last = first.retry_after();
    assert!((3600..=3601).contains(&last), "{last}");
    for minute in 1..60 {
        world.pass(60 * SECOND).await;
        let told = world.bot(&format!("bot-{minute}")).get("/v1/rooms").await;
        assert_eq!((told.status, told.at), (429, Duration::from_secs(minute * 60)), "answered at once");
        assert_eq!(last - told.retry_after(), 60);
        last = told.retry_after();
    }
    assert_eq!(world.calls().len(), 1);
    world.pass(Duration::from_secs(last + 1)).await;
    assert_eq!(world.bot("alice").get("/v1/people/me").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_our_own_says_so_and_looks_like_webexs() {
    let world = world().egress().start();
    world.force(json!({"status": 429, "headers": {"retry-after": "3600"}}));
    world.bot("alice").get("/v1/people/me").await;
    let told = world.bot("bob").with("trackingid", "bot_1").get("/v1/people/me").await;
    assert_eq!(told.status, 429);
    assert!(told.header("proxy-status").starts_with("Tollgate; error=http_request_denied"));
    assert_eq!(told.header("content-type"), "application/json;charset=UTF-8");
    let body = told.json();
    assert_eq!(body["trackingId"], "bot_1");
    assert_eq!(body["message"], body["errors"][0]["description"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_the_deadline_makes_visible_keeps_the_apis_own_words() {
    let world = world().start();
    world.force(json!({"status": 429, "headers": {"retry-after": "3600"}, "body": {"message": "slow down"}}));
    let told = world.bot("alice").get("/v1/people/me").await;
    assert_eq!((told.status, told.json()), (429, json!({"message": "slow down"})));
    assert_eq!(told.header("proxy-status"), "Tollgate; received-status=429");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_passed_on_at_once_states_whole_seconds_too() {
    let past = json!("Thu, 01 Jan 1970 00:00:00 GMT");
    for written in [
        json!("rand(30),add(30)"),
        json!("soon"),
        json!("0"),
        json!("1.5"),
        json!(["3", "x"]),
        past,
        json!(null),
    ] {
        let world = world().start();
        world.force(json!({"status": 429, "headers": {"retry-after": written}}));
        let told = world.bot("alice").post("/v1/xapi/command/Dial", json!({"deviceId": "1"})).await;
        assert_eq!((told.status, told.at), (429, Duration::ZERO), "{written}");
        told.retry_after();
    }
}
