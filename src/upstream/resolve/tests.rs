//! Holds what a name resolves to, and for how long a lost name server does not matter.

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use tokio::net::UdpSocket;

use super::*;

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
        let resolver = Resolver::new(host, 443, &connect, Resolve::System, Clock::system()).unwrap();
        assert_eq!(resolver.addresses().await.unwrap(), vec![expected.parse().unwrap()]);
    }
}

#[tokio::test]
async fn the_system_knows_localhost() {
    let resolver = Resolver::new("localhost", 8443, &[], Resolve::System, Clock::system()).unwrap();
    let found = resolver.addresses().await.unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 8443), "{found:?}");
}

/// A name server that knows 192.0.2.9 for every name, and no IPv6.
async fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut query).await {
            let name_end = 12 + query[12..length].iter().position(|byte| *byte == 0).unwrap() + 1;
            let is_v4 = query[name_end..name_end + 2] == [0, 1];
            let head = [0x81, 0x80, 0, 1, 0, u8::from(is_v4), 0, 0, 0, 0];
            let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 9];
            let question = &query[12..name_end + 4];
            let records = if is_v4 { &record[..] } else { &[] };
            let answer = [&query[..2], &head, question, records].concat();
            socket.send_to(&answer, peer).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn dns_is_asked_past_the_hosts_file() {
    let server = name_server().await;
    let mut connection = ConnectionConfig::udp();
    connection.port = server.port();
    let mut config = NameServerConfig::udp(server.ip());
    config.connections = vec![connection];
    let config = ResolverConfig::from_parts(None, vec![], vec![config]);
    let provider = TokioRuntimeProvider::default();
    let dns = past_hosts_file(TokioResolver::builder_with_config(config, provider)).unwrap();
    let resolver = Resolver {
        host: "api.test".to_owned(),
        port: 443,
        source: Source::Dns(Box::new(dns)),
        clock: Clock::system(),
        memory: Mutex::default(),
    };
    assert_eq!(resolver.addresses().await.unwrap(), vec!["192.0.2.9:443".parse().unwrap()]);
}
