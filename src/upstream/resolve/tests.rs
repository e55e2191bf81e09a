//! Holds what a name resolves to, and for how long a lost name server does not matter.

use std::sync::{Arc, PoisonError};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use tokio::net::UdpSocket;

use super::*;

const LIMIT: Duration = Duration::from_millis(300);

#[test]
fn the_last_good_addresses_outlive_a_failing_resolver_for_an_hour() {
    let start = Clock::system().now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let good: Vec<SocketAddr> = vec!["192.0.2.1:443".parse().unwrap()];
    let mut memory = Memory::default();
    assert!(memory.recall(at(0)).is_none());
    assert_eq!(memory.settle(Ok(good.clone()), at(0)), Ok(good.clone()));
    assert_eq!(memory.recall(at(4)), Some(Ok(good.clone())));
    assert!(memory.recall(at(6)).is_none());
    assert_eq!(memory.settle(Err("down".into()), at(6)), Ok(good.clone()));
    assert_eq!(memory.recall(at(7)), Some(Ok(good.clone())));
    assert!(memory.recall(at(9)).is_none(), "a failure is asked about again soon");
    assert_eq!(memory.settle(Err("down".into()), at(3700)), Err("down".to_owned()));
    assert_eq!(memory.recall(at(3701)), Some(Err("down".to_owned())));
    assert_eq!(memory.settle(Ok(good.clone()), at(3710)), Ok(good));
}

#[tokio::test]
async fn an_address_and_a_given_address_need_no_resolver() {
    let given: SocketAddr = "192.0.2.7:8443".parse().unwrap();
    for (host, connect, expected) in [
        ("127.0.0.1", vec![], "127.0.0.1:443"),
        ("[::1]", vec![], "[::1]:443"),
        ("webexapis.com", vec![given], "192.0.2.7:8443"),
    ] {
        let resolver = Resolver::new(host, 443, &connect, Resolve::System, LIMIT, Clock::system()).unwrap();
        assert_eq!(resolver.addresses().await.unwrap(), vec![expected.parse().unwrap()]);
    }
}

#[tokio::test]
async fn the_system_knows_localhost() {
    let resolver = Resolver::new("localhost", 8443, &[], Resolve::System, LIMIT, Clock::system()).unwrap();
    let found = resolver.addresses().await.unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 8443), "{found:?}");
}

/// What a name server says.
#[derive(Debug, Clone, Copy)]
enum Said {
    Address([u8; 4]),
    Empty,
    Garbage,
    Nothing,
    Refused(u8),
}

type Script = Arc<std::sync::Mutex<Said>>;

/// A name server that says the same of every name, and knows no IPv6.
async fn name_server(script: Script) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut query).await {
            let name_end = 12 + query[12..length].iter().position(|byte| *byte == 0).unwrap() + 1;
            let is_v4 = query[name_end..name_end + 2] == [0, 1];
            let said = *script.lock().unwrap_or_else(PoisonError::into_inner);
            let (code, record) = match said {
                Said::Nothing => continue,
                Said::Address(ip) if is_v4 => {
                    (0, [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4], &ip[..]].concat())
                }
                Said::Address(_) | Said::Empty => (0, vec![]),
                Said::Garbage => (0, vec![0xff; 40]),
                Said::Refused(code) => (code, vec![]),
            };
            let head = [0x81, 0x80 | code, 0, 1, 0, u8::from(!record.is_empty()), 0, 0, 0, 0];
            let question = &query[12..name_end + 4];
            let answer = [&query[..2], &head, question, &record].concat();
            socket.send_to(&answer, peer).await.unwrap();
        }
    });
    address
}

async fn asking(script: &Script) -> Resolver {
    let server = name_server(Arc::clone(script)).await;
    let mut connection = ConnectionConfig::udp();
    connection.port = server.port();
    let mut config = NameServerConfig::udp(server.ip());
    config.connections = vec![connection];
    let config = ResolverConfig::from_parts(None, vec![], vec![config]);
    let provider = TokioRuntimeProvider::default();
    let dns = past_hosts_file(TokioResolver::builder_with_config(config, provider)).unwrap();
    Resolver {
        host: "api.test".to_owned(),
        port: 443,
        source: Source::Dns(Box::new(dns)),
        clock: Clock::system(),
        limit: LIMIT,
        memory: Mutex::default(),
    }
}

fn say(script: &Script, said: Said) {
    *script.lock().unwrap() = said;
}

/// As if so much time had passed since the last look-ups.
async fn age(resolver: &Resolver, time: Duration) {
    let mut memory = resolver.memory.lock().await;
    let Memory { good, failed } = &mut *memory;
    if let Some((at, _)) = good {
        *at = at.checked_sub(time).unwrap();
    }
    if let Some((at, _)) = failed {
        *at = at.checked_sub(time).unwrap();
    }
}

#[tokio::test]
async fn dns_is_asked_past_the_hosts_file() {
    let script = Script::new(std::sync::Mutex::new(Said::Address([192, 0, 2, 9])));
    let resolver = asking(&script).await;
    assert_eq!(resolver.addresses().await.unwrap(), vec!["192.0.2.9:443".parse().unwrap()]);
}

#[tokio::test]
async fn whatever_goes_wrong_with_dns_the_last_good_address_is_used_and_a_new_one_is_found() {
    let old: Vec<SocketAddr> = vec!["192.0.2.9:443".parse().unwrap()];
    let new: Vec<SocketAddr> = vec!["192.0.2.10:443".parse().unwrap()];
    let (nxdomain, servfail) = (Said::Refused(3), Said::Refused(2));
    for trouble in [nxdomain, servfail, Said::Refused(5), Said::Empty, Said::Garbage, Said::Nothing] {
        let script = Script::new(std::sync::Mutex::new(trouble));
        let resolver = asking(&script).await;
        let began = Instant::now();
        assert!(resolver.addresses().await.is_err(), "{trouble:?}");
        assert!(began.elapsed() < LIMIT * 3, "{trouble:?}");
        say(&script, Said::Address([192, 0, 2, 9]));
        age(&resolver, FORGET_FAILURE).await;
        assert_eq!(resolver.addresses().await.unwrap(), old, "{trouble:?}");
        say(&script, trouble);
        age(&resolver, TRUST_ANSWER).await;
        assert_eq!(resolver.addresses().await.unwrap(), old, "{trouble:?}");
        say(&script, Said::Address([192, 0, 2, 10]));
        age(&resolver, FORGET_FAILURE.max(TRUST_ANSWER)).await;
        assert_eq!(resolver.addresses().await.unwrap(), new, "{trouble:?}");
    }
}

#[tokio::test]
async fn a_crowd_that_meets_a_silent_name_server_asks_once_and_waits_once() {
    let script = Script::new(std::sync::Mutex::new(Said::Nothing));
    let resolver = Arc::new(asking(&script).await);
    let began = Instant::now();
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let resolver = Arc::clone(&resolver);
        crowd.spawn(async move { resolver.addresses().await.is_err() });
    }
    while let Some(outcome) = crowd.join_next().await {
        assert!(outcome.unwrap());
    }
    assert!(began.elapsed() < LIMIT * 3, "{:?}", began.elapsed());
}
