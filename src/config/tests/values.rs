//! What the program gets for what was written.

use std::time::Duration;

use super::*;
use crate::route::{Hosts, Kind, RouteId};

#[test]
fn nothing_written_is_the_built_in_default() {
    let config = load(&env(&[])).unwrap();
    assert_eq!(config.listen.https, Some("127.0.0.1:8443".parse().unwrap()));
    assert_eq!(config.listen.http, None);
    assert!(matches!(&config.listen.hosts, Hosts::Listed(hosts) if hosts.is_empty()));
    assert_eq!(config.listen.certificate, Certificate::Local { names: vec![] });
    assert_eq!(config.upstream.url.to_string(), "https://webexapis.com");
    assert_eq!(config.upstream.kind, Kind::Webex);
    assert_eq!(config.upstream.aliases[0].to_string(), "https://api.ciscospark.com");
    assert_eq!(config.upstream.resolve, Resolve::System);
    assert_eq!(config.admin.listen, "127.0.0.1:9900".parse().unwrap());
    assert_eq!((config.gate.rate, config.gate.burst, config.gate.max_waiting), (None, 10, 16384));
    assert_eq!(config.gate.max_wait, Duration::from_secs(25));
    assert_eq!((config.cache.memory, config.cache.max_entry), (256 << 20, 128 << 20));
    assert_eq!(config.cache_rules, []);
    assert_eq!(config.limits.body_bytes, 110_000_000);
    assert_eq!(config.limits.idle_timeout, Duration::from_secs(300));
}

#[test]
fn an_empty_string_is_none() {
    let config =
        load(&file("listen.https = \"\"\nlisten.http = \"[::1]:0\"\nreplay.spool_size = \"\"")).unwrap();
    assert_eq!(config.listen.https, None);
    assert_eq!(config.listen.http, Some("[::1]:0".parse().unwrap()));
    assert_eq!(config.replay.spool_size, None);
}

#[test]
fn an_empty_variable_is_none_too() {
    let config =
        load(&env(&[("TOLLGATE_REPLAY__SPOOL_SIZE", ""), ("TOLLGATE_UPSTREAM__ALIASES", "")])).unwrap();
    assert_eq!(config.replay.spool_size, None);
    assert_eq!(config.upstream.aliases, []);
}

#[test]
fn a_list_in_a_variable_is_an_array_or_separated_by_commas() {
    for text in ["192.0.2.1:443, [2001:db8::1]:443", "[\"192.0.2.1:443\", \"[2001:db8::1]:443\"]"] {
        let config = load(&env(&[("TOLLGATE_UPSTREAM__CONNECT", text)]));
        let expected = ["192.0.2.1:443", "[2001:db8::1]:443"].map(|address| address.parse().unwrap());
        assert_eq!(config.unwrap().upstream.resolve, Resolve::Fixed(expected.to_vec()), "{text}");
    }
}

#[test]
fn numbers_are_read_in_every_notation() {
    let config = load(&file("gate = { rate = 3, burst = 0x1_0, start_rate = 1e-2 }")).unwrap();
    assert_eq!((config.gate.rate, config.gate.burst, config.gate.start_rate), (Some(3.0), 16, 0.01));
    let config = load(&env(&[("TOLLGATE_GATE__RATE", "0.5"), ("TOLLGATE_GATE__BURST", "7")])).unwrap();
    assert_eq!((config.gate.rate, config.gate.burst), (Some(0.5), 7));
}

#[test]
fn a_generic_upstream_has_only_the_aliases_it_is_given() {
    let config = load(&file("upstream.kind = \"generic\"")).unwrap();
    assert_eq!(config.upstream.aliases, []);
    let written = "upstream = { kind = \"generic\", aliases = [\"http://b.example:8080/\"] }";
    assert_eq!(load(&file(written)).unwrap().upstream.aliases[0].to_string(), "http://b.example:8080");
}

#[test]
fn a_star_answers_any_host() {
    assert!(matches!(load(&file("listen.hosts = [\"*\"]")).unwrap().listen.hosts, Hosts::Any));
}

#[test]
fn plain_http_is_for_loopback_upstreams() {
    for url in ["http://localhost:8080", "http://sim.localhost", "http://127.9.9.9:1", "http://[::1]:1"] {
        load(&file(&format!("upstream.url = \"{url}\""))).unwrap();
    }
    for url in ["http://localhost.example", "http://10.0.0.1", "http://[::2]"] {
        load(&file(&format!("upstream.url = \"{url}\""))).unwrap_err();
    }
}

#[test]
fn urls_and_hosts_that_mislead_are_refused() {
    for url in
        ["https://", "https://a@b", "https://a/?q", "https://a/#f", "ftp://a", "a", "https://a:99999", "//a"]
    {
        load(&file(&format!("upstream.url = \"{url}\""))).unwrap_err();
    }
    for host in ["", "a/b", "a@b", "a:", "a:99999", "a..b", "*.a", "[::g]"] {
        load(&file(&format!("listen.hosts = [\"{host}\"]"))).unwrap_err();
    }
}

#[test]
fn listeners_on_any_free_port_do_not_collide() {
    let text = "listen = { https = \"127.0.0.1:0\", http = \"127.0.0.1:0\" }\nadmin.listen = \"127.0.0.1:0\"";
    load(&file(text)).unwrap();
    load(&file("listen.https = \"127.0.0.2:9900\"")).unwrap();
    load(&file("listen.https = \"0.0.0.0:9900\"\nadmin.listen = \"[::1]:9900\"")).unwrap();
}

#[test]
fn certificates_come_from_files_or_from_the_local_ca() {
    let config = load(&file("listen.tls = { cert_file = \"c.pem\", key_file = \"k.pem\" }")).unwrap();
    let files = Certificate::Files { cert: "c.pem".into(), key: "k.pem".into() };
    assert_eq!(config.listen.certificate, files);
    let config = load(&file("listen.tls.names = [\"*.corp.example\", \"10.0.0.1\", \"::1\"]")).unwrap();
    let names = ["*.corp.example", "10.0.0.1", "::1"].map(str::to_owned).to_vec();
    assert_eq!(config.listen.certificate, Certificate::Local { names });
}

#[test]
fn a_tenant_carries_its_tokens_and_its_wait() {
    let hash = "00ff".repeat(16);
    let text = format!("[[tenant]]\nname = \"ci-bot.1\"\ntoken_sha256 = [\"{hash}\"]\n");
    let config = load(&file(&text)).unwrap();
    let [tenant] = config.tenants.as_slice() else { panic!("{:?}", config.tenants) };
    assert_eq!(tenant.name, "ci-bot.1");
    assert_eq!(&tenant.token_sha256[0].as_bytes()[..4], [0, 255, 0, 255]);
}

#[test]
fn a_rule_of_the_cache_names_its_route_and_its_time() {
    let text = "cache.rule = [{ path = \"/v1/team/memberships/{id}\", ttl = \"1m\" }]";
    let config = load(&file(text)).unwrap();
    let route = RouteId::named("/v1/team/memberships/{id}").unwrap();
    assert_eq!(config.cache_rules, [RouteTtl { route, ttl: Duration::from_secs(60) }]);
    let other = load(&file(&text.replace("1m", "2m"))).unwrap();
    assert_eq!(other.differs_in(&config), ["cache.rule"]);
    assert_eq!(other.differs_in(&other), Vec::<&str>::new());
}

#[test]
fn rules_may_name_people_rooms_memberships_and_teams_alone() {
    let may: Vec<_> = RouteId::all()
        .map(RouteId::as_str)
        .filter(|path| load(&file(&format!("cache.rule = [{{ path = \"{path}\", ttl = \"1s\" }}]"))).is_ok())
        .collect();
    let expected = [
        "/v1/people",
        "/v1/people/me",
        "/v1/people/{id}",
        "/v1/rooms",
        "/v1/rooms/{id}",
        "/v1/rooms/{id}/meetingInfo",
        "/v1/memberships",
        "/v1/memberships/{id}",
        "/v1/teams",
        "/v1/teams/{id}",
        "/v1/team/memberships",
        "/v1/team/memberships/{id}",
    ];
    assert_eq!(may, expected);
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let config = load(&file("\u{feff}log.level = \"debug\"")).unwrap();
    assert_eq!(config.log.level, LogLevel::Debug);
}

#[test]
fn a_share_is_off_until_it_has_a_url() {
    assert_eq!(load(&file("")).unwrap().share.url, None);
    for (written, shown) in [
        ("redis://127.0.0.1", "redis://127.0.0.1:6379"),
        ("rediss://redis.example:6380/3", "rediss://redis.example:6380/3"),
        ("redis://[::1]:7000", "redis://[::1]:7000"),
    ] {
        let text = format!("[share]\nurl = \"{written}\"\nsecret_file = \"s\"");
        assert_eq!(load(&file(&text)).unwrap().share.url.unwrap().to_string(), shown);
    }
}
