//! Decides how the API is spoken to over either version of HTTP: how much is taken, and how a connection is kept alive.

use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub(super) fn http1() -> http1::Builder {
    let mut http1 = http1::Builder::new();
    // A hundred fields are what hyper takes without being told, and telling costs two arrays for each answer.
    http1.max_buf_size(HEAD_BYTES);
    http1
}

pub(super) fn http2() -> http2::Builder<TokioExecutor> {
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        // Until its SETTINGS tell how many it takes, an upstream would refuse a burst.
        .initial_max_send_streams(1)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * 4)
        .max_send_buf_size(256 * 1024)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    http2
}

/// Webex answers with some 2 kB of fields.
const HEAD_BYTES: usize = 64 * 1024;
/// Bytes in flight per answer: 20 MB/s at 50 ms, and what a slow reader can make us hold.
const STREAM_WINDOW: u32 = 1024 * 1024;
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
