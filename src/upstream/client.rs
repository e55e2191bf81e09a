//! Decides how one request is sent over the pooled connections, and what its failure means.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use crate::body::Body;
use crate::clock::Clock;
use crate::gate::{Permit, Receipt};
use crate::rewrite::Outbound;
use crate::words::Side;

use super::connect::{Carried, Connector};
use super::receiving::{Ending, Received};
use super::sending::{Sending, Watched};
use super::wire::Gauge;
use super::{Answer, Failed, Fault, Phase, Transport, UpstreamSettings};

/// The network's way to the API: pooled connections, HTTP/2 where the API offers it. Cloning is cheap.
#[derive(Clone)]
pub struct Client {
    pool: legacy::Client<Connector, Watched>,
    gauge: Gauge,
    opening: Arc<Mutex<()>>,
    clock: Clock,
    limits: Limits,
    host: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.host)
    }
}

#[derive(Clone, Copy)]
struct Limits {
    connection: Duration,
    write: Duration,
    header: Duration,
    body_idle: Duration,
}

impl Client {
    /// Loads certificates and builds the pool; connects to nothing yet.
    ///
    /// # Errors
    /// One [`Fault`] per setting that cannot work.
    pub fn new(settings: &UpstreamSettings, clock: Clock) -> Result<Self, Fault> {
        let gauge = Gauge::default();
        let connector = Connector::new(settings, gauge.clone(), clock.clone())?;
        let limits = Limits {
            // Each phase has its own limit; this one bounds waiting for a connection that another request opens.
            connection: (settings.connect_timeout + settings.handshake_timeout) * 2,
            write: settings.write_timeout,
            header: settings.header_timeout,
            body_idle: settings.body_idle_timeout,
        };
        let host = settings.base.authority.host().to_owned();
        Ok(Self { pool: pool(settings, connector), gauge, opening: Arc::default(), clock, limits, host })
    }

    /// Connections to the upstream that are open now, in use or not.
    pub fn connections(&self) -> usize {
        self.gauge.count()
    }

    /// Lets one request of a burst open the first connection, which over HTTP/2 is enough for all of them.
    ///
    /// The others wait for it, but not long: it may be the only one that fails.
    async fn opening(&self) -> Option<OwnedMutexGuard<()>> {
        if self.gauge.count() > 0 {
            return None;
        }
        if let Ok(first) = Arc::clone(&self.opening).try_lock_owned() {
            return Some(first);
        }
        // Whether the first one made it or not, the pool knows what to do next.
        drop(timeout(OPENING, self.opening.lock()).await);
        None
    }

    /// Waits until the upstream took too long.
    async fn patience(
        &self,
        mut captured: CaptureConnection,
        sending: &Sending,
        first: Option<OwnedMutexGuard<()>>,
    ) -> Failed {
        let limit = self.limits.connection;
        let assigned = async {
            let is_assigned = captured.wait_for_connection_metadata().await.is_some();
            drop(first);
            is_assigned
        };
        match timeout(limit, assigned).await {
            Ok(true) => sending.silence(self.limits.write, self.limits.header).await,
            // hyper dropped the request: its own outcome says why.
            Ok(false) => std::future::pending().await,
            Err(_elapsed) => Failed::TimedOut { phase: Phase::Connect, limit },
        }
    }

    fn answer(
        &self,
        mut response: Response<Incoming>,
        stake: &Stake,
        sending: Sending,
    ) -> Result<Response<Body>, Failed> {
        let status = response.status();
        if status.is_informational() {
            return Err(Failed::Unexpected(status));
        }
        let ending = if response.version() == Version::HTTP_2 { Ending::Flagged } else { Ending::Checked };
        let is_refused = status.is_client_error() || status.is_server_error();
        let is_cut_short = is_refused && sending.hold();
        let is_ambiguous = is_ambiguous(&response);
        if ending == Ending::Checked && (is_cut_short || is_ambiguous) {
            stake.poison();
        }
        if is_ambiguous {
            // hyper read the chunks: whoever believes the length would see another body, cut short and whole by the look.
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
        let idle = self.limits.body_idle;
        Ok(response.map(|incoming| {
            if incoming.is_end_stream() {
                sending.cut();
                return Body::empty();
            }
            Body::stream(Received::new(incoming, ending, sending)).with_idle_timeout(Side::Upstream, idle)
        }))
    }

    fn failed(&self, error: legacy::Error, stake: &Stake, sending: &Sending) -> Failed {
        if let Some(failure) = sending.take_failure() {
            return Failed::Body(failure);
        }
        if let Some(failed) = causes(&error).find_map(|cause| cause.downcast_ref::<Carried>()?.take()) {
            return failed;
        }
        if !stake.is_at_risk() {
            return Failed::Handshake { sni: self.host.clone(), source: error.into() };
        }
        if causes(&error).any(is_untaken) {
            Failed::Untaken(error.into())
        } else {
            Failed::Broken(error.into())
        }
    }
}

impl Transport for Client {
    async fn send(&self, permit: Permit, outbound: Outbound) -> Result<Answer, Failed> {
        let (mut head, body) = outbound.into_request().into_parts();
        // The connection decides the version, not the client's request.
        head.version = Version::HTTP_11;
        let (sending, watched) = Sending::watch(body, self.clock.clone());
        let mut request = Request::from_parts(head, watched);
        let captured = capture_connection(&mut request);
        let stake = Stake { permit: Some(permit), captured: captured.clone() };
        let first = self.opening().await;
        let outcome = tokio::select! {
            biased;
            outcome = self.pool.request(request) => outcome.map_err(|error| self.failed(error, &stake, &sending)),
            failed = self.patience(captured, &sending, first) => Err(failed),
        };
        match outcome.and_then(|response| self.answer(response, &stake, sending)) {
            Ok(response) => match stake.spend() {
                Some(receipt) => Ok(Answer { response, receipt }),
                None => Err(Failed::Broken("answered without a permit".into())),
            },
            Err(failed) => {
                stake.settle(&failed);
                Err(failed)
            }
        }
    }
}

/// The permit of a request that is being sent.
///
/// # Drop
/// Spends the permit if the request had a connection: from then on bytes of it may have left.
struct Stake {
    permit: Option<Permit>,
    captured: CaptureConnection,
}

impl Stake {
    fn is_at_risk(&self) -> bool {
        self.captured.connection_metadata().is_some()
    }

    /// The connection carries nothing more after this exchange.
    fn poison(&self) {
        if let Some(connected) = self.captured.connection_metadata().as_ref() {
            connected.poison();
        }
    }

    fn spend(mut self) -> Option<Receipt> {
        self.permit.take().map(Permit::spend)
    }

    fn settle(mut self, failed: &Failed) {
        let Some(permit) = self.permit.take() else { return };
        if failed.was_sent() {
            let _unheard = permit.spend();
        }
    }
}

impl Drop for Stake {
    fn drop(&mut self) {
        if self.is_at_risk()
            && let Some(permit) = self.permit.take()
        {
            let _unheard = permit.spend();
        }
    }
}

fn pool(settings: &UpstreamSettings, connector: Connector) -> legacy::Client<Connector, Watched> {
    legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(settings.pool_idle_timeout)
        .pool_max_idle_per_host(settings.pool_max_idle)
        .retry_canceled_requests(true)
        .http1_max_buf_size(HEAD_BYTES)
        .http1_max_headers(128)
        .http2_max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        // Until its SETTINGS tell how many it takes, an upstream would refuse a burst.
        .http2_initial_max_send_streams(1)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(STREAM_WINDOW * 4)
        .http2_max_send_buf_size(256 * 1024)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        .build(connector)
}

/// RFC 9112 §6.3: both fields in one answer may be an attempt at response splitting.
fn is_ambiguous(response: &Response<Incoming>) -> bool {
    let fields = response.headers();
    fields.contains_key(header::TRANSFER_ENCODING) && fields.contains_key(header::CONTENT_LENGTH)
}

/// The error and everything below it.
fn causes(error: &legacy::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let top: &(dyn Error + 'static) = error;
    std::iter::successors(Some(top), |cause: &&(dyn Error + 'static)| (*cause).source())
}

/// Whether this cause proves that the API did not look at the request (RFC 9113 §8.7).
///
/// A stream at or below GOAWAY's last id never gets that error, only one beyond it.
fn is_untaken(cause: &(dyn Error + 'static)) -> bool {
    let is_refused = |error: &h2::Error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    };
    cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
        || cause.downcast_ref::<h2::Error>().is_some_and(is_refused)
}

/// Webex answers with some 2 kB of fields.
const HEAD_BYTES: usize = 64 * 1024;
/// Bytes in flight per answer: 20 MB/s at 50 ms, and what a slow reader can make us hold.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// A connection and its handshake over a bad line.
const OPENING: Duration = Duration::from_secs(1);
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
