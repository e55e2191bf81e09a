//! Holds that every reader gets every byte or a visible break, and that nobody waits for anybody.

use super::*;

use http_body_util::BodyExt;
use polled::poll_once;

/// Polls a future once without a runtime's help.
mod polled {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    pub(super) fn poll_once<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }
}

fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

fn finish(growing: &Growing) -> Option<Arc<[Bytes]>> {
    let whole = growing.whole();
    growing.end();
    whole
}

/// What a reader has now without waiting: bytes, and how it ended if it has.
fn available(body: &mut Body) -> (String, Option<Result<(), String>>) {
    let mut read = String::new();
    loop {
        match poll_once(body.frame()) {
            None => return (read, None),
            Some(None) => return (read, Some(Ok(()))),
            Some(Some(Err(error))) => return (read, Some(Err(error.to_string()))),
            Some(Some(Ok(frame))) => {
                let bytes = frame.into_data().unwrap_or_default();
                read.push_str(std::str::from_utf8(&bytes).unwrap());
            }
        }
    }
}

#[test]
fn readers_start_at_the_first_byte_and_see_what_is_there_without_waiting_for_the_last() {
    let growing = Growing::new(Some(6), None);
    let mut early = growing.read().unwrap();
    growing.push(data("abc"));
    assert_eq!(available(&mut early), ("abc".to_owned(), None));
    let mut late = growing.read().unwrap();
    assert_eq!(late.size_hint().exact(), Some(6));
    assert_eq!(available(&mut late), ("abc".to_owned(), None));
    growing.push(data("def"));
    let chunks = finish(&growing).unwrap();
    assert_eq!(chunks.concat(), b"abcdef");
    for body in [&mut early, &mut late, &mut growing.read().unwrap()] {
        let (read, end) = available(body);
        assert!("abcdef".ends_with(&read) && end == Some(Ok(())), "{read}");
        assert!(body.is_end_stream());
    }
}

#[test]
fn what_was_kept_is_read_again_without_a_copy() {
    let chunks = [vec![b'a'; 300_000], vec![], vec![b'b'; 3]].map(Bytes::from);
    let mut body = Growing::kept(&chunks).read().unwrap();
    assert_eq!(body.size_hint().exact(), Some(300_003));
    let first = poll_once(body.frame()).unwrap().unwrap().unwrap().into_data().unwrap();
    assert_eq!(first.as_ptr(), chunks[0].as_ptr());
    assert_eq!(available(&mut body), ("bbb".to_owned(), Some(Ok(()))));
}

#[test]
fn a_break_reaches_every_reader_after_the_bytes_that_came() {
    let growing = Growing::new(None, None);
    let mut reader = growing.read().unwrap();
    growing.push(data("abc"));
    growing.fail("connection reset");
    let (read, end) = available(&mut reader);
    assert_eq!(read, "abc");
    assert_eq!(end.unwrap().unwrap_err(), "the upstream broke the body off: connection reset");
    assert!(growing.read().is_none(), "nobody joins a broken body");
}

#[test]
fn trailers_reach_every_reader_and_are_not_kept() {
    let growing = Growing::new(None, None);
    let mut readers = [growing.read().unwrap(), growing.read().unwrap()];
    let trailers = HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("\"x\""))]);
    growing.push(data("abc"));
    growing.push(Frame::trailers(trailers.clone()));
    assert_eq!(finish(&growing).unwrap().concat(), b"abc");
    for reader in &mut readers {
        assert_eq!(poll_once(reader.frame()).unwrap().unwrap().unwrap().into_data().unwrap(), "abc");
        let frame = poll_once(reader.frame()).unwrap().unwrap().unwrap();
        assert_eq!(frame.into_trailers().unwrap(), trailers);
        assert!(poll_once(reader.frame()).unwrap().is_none());
    }
}

#[test]
fn what_is_kept_is_in_large_blocks_however_it_came() {
    let growing = Growing::new(None, None);
    for _ in 0..100_000 {
        growing.push(data("abcd"));
    }
    let chunks = finish(&growing).unwrap();
    assert_eq!(chunks.iter().map(Bytes::len).sum::<usize>(), 400_000);
    assert!(chunks.len() <= 100_000 / MAX_LOOSE + 1, "{}", chunks.len());
}

#[test]
fn too_large_a_body_holds_no_more_than_its_readers_need() {
    let growing = Growing::new(None, None);
    let (mut fast, mut slow) = (growing.read().unwrap(), growing.read().unwrap());
    growing.push(data("abcd"));
    growing.pass();
    assert!(growing.read().is_none(), "its beginning may be gone");
    available(&mut fast);
    assert_eq!(growing.lock().blocks.len(), 1, "the slow one still needs it");
    assert!(poll_once(growing.wanted(4)).is_some());
    growing.push(data("efgh"));
    assert_eq!(available(&mut fast).0, "efgh");
    assert!(poll_once(growing.wanted(4)).is_some());
    let (read, end) = available(&mut slow);
    assert_eq!(read, "");
    assert!(end.unwrap().unwrap_err().contains("too slowly"), "8 bytes behind, 4 allowed");
    assert_eq!(growing.lock().blocks.len(), 0);
    growing.push(data("ij"));
    assert!(finish(&growing).is_none(), "not all of it is held");
    assert_eq!(available(&mut fast), ("ij".to_owned(), Some(Ok(()))));
}

#[test]
fn a_body_that_is_not_held_waits_for_its_fastest_reader() {
    let growing = Growing::new(None, None);
    let mut reader = growing.read().unwrap();
    growing.pass();
    growing.push(Frame::data(Bytes::from(vec![b'x'; 256 * 1024])));
    assert!(poll_once(growing.wanted(u64::MAX)).is_none());
    available(&mut reader);
    assert!(poll_once(growing.wanted(u64::MAX)).is_some());
}

#[test]
fn it_is_deserted_when_the_last_reader_has_left() {
    let growing = Growing::new(None, None);
    let (one, other) = (growing.read().unwrap(), growing.read().unwrap());
    drop(one);
    assert!(poll_once(growing.deserted()).is_none());
    drop(other);
    assert!(poll_once(growing.deserted()).is_some());
}
