//! Every fault is told with its place; the messages are the interface.

use super::*;

/// A file of one or more lines, and the lines that tell its faults.
#[track_caller]
fn told(text: &str, expected: &[&str]) {
    check(&file(text), expected);
}

#[test]
fn an_unknown_section_names_the_nearest_one() {
    told("\n[lisen]\nhttps = \"\"\n", &[r#"tollgate.toml:2:2: unknown key "lisen": did you mean "listen"?"#]);
}

#[test]
fn an_unknown_key_names_the_nearest_one_of_its_section() {
    let expected = r#"tollgate.toml:2:1: unknown key "gate.max_wiat": did you mean "gate.max_wait"?"#;
    told("[gate]\nmax_wiat = \"5s\"", &[expected]);
}

#[test]
fn an_unknown_key_that_another_section_knows_names_that_one() {
    told(
        "proof_ttl = \"5s\"",
        &[r#"tollgate.toml:1:1: unknown key "proof_ttl": did you mean "cache.proof_ttl"?"#],
    );
}

#[test]
fn an_unknown_key_without_a_neighbour_is_told_alone() {
    told("[gate]\nfrobnicate = 1", &[r#"tollgate.toml:2:1: unknown key "gate.frobnicate""#]);
}

#[test]
fn an_unknown_key_of_a_tenant_names_the_nearest_one() {
    let text = "[[tenant]]\nname = \"a\"\ntoken_file = \"t\"\ntoken_files = [\"t\"]";
    let expected =
        r#"tollgate.toml:3:1: unknown key "tenant.token_file": did you mean "tenant.token_files"?"#;
    told(text, &[expected]);
}

#[test]
fn a_dotted_key_in_quotes_is_no_path() {
    told(
        "\"gate.max_wait\" = \"5s\"",
        &[r#"tollgate.toml:1:1: unknown key "gate.max_wait": write the dots of a path outside quotes"#],
    );
}

#[test]
fn a_syntax_error_has_a_line_and_a_column() {
    told("[gate]\nrate = = 5", &["tollgate.toml:2:8: extra `=`, expected nothing"]);
}

#[test]
fn a_key_given_twice_is_a_syntax_error() {
    told("[log]\nlevel = \"info\"\nlevel = \"warn\"", &["tollgate.toml:3:1: duplicate key"]);
}

#[test]
fn columns_count_characters() {
    told(
        r#"log = { "ä" = 1, level = 7 }"#,
        &[
            r#"tollgate.toml:1:9: unknown key "log.ä""#,
            r#"tollgate.toml:1:26: log.level: expected "error", "warn", "info", "debug" or "trace", found a whole number"#,
        ],
    );
}

#[test]
fn all_faults_are_told_in_the_order_of_the_file() {
    let text = "[limits]\nfields = 0\n[gate]\nmax_wait = \"25\"\nburts = 3\n[log]\nformat = true\n";
    told(
        text,
        &[
            "tollgate.toml:2:10: limits.fields: expected a whole number from 1 to 256, found 0",
            r#"tollgate.toml:4:12: gate.max_wait: "25" has no unit: write "25s""#,
            r#"tollgate.toml:5:1: unknown key "gate.burts": did you mean "gate.burst"?"#,
            r#"tollgate.toml:7:10: log.format: expected "auto", "json" or "text", found true or false"#,
        ],
    );
}

#[test]
fn durations_are_told_apart() {
    let key = |value: &str| format!("gate.max_wait = {value}");
    let line = |problem: &str| format!("tollgate.toml:1:17: gate.max_wait: {problem}");
    let range = r#"expected a duration from "0s" to "1h", found "#;
    for (value, problem) in [
        ("25", format!("{range}a whole number")),
        ("\"\"", r#""" does not begin with a whole number"#.to_owned()),
        ("\"-1s\"", r#""-1s" does not begin with a whole number"#.to_owned()),
        ("\"1.5s\"", r#""1.5s" has an unknown unit ".5s": use ms, s, m, h"#.to_owned()),
        ("\"25 sec\"", r#""25 sec" has an unknown unit " sec": use ms, s, m, h"#.to_owned()),
        ("\"2h\"", format!("{range}\"2h\"")),
        ("\"99999999999999999999s\"", r#""99999999999999999999s" is too large"#.to_owned()),
        ("\"18446744073709551615h\"", r#""18446744073709551615h" is too large"#.to_owned()),
        ("1979-05-27", format!("{range}a date")),
        ("{}", format!("{range}a table")),
        ("[\"1s\"]", format!("{range}an array")),
    ] {
        told(&key(value), &[&line(&problem)]);
    }
}

#[test]
fn values_of_each_kind_are_told() {
    for (text, expected) in [
        (
            "cache.memory = \"64Mib\"",
            r#"1:16: cache.memory: "64Mib" has an unknown unit "Mib": use B, KB, kB, MB, GB, KiB, MiB, GiB"#,
        ),
        (
            "cache.memory = \"1B\"",
            r#"1:16: cache.memory: expected a size from "1MiB" to "1024GiB", found "1B""#,
        ),
        ("gate.enabled = \"true\"", "1:16: gate.enabled: expected true or false, found a string"),
        (
            "gate.rate = -1.0",
            r#"1:13: gate.rate: expected a number from 0.001 to 1000000, found one out of these bounds"#,
        ),
        (
            "gate.rate = nan",
            r#"1:13: gate.rate: expected a number from 0.001 to 1000000, found one out of these bounds"#,
        ),
        (
            "limits.streams = 99999999999999999999",
            "1:18: limits.streams: expected a whole number from 1 to 10000, found 99999999999999999999",
        ),
        (
            "listen.https = \"localhost:8443\"",
            r#"1:16: listen.https: expected an IP address and a port such as "127.0.0.1:8443", found "localhost:8443""#,
        ),
        (
            "upstream.url = \"https://webexapis.com/v1\"",
            r#"1:16: upstream.url: expected a URL of scheme and host alone such as "https://webexapis.com", found other text"#,
        ),
        ("upstream.kind = \"Webex\"", r#"1:17: upstream.kind: expected "webex" or "generic", found "Webex""#),
        (
            "listen.hosts = \"a.example\"",
            "1:16: listen.hosts: expected an array, found a string: put it in brackets",
        ),
        (
            "listen.tls.names = [\"ok.example\", \"not ok\"]",
            r#"1:35: listen.tls.names: expected a DNS name or an IP address, found "not ok""#,
        ),
        ("gate = 5", "1:8: gate: is a section: write [gate] and its keys below"),
        ("tenant = 5", "1:10: tenant: is a list: write [[tenant]] and the keys of one tenant below"),
        ("[tenant]", "1:1: tenant: is a list: write [[tenant]] and the keys of one tenant below"),
        (
            "cache.rule = 5",
            "1:14: cache.rule: is a list: write [[cache.rule]] and the keys of one rule below",
        ),
        ("[cache.rule]", "1:1: cache.rule: is a list: write [[cache.rule]] and the keys of one rule below"),
        (
            "cache.rule = [5]",
            "1:15: cache.rule: is a list: write [[cache.rule]] and the keys of one rule below",
        ),
        ("state_dir = 5", "1:13: state_dir: expected a path, found a whole number"),
    ] {
        told(text, &[&format!("tollgate.toml:{expected}")]);
    }
}

#[test]
fn each_bad_item_of_an_array_has_its_own_place() {
    told(
        "[listen]\nhosts = [\n  \"ok\",\n  7,\n  \"a b\",\n]",
        &[
            r#"tollgate.toml:4:3: listen.hosts: expected a host such as "tollgate.corp.example", with a port if that one alone is meant, or "*", found a whole number"#,
            r#"tollgate.toml:5:3: listen.hosts: expected a host such as "tollgate.corp.example", with a port if that one alone is meant, or "*", found "a b""#,
        ],
    );
}

#[test]
fn rules_between_values_are_told_where_they_were_written() {
    for (text, expected) in [
        (
            "listen.http = \"0.0.0.0:8080\"",
            "1:15: listen.http: a plain listener beyond loopback sends tokens unencrypted: use a loopback address, or set listen.insecure_http = true",
        ),
        (
            "listen.https = \"\"",
            "1:16: listen.https: no listener is open: give an address to this or to listen.http",
        ),
        (
            "upstream.url = \"http://api.example\"",
            "1:16: upstream.url: plain http sends tokens unencrypted: only a loopback host may be reached so",
        ),
        ("listen.tls.cert_file = \"c\"", "1:24: listen.tls.cert_file: needs listen.tls.key_file beside it"),
        ("listen.tls.key_file = \"k\"", "1:23: listen.tls.key_file: needs listen.tls.cert_file beside it"),
        (
            "listen.tls = { cert_file = \"c\", key_file = \"k\", names = [\"a\"] }",
            "1:57: listen.tls.names: names extend the local CA's certificate, but listen.tls.cert_file gives another",
        ),
        (
            "upstream = { resolve = \"dns\", connect = [\"192.0.2.1:443\"] }",
            "1:24: upstream.resolve: with upstream.connect nothing is resolved: drop one of the two",
        ),
        ("listen.hosts = [\"*\", \"a\"]", "1:16: listen.hosts: \"*\" answers any host: it stands alone"),
        (
            "admin.listen = \"127.0.0.1:8443\"",
            "1:16: admin.listen: admin.listen and listen.https share an address",
        ),
        (
            "listen.https = \"0.0.0.0:9900\"",
            "1:16: listen.https: admin.listen and listen.https share an address",
        ),
        (
            "listen.https = \"[::]:9900\"",
            "1:16: listen.https: admin.listen and listen.https share an address",
        ),
        (
            "listen.http = \"127.0.0.1:8443\"",
            "1:15: listen.http: listen.http and listen.https share an address",
        ),
        (
            "upstream.url = \"https://localhost:8443\"",
            "1:16: upstream.url: upstream.url leads back to listen.https",
        ),
        (
            "upstream.connect = [\"127.0.0.1:8443\"]",
            "1:20: upstream.connect: upstream.connect leads back to listen.https",
        ),
        (
            "cache.memory = \"100MiB\"",
            "1:16: cache.memory: cache.max_entry is more than half of cache.memory",
        ),
        (
            "cache.max_entry = \"129MiB\"",
            "1:19: cache.max_entry: cache.max_entry is more than half of cache.memory",
        ),
    ] {
        told(text, &[&format!("tollgate.toml:{expected}")]);
    }
}

#[test]
fn a_faulty_value_casts_no_shadow_on_others() {
    told(
        "cache = { memory = \"1 GiB\", max_entry = \"512MiB\" }",
        &[
            r#"tollgate.toml:1:20: cache.memory: "1 GiB" has an unknown unit " GiB": use B, KB, kB, MB, GB, KiB, MiB, GiB"#,
        ],
    );
}

#[test]
fn tenants_are_told_apart() {
    let hash = "ab".repeat(32);
    for (text, expected) in [
        ("[[tenant]]\ntoken_files = [\"t\"]", vec!["1:1: tenant.name: a tenant needs a name"]),
        (
            "[[tenant]]\nname = \"a\"",
            vec!["1:1: tenant.token_files: a tenant needs a token: give this or tenant.token_sha256"],
        ),
        (
            "[[tenant]]\nname = \"a\"\ntoken_files = [\"t\"]\n[[tenant]]\nname = \"a\"\ntoken_files = [\"t\"]",
            vec![
                "5:8: tenant.name: another tenant is called \"a\" too",
                "6:15: tenant.token_files: a file is listed twice, here or at another tenant",
            ],
        ),
        (
            &format!("[[tenant]]\nname = \"a\"\ntoken_sha256 = [\"{hash}\", \"{}\"]", hash.to_uppercase()),
            vec!["3:16: tenant.token_sha256: a hash is listed twice, here or at another tenant"],
        ),
        (
            "[[tenant]]\nname = \"other\"\ntoken_sha256 = [\"abc\"]",
            vec![
                "2:8: tenant.name: expected 1 to 64 letters, digits, dots, dashes or underscores, and not one of anonymous, other, unlisted, found other text",
                "3:17: tenant.token_sha256: expected 64 hexadecimal digits as `tollgate hash-token` prints them, found other text",
            ],
        ),
    ] {
        let expected: Vec<_> = expected.iter().map(|line| format!("tollgate.toml:{line}")).collect();
        told(text, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn the_two_hundred_and_first_tenant_is_refused() {
    let rows: String =
        (0..201).map(|n| format!("[[tenant]]\nname = \"t{n}\"\ntoken_files = [\"{n}\"]\n")).collect();
    told(&rows, &["tollgate.toml:1:1: tenant: at most 200 tenants have names, found 201"]);
}

/// A rule with this path, and what is told of it.
#[track_caller]
fn told_of_path(path: &str, expected: &str) {
    let text = format!("[[cache.rule]]\npath = \"{path}\"\nttl = \"30s\"");
    told(&text, &[&format!("tollgate.toml:2:8: cache.rule.path: {expected}")]);
}

#[test]
fn a_path_that_is_no_template_names_the_one_that_was_meant() {
    for (path, meant) in [
        ("/v1/poeple", "/v1/people"),
        ("/v1/people/", "/v1/people"),
        ("memberships", "/v1/memberships"),
        ("/rooms/{roomId}", "/v1/rooms/{id}"),
        ("/v1/people/Y2lzY29zcGFyazovL3VzL1BFT1BMRS9hZGE", "/v1/people/{id}"),
        ("/v1/rooms/Y2lzY29zcGFyazovL3VzL1JPT00vMTIz/meetingInfo", "/v1/rooms/{id}/meetingInfo"),
    ] {
        told_of_path(path, &format!("no template of a Webex path: did you mean \"{meant}\"?"));
    }
    for path in ["other", "generic", "/", "/v1/people/a/b/c/d", &"/v1".repeat(100)] {
        told_of_path(
            path,
            "no template of a Webex path: expected a template of people, rooms, memberships, teams or team/memberships such as \"/v1/people/{id}\"",
        );
    }
}

#[test]
fn a_path_that_takes_no_rule_is_told_why() {
    for (path, why) in [
        ("/v1/contents/{id}", "attachments are kept by a rule of their own, see cache.proof_ttl"),
        ("/v1/webhooks", "its answers are never kept, for they hold secrets or the state of a moment"),
        ("/v1/messages/{id}", "a bot must see a new message at once"),
        ("/v1/attachment/actions/{id}", "an action is asked for once, when it has happened"),
        ("/v1/meetings", "a meeting changes by the minute"),
        ("/v1/licenses", "such answers are asked for too seldom to gain by it"),
    ] {
        told_of_path(path, &format!("\"{path}\" takes no rule: {why}"));
    }
}

#[test]
fn rules_of_the_cache_are_told_apart() {
    let rule = "[[cache.rule]]\npath = \"/v1/rooms\"\nttl = \"30s\"\n";
    for (text, expected) in [
        (
            "[[cache.rule]]",
            vec![
                "1:1: cache.rule.path: a rule needs a path",
                "1:1: cache.rule.ttl: a rule needs a time to live",
            ],
        ),
        (
            "[cache]\nenabled = true\n[[cache.rule]]\npath = \"\"\nttl = \"\"",
            vec![
                "3:1: cache.rule.path: a rule needs a path",
                "3:1: cache.rule.ttl: a rule needs a time to live",
            ],
        ),
        (&format!("{rule}{rule}"), vec!["5:8: cache.rule.path: another rule is for \"/v1/rooms\" too"]),
        (
            &rule.replace("30s", "2h"),
            vec![r#"3:7: cache.rule.ttl: expected a duration from "1s" to "1h", found "2h""#],
        ),
        (&rule.replace("30s", "30"), vec![r#"3:7: cache.rule.ttl: "30" has no unit: write "30s""#]),
        (
            &rule.replace("ttl", "tll"),
            vec![
                "1:1: cache.rule.ttl: a rule needs a time to live",
                r#"3:1: unknown key "cache.rule.tll": did you mean "cache.rule.ttl"?"#,
            ],
        ),
        (
            &rule.replace("cache.rule", "cache.rules"),
            vec![r#"1:9: unknown key "cache.rules": did you mean "cache.rule"?"#],
        ),
        (
            "\"cache.rule\" = []",
            vec![r#"1:1: unknown key "cache.rule": write the dots of a path outside quotes"#],
        ),
        (
            &format!("upstream.kind = \"generic\"\n{rule}{}", rule.replace("rooms", "people")),
            vec![
                r#"1:17: upstream.kind: [[cache.rule]] names paths of the Webex API: drop the rules, or use "webex""#,
            ],
        ),
    ] {
        let expected: Vec<_> = expected.iter().map(|line| format!("tollgate.toml:{line}")).collect();
        told(text, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn the_thirty_third_rule_is_refused() {
    let rows = "[[cache.rule]]\npath = \"/v1/rooms\"\nttl = \"1s\"\n".repeat(33);
    told(&rows, &["tollgate.toml:1:1: cache.rule: at most 32 rules, found 33"]);
}

#[test]
fn variables_are_told_by_their_names() {
    check(
        &env(&[
            ("TOLLGATE_GATE__MAX_WAIT", "25"),
            ("TOLLGATE_LISTEN_HTTPS", ""),
            ("TOLLGATE_LISTEN__HOSTS", "[\"a\", 5]"),
            ("TOLLGATE_LIMITS__FIELDS", "many"),
            ("TOLLGATE_REWRITE__ENABLED", "yes"),
        ]),
        &[
            r#"TOLLGATE_GATE__MAX_WAIT: gate.max_wait: "25" has no unit: write "25s""#,
            "TOLLGATE_LIMITS__FIELDS: limits.fields: expected a whole number from 1 to 256, found other text",
            r#"TOLLGATE_LISTEN_HTTPS: unknown variable: did you mean "TOLLGATE_LISTEN__HTTPS"?"#,
            r#"TOLLGATE_LISTEN__HOSTS: listen.hosts: expected a host such as "tollgate.corp.example", with a port if that one alone is meant, or "*", found a whole number"#,
            "TOLLGATE_REWRITE__ENABLED: rewrite.enabled: expected true or false, found other text",
        ],
    );
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf_8_is_told() {
    use std::os::unix::ffi::OsStringExt;
    let pair = (OsString::from("TOLLGATE_LOG__LEVEL"), OsString::from_vec(vec![0xff]));
    check(&Sources { env: vec![pair], ..env(&[]) }, &["TOLLGATE_LOG__LEVEL: log.level: not UTF-8"]);
}

#[test]
fn flags_are_told_by_their_names() {
    let flags = Overrides { listen: Some("8443".to_owned()), ..Overrides::none() };
    check(
        &Sources { flags, ..env(&[]) },
        &[
            r#"--listen: listen.https: expected an IP address and a port such as "127.0.0.1:8443", found "8443""#,
        ],
    );
}

#[test]
fn a_faulty_value_is_told_even_if_a_flag_goes_before_it() {
    let flags = Overrides { listen: Some("127.0.0.1:0".to_owned()), ..Overrides::none() };
    check(
        &Sources { flags, ..file("listen.https = 5") },
        &[
            r#"tollgate.toml:1:16: listen.https: expected an IP address and a port such as "127.0.0.1:8443", found a whole number"#,
        ],
    );
}

#[test]
fn a_fault_repeats_no_credential() {
    let secret = "Zm9vYmFy-secret";
    for text in [
        format!("upstream.proxy = \"socks5://user:{secret}@proxy:1\""),
        format!("upstream.url = \"https://user:{secret}@webexapis.com\""),
        format!("listen.https = \"https://user:{secret}@webexapis.com\""),
        format!("listen.hosts = [\"http://user:{secret}@proxy:1\"]"),
        format!("log.level = \"http://user:{secret}@proxy:1\""),
        format!("gate.max_wait = \"http://user:{secret}@proxy:1\""),
        format!("upstream.\"http://user:{secret}@proxy:1\" = 1"),
        format!("[[tenant]]\nname = \"Bearer {secret}\"\ntoken_sha256 = [\"{secret}\"]"),
    ] {
        let told = load(&file(&text)).unwrap_err().to_string();
        assert!(!told.contains(secret), "{told}");
    }
}

#[test]
fn a_file_beyond_its_bound_is_not_parsed() {
    let text = " ".repeat(MAX_FILE_BYTES + 1);
    told(&text, &["tollgate.toml:1:1: longer than 1048576 bytes"]);
}

#[test]
fn a_flood_of_faults_is_cut() {
    let text: String = (0..1_000).map(|n| format!("x{n} = 1\n")).collect();
    let faults = load(&file(&text)).unwrap_err();
    assert_eq!(faults.iter().count(), 257);
    assert_eq!(faults.iter().last().unwrap().problem, "and 744 more faults");
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault_of_its_name() {
    let missing = FileText::read(std::path::Path::new("/nowhere/tollgate.toml")).unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere/tollgate.toml:1:1: cannot be read: "), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latin1.toml");
    std::fs::write(&path, b"[log]\nlevel = \"\xe4\"").unwrap();
    let told = FileText::read(&path).unwrap_err().to_string();
    assert_eq!(told, format!("{}:2:10: not UTF-8", path.display()));
}

#[test]
fn a_share_needs_a_url_without_credentials_and_a_secret() {
    let url = r#"a URL such as "redis://redis.example:6379" or "rediss://redis.example:6379/0", user and password apart"#;
    for value in [
        "http://h",
        "redis://user:pw@h",
        "redis://",
        "redis://h:99999",
        "redis://h/x",
        "redis://h?a=b",
        "h:6379",
    ] {
        let text = format!("[share]\nsecret_file = \"s\"\nurl = \"{value}\"");
        told(&text, &[&format!("tollgate.toml:3:7: share.url: expected {url}, found other text")]);
    }
    told(
        "[share]\nurl = \"redis://h\"",
        &[
            "tollgate.toml:2:7: share.url: needs share.secret_file: without a secret anybody there could close gates",
        ],
    );
}

#[test]
fn what_a_share_cannot_have_together_is_told_at_once() {
    let text = "[share]\nurl = \"redis://h/1\"\nsecret_file = \"s\"\ncluster = true\nca_file = \"c\"\nusername = \"u\"\n\
                horizon = \"3s\"\nprefix = \"a:b\"";
    told(
        text,
        &[
            "tollgate.toml:2:7: share.url: a cluster has database 0 alone",
            "tollgate.toml:5:11: share.ca_file: no certificate is shown without TLS: write rediss:// in share.url",
            "tollgate.toml:6:12: share.username: needs share.password_file beside it",
            "tollgate.toml:7:11: share.horizon: share.horizon is as long as share.member_ttl: turns would outlive their replica",
            "tollgate.toml:8:10: share.prefix: expected 1 to 32 letters, digits, dots, dashes or underscores, found other text",
        ],
    );
}
