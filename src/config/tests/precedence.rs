//! Which value counts, and where it is said to come from.

use super::*;

#[test]
fn a_flag_goes_before_a_variable_before_the_file_before_the_default() {
    let mut sources = file("[listen]\nhttps = \"127.0.0.1:1\"\n");
    assert_eq!(https(&Sources { file: None, ..sources.clone() }), "127.0.0.1:8443");
    assert_eq!(https(&sources), "127.0.0.1:1");
    sources.env = env(&[("TOLLGATE_LISTEN__HTTPS", "127.0.0.1:2")]).env;
    assert_eq!(https(&sources), "127.0.0.1:2");
    sources.flags.listen = Some("127.0.0.1:3".to_owned());
    assert_eq!(https(&sources), "127.0.0.1:3");
}

#[test]
fn each_value_is_shown_with_its_origin() {
    let mut sources = file(
        "gate.max_wait = \"90s\"\n[[tenant]]\nname = \"a\"\ntoken_files = [\"t\"]\n\
         [[cache.rule]]\nttl = \"90s\"\npath = \"/v1/rooms\"\n",
    );
    sources.env = env(&[("TOLLGATE_CACHE__ENABLED", "false"), ("HOME", "/home/ada")]).env;
    sources.flags.listen_http = Some("127.0.0.1:8080".to_owned());
    let shown = describe(&sources).unwrap();
    for line in [
        "state_dir = \"/home/ada/.local/state/tollgate\"  # default",
        "http = \"127.0.0.1:8080\"                       # --listen-http",
        "max_wait = \"90s\"                              # tollgate.toml:1:17",
        "enabled = false                               # TOLLGATE_CACHE__ENABLED",
        "[[tenant]]",
        "token_files = [\"t\"]                           # tollgate.toml:4:15",
        "[[cache.rule]]",
        "path = \"/v1/rooms\"                            # tollgate.toml:7:8",
        "ttl = \"90s\"                                   # tollgate.toml:6:7",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
}

#[test]
fn what_is_shown_loads_to_the_same_again() {
    let sources = file(
        "gate.rate = 2.5\nlisten.hosts = [\"a.example:8443\"]\nupstream.kind = \"generic\"\nstate_dir = \"/s\"\n\
         [[tenant]]\nname = \"a\"\ntoken_files = [\"t\"]\n",
    );
    check_shown_again(&sources);
}

#[test]
fn rules_that_are_shown_load_to_the_same_again() {
    check_shown_again(&file(
        "cache = { rule = [{ path = \"/v1/people/{id}\", ttl = \"1s\" }, { path = \"/v1/rooms\", ttl = \"60m\" }] }",
    ));
}

#[track_caller]
fn check_shown_again(sources: &Sources) {
    let again = file(&describe(sources).unwrap());
    assert_eq!(format!("{:?}", load(&again).unwrap()), format!("{:?}", load(sources).unwrap()));
}

#[test]
fn what_is_shown_holds_no_credential() {
    let hash = "0123456789abcdef".repeat(4);
    let mut sources = file(&format!(
        "upstream.proxy = \"http://ada:se@cr/et@proxy.example:3128\"\n\
         [[tenant]]\nname = \"a\"\ntoken_sha256 = [\"{hash}\"]\n"
    ));
    // The slash ends the authority, so this URL is faulty; the next one is not.
    assert!(!load(&sources).unwrap_err().to_string().contains("cr/et"));
    let text = sources.file.as_mut().unwrap();
    text.text = text.text.replace("se@cr/et", "hunter2");
    let (shown, debug) = (describe(&sources).unwrap(), format!("{:?}", load(&sources).unwrap()));
    assert!(shown.contains("proxy = \"http://***@proxy.example:3128\""), "{shown}");
    assert!(shown.contains("token_sha256 = [\"01234567***\"]"), "{shown}");
    for text in [shown, debug] {
        assert!(!text.contains("hunter2") && !text.contains(&hash), "{text}");
    }
}

#[test]
fn the_environments_proxy_is_kept_and_masked() {
    let sources = env(&[
        ("HTTPS_PROXY", "http://upper:3128"),
        ("https_proxy", "http://ada:hunter2@lower:3128"),
        ("NO_PROXY", "localhost,.corp.example"),
    ]);
    let config = load(&sources).unwrap();
    let Proxy::Environment(environment) = &config.upstream.proxy else {
        panic!("{:?}", config.upstream.proxy)
    };
    assert_eq!(environment.https_proxy.as_ref().unwrap().expose(), "http://ada:hunter2@lower:3128");
    assert_eq!(environment.no_proxy.as_deref(), Some("localhost,.corp.example"));
    let shown = describe(&sources).unwrap();
    assert!(shown.ends_with("# HTTPS_PROXY is in effect: \"http://***@lower:3128\"\n"), "{shown}");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_proxy_without_a_scheme_is_masked_too() {
    let config = load(&env(&[("https_proxy", "ada:se://cret@lower:3128")])).unwrap();
    let shown = format!("{:?}", config.upstream.proxy);
    assert!(!shown.contains("cret") && shown.contains("***@lower:3128"), "{shown}");
}

#[test]
fn none_overrides_the_environments_proxy() {
    let mut sources = file("upstream.proxy = \"none\"");
    sources.env = env(&[("HTTPS_PROXY", "http://proxy:3128")]).env;
    assert_eq!(load(&sources).unwrap().upstream.proxy, Proxy::Direct);
}

#[test]
fn the_state_directory_follows_the_machine() {
    for (pairs, expected) in [
        (vec![("XDG_STATE_HOME", "/x"), ("HOME", "/h")], "/x/tollgate"),
        (vec![("XDG_STATE_HOME", "relative"), ("HOME", "/h")], "/h/.local/state/tollgate"),
        (vec![("XDG_STATE_HOME", ""), ("HOME", "/h")], "/h/.local/state/tollgate"),
        (vec![("HOME", "")], ".tollgate"),
        (vec![], ".tollgate"),
        (vec![("HOME", "/h"), ("TOLLGATE_STATE_DIR", "/s")], "/s"),
    ] {
        let state_dir = load(&env(&pairs)).unwrap().state_dir;
        assert_eq!(state_dir, std::path::Path::new(expected), "{pairs:?}");
    }
}

#[test]
fn what_kubernetes_says_of_a_service_is_no_setting() {
    load(&env(&[
        ("TOLLGATE_SERVICE_HOST", "10.0.0.1"),
        ("TOLLGATE_SERVICE_PORT", "8443"),
        ("TOLLGATE_SERVICE_PORT_HTTPS", "8443"),
        ("TOLLGATE_PORT", "tcp://10.0.0.1:8443"),
        ("TOLLGATE_PORT_8443_TCP", "tcp://10.0.0.1:8443"),
        ("TOLLGATE_PORT_8443_TCP_ADDR", "10.0.0.1"),
        ("TOLLGATE_ADMIN_PORT_9900_TCP_PROTO", "tcp"),
        ("TOLLGATE_CONFIG", "/etc/tollgate.toml"),
        ("TOLLGATED", "another program's"),
    ]))
    .unwrap();
}

#[test]
fn the_file_is_named_by_a_variable() {
    assert_eq!(config_path(&env(&[("TOLLGATE_CONFIG", "/etc/t.toml")]).env), Some("/etc/t.toml".into()));
    assert_eq!(config_path(&env(&[("TOLLGATE_CONFIG", "")]).env), None);
}

fn https(sources: &Sources) -> String {
    load(sources).unwrap().listen.https.unwrap().to_string()
}
