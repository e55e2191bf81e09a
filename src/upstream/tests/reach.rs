//! Who is spoken to, and whether he is who he must be.

use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::*;
use super::world::*;

async fn hello(tls: Tls) {
    let sni = tls.get_ref().1.server_name().unwrap_or("none").to_owned();
    speak(tls, move |request| {
        let line = format!("{:?} {sni}", request.version());
        async move { Response::new(Body::whole(line)) }
    })
    .await;
}

#[tokio::test]
async fn the_version_follows_alpn_and_sni_is_the_host_name() {
    let ca = Ca::new();
    for (alpn, expected) in [
        (&["h2", "http/1.1"][..], "HTTP/2.0 api.test"),
        (&["http/1.1"], "HTTP/1.1 api.test"),
        (&[], "HTTP/1.1 api.test"),
    ] {
        let address = tls_server(ca.acceptor(alpn), Log::default(), hello).await;
        let client = client(&settings(address, &ca));
        assert_eq!(text(get(&client).await.unwrap()).await, expected);
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests_and_is_gone_with_the_client() {
    let ca = Ca::new();
    for alpn in ["h2", "http/1.1"] {
        let log = Log::default();
        let address = tls_server(ca.acceptor(&[alpn]), log.clone(), hello).await;
        let client = client(&settings(address, &ca));
        for _ in 0..5 {
            text(get(&client).await.unwrap()).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(log.lines(), ["tls"], "{alpn}");
        assert_eq!(client.connections(), 1);
        let gauge = client.clone();
        drop(client);
        assert_eq!(gauge.connections(), 1);
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_with_both_names() {
    let ca = Ca::new();
    let address = tls_server(ca.acceptor_for("*.wbx2.com", &[], |_| {}), Log::default(), hello).await;
    let failed = get(&client(&settings(address, &ca))).await.unwrap_err();
    let Failed::Certificate { sni, presented, .. } = &failed else { panic!("{failed:?}") };
    assert_eq!(sni, HOST);
    assert_eq!(presented, &["*.wbx2.com"]);
    let message = failed.to_string();
    assert!(message.contains("api.test") && message.contains("*.wbx2.com"), "{message}");
    assert!(!failed.was_sent());
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let address = tls_server(Ca::named("a stranger").acceptor(&[]), Log::default(), hello).await;
    let failed = get(&client(&settings(address, &Ca::new()))).await.unwrap_err();
    assert!(matches!(failed, Failed::Certificate { .. }), "{failed:?}");
    assert!(failed.to_string().contains("UnknownIssuer"), "{failed}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let ca = Ca::new();
    let old = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let address = tls_server(ca.acceptor_for(HOST, &[], old), Log::default(), hello).await;
    let failed = get(&client(&settings(address, &ca))).await.unwrap_err();
    assert!(matches!(failed, Failed::Certificate { .. }), "{failed:?}");
    assert!(failed.to_string().contains("expired"), "{failed}");
}

#[tokio::test]
async fn a_closed_port_is_no_connection() {
    let address = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let failed = get(&client(&settings(address, &Ca::new()))).await.unwrap_err();
    assert!(matches!(failed, Failed::Connect { .. }) && !failed.was_sent(), "{failed:?}");
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_is_closed() {
    let ca = Ca::new();
    let address = tls_server(ca.acceptor(&["h2"]), Log::default(), hello).await;
    let mut settings = settings(address, &ca);
    settings.connect = vec!["127.0.0.1:1".parse().unwrap(), address];
    assert!(get(&client(&settings)).await.is_ok());
}

#[tokio::test]
async fn an_upstream_that_is_not_tls_fails_the_handshake() {
    let address = tcp_server(|mut tcp: TcpStream| async move {
        drop(tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
    })
    .await;
    let failed = get(&client(&settings(address, &Ca::new()))).await.unwrap_err();
    assert!(matches!(failed, Failed::Handshake { .. }) && !failed.was_sent(), "{failed:?}");
}

/// A CONNECT proxy that notes the head of each request.
async fn connect_proxy(answer: &'static str, target: SocketAddr, log: Log) -> SocketAddr {
    tcp_server(move |mut tcp: TcpStream| {
        let log = log.clone();
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tcp.read_u8().await.unwrap());
            }
            log.note(String::from_utf8(head).unwrap());
            tcp.write_all(answer.as_bytes()).await.unwrap();
            let mut upstream = TcpStream::connect(target).await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut tcp, &mut upstream).await);
        }
    })
    .await
}

const GRANTED: &str = "HTTP/1.1 200 Connection established\r\nVia: site\r\n\r\n";

#[tokio::test]
async fn a_connect_proxy_is_asked_for_the_host_with_the_credentials_of_its_url() {
    let ca = Ca::new();
    let upstream = tls_server(ca.acceptor(&["h2"]), Log::default(), hello).await;
    let log = Log::default();
    let address = connect_proxy(GRANTED, upstream, log.clone()).await;
    let mut settings = settings(upstream, &ca);
    settings.connect = Vec::new();
    settings.proxy = ProxyChoice::Url(format!("http://bot:s3cret@{address}"));
    assert!(!format!("{settings:?}").contains("s3cret"));
    assert_eq!(text(get(&client(&settings)).await.unwrap()).await, "HTTP/2.0 api.test");
    let lines = log.lines();
    assert!(lines[0].starts_with("CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n"), "{lines:?}");
    assert!(lines[0].contains("Proxy-Authorization: Basic Ym90OnMzY3JldA==\r\n"), "{lines:?}");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_with_its_status() {
    let log = Log::default();
    let refusing = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    let address = connect_proxy(refusing, "127.0.0.1:1".parse().unwrap(), log).await;
    let mut settings = settings(address, &Ca::new());
    settings.connect = Vec::new();
    settings.proxy = ProxyChoice::Url(format!("http://{address}"));
    let failed = get(&client(&settings)).await.unwrap_err();
    let Failed::ProxyRefused { status, .. } = &failed else { panic!("{failed:?}") };
    assert_eq!(*status, StatusCode::PROXY_AUTHENTICATION_REQUIRED);
    assert!(!failed.was_sent());
}

#[tokio::test]
async fn no_proxy_and_a_given_address_lead_past_the_proxy_of_the_environment() {
    let ca = Ca::new();
    let upstream = tls_server(ca.acceptor(&[]), Log::default(), hello).await;
    let log = Log::default();
    let address = connect_proxy(GRANTED, upstream, log.clone()).await;
    for (host, connect, no_proxy, is_proxied) in [
        (HOST, vec![], "", true),
        (HOST, vec![upstream], "", false),
        (HOST, vec![], "other.test", true),
        ("localhost", vec![], "", false),
    ] {
        let mut settings = settings(upstream, &ca);
        settings.base.authority = format!("{host}:{}", upstream.port()).parse().unwrap();
        settings.connect = connect;
        settings.proxy = ProxyChoice::Environment {
            https_proxy: format!("http://{address}"),
            no_proxy: no_proxy.to_owned(),
        };
        let before = log.lines().len();
        // The outcome is another matter: the certificate does not name localhost.
        drop(get(&client(&settings)).await);
        assert_eq!(log.lines().len() > before, is_proxied, "{host} {no_proxy}");
    }
}

#[test]
fn no_proxy_is_read_as_curl_reads_it() {
    let base = Base { scheme: crate::words::Scheme::Https, authority: "webexapis.com".parse().unwrap() };
    for (no_proxy, is_proxied) in [
        ("", true),
        ("webexapis.com", false),
        (".webexapis.com", false),
        ("localhost, webexapis.com", false),
        ("*", false),
        ("notwebexapis.com", true),
    ] {
        let choice = ProxyChoice::Environment {
            https_proxy: "http://proxy:3128".to_owned(),
            no_proxy: no_proxy.to_owned(),
        };
        let found = proxy::Proxy::choose(&choice, &base).unwrap();
        assert_eq!(found.is_some(), is_proxied, "{no_proxy}");
    }
}

#[test]
fn settings_that_cannot_work_are_faults_that_show_no_secret() {
    let ca = Ca::new();
    let good = settings("127.0.0.1:1".parse().unwrap(), &ca);
    let fault = |change: fn(&mut UpstreamSettings)| {
        let mut settings = good.clone();
        change(&mut settings);
        match Client::new(&settings, crate::clock::Clock::system()) {
            Ok(_client) => "none".to_owned(),
            Err(fault) => fault.to_string(),
        }
    };
    let https = fault(|settings| settings.proxy = ProxyChoice::Url("https://u:hidden@proxy".to_owned()));
    assert!(https.contains("http://host:port") && !https.contains("hidden"), "{https}");
    assert!(fault(|settings| settings.proxy = ProxyChoice::Url("::".to_owned())).contains("proxy"));
    let absent = fault(|settings| settings.extra_ca = Some(ExtraCa::File("/nonexistent/ca.pem".into())));
    assert!(absent.contains("/nonexistent/ca.pem"), "{absent}");
    let empty = fault(|settings| settings.extra_ca = Some(ExtraCa::Pem("nothing".to_owned())));
    assert!(empty.contains("no certificate"), "{empty}");
}

#[tokio::test]
async fn a_dead_pooled_connection_is_replaced_without_a_word() {
    let ca = Ca::new();
    for method in [Method::GET, Method::POST] {
        let log = Log::default();
        let address = tls_server(ca.acceptor(&[]), log.clone(), |mut tls: Tls| async move {
            let mut buffer = [0; 4096];
            let read = tls.read(&mut buffer).await.unwrap();
            assert!(read > 0);
            tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        })
        .await;
        let client = client(&settings(address, &ca));
        for _ in 0..3 {
            let body = if method == Method::POST { Body::whole("text") } else { Body::empty() };
            assert_eq!(text(send(&client, method.clone(), body).await.unwrap()).await, "ok");
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        assert_eq!(log.lines().len(), 3);
    }
}
