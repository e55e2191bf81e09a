//! One bot at work: follows its script, sleeps when it is told to, and checks every answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::client::{Client, Reply, Way};
use super::script::{LOOKS, MESSAGES, PAGE, Step, script};

/// What a bot knows of the place it works in.
#[derive(Debug, Clone)]
pub(super) struct Props {
    pub(super) seed: u64,
    /// The word that makes the posts of one phase its own.
    pub(super) phase: &'static str,
    /// Where it reads, and where it posts.
    pub(super) reading_room: String,
    pub(super) posting_room: String,
    /// The attachment as it should arrive.
    pub(super) attachment_sha256: String,
    pub(super) attachment_bytes: u64,
}

/// A name and what proves it.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) token: String,
}

impl Identity {
    pub(super) fn new(seed: u64, number: u32) -> Self {
        Self { number, name: format!("bot-{number:02}"), token: format!("demo-{seed}-{number:02}") }
    }

    pub(super) fn email(&self) -> String {
        format!("{}@example.com", self.name)
    }

    /// The text of one post: nobody else ever posts the same.
    pub(super) fn text(&self, phase: &str, number: u32) -> String {
        format!("{} reports {number}, {phase}", self.name)
    }
}

/// What happened to a bot.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// 429s it saw.
    pub(super) throttled: u64,
    /// For each call, how long it slept as told; most are zero.
    pub(super) slept: Vec<Duration>,
    /// What went wrong, in sentences.
    pub(super) faults: Vec<String>,
}

/// What all bots of one phase have done so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) done: AtomicU64,
    pub(super) throttled: AtomicU64,
}

/// Does everything the script says; a fault does not keep it from going on.
pub(super) async fn work(
    identity: Identity,
    way: Arc<Way>,
    props: Arc<Props>,
    progress: Arc<Progress>,
) -> (Identity, Tally) {
    let client = Client::new(Arc::clone(&way), &identity.token);
    let mut bot =
        Bot { identity, base: way.base(), client, props, progress, file: None, tally: Tally::default() };
    for (pause, step) in script(bot.props.seed, bot.identity.number) {
        tokio::time::sleep(pause).await;
        if let Err(fault) = bot.take(step).await {
            bot.tally.faults.push(format!("{}: {fault}", bot.identity.name));
        }
    }
    (bot.identity, bot.tally)
}

struct Bot {
    identity: Identity,
    base: String,
    client: Client,
    props: Arc<Props>,
    progress: Arc<Progress>,
    file: Option<String>,
    tally: Tally,
}

impl Bot {
    async fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Download => self.download().await,
            Step::Look => self.look().await,
            Step::Post(number) => self.post(number).await,
            Step::Read => self.read().await,
            Step::Whoami => self.whoami().await,
        }
    }

    async fn whoami(&mut self) -> Result<(), String> {
        let me = self.json(Method::GET, format!("{}people/me", self.base), Bytes::new()).await?.1;
        let email = self.identity.email();
        let is_me = me.get("emails").and_then(Value::as_array).is_some_and(|all| all.contains(&json!(email)));
        if is_me { Ok(()) } else { Err("people/me is somebody else".to_owned()) }
    }

    async fn read(&mut self) -> Result<(), String> {
        let mut next = Some(format!("{}messages?roomId={}&max={PAGE}", self.base, self.props.reading_room));
        let mut count = 0;
        for _ in 0..MESSAGES {
            let Some(url) = next else { break };
            let (reply, page) = self.json(Method::GET, url, Bytes::new()).await?;
            let items = page.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            count += items.len();
            let mut files = items.iter().filter_map(|item| item.pointer("/files/0")?.as_str());
            if let Some(file) = files.next() {
                self.file = Some(self.own(file)?);
            }
            let link = reply.headers.get(header::LINK).and_then(|value| value.to_str().ok());
            next = link.and_then(next_page).map(|url| self.own(url)).transpose()?;
        }
        if u32::try_from(count) == Ok(MESSAGES) {
            Ok(())
        } else {
            Err(format!("the room has {MESSAGES} messages, {count} came"))
        }
    }

    async fn look(&mut self) -> Result<(), String> {
        let file = self.file.clone().ok_or("the attachment is in no message")?;
        let reply = self.ask(Method::HEAD, file, Bytes::new()).await?;
        let length = reply.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if length == Some(self.props.attachment_bytes.to_string().as_str()) {
            Ok(())
        } else {
            Err(format!("HEAD of the attachment says {length:?} bytes"))
        }
    }

    async fn download(&mut self) -> Result<(), String> {
        let file = self.file.clone().ok_or("the attachment is in no message")?;
        let reply = self.ask(Method::GET, file, Bytes::new()).await?;
        if sha256(&reply.body) == self.props.attachment_sha256 {
            Ok(())
        } else {
            Err(format!("the attachment's {} bytes are not those that were posted", reply.body.len()))
        }
    }

    async fn post(&mut self, number: u32) -> Result<(), String> {
        let text = self.identity.text(self.props.phase, number);
        let body = json!({"roomId": self.props.posting_room, "text": text}).to_string();
        let posted = self.json(Method::POST, format!("{}messages", self.base), body.into()).await?.1;
        if posted.get("text") == Some(&json!(text)) {
            Ok(())
        } else {
            Err(format!("post {number} came back with another text"))
        }
    }

    async fn json(&mut self, method: Method, url: String, body: Bytes) -> Result<(Reply, Value), String> {
        let reply = self.ask(method, url, body).await?;
        let value = serde_json::from_slice(&reply.body).map_err(|error| format!("not JSON: {error}"))?;
        Ok((reply, value))
    }

    /// One call as SDKs make it: on 429 it sleeps for `Retry-After` and asks again.
    async fn ask(&mut self, method: Method, url: String, body: Bytes) -> Result<Reply, String> {
        let mut slept = Duration::ZERO;
        let mut refusals = 0;
        let outcome = loop {
            let reply = match self.client.call(&method, &url, body.clone()).await {
                Ok(reply) => reply,
                Err(broken) => break Err(broken.to_string()),
            };
            if reply.status != StatusCode::TOO_MANY_REQUESTS || refusals == MAX_REFUSALS {
                let is_success = reply.status.is_success();
                break if is_success { Ok(reply) } else { Err(format!("answered {}", reply.status)) };
            }
            refusals += 1;
            self.tally.throttled += 1;
            self.progress.throttled.fetch_add(1, Ordering::Relaxed);
            let pause = retry_after(&reply);
            tokio::time::sleep(pause).await;
            slept += pause;
        };
        self.progress.done.fetch_add(1, Ordering::Relaxed);
        self.tally.slept.push(slept);
        outcome.map_err(|fault| {
            let path = url.strip_prefix(&self.base).unwrap_or(&url).split('?').next().unwrap_or_default();
            format!("{method} {path}: {fault}")
        })
    }

    /// A URL out of an answer, if it leads where the bot was told to call.
    fn own(&self, url: &str) -> Result<String, String> {
        if url.starts_with(&self.base) {
            Ok(url.to_owned())
        } else {
            Err(format!("a URL leads elsewhere: {url}"))
        }
    }
}

/// As webexpythonsdk has it: whole seconds, at least one.
fn retry_after(reply: &Reply) -> Duration {
    let value = reply.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    Duration::from_secs(value.and_then(|text| text.parse().ok()).unwrap_or(1_u64).max(1))
}

/// The URL of the next page in a `Link` field.
fn next_page(link: &str) -> Option<&str> {
    let part = link.split(", ").find(|part| part.ends_with("rel=\"next\""))?;
    part.split_once('<')?.1.split_once('>').map(|(url, _)| url)
}

/// In hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A bot that is refused so often for one call gives up.
const MAX_REFUSALS: u32 = 50;

const _: () = assert!(LOOKS > 1, "the cache has nothing to do if everything is fetched once");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_other_links() {
        let next = "<https://localhost:1/v1/messages?a=b,c&max=10>; rel=\"next\"";
        for link in [next.to_owned(), format!("<https://localhost:1/v1/first>; rel=\"first\", {next}")] {
            assert_eq!(next_page(&link), Some("https://localhost:1/v1/messages?a=b,c&max=10"));
        }
        assert_eq!(next_page("<https://localhost:1/v1/first>; rel=\"first\""), None);
    }

    #[test]
    fn a_bot_sleeps_whole_seconds_and_at_least_one() {
        let seconds = |value: Option<&str>| {
            let mut headers = http::HeaderMap::new();
            headers.extend(value.map(|value| (header::RETRY_AFTER, value.parse().unwrap())));
            retry_after(&Reply { status: StatusCode::TOO_MANY_REQUESTS, headers, body: Bytes::new() })
                .as_secs()
        };
        let cases = [(Some("4"), 4), (Some("0"), 1), (Some("rand(30)"), 1), (None, 1)];
        cases.into_iter().for_each(|(value, expected)| assert_eq!(seconds(value), expected, "{value:?}"));
    }
}
