//! Decides how one request is sent, and what its failure means.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Method, Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::TrySendError;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Sleep, timeout};

use crate::body::Body;
use crate::clock::Clock;
use crate::gate::Permit;
use crate::rewrite::Outbound;

use super::connect::Connector;
use super::form::Form;
use super::framing::{self, Framing};
use super::interim::Interim;
use super::pool::{Common, Lent, Pool, Way};
use super::receiving::{Carrier, Ending, Received};
use super::seat::Seat;
use super::sending::{Sending, Watched};
use super::stake::Stake;
use super::wire::{Gauge, Unasked};
use super::{Answer, Codings, Failed, Fault, Phase, Transport, UpstreamSettings};

/// The network's way to the API: pooled connections, HTTP/2 where the API offers it. Cloning is cheap.
#[derive(Clone)]
pub struct Client {
    pool: Pool,
    gauge: Gauge,
    opening: Arc<Mutex<()>>,
    clock: Clock,
    limits: Limits,
    codings: Codings,
    form: Form,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.form.host())
    }
}

#[derive(Clone, Copy)]
struct Limits {
    connection: Duration,
    write: Duration,
    header: Duration,
    body_idle: Duration,
}

/// One request under way, as it is looked at while its answer is awaited.
struct Exchange {
    sending: Sending,
    interim: Arc<Interim>,
}

/// Why there is no answer.
enum Unanswered {
    /// The connection was closed before it took the request.
    Again(Box<Request<Watched>>),
    Failed(Failed),
}

type Answered = Result<Response<Incoming>, TrySendError<Request<Watched>>>;

impl Client {
    /// Loads certificates and prepares the pool; connects to nothing yet.
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
        let (pool, codings) = (Pool::new(settings, connector, clock.clone()), settings.codings);
        let form = Form::new(&settings.base);
        Ok(Self { pool, gauge, opening: Arc::default(), clock, limits, codings, form })
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

    /// A connection, where none is free.
    async fn wait(&self, exchange: &Exchange) -> Result<Way, Failed> {
        let _first = self.opening().await;
        let limit = self.limits.connection;
        let timed_out = |_elapsed| Failed::TimedOut { phase: Phase::Connect, limit };
        let way = timeout(limit, self.pool.acquire()).await.map_err(timed_out)??;
        exchange.sending.begin();
        Ok(way)
    }

    /// Sends the request over the first connection to be had; over another one, if that was closed before it took it.
    async fn ask(
        &self,
        mut request: Box<Request<Watched>>,
        exchange: &Exchange,
        stake: &mut Stake,
    ) -> Result<(Response<Incoming>, Carrier), Failed> {
        loop {
            let way = match self.pool.find() {
                Some(way) => way,
                None => Box::pin(self.wait(exchange)).await?,
            };
            stake.risk();
            let asked = match way {
                Way::Common(common) => self.ask_beside_others(common, request, exchange).await,
                Way::Own(lent) => self.ask_alone(lent, request, exchange).await,
            };
            match asked {
                Ok(answered) => return Ok(answered),
                Err(Unanswered::Failed(failed)) => return Err(failed),
                Err(Unanswered::Again(back)) => request = back,
            }
            stake.get_back();
        }
    }

    async fn ask_alone(
        &self,
        mut lent: Lent,
        mut request: Box<Request<Watched>>,
        exchange: &Exchange,
    ) -> Result<(Response<Incoming>, Carrier), Unanswered> {
        self.form.for_one(&mut request);
        let limits = (self.limits.write, self.limits.header);
        let is_used = lent.single().is_some_and(|single| single.is_used());
        let asked = {
            let Some(single) = lent.single() else { return Err(Unanswered::Again(request)) };
            let mut answer = pin!(single.send(*request));
            poll_fn(|cx| {
                let _is_over = single.poll(cx);
                if let Some(status) = exchange.interim.exceeded() {
                    return Poll::Ready(Err(Failed::Unexpected(status)));
                }
                match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(answered) => Poll::Ready(Ok(answered)),
                    Poll::Pending => exchange.sending.poll_silence(cx, limits, &mut single.timer).map(Err),
                }
            })
            .await
        };
        match asked.map(|answered| judge(answered, is_used, exchange)) {
            Ok(Ok(response)) => Ok((response, Carrier::Own(lent))),
            Ok(Err(Unanswered::Again(mut request))) => {
                self.form.for_any(&mut request);
                Err(Unanswered::Again(request))
            }
            Ok(Err(failed)) => Err(failed),
            Err(failed) => {
                lent.single().into_iter().for_each(|single| single.spoil());
                Err(Unanswered::Failed(failed))
            }
        }
    }

    async fn ask_beside_others(
        &self,
        mut common: Common,
        request: Box<Request<Watched>>,
        exchange: &Exchange,
    ) -> Result<(Response<Incoming>, Carrier), Unanswered> {
        let seat = Seat::take(&common.line);
        let limits = (self.limits.write, self.limits.header);
        let mut answer = pin!(common.sender.try_send_request(*request));
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        let asked = poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answered) => Poll::Ready(Ok(answered)),
            Poll::Pending => exchange.sending.poll_silence(cx, limits, &mut timer).map(Err),
        });
        match asked.await {
            Ok(answered) => {
                judge(answered, common.is_used, exchange).map(|response| (response, Carrier::Common(seat)))
            }
            Err(failed) => {
                // Everybody shares it, and if it is dead everybody would wait as long.
                seat.poison();
                Err(Unanswered::Failed(failed))
            }
        }
    }

    /// The request as hyper takes it. Boxed: it is handed from future to future, and each would hold a place for it.
    fn begin(&self, outbound: Outbound) -> (Box<Request<Watched>>, Exchange, Expected) {
        let (mut head, body) = outbound.into_request().into_parts();
        // The connection decides the version, not the client's request.
        head.version = Version::HTTP_11;
        let (sending, watched) = Sending::watch(body, self.clock.clone());
        let expected = if head.method == Method::HEAD { Expected::Fields } else { Expected::Body };
        let mut request = Box::new(Request::from_parts(head, watched));
        let interim = Interim::watch(&mut request);
        (request, Exchange { sending, interim }, expected)
    }

    fn answer(
        &self,
        mut response: Response<Incoming>,
        mut carrier: Carrier,
        sending: Sending,
        expected: Expected,
    ) -> Result<Response<Body>, Failed> {
        let status = response.status();
        if status.is_informational() {
            return Err(Failed::Unexpected(status));
        }
        let framing = framing::check(response.headers_mut(), status, self.codings)
            .inspect_err(|_misframed| carrier.spoil())?;
        framing::forget_odd_reason(response.extensions_mut());
        let ending = if response.version() == Version::HTTP_2 { Ending::Flagged } else { Ending::Checked };
        let is_refused = status.is_client_error() || status.is_server_error();
        let is_cut_short = is_refused && sending.hold();
        if ending == Ending::Checked && (is_cut_short || framing == Framing::Doubtful) {
            carrier.spoil();
        }
        Ok(response.map(|incoming| {
            if expected == Expected::Fields || !framing::has_content(status) || incoming.is_end_stream() {
                sending.cut();
                return Body::empty();
            }
            Body::stream(Received::new(incoming, carrier, ending, sending, self.limits.body_idle))
        }))
    }
}

impl Transport for Client {
    fn send(
        &self,
        permit: Permit,
        outbound: Outbound,
    ) -> impl Future<Output = Result<Answer, Failed>> + Send {
        // Before the future is made: what only the beginning needs would lie in it to the end.
        let (request, exchange, expected) = self.begin(outbound);
        let mut stake = Stake::of(permit);
        async move {
            let asked = self.ask(request, &exchange, &mut stake).await;
            let answered = asked
                .and_then(|(response, carrier)| self.answer(response, carrier, exchange.sending, expected));
            match answered {
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
}

/// What an answer consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Fields, and perhaps a body.
    Body,
    /// Fields alone: over HTTP/2 hyper would wait for the end of a HEAD's stream, or pass on what is none of its answer.
    Fields,
}

/// What an exchange came to on a connection that has carried others before, or has not.
fn judge(answered: Answered, is_used: bool, exchange: &Exchange) -> Result<Response<Incoming>, Unanswered> {
    let mut error = match answered {
        Ok(response) => return Ok(response),
        Err(error) => error,
    };
    if let Some(failure) = exchange.sending.take_failure() {
        return Err(Unanswered::Failed(Failed::Body(failure)));
    }
    if let Some(request) = error.take_message().filter(|_| is_used) {
        return Err(Unanswered::Again(Box::new(request)));
    }
    let error = error.into_error();
    let is_untaken = causes(&error).any(is_untaken);
    Err(Unanswered::Failed(if is_untaken {
        Failed::Untaken(error.into())
    } else {
        Failed::Broken(error.into())
    }))
}

/// The error and everything below it.
fn causes(error: &hyper::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
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
    // The source of an io::Error is that of the error within, never the error within itself.
    let is_unasked = |error: &io::Error| error.get_ref().is_some_and(|within| within.is::<Unasked>());
    cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
        || cause.downcast_ref::<h2::Error>().is_some_and(is_refused)
        || cause.downcast_ref::<io::Error>().is_some_and(is_unasked)
}

/// A connection and its handshake over a bad line.
const OPENING: Duration = Duration::from_secs(1);
