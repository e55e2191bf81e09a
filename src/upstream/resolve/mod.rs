//! Decides which addresses a host name means: one look-up at a time, and the last good answer while DNS fails.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::ResolveHosts;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::body::BoxError;
use crate::clock::Clock;

use super::{Failed, Fault, Resolve};

/// Resolves one name.
pub(super) struct Resolver {
    host: String,
    port: u16,
    source: Source,
    clock: Clock,
    limit: Duration,
    /// Held during a look-up, so that a hanging resolver occupies one thread and not one per request.
    memory: Mutex<Memory>,
}

enum Source {
    Dns(Box<TokioResolver>),
    Fixed(Vec<SocketAddr>),
    System,
}

impl Resolver {
    /// `connect` wins over the name; a host that is an address needs no look-up. A look-up may take `limit`, which leaves time to
    /// connect to the last good address.
    pub(super) fn new(
        host: &str,
        port: u16,
        connect: &[SocketAddr],
        resolve: Resolve,
        limit: Duration,
        clock: Clock,
    ) -> Result<Self, Fault> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let source = match bare.parse::<IpAddr>() {
            _ if !connect.is_empty() => Source::Fixed(connect.to_vec()),
            Ok(address) => Source::Fixed(vec![SocketAddr::new(address, port)]),
            Err(_name) => match resolve {
                Resolve::Dns => {
                    let built = TokioResolver::builder_tokio().and_then(past_hosts_file);
                    Source::Dns(Box::new(built.map_err(|error| Fault::Resolver(error.into()))?))
                }
                Resolve::System => Source::System,
            },
        };
        Ok(Self { host: bare.to_owned(), port, source, clock, limit, memory: Mutex::default() })
    }

    /// The addresses to try, at least one.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>, Failed> {
        if let Source::Fixed(addresses) = &self.source {
            return Ok(addresses.clone());
        }
        let mut memory = self.memory.lock().await;
        let answer = match memory.recall(self.clock.now()) {
            Some(answer) => answer,
            None => {
                let limit =
                    if memory.knows(self.clock.now()) { self.limit.min(IMPATIENT) } else { self.limit };
                let found = self.look_up(limit).await;
                memory.settle(found, self.clock.now())
            }
        };
        answer.map_err(|reason| Failed::Resolve { host: self.host.clone(), source: reason.into() })
    }

    async fn look_up(&self, limit: Duration) -> Result<Vec<SocketAddr>, BoxError> {
        let found = timeout(limit, async {
            let found: Vec<SocketAddr> = match &self.source {
                Source::Fixed(addresses) => addresses.clone(),
                Source::System => tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect(),
                Source::Dns(resolver) => {
                    // The final dot keeps the search list of the system out of it.
                    let found = resolver.lookup_ip(format!("{}.", self.host.trim_end_matches('.'))).await?;
                    found.iter().map(|address| SocketAddr::new(address, self.port)).collect()
                }
            };
            Ok::<_, BoxError>(found)
        });
        match found.await {
            Ok(Ok(found)) if found.is_empty() => Err("no address".into()),
            Ok(found) => found,
            Err(_elapsed) => Err("the resolver did not answer in time".into()),
        }
    }
}

fn past_hosts_file(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver, NetError> {
    let options = builder.options_mut();
    options.use_hosts_file = ResolveHosts::Never;
    options.negative_max_ttl = Some(FORGET_FAILURE);
    options.positive_max_ttl = Some(TRUST_RECORD);
    options.cache_size = 16;
    builder.build()
}

/// What the last look-ups said. Pure: `now` is an argument.
#[derive(Debug, Default)]
struct Memory {
    good: Option<(Instant, Vec<SocketAddr>)>,
    failed: Option<(Instant, String)>,
}

type Answer = Result<Vec<SocketAddr>, String>;

impl Memory {
    /// The answer, while it needs no new look-up.
    fn recall(&self, now: Instant) -> Option<Answer> {
        if let Some((at, reason)) = &self.failed
            && now.duration_since(*at) < FORGET_FAILURE
        {
            return Some(self.fall_back(now, reason));
        }
        let (at, good) = self.good.as_ref()?;
        (now.duration_since(*at) < TRUST_ANSWER).then(|| Ok(good.clone()))
    }

    /// Remembers a look-up and says what follows from it.
    fn settle(&mut self, found: Result<Vec<SocketAddr>, BoxError>, now: Instant) -> Answer {
        match found {
            Ok(good) => {
                self.failed = None;
                self.good = Some((now, good.clone()));
                Ok(good)
            }
            Err(error) => {
                let reason = error.to_string();
                let answer = self.fall_back(now, &reason);
                self.failed = Some((now, reason));
                answer
            }
        }
    }

    fn fall_back(&self, now: Instant, reason: &str) -> Answer {
        match &self.good {
            Some((_, good)) if self.knows(now) => Ok(good.clone()),
            _ => Err(reason.to_owned()),
        }
    }

    /// Whether there is something to fall back on.
    fn knows(&self, now: Instant) -> bool {
        self.good.as_ref().is_some_and(|(at, _)| now.duration_since(*at) < KEEP_GOOD)
    }
}

/// A name server that is silent costs a request no more than this, if the last good address is still known.
const IMPATIENT: Duration = Duration::from_secs(1);
/// An API that moved is found again, however long its records were to hold.
const TRUST_RECORD: Duration = Duration::from_secs(60);
/// Connections live long, so names are asked for seldom; a burst of new connections asks once.
const TRUST_ANSWER: Duration = Duration::from_secs(5);
/// SECURITY 2 allows 5 s at most.
const FORGET_FAILURE: Duration = Duration::from_secs(2);
/// How long an outage of DNS may last before the upstream counts as gone.
const KEEP_GOOD: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;
