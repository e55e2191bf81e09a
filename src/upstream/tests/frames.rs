//! HTTP/2 as a hostile or tired upstream writes it, frame by frame.

use http::Method;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::*;
use super::world::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;
/// `:status: 200` of HPACK's static table.
const OK: &[u8] = &[0x88];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Answers the first request on each connection with these frames, and stays connected.
async fn upstream(ca: &Ca, log: Log, frames: Vec<Vec<u8>>) -> Client {
    let address = tls_server(ca.acceptor(&["h2"]), log, move |mut tls: Tls| {
        let frames = frames.clone();
        async move {
            let mut preface = [0; 24];
            tls.read_exact(&mut preface).await.unwrap();
            tls.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
            loop {
                let mut head = [0; 9];
                if tls.read_exact(&mut head).await.is_err() {
                    return;
                }
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; length.try_into().unwrap()];
                tls.read_exact(&mut payload).await.unwrap();
                match head[3] {
                    SETTINGS if head[4] == 0 => tls.write_all(&frame(SETTINGS, 1, 0, &[])).await.unwrap(),
                    HEADERS => tls.write_all(&frames.concat()).await.unwrap(),
                    _ => {}
                }
            }
        }
    })
    .await;
    client(&settings(address, ca))
}

#[tokio::test]
async fn a_stream_that_the_upstream_did_not_touch_counts_as_not_sent() {
    let ca = Ca::new();
    for (frames, was_sent) in [
        (vec![frame(RST_STREAM, 0, 1, &7_u32.to_be_bytes())], false),
        (vec![frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())], true),
        (vec![frame(RST_STREAM, 0, 1, &2_u32.to_be_bytes())], true),
        (vec![frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0])], false),
        (vec![frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11])], false),
        (
            vec![
                frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]),
                frame(RST_STREAM, 0, 1, &2_u32.to_be_bytes()),
            ],
            true,
        ),
    ] {
        for body in [Body::empty(), Body::whole("text")] {
            let client = upstream(&ca, Log::default(), frames.clone()).await;
            let failed = send(&client, Method::POST, body).await.unwrap_err();
            assert_eq!(failed.was_sent(), was_sent, "{frames:?} {failed:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_before_its_end_is_not_whole() {
    let ca = Ca::new();
    // NO_ERROR, INTERNAL_ERROR, CANCEL
    for reason in [0_u32, 2, 8] {
        let frames = vec![
            frame(HEADERS, END_HEADERS, 1, OK),
            frame(DATA, 0, 1, b"part"),
            frame(RST_STREAM, 0, 1, &reason.to_be_bytes()),
        ];
        let client = upstream(&ca, Log::default(), frames).await;
        let outcome = match get(&client).await {
            Ok(response) => {
                response.into_body().collect().await.map(|_whole| ()).map_err(|error| error.to_string())
            }
            Err(failed) => Err(failed.to_string()),
        };
        assert!(outcome.is_err(), "reason {reason}");
    }
}

#[tokio::test]
async fn a_reset_after_the_end_spoils_nothing() {
    let ca = Ca::new();
    let frames = vec![
        frame(HEADERS, END_HEADERS, 1, OK),
        frame(DATA, END_STREAM, 1, b"whole"),
        frame(RST_STREAM, 0, 1, &0_u32.to_be_bytes()),
    ];
    let client = upstream(&ca, Log::default(), frames).await;
    assert_eq!(text(get(&client).await.unwrap()).await, "whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_arrives_although_the_connection_is_torn_down_behind_it() {
    let ca = Ca::new();
    let address = tls_server(ca.acceptor(&["h2"]), Log::default(), |mut tls: Tls| async move {
        tls.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        // A window for all of the upload: the client never waits for us.
        let window = 0x0fff_0000_u32.to_be_bytes();
        tls.write_all(&frame(WINDOW_UPDATE, 0, 0, &window)).await.unwrap();
        let initial = [&[0, 4][..], &window].concat();
        tls.write_all(&frame(SETTINGS, 0, 0, &initial)).await.unwrap();
        let mut buffer = vec![0; 100_000];
        tls.read_exact(&mut buffer).await.unwrap();
        let answer = [
            // `:status: 429` as a literal with an indexed name.
            frame(HEADERS, END_HEADERS, 1, b"\x08\x03429"),
            frame(DATA, END_STREAM, 1, b"slow down"),
            frame(RST_STREAM, 0, 1, &0_u32.to_be_bytes()),
            frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]),
        ];
        tls.write_all(&answer.concat()).await.unwrap();
        tls.flush().await.unwrap();
    })
    .await;
    for round in 0..30 {
        let client = client(&settings(address, &ca));
        let body = match round % 3 {
            0 => Body::whole(vec![b'x'; 5_000_000]),
            1 => slow_body(50, 100_000, Duration::ZERO, true),
            _ => slow_body(50, 100_000, Duration::from_millis(1), false),
        };
        let response = send(&client, Method::POST, body).await.unwrap();
        assert_eq!(response.status(), 429, "round {round}");
        assert_eq!(text(response).await, "slow down", "round {round}");
    }
}

#[tokio::test]
async fn a_connection_that_said_goodbye_is_not_used_again() {
    let ca = Ca::new();
    let answer = [frame(HEADERS, END_HEADERS, 1, OK), frame(DATA, END_STREAM, 1, b"ok")].concat();
    let goodbyes = [
        vec![frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])],
        vec![frame(GOAWAY, 0, 0, &[127, 255, 255, 255, 0, 0, 0, 0])],
    ];
    for goodbye in goodbyes {
        let log = Log::default();
        let client = upstream(&ca, log.clone(), [vec![answer.clone()], goodbye].concat()).await;
        for _ in 0..3 {
            assert_eq!(text(send(&client, Method::POST, Body::whole("text")).await.unwrap()).await, "ok");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(log.lines().len(), 3);
    }
}

#[tokio::test]
async fn interim_answers_are_dropped_and_101_does_not_exist_here() {
    let ca = Ca::new();
    let answer = vec![
        frame(HEADERS, END_HEADERS, 1, b"\x08\x03103"),
        frame(HEADERS, END_HEADERS, 1, OK),
        frame(DATA, END_STREAM, 1, b"ok"),
    ];
    let client = upstream(&ca, Log::default(), answer).await;
    assert_eq!(text(get(&client).await.unwrap()).await, "ok");
    let switch = vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x08\x03101")];
    let client = upstream(&ca, Log::default(), switch).await;
    let failed = get(&client).await.unwrap_err();
    assert!(failed.was_sent(), "{failed:?}");
}

#[tokio::test]
async fn the_answer_to_a_head_is_whole_with_its_fields() {
    let ca = Ca::new();
    // Nothing more ever comes; or bytes that a HEAD has not.
    for more in [vec![], vec![frame(DATA, 0, 1, b"part")], vec![frame(DATA, END_STREAM, 1, b"whole")]] {
        let frames = [vec![frame(HEADERS, END_HEADERS, 1, OK)], more].concat();
        let client = upstream(&ca, Log::default(), frames).await;
        let response = send(&client, Method::HEAD, Body::empty()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(text(response).await, "");
    }
}
