//! What a connection between two requests lets go of, and what it does not forget.

use super::*;

const REQUEST: &str = "GET /again HTTP/1.1\r\nhost: x\r\n\r\n";
/// Long enough to rest, by the recommended settings.
const QUIET: Duration = Duration::from_secs(5);

/// A connection to `echo` in paused time, and its other end.
fn connected() -> (tokio::io::DuplexStream, DrainTrigger, JoinHandle<Instant>) {
    let (client, socket) = tokio::io::duplex(64 * 1024);
    let (trigger, drain) = Drain::new();
    let server = Server::new(ServerSettings::recommended());
    let served = tokio::spawn(async move {
        server.run_one(socket, ([127, 0, 0, 1], 1).into(), echo, drain).await;
        Instant::now()
    });
    (client, trigger, served)
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_rested_answers_as_before() {
    let (mut client, _trigger, _served) = connected();
    for _ in 0..3 {
        for quiet in [QUIET, Duration::ZERO] {
            pass(quiet).await;
            assert!(ask(&mut client, REQUEST).await.ends_with("HTTP/1.1 http /again 0"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_wakes_it_may_be_any_part_of_a_request() {
    let (mut client, _trigger, _served) = connected();
    for at in [1, 3, REQUEST.len() - 1] {
        ask(&mut client, REQUEST).await;
        pass(QUIET).await;
        let (begin, end) = REQUEST.split_at(at);
        client.write_all(begin.as_bytes()).await.unwrap();
        pass(QUIET).await;
        assert!(ask(&mut client, end).await.ends_with("/again 0"), "{at}");
        pass(QUIET).await;
        // Several at once, some of them ahead of their turn.
        client.write_all(REQUEST.repeat(3).as_bytes()).await.unwrap();
        for _ in 0..3 {
            assert!(answer(&mut client).await.ends_with("/again 0"), "{at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_ambiguous_is_refused_after_a_rest_too() {
    let (mut client, _trigger, _served) = connected();
    ask(&mut client, REQUEST).await;
    pass(QUIET).await;
    let twice =
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(ask(&mut client, twice).await.starts_with("HTTP/1.1 400"));
}

#[tokio::test(start_paused = true)]
async fn a_resting_connection_ends_when_an_idle_one_does() {
    let (mut client, _trigger, served) = connected();
    ask(&mut client, REQUEST).await;
    let begun_at = Instant::now();
    let mut told = String::new();
    client.read_to_string(&mut told).await.unwrap();
    assert_eq!(told, "");
    let lasted = served.await.unwrap() - begun_at;
    let idle_timeout = ServerSettings::recommended().idle_timeout;
    assert!(lasted >= idle_timeout && lasted < idle_timeout + Duration::from_secs(6), "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_resting_connection_has_a_last_call_in_a_drain() {
    for asks in [true, false] {
        let (mut client, trigger, served) = connected();
        ask(&mut client, REQUEST).await;
        pass(QUIET).await;
        let begun_at = Instant::now();
        trigger.begin(Duration::from_secs(60));
        pass(Duration::from_millis(100)).await;
        if asks {
            let last = ask(&mut client, REQUEST).await;
            assert!(last.ends_with("/again 0") && last.contains("connection: close"), "{last}");
        }
        let mut told = String::new();
        client.read_to_string(&mut told).await.unwrap();
        let lasted = served.await.unwrap() - begun_at;
        assert!(lasted < Duration::from_secs(1), "{asks}: {lasted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_resting_client_that_leaves_is_gone_at_once() {
    let (mut client, _trigger, served) = connected();
    ask(&mut client, REQUEST).await;
    pass(QUIET).await;
    let left_at = Instant::now();
    drop(client);
    assert!(served.await.unwrap() - left_at < Duration::from_millis(100));
}
