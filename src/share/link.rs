//! The way to the server: one connection for calls and for what others say, each await under a timeout of our own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError, RedisResult, ServerErrorKind,
    TlsCertificates, Value, from_redis_value,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::clock::Clock;

use super::script::Script;
use super::trouble::{Trouble, TroubleKind};

/// Where the server is, and with what it is reached.
#[derive(Clone)]
pub struct Address {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Host name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The number of the database.
    pub database: u16,
    /// Whether it is one node of a cluster.
    pub cluster: bool,
    /// ACL user; none is the default one.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// PEM of the CAs that are trusted, instead of the platform's.
    pub ca: Option<Vec<u8>>,
    /// Longest time for connection, TLS and login.
    pub connect_timeout: Duration,
    /// Longest time for one call.
    pub response_timeout: Duration,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Address({}:{})", self.host, self.port)
    }
}

/// Something that the server sent unasked.
#[derive(Debug)]
pub(super) enum Push {
    /// What somebody published.
    Message { channel: String, payload: Vec<u8>, at: Instant },
    /// A connection is gone: something may have been missed. Those of a cluster come back by themselves.
    Missed,
    /// A subscription stands: what was said before was missed.
    Subscribed,
}

/// A connection, with its subscriptions.
///
/// # Drop
/// Closes it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) caller: Caller,
    pub(super) pushes: mpsc::Receiver<Push>,
    /// More came than could be taken.
    has_missed: Arc<AtomicBool>,
}

/// Host and port of one node of a cluster.
pub(super) type Node = (String, u16);

/// Makes calls. Cloning shares the connection.
#[derive(Clone)]
pub(super) struct Caller {
    wire: Wire,
    response_timeout: Duration,
    clock: Clock,
}

#[derive(Clone)]
enum Wire {
    Cluster(ClusterConnection),
    One(MultiplexedConnection),
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Caller")
    }
}

impl Link {
    /// Connects and listens to `channels`. Of a cluster `nodes` are known from before: the address itself may be gone.
    ///
    /// # Errors
    /// [`Trouble`]: what is wrong with the server, the way or the credentials.
    pub(super) async fn open(
        address: &Address,
        nodes: &[Node],
        channels: &[String],
        clock: Clock,
    ) -> Result<Self, Trouble> {
        let (sender, pushes) = mpsc::channel(MAX_PUSHES);
        let has_missed = Arc::new(AtomicBool::new(false));
        let (missed, heard) = (Arc::clone(&has_missed), clock.clone());
        let push = move |info: PushInfo| {
            if let Some(push) = read_push(info, heard.now())
                && sender.try_send(push).is_err()
            {
                missed.store(true, Ordering::Relaxed);
            }
            Result::<(), redis::aio::SendError>::Ok(())
        };
        let connecting = async {
            let mut wire = match address.cluster {
                true => Wire::Cluster(cluster(address, nodes, push)?.get_async_connection().await?),
                false => {
                    let config = AsyncConnectionConfig::new()
                        .set_connection_timeout(Some(address.connect_timeout))
                        // Of the login; calls have a timeout of our own.
                        .set_response_timeout(Some(address.connect_timeout))
                        .set_push_sender(push);
                    let client = client(address)?;
                    Wire::One(client.get_multiplexed_async_connection_with_config(&config).await?)
                }
            };
            if !channels.is_empty() {
                wire.subscribe(channels).await?;
            }
            RedisResult::Ok(wire)
        };
        let wire = timeout(address.connect_timeout, connecting)
            .await
            .map_err(|_elapsed| Trouble::timeout("connecting"))?
            .map_err(|error| Trouble::connecting(&error))?;
        Ok(Self {
            caller: Caller { wire, response_timeout: address.response_timeout, clock },
            pushes,
            has_missed,
        })
    }

    /// Whether something was missed since this was asked last, because more came than could be taken.
    pub(super) fn take_missed(&self) -> bool {
        self.has_missed.swap(false, Ordering::Relaxed)
    }
}

impl Caller {
    /// Runs a script; the server learns it if it does not know it.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) async fn run(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[String],
    ) -> Result<Vec<i64>, Trouble> {
        let call = |verb: &str, body: &str| {
            let mut call = redis::cmd(verb);
            call.arg(body).arg(keys.len()).arg(keys).arg(args);
            call
        };
        let mut answer = self.ask(call("EVALSHA", &script.sha1)).await;
        if answer.as_ref().is_err_and(is_unknown_script) {
            answer = self.ask(call("EVAL", script.text)).await;
        }
        read(answer)
    }

    /// The nodes of a cluster, as it knows itself; at most [`MAX_NODES`], none if it does not say.
    pub(super) async fn nodes(&self) -> Vec<Node> {
        let mut call = redis::cmd("CLUSTER");
        call.arg("SLOTS");
        let slots: Vec<Vec<Value>> = self.call(call).await.unwrap_or_default();
        let nodes = slots.into_iter().flat_map(|range| range.into_iter().skip(2));
        let read = |node| {
            let Value::Array(parts) = node else { return None };
            let mut parts = parts.into_iter();
            let host: String = from_redis_value(parts.next()?).ok()?;
            let port = from_redis_value(parts.next()?).ok()?;
            (!host.is_empty()).then_some((host, port))
        };
        let mut nodes: Vec<Node> = nodes.filter_map(read).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.truncate(MAX_NODES);
        nodes
    }

    /// Makes any other call.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) async fn call<T: redis::FromRedisValue>(&self, call: Cmd) -> Result<T, Trouble> {
        read(self.ask(call).await)
    }

    async fn ask(&self, call: Cmd) -> Result<Value, Unanswered> {
        let mut wire = self.wire.clone();
        let asking = async {
            match &mut wire {
                Wire::Cluster(wire) => call.query_async::<Value>(wire).await,
                Wire::One(wire) => call.query_async::<Value>(wire).await,
            }
        };
        tokio::pin!(asking);
        let (began_at, limit) = (self.clock.now(), self.response_timeout);
        let mut answer = timeout(limit, &mut asking).await;
        // Who comes late himself, on a busy machine, cannot say that the other does: the answer may be there, unread.
        if answer.is_err() && self.clock.now().saturating_duration_since(began_at) > limit.mul_f64(OWN_DELAY)
        {
            answer = timeout(limit, &mut asking).await;
        }
        match answer {
            Ok(answer) => answer.map_err(Unanswered::Error),
            Err(_elapsed) => Err(Unanswered::Late),
        }
    }
}

enum Unanswered {
    Error(RedisError),
    Late,
}

fn read<T: redis::FromRedisValue>(answer: Result<Value, Unanswered>) -> Result<T, Trouble> {
    match answer {
        Ok(value) => from_redis_value(value)
            .map_err(|_| Trouble::new(TroubleKind::Server, "an answer of another shape")),
        Err(Unanswered::Error(error)) => Err(Trouble::calling(&error)),
        Err(Unanswered::Late) => Err(Trouble::timeout("a call")),
    }
}

fn is_unknown_script(unanswered: &Unanswered) -> bool {
    matches!(unanswered, Unanswered::Error(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
}

impl Wire {
    async fn subscribe(&mut self, channels: &[String]) -> RedisResult<()> {
        match self {
            Self::Cluster(wire) => wire.subscribe(channels).await,
            Self::One(wire) => wire.subscribe(channels).await,
        }
    }
}

fn client(address: &Address) -> RedisResult<Client> {
    let own = (address.host.clone(), address.port);
    match &address.ca {
        Some(ca) => Client::build_with_tls(information(address, own)?, trusted(ca)),
        None => Client::open(information(address, own)?),
    }
}

fn cluster(
    address: &Address,
    nodes: &[Node],
    push: impl Fn(PushInfo) -> Result<(), redis::aio::SendError> + Send + Sync + 'static,
) -> RedisResult<ClusterClient> {
    let known = nodes.iter().map(|(host, port)| (host.clone(), *port));
    let all = std::iter::once((address.host.clone(), address.port)).chain(known);
    let all: Vec<_> = all.map(|node| information(address, node)).collect::<RedisResult<_>>()?;
    let mut builder = ClusterClientBuilder::new(all)
        .use_protocol(ProtocolVersion::RESP3)
        .connection_timeout(address.connect_timeout)
        .response_timeout(address.connect_timeout)
        .push_sender(push);
    if let Some(ca) = &address.ca {
        builder = builder.certs(trusted(ca));
    }
    builder.build()
}

fn trusted(ca: &[u8]) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: Some(ca.to_vec()) }
}

fn information(address: &Address, (host, port): Node) -> RedisResult<ConnectionInfo> {
    let to = match address.tls {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    };
    let mut login = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_db(address.database.into())
        .set_skip_set_lib_name();
    if let Some(username) = &address.username {
        login = login.set_username(username);
    }
    if let Some(password) = &address.password {
        login = login.set_password(password);
    }
    Ok(to.into_connection_info()?.set_redis_settings(login))
}

fn read_push(info: PushInfo, at: Instant) -> Option<Push> {
    match info.kind {
        PushKind::Disconnection => Some(Push::Missed),
        PushKind::Subscribe => Some(Push::Subscribed),
        PushKind::Message => {
            let mut data = info.data.into_iter();
            let text = |value: Option<Value>| match value? {
                Value::BulkString(bytes) => Some(bytes),
                Value::SimpleString(text) => Some(text.into_bytes()),
                _ => None,
            };
            let channel = String::from_utf8(text(data.next())?).ok()?;
            Some(Push::Message { channel, payload: text(data.next())?, at })
        }
        _ => None,
    }
}

/// A timer that fires so much later than it was set shows that this process gets no processor.
const OWN_DELAY: f64 = 1.2;
/// Any one of them that answers knows the others.
const MAX_NODES: usize = 16;
/// Closures and invalidations come by the dozen; more than this is a flood, after which everything is in doubt.
const MAX_PUSHES: usize = 4096;
