//! What is written in one turn leaves together, in order, and at the latest with the end of the connection.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::super::gathered::Gathered;

/// Takes at most so much at once, and remembers each piece.
#[derive(Clone)]
struct Taker {
    at_once: usize,
    pieces: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Taker {
    fn new(at_once: usize) -> Self {
        Self { at_once, pieces: Arc::default() }
    }

    fn sizes(&self) -> Vec<usize> {
        self.pieces.lock().unwrap().iter().map(Vec::len).collect()
    }

    fn all(&self) -> Vec<u8> {
        self.pieces.lock().unwrap().concat()
    }
}

impl AsyncWrite for Taker {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let taken = buf.len().min(self.at_once);
        self.pieces.lock().unwrap().push(buf[..taken].to_vec());
        Poll::Ready(if taken == 0 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(taken) })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn send(gathered: &Gathered<Taker>) -> io::Result<()> {
    poll_fn(|cx| Poll::Ready(gathered.send(cx))).await
}

#[tokio::test]
async fn what_is_written_in_one_turn_leaves_in_one_piece() {
    let taker = Taker::new(usize::MAX);
    let gathered = Gathered::new(taker.clone());
    let mut written = gathered.clone();
    for frame in [&b"head"[..], b"body", b"end"] {
        written.write_all(frame).await.unwrap();
        written.flush().await.unwrap();
    }
    assert_eq!(taker.sizes(), [0; 0]);
    send(&gathered).await.unwrap();
    assert_eq!(taker.all(), b"headbodyend");
    assert_eq!(taker.sizes(), [11]);
    send(&gathered).await.unwrap();
    assert_eq!(taker.sizes(), [11], "nothing is sent where nothing was written");
}

#[tokio::test]
async fn more_than_is_held_goes_on_its_way_in_order() {
    let taker = Taker::new(10_000);
    let gathered = Gathered::new(taker.clone());
    let sent: Vec<u8> = (0..=250).cycle().take(200_000).collect();
    gathered.clone().write_all(&sent).await.unwrap();
    assert!(taker.all().len() >= sent.len() - 64 * 1024);
    gathered.rest();
    gathered.clone().shutdown().await.unwrap();
    assert_eq!(taker.all(), sent);
}

#[tokio::test]
async fn a_stream_that_takes_no_more_is_an_error_and_no_loop() {
    let gathered = Gathered::new(Taker::new(0));
    gathered.clone().write_all(b"x").await.unwrap();
    assert_eq!(send(&gathered).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert!(gathered.clone().shutdown().await.is_err());
}
