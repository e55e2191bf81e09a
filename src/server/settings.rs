//! The bounds of the way in: how many, how large, how long.

use std::num::NonZeroU32;
use std::time::Duration;

/// Limits and deadlines of one listener. Each can be set; [`ServerSettings::recommended`] says what is safe.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Connections held at once; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// For a whole head, and for the silence before a connection's first one.
    pub header_timeout: Duration,
    /// Silence between two requests of a connection (h1), or without an open stream (h2).
    pub idle_timeout: Duration,
    /// Silence between two requests of an h1 connection after which it holds no buffers until the next one.
    pub rest_after: Duration,
    /// Silence of a client in the middle of its request body.
    pub body_idle_timeout: Duration,
    /// A client that takes none of the bytes waiting for it.
    pub write_stall_timeout: Duration,
    /// Bytes per second of a body or an answer, on average over the time in which the client is waited for.
    pub min_rate: Option<NonZeroU32>,
    /// The head of an HTTP/1 request, request line included.
    pub max_header_bytes: usize,
    /// Header fields of a request, in both versions of HTTP.
    pub max_fields: usize,
    /// The decoded header list of an HTTP/2 request.
    pub h2_max_header_list_bytes: u32,
    /// Streams open at once on one HTTP/2 connection.
    pub h2_max_streams: u32,
    /// Bytes in flight towards us on one HTTP/2 stream.
    pub h2_stream_window: u32,
    /// Bytes in flight towards us on one HTTP/2 connection.
    pub h2_connection_window: u32,
    /// How often a silent HTTP/2 client is asked whether it is still there.
    pub h2_ping_interval: Duration,
    /// How long its answer may take.
    pub h2_ping_timeout: Duration,
    /// An unread request body of at most this length is read before an early answer: the connection stays usable.
    pub max_drain_bytes: u64,
    /// Bytes of a larger one thrown away after the answer, so that a client that reads only then can read it.
    pub max_linger_bytes: u64,
    /// How long that may take in all.
    pub linger_timeout: Duration,
    /// How long the client may be silent meanwhile.
    pub linger_idle_timeout: Duration,
}

impl ServerSettings {
    /// The limits of SECURITY.md 3, at or below those of Envoy's guide for edge proxies.
    pub fn recommended() -> Self {
        Self {
            max_connections: 4096,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            // A bot that asks one thing after the other is busy; one that polls or waits for its user is not.
            rest_after: Duration::from_secs(1),
            body_idle_timeout: Duration::from_secs(20),
            write_stall_timeout: Duration::from_secs(30),
            // Apache's mod_reqtimeout; IIS and Kestrel ask for 240.
            min_rate: NonZeroU32::new(500),
            max_header_bytes: 32 * 1024,
            max_fields: 64,
            h2_max_header_list_bytes: 8 * 1024,
            h2_max_streams: 64,
            h2_stream_window: 64 * 1024,
            h2_connection_window: 1024 * 1024,
            h2_ping_interval: Duration::from_secs(60),
            h2_ping_timeout: Duration::from_secs(20),
            max_drain_bytes: 64 * 1024,
            // Above the largest upload: requests (Python) sends all of it before it reads, and reports a broken
            // connection instead of our 413 or 429 if it cannot.
            max_linger_bytes: 128 * 1024 * 1024,
            // nginx's lingering_time and lingering_timeout.
            linger_timeout: Duration::from_secs(30),
            linger_idle_timeout: Duration::from_secs(5),
        }
    }
}
