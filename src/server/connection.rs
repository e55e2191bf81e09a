//! One connection from accept to close: handshake, HTTP/1 or HTTP/2, the deadlines of each phase, goodbye.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use http::header::{CONNECTION, EXPECT, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::activity::{Activity, Unread};
use super::drain::Drain;
use super::ending::{Asks, Ending, Next};
use super::exchange::{Left, Outgoing, Returned};
use super::gathered::Gathered;
use super::handshake::HandshakeFailure;
use super::pace::{Pace, paced};
use super::streams::Streams;
use super::strict::Strict;
use super::tls::Tls;
use super::watched::{Reads, Watched};
use super::{Arrival, Handler, ServerSettings, Shared};
use crate::body::Body;
use crate::words::{Scheme, Side};

/// What one connection needs to be served.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    /// As they were when it was accepted.
    pub(super) settings: Arc<ServerSettings>,
    pub(super) handler: Handler,
    pub(super) drain: Drain,
    pub(super) peer: SocketAddr,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Outgoing>, Infallible>> + Send>>;

impl Connection {
    /// Serves the connection to its end; dropping the future closes it at once.
    pub(super) async fn serve(self, socket: TcpStream, tls: Option<Tls>) {
        // Small answers must not wait for the acknowledgement of earlier ones; without the option they only do.
        socket.set_nodelay(true).unwrap_or_default();
        let Some(tls) = tls else { return self.serve_plain(socket).await };
        let activity = Activity::new(&self.settings);
        let watched = Watched::new(socket, activity.clone());
        let accepting = TlsAcceptor::from(tls.config()).accept(watched);
        let failure = match timeout(self.settings.handshake_timeout, accepting).await {
            Ok(Ok(mut stream)) => {
                activity.expect_head();
                if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Box::pin(self.http1(stream, Scheme::Https, activity)).await;
                }
                stream.get_mut().0.reads = Reads::MeanNothing;
                return Box::pin(self.http2(stream, activity)).await;
            }
            Ok(Err(error)) => HandshakeFailure::of(&error),
            Err(_) => HandshakeFailure::Timeout,
        };
        self.shared.handshake_failures.count(failure);
    }

    /// The same without TLS, over anything that carries bytes.
    pub(super) async fn serve_plain<S>(self, socket: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let activity = Activity::new(&self.settings);
        let watched = Watched::new(socket, activity.clone());
        self.http1(watched, Scheme::Http, activity).await;
    }

    async fn http1<S>(self, stream: S, scheme: Scheme, activity: Arc<Activity>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let settings = &self.settings;
        let buffer_bytes = settings.max_header_bytes.max(BUFFER_BYTES);
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_header_size(settings.max_header_bytes)
            .max_buf_size(buffer_bytes);
        if settings.max_fields > PARSED_FIELDS {
            builder.max_headers(settings.max_fields);
        }
        activity.may_rest(settings.rest_after);
        let mut stream = Strict::new(stream, buffer_bytes, activity.clone());
        let mut ending = Ending::new(&self.drain, &activity, Asks::Anew);
        // Between requests a connection is what it was before the first one, and holds no more memory.
        let stream = loop {
            tokio::select! {
                biased;
                begun = stream.begun() => if begun.is_err() { break stream },
                next = ending.next() => match next {
                    Next::Drop => return,
                    Next::Finish => break stream,
                    Next::Rest => continue,
                }
            }
            let service = service_fn(|request| self.answer(request, scheme, activity.clone(), None));
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            match Box::pin(requests(connection, &mut ending, &activity)).await {
                Served::Dropped => return,
                Served::Ended(ended) => break ended,
                Served::Rests(rested) => stream = rested,
            }
        };
        self.close(stream.into_inner(), activity.unread()).await;
    }

    async fn http2<S>(self, stream: S, activity: Arc<Activity>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let settings = &self.settings;
        let streams = Streams::new(self.settings.clone());
        let mut running = streams.run(self.shared.clone());
        let mut builder = http2::Builder::new(streams.clone());
        builder
            .timer(TokioTimer::new())
            .max_header_list_size(settings.h2_max_header_list_bytes)
            .max_concurrent_streams(settings.h2_max_streams)
            .initial_stream_window_size(settings.h2_stream_window)
            .initial_connection_window_size(settings.h2_connection_window)
            .keep_alive_interval(settings.h2_ping_interval)
            .keep_alive_timeout(settings.h2_ping_timeout)
            .max_send_buf_size(BUFFER_BYTES);
        let service = service_fn(|request| {
            self.answer(request, Scheme::Https, activity.clone(), Some(streams.clone()))
        });
        activity.may_rest(settings.rest_after);
        let stream = Gathered::new(stream);
        let mut connection = Box::pin(builder.serve_connection(TokioIo::new(stream.clone()), service));
        let mut ending = Ending::new(&self.drain, &activity, Asks::Once);
        loop {
            let served = poll_fn(|cx| {
                let served = connection.as_mut().poll(cx);
                running.poll(cx);
                let sent = stream.send(cx);
                if served.is_ready() || sent.is_err() { Poll::Ready(()) } else { Poll::Pending }
            });
            tokio::select! {
                biased;
                () = served => return,
                next = ending.next() => match next {
                    Next::Drop => return,
                    Next::Finish => connection.as_mut().graceful_shutdown(),
                    Next::Rest => stream.rest(),
                }
            }
        }
    }

    fn answer(
        &self,
        request: Request<Incoming>,
        scheme: Scheme,
        activity: Arc<Activity>,
        streams: Option<Streams>,
    ) -> Answer {
        let in_progress = activity.begin();
        let (settings, handler, peer) = (self.settings.clone(), self.handler.clone(), self.peer);
        let drain = self.drain.clone();
        Box::pin(async move {
            let version = request.version();
            if request.headers().len() > settings.max_fields {
                let mut refused = Response::new(Outgoing::new(Body::empty(), in_progress));
                if streams.is_none() {
                    close_unread(&mut refused, &activity);
                }
                // What hyper answers for HTTP/1 by itself: the handler never sees such a head.
                *refused.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                return Ok(refused);
            }
            let returned = Returned::default();
            let waits_for_continue = request.headers().contains_key(EXPECT);
            let request = request.map(|incoming| {
                let pace = Pace::new(settings.body_idle_timeout, settings.min_rate);
                let body = paced(Body::received(incoming, Side::Client), pace, activity.clone());
                returned.lend(body, in_progress.clone())
            });
            let mut response = handler(Arrival { scheme, peer, version }, request).await;
            // The version is ours and not an upstream's: at HTTP/1.0 a body of unknown length would end with the
            // connection, and one that broke off would look whole. hyper lowers it for a client that speaks no other.
            *response.version_mut() = Version::HTTP_11;
            // To read on would tell the client to send what it rather would not.
            let limit = if waits_for_continue { 0 } else { settings.max_drain_bytes };
            if streams.is_none() && drain.has_begun() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let left = returned.finish(limit).await;
            let Some(streams) = streams else {
                if !matches!(left, Left::Nothing) {
                    close_unread(&mut response, &activity);
                }
                return Ok(response.map(|body| Outgoing::new(body, in_progress)));
            };
            if let Left::Rest(body) = left {
                streams.discard(body);
            }
            Ok(response.map(|body| Outgoing::new(body, in_progress).handed_to(activity)))
        })
    }

    /// Closes so that the client can read what was sent: a reset for unread bytes would take the answer with it.
    async fn close<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, unread: Unread) {
        let settings = &self.settings;
        let goodbye = async {
            if stream.shutdown().await.is_err() || unread == Unread::Nothing {
                return;
            }
            let mut left = settings.max_linger_bytes;
            let mut buffer = vec![0; LINGER_BYTES];
            while left > 0 {
                match timeout(settings.linger_idle_timeout, stream.read(&mut buffer)).await {
                    Ok(Ok(0) | Err(_)) | Err(_) => return,
                    Ok(Ok(read)) => left = left.saturating_sub(u64::try_from(read).unwrap_or(left)),
                }
            }
        };
        timeout(settings.linger_timeout, goodbye).await.unwrap_or_default();
    }
}

/// hyper reads no more of the request, and closes the connection after this answer.
fn close_unread<B>(response: &mut Response<B>, activity: &Activity) {
    activity.set_unread(Unread::Rest);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}

/// What is left of an HTTP/1 connection after some requests.
enum Served<S> {
    /// Nothing: it is to be closed at once.
    Dropped,
    /// What is to be closed with a goodbye.
    Ended(Strict<S>),
    /// What may have more requests, later.
    Rests(Strict<S>),
}

/// Serves requests until there are none for a while, or none any more.
async fn requests<S, H>(
    mut connection: http1::Connection<TokioIo<Strict<S>>, H>,
    ending: &mut Ending<'_>,
    activity: &Activity,
) -> Served<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: HttpService<Incoming, ResBody = Outgoing, Error = Infallible>,
{
    let mut malformed = false;
    let mut is_written = false;
    loop {
        tokio::select! {
            biased;
            // Up to and with the shutdown: only then hyper has written what it still holds. Once is not enough: where
            // a request spoke of an upgrade, it first ends to hand over the connection, and holds on to its bytes.
            result = &mut connection => match result {
                _ if is_written => break,
                Err(error) if !error.is_parse() => break,
                result => {
                    malformed = result.is_err();
                    is_written = true;
                }
            },
            next = ending.next() => match next {
                Next::Drop => return Served::Dropped,
                Next::Finish => Pin::new(&mut connection).graceful_shutdown(),
                Next::Rest => {
                    let parts = connection.into_parts();
                    let stream = parts.io.into_inner();
                    // No request is open and none has begun, so hyper holds no byte of one.
                    return if parts.read_buf.is_empty() { Served::Rests(stream) } else { Served::Dropped };
                }
            }
        }
    }
    if malformed {
        activity.set_unread(Unread::Rest);
    }
    // The buffers go before the goodbye: who sends too large a head again and again leaves many of these behind.
    Served::Ended(connection.into_parts().io.into_inner())
}

/// Read and write buffer of a connection.
const BUFFER_BYTES: usize = 64 * 1024;
/// So many fields hyper parses without being told; to tell it costs each request two arrays.
const PARSED_FIELDS: usize = 100;
/// What is thrown away at a time: thousands of connections may linger at once.
const LINGER_BYTES: usize = 4 * 1024;
