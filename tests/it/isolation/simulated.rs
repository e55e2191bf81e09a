//! Two tenants never share a private answer, whatever happens in which order.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use tokio::task::JoinSet;

use crate::world::{World, path_of, world};

const TOKENS: [&str; 3] = ["alice", "bob", "carol"];
const PROOF_TTL: Duration = Duration::from_secs(60);

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// All tokens at once, each twice.
    Crowd {
        content: usize,
    },
    Delete {
        content: usize,
    },
    Get {
        token: usize,
        content: usize,
    },
    Head {
        token: usize,
        content: usize,
    },
    Pass {
        seconds: u64,
    },
    Revoke {
        token: usize,
        content: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (token, content) = (0..TOKENS.len(), 0..3_usize);
    prop_oneof![
        8 => (token.clone(), content.clone()).prop_map(|(token, content)| Step::Get { token, content }),
        3 => (token.clone(), content.clone()).prop_map(|(token, content)| Step::Head { token, content }),
        3 => (0..50_u64).prop_map(|seconds| Step::Pass { seconds }),
        2 => content.clone().prop_map(|content| Step::Crowd { content }),
        1 => (token, content.clone()).prop_map(|(token, content)| Step::Revoke { token, content }),
        1 => content.prop_map(|content| Step::Delete { content }),
    ]
}

/// A content, the message that carries it, and who lost it.
struct Content {
    path: String,
    message: String,
    room: String,
    members: [bool; 3],
    is_there: bool,
}

impl Content {
    fn new(world: &World) -> Self {
        let made = world.control("content", json!({"members": TOKENS.map(email)}));
        let word = |key: &str| made[key].as_str().unwrap().to_owned();
        Self {
            path: path_of(&made),
            message: word("messageId"),
            room: word("roomId"),
            members: [true; 3],
            is_there: true,
        }
    }
}

fn email(token: &str) -> String {
    format!("{token}@example.com")
}

async fn walk(steps: &[Step]) {
    let world = world().start();
    world.control("people", json!(TOKENS.map(|token| json!({"email": email(token), "tokens": [token]}))));
    let mut contents = [(); 3].map(|()| Content::new(&world));
    for step in steps {
        match *step {
            Step::Crowd { content } => {
                let path = contents[content].path.clone();
                let mut bots = JoinSet::new();
                for token in TOKENS.into_iter().chain(TOKENS) {
                    let (world, path) = (world.clone(), path.clone());
                    bots.spawn(async move { (token, world.bot(token).get(&path).await) });
                }
                for (token, told) in bots.join_all().await {
                    let may_read = was_granted(&world, token, &path);
                    assert!(told.status != 200 || may_read, "{token} read {path} unproved");
                    assert!(told.status != 200 || told.bytes().len() == 44_752);
                }
            }
            Step::Delete { content } => {
                let content = &mut contents[content];
                // The first member wrote it and may delete it as long as it is a member.
                if content.is_there && content.members[0] {
                    let path = format!("/v1/messages/{}", content.message);
                    let told = world.bot(TOKENS[0]).ask("DELETE", &path).await;
                    assert_eq!(told.status, 204);
                    content.is_there = false;
                }
            }
            Step::Get { token, content } => {
                let path = &contents[content].path;
                let told = world.bot(TOKENS[token]).get(path).await;
                let may_read = was_granted(&world, TOKENS[token], path);
                assert!(told.status != 200 || may_read, "{} read {path} unproved", TOKENS[token]);
                assert!(told.status != 200 || told.bytes().len() == 44_752);
            }
            Step::Head { token, content } => {
                world.bot(TOKENS[token]).head(&contents[content].path).await;
            }
            Step::Pass { seconds } => world.pass(Duration::from_secs(seconds)).await,
            Step::Revoke { token, content } => {
                let content = &mut contents[content];
                if std::mem::take(&mut content.members[token]) {
                    let order =
                        json!({"room_id": content.room, "email": email(TOKENS[token]), "remove": true});
                    world.control("memberships", order);
                }
            }
        }
    }
}

/// Whether Webex itself said yes to this token and content while that yes is still good.
fn was_granted(world: &World, token: &str, path: &str) -> bool {
    let now = world.now();
    world.seen().iter().any(|seen| {
        seen.user() == email(token)
            && seen.what.ends_with(path)
            && seen.status == 200
            && seen.at + PROOF_TTL > now
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_byte_reaches_a_token_that_the_api_did_not_allow_it_lately(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(walk(&steps));
    }
}
