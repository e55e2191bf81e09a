//! Decides what replicas share through Redis or Valkey: slots of gates, closures, verdicts, and what is void in the cache.
//!
//! The gate stays the scheduler of its replica; here is only where its tokens come from (decision 0017). Nothing waits for
//! the server: whoever gets no answer goes by its own part of the last known rate.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::gate::{Gate, NodeKey};

mod calls;
mod desk;
mod examine;
mod greeting;
mod link;
mod message;
mod script;
mod secret;
mod session;
mod spelling;
mod tally;
mod trouble;

pub use examine::{Check, examine};
pub use link::Address;
pub use secret::{LEAST_LENGTH, Secret};
pub use tally::{Answered, Event, Glance};
pub use trouble::{Trouble, TroubleKind};

use link::{Caller, Link, Node};
use message::Pen;
use script::Script;
use session::Session;
use tally::Tally;

/// What sharing must know.
#[derive(Debug, Clone)]
pub struct ShareSettings {
    /// The server.
    pub address: Address,
    /// First part of all names.
    pub prefix: String,
    /// What only replicas of this deployment know.
    pub secret: Secret,
    /// Replicas that there are, until others are heard of.
    pub expected_replicas: u32,
    /// How far ahead slots are booked.
    pub horizon: Duration,
    /// How long a replica counts that says nothing.
    pub member_ttl: Duration,
}

/// Told what happens; must not wait.
pub type Tell = Arc<dyn Fn(Event) + Send + Sync>;

/// One replica's side. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Share {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: ShareSettings,
    names: Names,
    pen: Pen,
    gate: Gate,
    cache: Cache,
    clock: Clock,
    acquire: Script,
    report: Script,
    tally: Tally,
    /// Of a cluster, as it said last.
    nodes: Mutex<Vec<Node>>,
}

/// What things are called on the server. The version is part of each name: another meaning is another name.
#[derive(Debug)]
struct Names {
    prefix: String,
    gate: String,
    void: String,
}

impl Names {
    fn new(prefix: &str) -> Self {
        let prefix = format!("{prefix}:v1:");
        Self { gate: format!("{prefix}gate"), void: format!("{prefix}inv"), prefix }
    }

    /// State and members of a bucket. The braces put both on one node of a cluster.
    fn keys(&self, secret: &Secret, key: NodeKey) -> [String; 2] {
        let bucket = format!("{}{{{}}}", self.prefix, secret.bucket(key));
        [format!("{bucket}:s"), format!("{bucket}:m")]
    }
}

impl Share {
    /// From now on `gate` goes by its part of the rate, until [`Share::run`] has found the server.
    pub fn new(settings: ShareSettings, gate: Gate, cache: Cache, clock: Clock) -> Self {
        let part = alone(settings.expected_replicas);
        gate.ration(part);
        gate.fall_back(None, part, Duration::ZERO);
        let me: String = uuid::Uuid::new_v4().as_simple().to_string().chars().take(16).collect();
        let pen = Pen { secret: settings.secret.clone(), me, number: AtomicU64::new(1) };
        let tally = Tally::new(settings.expected_replicas, part);
        let names = Names::new(&settings.prefix);
        let (acquire, report) = (Script::acquire(), Script::gate());
        let nodes = Mutex::new(Vec::new());
        let shared = Shared { settings, names, pen, gate, cache, clock, acquire, report, tally, nodes };
        Self { shared: Arc::new(shared) }
    }

    /// Keeps the gate supplied, tells others and hears them. Ends only when dropped.
    pub async fn run(&self, tell: Tell) {
        let shared = &self.shared;
        let mut told: Vec<TroubleKind> = Vec::new();
        loop {
            let channels = [shared.names.gate.clone(), shared.names.void.clone()];
            let (address, nodes) = (&shared.settings.address, shared.nodes());
            let trouble = match Link::open(address, &nodes, &channels, shared.clock.clone()).await {
                Ok(link) => Session::new(shared, link, &tell).run().await,
                Err(trouble) => trouble,
            };
            shared.tally.count(&trouble);
            // What lasts is told once, however it changes from one attempt to the next.
            if shared.tally.read().is_up {
                told.clear();
            }
            shared.fall_back();
            if !told.contains(&trouble.kind) {
                told.push(trouble.kind);
                tell(Event::Down(trouble));
            }
            sleep(jittered(BREAK)).await;
        }
    }

    /// How sharing goes.
    pub fn glance(&self) -> Glance {
        let shared = &self.shared;
        let (state, address) = (shared.tally.read(), &shared.settings.address);
        let scheme = if address.tls { "rediss" } else { "redis" };
        Glance {
            server: format!("{scheme}://{}:{}", address.host, address.port),
            is_up: state.is_up,
            members: state.members,
            part: state.part,
            fallback_grants: shared.gate.granted_alone(),
            trouble: state.trouble,
            troubles: state.troubles.into_iter().collect(),
        }
    }
}

impl Shared {
    fn nodes(&self) -> Vec<Node> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Any of them helps to find the cluster again, should the configured one be gone.
    async fn remember_nodes(&self, caller: &Caller) {
        if self.settings.address.cluster {
            let nodes = caller.nodes().await;
            if !nodes.is_empty() {
                *self.nodes.lock().unwrap_or_else(PoisonError::into_inner) = nodes;
            }
        }
    }

    /// Each replica goes by its part of what all had, and a little less: nobody sees the others now. Some may have a whole
    /// horizon in hand, and would send it beside the parts of those who have nothing.
    fn fall_back(&self) {
        let part = alone(self.tally.read().members);
        self.gate.fall_back(None, part, self.settings.horizon);
        self.tally.change(|state| (state.is_up, state.part) = (false, part));
    }
}

/// The part of the rate that is safe for one of so many without the others being seen (SCALE 3).
fn alone(members: u32) -> f64 {
    SAFE / f64::from(members.max(1))
}

/// The same length for nobody: replicas that lost the server together must not come back together.
fn jittered(duration: Duration) -> Duration {
    let mut byte = [128];
    // Without random bytes there is no jitter, which is bearable.
    aws_lc_rs::rand::fill(&mut byte).unwrap_or_default();
    let [byte] = byte;
    duration.mul_f64(0.75 + f64::from(byte) / 512.0)
}

/// What is left for what others do unseen.
const SAFE: f64 = 0.8;
/// Between two attempts to reach the server.
const BREAK: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_of_a_bucket_have_one_hash_tag_and_a_version() {
        let (names, secret) = (Names::new("tg"), Secret::new("0123456789abcdef").unwrap());
        let [state, members] = names.keys(&secret, NodeKey::Egress);
        let tag = |name: &str| name.split(['{', '}']).nth(1).unwrap().to_owned();
        assert!(state.starts_with("tg:v1:{") && state.ends_with("}:s") && members.ends_with("}:m"));
        assert_eq!((tag(&state), tag(&state).len()), (tag(&members), 32));
        assert_eq!((names.gate.as_str(), names.void.as_str()), ("tg:v1:gate", "tg:v1:inv"));
    }

    #[test]
    fn the_parts_of_all_never_add_up_to_more_than_the_rate() {
        for members in [0, 1, 2, 8, 1000] {
            assert!(alone(members) * f64::from(members.max(1)) <= 0.8 + 1e-9, "{members}");
        }
        for _ in 0..100 {
            let length = jittered(BREAK);
            assert!((375..=625).contains(&length.as_millis()), "{length:?}");
        }
    }
}
