//! Holds which route a request gets, and which requests get none.

use super::*;

use http::Request;

fn router() -> Router {
    let base = |text: &str| Base { scheme: Scheme::Https, authority: text.parse().unwrap() };
    Router::new(RouterSettings {
        upstream: base("webexapis.com"),
        aliases: vec![base("api.ciscospark.com")],
        kind: Kind::Webex,
        hosts: Hosts::Listed(vec!["bots.example.com".parse().unwrap()]),
        public_base: None,
        via: "tollgate-1".into(),
        max_uri_bytes: 8192,
        max_fields: 64,
    })
}

fn find(method: &str, host: &str, path: &str) -> Result<Route, Denied> {
    let request = Request::builder().method(method).uri(path).header("host", host).body(()).unwrap();
    router().find(Scheme::Https, &request.into_parts().0)
}

#[test]
fn known_paths_get_their_template_and_rule() {
    for (path, template, segment, rule) in [
        ("/v1/people/me", "/v1/people/me", "people", CacheRule::Standard),
        ("/v1/rooms/Y2lz", "/v1/rooms/{id}", "rooms", CacheRule::Standard),
        ("/v1/memberships/?max=50", "/v1/memberships", "memberships", CacheRule::Standard),
        ("/v1/contents/Y2lz-_", "/v1/contents/{id}", "contents", CacheRule::Contents),
        ("/v1/contents/Y2lz?allow=dlpUnchecked", "/v1/contents/{id}", "contents", CacheRule::Never),
        ("/v1/contents/a;b", "/v1/contents/{id}", "contents", CacheRule::Never),
        ("/v1/xapi/command/x", "/v1/xapi/command/{id}", "xapi", CacheRule::Never),
        ("/v1/devices/a/b/c", "other", "devices", CacheRule::Never),
        ("/v1/unheard-of", "other", "other", CacheRule::Standard),
    ] {
        let route = find("GET", "localhost:8443", path).unwrap();
        assert_eq!(
            (route.id().as_str(), route.family().segment, route.rule()),
            (template, segment, rule),
            "{path}"
        );
    }
}

#[test]
fn a_template_is_found_by_its_text_and_knows_its_rule_and_family() {
    for (text, expected) in [
        ("/v1/people/{id}", Some(("people", CacheRule::Standard))),
        ("/v1/team/memberships", Some(("team", CacheRule::Standard))),
        ("/v1/contents/{id}", Some(("contents", CacheRule::Contents))),
        ("/v1/webhooks", Some(("webhooks", CacheRule::Never))),
        ("/v1/people/", None),
        ("generic", None),
        ("other", None),
    ] {
        let found = RouteId::named(text);
        assert_eq!(found.map(|id| (id.segment(), id.rule())), expected, "{text}");
        assert!(found.is_none_or(|id| id.as_str() == text));
    }
    assert_eq!((RouteId::OTHER.segment(), RouteId::OTHER.rule()), ("other", CacheRule::Standard));
}

#[test]
fn a_base_url_without_its_slash_still_finds_the_api() {
    let route = find("GET", "localhost", "/people?email=a%40b.c&max").unwrap();
    assert_eq!(route.target().as_str(), "/v1/people?email=a%40b.c&max");
    assert_eq!(find("GET", "localhost", "/v2/people").unwrap().target().as_str(), "/v2/people");
}

#[test]
fn only_known_hosts_are_answered() {
    for host in
        ["localhost:8443", "127.0.0.1", "[::1]:8443", "a.localhost", "bots.example.com:1", "WEBEXAPIS.com"]
    {
        assert!(find("GET", host, "/v1/people/me").is_ok(), "{host}");
    }
    let denied = find("GET", "evil.example", "/v1/people/me").unwrap_err();
    assert_eq!(denied, Denied::UnknownHost("evil.example".parse().unwrap()));
    for host in ["a@localhost", "localhost:abc", "localhost:99999", "localhost:1:2", "[::1]:x"] {
        assert_eq!(find("GET", host, "/").unwrap_err(), Denied::BadHost, "{host}");
    }
    assert!(find("GET", "localhost:", "/v1/rooms").is_ok());
}

#[test]
fn a_client_that_uses_the_apis_own_name_needs_no_rewriting() {
    assert!(find("GET", "webexapis.com", "/v1/rooms").unwrap().is_native());
    assert!(find("GET", "api.ciscospark.com:443", "/v1/rooms").unwrap().is_native());
    assert!(!find("GET", "localhost:8443", "/v1/rooms").unwrap().is_native());
}

#[test]
fn ambiguous_paths_and_tunnels_are_refused() {
    for path in
        ["/v1/../admin", "/v1/contents/%2e%2e/x", "/v1/contents/a%2Fb", "//webexapis.com/v1", "/v1/a%5cb"]
    {
        assert_eq!(find("GET", "localhost", path).unwrap_err(), Denied::AmbiguousPath, "{path}");
    }
    assert_eq!(find("TRACE", "localhost", "/v1/rooms").unwrap_err(), Denied::Method(Method::TRACE));
}

#[test]
fn a_target_that_is_no_path_of_an_http_api_is_refused() {
    for kind in [Kind::Webex, Kind::Generic] {
        let settings = RouterSettings { kind, hosts: Hosts::Any, ..router().settings };
        let router = Router::new(settings);
        for (method, target, is_found) in [
            ("GET", "http://localhost/v1/rooms", true),
            ("GET", "/v1/rooms", true),
            ("GET", "/v1/\u{44e}ooms", false),
            ("GET", "/v1/rooms?q=\u{fc}", false),
            ("GET", "localhost", false),
            ("GET", "ftp://localhost/v1/rooms", false),
            ("GET", "*", false),
            ("OPTIONS", "*", kind == Kind::Generic),
        ] {
            let request = Request::builder().method(method).uri(target).header("host", "localhost");
            let found = router.find(Scheme::Http, &request.body(()).unwrap().into_parts().0);
            assert_eq!(found.is_ok(), is_found, "{kind:?} {method} {target}: {found:?}");
        }
    }
}

#[test]
fn a_method_has_at_most_32_bytes() {
    assert!(find(&"M".repeat(32), "localhost", "/v1/rooms").is_ok());
    assert_eq!(find(&"M".repeat(33), "localhost", "/v1/rooms").unwrap_err(), Denied::LongMethod);
}

#[test]
fn a_value_is_not_padded() {
    for value in [" Bearer t", "Bearer t ", "\tBearer t", "Bearer t\t"] {
        let request = Request::builder()
            .version(Version::HTTP_2)
            .uri("/v1/rooms")
            .header("host", "localhost")
            .header("authorization", value);
        let denied = router().find(Scheme::Http, &request.body(()).unwrap().into_parts().0).unwrap_err();
        assert_eq!(denied, Denied::PaddedField(header::AUTHORIZATION), "{value:?}");
    }
}

#[test]
fn a_request_that_passed_before_is_a_loop() {
    let request =
        Request::builder().uri("/v1/rooms").header("host", "localhost").header("via", "1.1 a, 2 tollgate-1");
    let denied = router().find(Scheme::Http, &request.body(()).unwrap().into_parts().0).unwrap_err();
    assert_eq!(denied, Denied::Loop);
}

#[test]
fn host_must_be_named_once() {
    let twice = Request::builder().uri("/").header("host", "localhost").header("host", "webexapis.com");
    let none = Request::builder().uri("/");
    for request in [twice, none] {
        let head = request.body(()).unwrap().into_parts().0;
        assert_eq!(router().find(Scheme::Http, &head).unwrap_err(), Denied::BadHost);
    }
}

#[test]
fn no_debug_output_shows_a_query() {
    let route = find("GET", "localhost", "/v1/people?access_token=canary-7f3a").unwrap();
    assert_eq!(format!("{route:?}"), "Route(/v1/people for https://localhost)");
}
