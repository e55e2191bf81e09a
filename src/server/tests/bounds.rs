//! What is too much, too many or malformed.

use super::*;

#[tokio::test]
async fn a_malformed_or_oversized_head_is_refused_and_the_connection_closed() {
    let world = world(ServerSettings::recommended(), "http", echo).await;
    let fields = |count: usize| (0..count).map(|i| format!("f{i}: v\r\n")).collect::<String>();
    let cases = [
        ("no request at all\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nhost: x\r\n folded: y\r\n\r\n".to_owned(), "400"),
        ("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_owned(), "400"),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\n{}\r\n", fields(65)), "431"),
        (format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(33 * 1024)), "431"),
        (format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(300 * 1024)), "431"),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(70 * 1024)), "431"),
    ];
    for (request, expected) in cases {
        let (mut reader, mut writer) = world.tcp().await.into_split();
        let sending = tokio::spawn(async move {
            drop(writer.write_all(request.as_bytes()).await);
            writer
        });
        let (answer, _) = rest(&mut reader).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "expected {expected}, got {answer:?}");
        sending.abort();
    }
    let mut stream = world.tcp().await;
    let request = format!("GET / HTTP/1.1\r\n{}\r\n", fields(64));
    assert!(ask(&mut stream, &request).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_bound_above_what_hyper_parses_by_itself_holds_too() {
    let settings = ServerSettings { max_fields: 150, ..ServerSettings::recommended() };
    let world = world(settings, "http", echo).await;
    let mut stream = world.tcp().await;
    for (count, expected) in [(150, "200"), (151, "431")] {
        let fields: String = (0..count).map(|i| format!("f{i}: v\r\n")).collect();
        let answer = ask(&mut stream, &format!("GET / HTTP/1.1\r\n{fields}\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{count} fields: {answer:?}");
    }
}

#[tokio::test]
async fn an_http2_head_has_the_same_bounds() {
    let world = world(ServerSettings::recommended(), "https", echo).await;
    let mut h2 = world.h2().await;
    let mut many = get("/");
    for i in 0..65 {
        let name = http::HeaderName::from_bytes(format!("f{i}").as_bytes()).unwrap();
        many.headers_mut().insert(name, "v".parse().unwrap());
    }
    assert_eq!(h2.send_request(many).await.unwrap().status(), 431);
    let mut crumbs = get("/");
    for _ in 0..65 {
        crumbs.headers_mut().append("cookie", "a=b".parse().unwrap());
    }
    assert_eq!(h2.send_request(crumbs).await.unwrap().status(), 431);
    let mut large = get("/");
    large.headers_mut().insert("x", "y".repeat(9 * 1024).parse().unwrap());
    assert!(h2.send_request(large).await.map_or(true, |response| response.status() == 431));
    assert!(h2.send_request(get("/")).await.is_ok());
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_a_place() {
    let settings = ServerSettings { max_connections: 2, ..ServerSettings::recommended() };
    let world = world(settings, "http", echo).await;
    let request = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let (mut first, mut second, mut third) = (world.tcp().await, world.tcp().await, world.tcp().await);
    ask(&mut first, request).await;
    ask(&mut second, request).await;
    third.write_all(request.as_bytes()).await.unwrap();
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(150), third.read(&mut byte)).await.is_err());
    assert_eq!(world.server.connections(), 2);
    drop(first);
    assert!(answer(&mut third).await.starts_with("HTTP/1.1 200"));
}
