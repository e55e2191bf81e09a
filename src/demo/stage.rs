//! What the demonstration plays on: the simulator behind TLS with a limit that nobody is told, and the proxy before it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::bot::{Identity, Props, sha256};
use super::client::Way;
use super::figures::Api;
use super::script::{MESSAGES, POSTS};
use super::{DemoFault, DemoSettings};
use crate::app::{App, Order, Orders};
use crate::clock::Clock;
use crate::config::{self, FileText, Overrides, Sources};
use crate::server::ca::LocalCa;
use crate::sim::server::{self as sim_server, Listeners};
use crate::sim::{ControlFault, Model, SimSettings};
use crate::upstream::ExtraCa;

/// The simulator, running.
///
/// # Drop
/// Ends it.
pub(super) struct Stage {
    model: Arc<Mutex<Model>>,
    clock: Clock,
    ca: LocalCa,
    https: SocketAddr,
    settings: DemoSettings,
    sent_before: u64,
    _server: JoinSet<()>,
}

impl Stage {
    /// Starts the simulator on a free port of the loopback.
    pub(super) async fn start(settings: DemoSettings) -> Result<Self, DemoFault> {
        let clock = Clock::system();
        let plain = SimSettings { seed: settings.seed, ..SimSettings::unlimited() };
        let model = Arc::new(Mutex::new(Model::new(plain, clock.wall())));
        let ca = LocalCa::in_memory("Simulated Webex CA")?;
        let tls = sim_server::config(&ca, &model)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let https = listener.local_addr()?;
        let mut server = JoinSet::new();
        let listeners = Listeners { https: Some((listener, tls)), http: None };
        server.spawn(sim_server::serve(listeners, Arc::clone(&model), clock.clone()));
        Ok(Self { model, clock, ca, https, settings, sent_before: 0, _server: server })
    }

    /// Straight to the API, by its own name.
    pub(super) fn straight(&self) -> Result<Way, DemoFault> {
        Ok(Way::new(self.https, API_HOST, None, &self.ca.certificate_pem())?)
    }

    /// The same people, rooms and messages as ever, and nothing counted yet.
    pub(super) fn furnish(&mut self, phase: &'static str, bots: &[Identity]) -> Result<Props, DemoFault> {
        let (now, limit) = (self.clock.wall(), self.settings.limit());
        let mut model = lock(&self.model);
        model.reset(None, now);
        let mut order = |call, body| model.control(&Method::POST, (call, ""), body, now);
        order("settings", json!({"limit": format!("egress={}:{}", limit.per_minute, limit.burst)}))?;
        let people = bots.iter().map(|bot| {
            json!({"email": bot.email(), "display_name": bot.name, "type": "person", "tokens": [bot.token]})
        });
        order("people", people.collect())?;
        let members: Vec<String> = bots.iter().map(Identity::email).collect();
        let mut room = |title: &str, messages: u32| {
            order("rooms", json!({"title": title, "members": members, "messages": messages}))
                .and_then(|made| word(&made, "id"))
        };
        // The attachment is one message more.
        let reading_room = room("Field notes", MESSAGES - 1)?;
        let posting_room = room("Reports", 0)?;
        let content = order("content", json!({"room_id": reading_room}))?;
        let props = Props {
            seed: self.settings.seed,
            phase,
            reading_room,
            posting_room,
            attachment_sha256: word(&content, "sha256")?,
            attachment_bytes: content.get("size").and_then(Value::as_u64).unwrap_or_default(),
        };
        self.sent_before = model.wire().sent_bytes.load(Ordering::Relaxed);
        Ok(props)
    }

    /// What the API saw since it was furnished.
    pub(super) fn api(&self) -> Api {
        let model = lock(&self.model);
        let (accepted, throttled) = model.totals();
        let sent_bytes = model.wire().sent_bytes.load(Ordering::Relaxed).saturating_sub(self.sent_before);
        Api { calls: accepted + throttled, throttled, sent_bytes }
    }

    /// What is not exactly once in the room that the bots posted to, in sentences.
    pub(super) fn misposted(&self, props: &Props, bots: &[Identity]) -> Result<Vec<String>, DemoFault> {
        let now = self.clock.wall();
        let mut model = lock(&self.model);
        model.control(&Method::POST, ("settings", ""), json!({"limit": "egress=off"}), now)?;
        let token = bots.first().map(|bot| format!("Bearer {}", bot.token)).unwrap_or_default();
        let request =
            Request::get(format!("https://{API_HOST}/v1/messages?roomId={}&max=1000", props.posting_room))
                .header(header::AUTHORIZATION, token)
                .body(Bytes::new())?;
        let page = model.answer(&request, now).response.into_body().to_bytes();
        let page: Value = serde_json::from_slice(&page).unwrap_or_default();
        let items = page.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let texts: Vec<&str> = items.iter().filter_map(|item| item.get("text")?.as_str()).collect();
        Ok(misposted(&texts, props.phase, bots))
    }
}

/// Each post of each bot must stand there once, and nothing else.
fn misposted(texts: &[&str], phase: &str, bots: &[Identity]) -> Vec<String> {
    let expected: Vec<String> =
        bots.iter().flat_map(|bot| (1..=POSTS).map(|number| bot.text(phase, number))).collect();
    let mut faults: Vec<String> = expected
        .iter()
        .filter_map(|text| match texts.iter().filter(|posted| *posted == text).count() {
            0 => Some(format!("lost: {text:?}")),
            1 => None,
            times => Some(format!("posted {times} times: {text:?}")),
        })
        .collect();
    let strangers = texts.iter().filter(|posted| !expected.iter().any(|text| text == *posted));
    faults.extend(strangers.map(|posted| format!("nobody's post: {posted:?}")));
    faults
}

/// The proxy, running with its defaults.
pub(super) struct Proxied {
    pub(super) way: Way,
    pub(super) running: Running,
}

/// # Drop
/// Ends it at once.
pub(super) struct Running {
    stop: Arc<Notify>,
    task: JoinSet<()>,
    _state: tempfile::TempDir,
}

impl Proxied {
    /// Starts it in front of the stage. It is told where the API is and what its tenants are called: nothing of limits.
    pub(super) async fn start(stage: &Stage, bots: &[Identity]) -> Result<Self, DemoFault> {
        let state = tempfile::tempdir()?;
        let text = configuration(stage.https, &state.path().to_string_lossy(), bots);
        let file = Some(FileText { name: "demo.toml".to_owned(), text });
        let config = config::load(&Sources { file, env: Vec::new(), flags: Overrides::none() })?;
        let app = App::start(&config, Some(ExtraCa::Pem(stage.ca.certificate_pem())), None).await?;
        let address = app.bound().https.ok_or(DemoFault::NoListener)?;
        let ca_file = app.ca_file().ok_or(DemoFault::NoListener)?;
        let way = Way::new(address, "localhost", Some(address.port()), &std::fs::read_to_string(ca_file)?)?;
        let stop = Arc::new(Notify::new());
        let mut task = JoinSet::new();
        task.spawn(app.run(Curtain(Arc::clone(&stop))));
        Ok(Self { way, running: Running { stop, task, _state: state } })
    }
}

impl Running {
    /// Ends it, all its request lines written.
    pub(super) async fn end(mut self) {
        self.stop.notify_one();
        // It drains for two seconds at most; dropping it ends what does not end by itself.
        drop(timeout(END_TIMEOUT, self.task.join_next()).await);
    }
}

struct Curtain(Arc<Notify>);

impl Orders for Curtain {
    async fn next(&mut self) -> Order {
        self.0.notified().await;
        Order::Stop
    }
}

fn configuration(api: SocketAddr, state_dir: &str, bots: &[Identity]) -> String {
    let mut text = format!(
        "state_dir = {}\n\
         [listen]\nhttps = \"127.0.0.1:0\"\n\
         [upstream]\nurl = \"https://{API_HOST}\"\nconnect = [\"{api}\"]\nproxy = \"none\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n\
         [shutdown]\ndelay = \"0s\"\ndrain = \"2s\"\n",
        json!(state_dir)
    );
    for bot in bots {
        let hash = sha256(bot.token.as_bytes());
        text.push_str(&format!("[[tenant]]\nname = \"{}\"\ntoken_sha256 = [\"{hash}\"]\n", bot.name));
    }
    text
}

fn word(made: &Value, key: &'static str) -> Result<String, ControlFault> {
    made.get(key).and_then(Value::as_str).map(str::to_owned).ok_or(ControlFault::Missing(key))
}

fn lock(model: &Mutex<Model>) -> MutexGuard<'_, Model> {
    model.lock().unwrap_or_else(PoisonError::into_inner)
}

const API_HOST: &str = "webexapis.com";
const END_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_must_stand_there_exactly_once() {
        let bots = [Identity::new(1, 1)];
        let texts = [1, 2, 3].map(|number| bots[0].text("now", number));
        let [one, two, three] = [&texts[0], &texts[1], &texts[2]].map(String::as_str);
        let check =
            |texts: &[&str], expected: usize| assert_eq!(misposted(texts, "now", &bots).len(), expected);
        check(&[three, two, one], 0);
        check(&[two, one], 1);
        check(&[three, two, one, one], 1);
        check(&[three, two, one, "hello"], 1);
        check(&[], 3);
    }

    #[test]
    fn the_configuration_is_whole_and_silent_about_limits() {
        let bots = [Identity::new(1, 1), Identity::new(1, 2)];
        let text = configuration(([127, 0, 0, 1], 9).into(), "/tmp/a \"b\"", &bots);
        assert!(!text.contains("gate") && !text.contains("cache"));
        let file = Some(FileText { name: "demo.toml".to_owned(), text });
        let config = config::load(&Sources { file, env: Vec::new(), flags: Overrides::none() }).unwrap();
        assert_eq!(config.tenants.len(), 2);
        assert_eq!(config.gate.rate, None);
    }
}
