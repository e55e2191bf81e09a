//! Holds that a body comes out of the spool as it went in, within the bounds, and leaves nothing behind.

use std::time::Duration;

use http_body::Frame;
use http_body_util::BodyExt;

use super::file::BATCH_BYTES;
use super::*;
use crate::machine::{GuardSettings, Marks};

const MEMORY: usize = 64 * 1024;
const MAX_BODY: u64 = 4 * 1024 * 1024;

fn spool(room: SpoolRoom) -> Spool {
    let settings = SpoolSettings { dir: None, room, max_files: 8, memory_bytes: MEMORY, max_body: MAX_BODY };
    Spool::new(settings, Guard::off())
}

fn bytes(length: usize) -> Bytes {
    (0_u32..).flat_map(u32::to_be_bytes).take(length).collect::<Vec<u8>>().into()
}

/// A body whose frames come one by one, the last one an error if `failure` is given.
fn chunked(data: &Bytes, chunk: usize, failure: Option<BodyError>) -> Body {
    let mut left = data.clone();
    let mut failure = failure;
    Body::stream(Frames(move || {
        if left.is_empty() {
            return failure.take().map(Err);
        }
        Some(Ok(left.split_to(chunk.min(left.len()))))
    }))
}

struct Frames<F>(F);

impl<F: FnMut() -> Option<Result<Bytes, BodyError>> + Unpin> http_body::Body for Frames<F> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready((self.0)().map(|data| data.map(Frame::data)))
    }
}

async fn read(body: Body) -> Bytes {
    body.collect().await.unwrap().to_bytes()
}

/// Blocking threads let go of a file a moment after the body that asked them.
async fn settled(spool: &Spool) -> u64 {
    for _ in 0..200 {
        if spool.bytes_held() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    spool.bytes_held()
}

async fn check_round_trip(length: usize, chunk: usize, is_declared: bool) {
    let spool = spool(SpoolRoom::Bytes(MAX_BODY));
    let data = bytes(length);
    let declared = is_declared.then(|| size(length));
    let mut parcel = spool.receive(chunked(&data, chunk, None), declared).await.unwrap();
    assert!(parcel.is_repeatable());
    assert_eq!(parcel.length(), Some(size(length)));
    assert_eq!(spool.bytes_held(), if length > MEMORY { size(length) } else { 0 });
    let (first, second) = (parcel.attempt().unwrap(), parcel.attempt().unwrap());
    assert_eq!(first.size_hint().exact(), Some(size(length)));
    drop(parcel);
    let (first, second) = tokio::join!(read(first), read(second));
    assert!(first == data && second == data, "{length} bytes in chunks of {chunk} came back changed");
    assert_eq!(settled(&spool).await, 0);
}

#[tokio::test]
async fn bodies_around_every_border_come_back_twice_as_they_were() {
    for length in [0, 1, MEMORY - 1, MEMORY, MEMORY + 1, BATCH_BYTES, BATCH_BYTES + 1, 1_000_003] {
        for chunk in [1_021, MEMORY, BATCH_BYTES + 7] {
            for is_declared in [false, true] {
                check_round_trip(length, chunk, is_declared).await;
            }
        }
    }
}

#[tokio::test]
async fn a_body_declared_too_large_is_refused_before_a_byte_is_read() {
    let untouched = Body::stream(Frames(|| panic!("read")));
    let refused = spool(SpoolRoom::Off).receive(untouched, Some(MAX_BODY + 1)).await;
    assert!(matches!(refused, Err(ReceiveError::TooLarge(MAX_BODY))), "{refused:?}");
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_refused_and_gives_its_room_back() {
    let spool = spool(SpoolRoom::Bytes(MAX_BODY * 2));
    let data = bytes(usize::try_from(MAX_BODY).unwrap() + 1);
    let refused = spool.receive(chunked(&data, MEMORY, None), None).await;
    assert!(matches!(refused, Err(ReceiveError::TooLarge(MAX_BODY))), "{refused:?}");
    assert_eq!(settled(&spool).await, 0);
}

#[tokio::test]
async fn a_body_of_another_length_than_declared_is_refused() {
    for (length, declared) in [(10, 11), (11, 10), (0, 1), (100_000, 100_001), (100_001, 100_000)] {
        let spool = spool(SpoolRoom::Bytes(MAX_BODY));
        let refused = spool.receive(chunked(&bytes(length), 1000, None), Some(declared)).await;
        assert!(
            matches!(refused, Err(ReceiveError::Body(BodyError::Broken(Side::Client, _)))),
            "{length} {declared}: {refused:?}"
        );
        assert_eq!(settled(&spool).await, 0);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_a_parcel() {
    for length in [10, 200_000] {
        let spool = spool(SpoolRoom::Bytes(MAX_BODY));
        let stalled = BodyError::Stalled(Side::Client, Duration::from_secs(1));
        let refused = spool.receive(chunked(&bytes(length), 1000, Some(stalled)), None).await;
        assert!(matches!(refused, Err(ReceiveError::Body(BodyError::Stalled(..)))), "{refused:?}");
        assert_eq!(settled(&spool).await, 0);
    }
}

async fn check_once(spool: &Spool, length: usize, declared: Option<u64>) {
    let data = bytes(length);
    let mut parcel = spool.receive(chunked(&data, 1000, None), declared).await.unwrap();
    assert!(!parcel.is_repeatable());
    assert_eq!(parcel.length(), declared);
    let body = parcel.attempt().unwrap();
    assert_eq!(body.size_hint().exact(), declared);
    assert!(parcel.attempt().is_none());
    assert_eq!(read(body).await, data);
    drop(parcel);
}

#[tokio::test]
async fn what_the_spool_has_no_room_for_is_sent_once() {
    let full = spool(SpoolRoom::Bytes(300_000));
    let mut first = full.receive(chunked(&bytes(200_000), 1000, None), None).await.unwrap();
    assert_eq!(full.bytes_held(), 200_000);
    check_once(&full, 150_000, Some(150_000)).await;
    check_once(&full, 150_000, None).await;
    check_once(&full, 500_000, None).await;
    assert_eq!(read(first.attempt().unwrap()).await, bytes(200_000));
    drop(first);
    assert_eq!(settled(&full).await, 0);
    check_once(&spool(SpoolRoom::Off), 100_000, Some(100_000)).await;
    check_once(&spool(SpoolRoom::Off), 100_000, None).await;
}

#[tokio::test]
async fn a_body_without_room_is_not_read_before_it_is_sent() {
    let off = spool(SpoolRoom::Off);
    let parcel = off.receive(Body::stream(Frames(|| panic!("read"))), Some(100_000)).await.unwrap();
    assert!(!parcel.is_repeatable());
}

#[tokio::test]
async fn the_largest_body_is_bounded_while_it_streams_too() {
    let off = spool(SpoolRoom::Off);
    let data = bytes(usize::try_from(MAX_BODY).unwrap() + 1);
    let mut parcel = off.receive(chunked(&data, MEMORY, None), None).await.unwrap();
    let outcome = parcel.attempt().unwrap().collect().await;
    assert!(matches!(outcome, Err(BodyError::TooLarge(MAX_BODY))));
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_means_sending_once() {
    let settings = SpoolSettings {
        dir: Some("/nonexistent/spool".into()),
        room: SpoolRoom::Bytes(MAX_BODY),
        max_files: 8,
        memory_bytes: MEMORY,
        max_body: MAX_BODY,
    };
    let spool = Spool::new(settings, Guard::off());
    check_once(&spool, 100_000, None).await;
    check_once(&spool, 100_000, Some(100_000)).await;
    assert_eq!(settled(&spool).await, 0);
}

#[tokio::test]
async fn a_disk_that_fills_up_means_sending_the_rest_once() {
    let spool = spool(SpoolRoom::Bytes(MAX_BODY));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let data = bytes(100_000);
    let reserved = Reserved::take(&spool.0, 0).unwrap();
    let mut writing = Writing::new(full, BytesMut::from(&data[..]), reserved);
    assert!(!writing.flush().await);
    let (kept, buffer) = writing.into_parts();
    assert_eq!(buffer, data, "what could not be written is still there");
    let rest = bytes(70_000);
    let intake =
        Intake { body: chunked(&rest, 999, None), declared: None, received: 100_000, max_body: MAX_BODY };
    let mut parcel = Parcel::once(Some(kept), buffer, intake);
    let whole = [data, rest].concat();
    assert_eq!(read(parcel.attempt().unwrap()).await, whole);
    drop(parcel);
    assert_eq!(settled(&spool).await, 0);
}

#[tokio::test]
async fn more_files_than_there_may_be_means_sending_once() {
    let spool = spool(SpoolRoom::Bytes(MAX_BODY));
    let data = bytes(100_000);
    let mut held = Vec::new();
    for _ in 0..8 {
        let parcel = spool.receive(chunked(&data, MEMORY, None), Some(100_000)).await.unwrap();
        assert!(parcel.is_repeatable());
        held.push(parcel);
    }
    check_once(&spool, 100_000, None).await;
    check_once(&spool, 100_000, Some(100_000)).await;
    held.clear();
    assert_eq!(settled(&spool).await, 0);
    let parcel = spool.receive(chunked(&data, MEMORY, None), None).await.unwrap();
    assert!(parcel.is_repeatable(), "a file that is gone makes room");
}

#[tokio::test]
async fn only_what_does_not_fit_in_memory_is_refused_while_that_is_short() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("memory.max"), "1000").unwrap();
    std::fs::write(dir.path().join("memory.current"), "750").unwrap();
    let marks = Marks { uploads: 70, requests: 80 };
    let guard = Guard::new(GuardSettings { marks, limit: None, cgroup: Some(dir.path().to_owned()) });
    guard.look();
    let room = SpoolRoom::Bytes(MAX_BODY);
    let settings = SpoolSettings { dir: None, room, max_files: 8, memory_bytes: MEMORY, max_body: MAX_BODY };
    let spool = Spool::new(settings, guard);
    for (length, is_taken) in [(0, true), (MEMORY, true), (MEMORY + 1, false), (1_000_000, false)] {
        let data = bytes(length);
        for declared in [None, Some(size(length))] {
            let outcome = spool.receive(chunked(&data, 10_000, None), declared).await;
            match outcome {
                Ok(_) => assert!(is_taken, "{length} {declared:?}"),
                Err(error) => assert!(!is_taken && matches!(error, ReceiveError::Overloaded(_)), "{length}"),
            }
        }
    }
    assert_eq!(settled(&spool).await, 0);
}
