//! Asks the operators' listener of a running process: one plain request, one answer, within a time.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::body::BoxError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Silent {
    /// Something answers, but not to the end, or not in HTTP.
    #[error("{address} gave no whole answer: {source}")]
    Broken {
        /// Who was asked.
        address: SocketAddr,
        /// What was wrong with it.
        source: BoxError,
    },
    /// Nobody is there.
    #[error("nobody answers on {address}: {source}")]
    Nobody {
        /// Who was asked.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody is there and says nothing.
    #[error("{address} did not answer within {within:?}")]
    Slow {
        /// Who was asked.
        address: SocketAddr,
        /// How long was waited.
        within: Duration,
    },
}

/// Asks for a path. The answer is at most 16 MiB long.
///
/// # Errors
/// [`Silent`] says why there is no whole answer within the time.
pub async fn ask(address: SocketAddr, path: &str, within: Duration) -> Result<(StatusCode, Bytes), Silent> {
    let slow = |_| Silent::Slow { address, within };
    timeout(within, answer(address, path)).await.map_err(slow)?
}

/// Where a listener that is bound to `address` is reached from its own machine.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn answer(address: SocketAddr, path: &str) -> Result<(StatusCode, Bytes), Silent> {
    let broken = |source: BoxError| Silent::Broken { address, source };
    let socket = TcpStream::connect(address).await.map_err(|source| Silent::Nobody { address, source })?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(socket)).await.map_err(|error| broken(error.into()))?;
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(error.into()))?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let bytes = Limited::new(body, MAX_BYTES).collect().await?.to_bytes();
        Ok::<_, BoxError>((head.status, bytes))
    };
    tokio::pin!(exchange, connection);
    let answered = tokio::select! {
        biased;
        answered = &mut exchange => answered,
        // What it read is with the exchange already; that says what is missing.
        _ = &mut connection => exchange.await,
    };
    answered.map_err(broken)
}

/// A status with all gates that are ever listed is far smaller.
const MAX_BYTES: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn asked(answer: &'static str) -> Result<(StatusCode, Bytes), Silent> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            assert!(socket.read(&mut head).await.unwrap() > 0);
            socket.write_all(answer.as_bytes()).await.unwrap();
        });
        ask(address, "/readyz", Duration::from_secs(5)).await
    }

    #[tokio::test]
    async fn an_answer_is_told_with_its_status() {
        let (status, body) = asked("HTTP/1.1 503 x\r\ncontent-length: 9\r\n\r\ndraining\n").await.unwrap();
        assert_eq!((status, body.as_ref()), (StatusCode::SERVICE_UNAVAILABLE, b"draining\n".as_slice()));
    }

    #[tokio::test]
    async fn half_an_answer_and_no_answer_are_told_apart() {
        for answer in ["", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nrea"] {
            assert!(matches!(asked(answer).await, Err(Silent::Broken { .. })), "{answer:?}");
        }
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let nobody = ask(closed, "/", Duration::from_secs(5)).await;
        assert!(matches!(nobody, Err(Silent::Nobody { .. })), "{nobody:?}");
    }

    #[tokio::test]
    async fn a_silent_listener_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = ask(listener.local_addr().unwrap(), "/", Duration::from_millis(50)).await;
        assert!(matches!(silent, Err(Silent::Slow { .. })), "{silent:?}");
    }

    #[test]
    fn a_listener_on_every_address_is_reached_over_loopback() {
        for (bound, reached) in [
            ("0.0.0.0:9900", "127.0.0.1:9900"),
            ("[::]:9900", "[::1]:9900"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            assert_eq!(reachable(bound.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
