//! What the local CA signs, for whom, and what it keeps.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use crate::clock::Clock;
use crate::server::ca::{LocalCa, Origin};
use crate::server::validity::{expires_at, vouches};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn accepted(ca: &LocalCa, name: &str) -> Result<(), rustls::Error> {
    let leaf = ca.issue(&names(&[name])).unwrap();
    vouches(&ca.certificate_der(), &leaf.cert[0], name.trim_matches(['[', ']']), Clock::system().wall())
}

#[test]
fn a_constrained_ca_is_accepted_for_its_names_alone() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = names(&["bots.example.com", "10.1.2.3", "*.wild.example"]);
    let (ca, origin) = LocalCa::load_or_make(dir.path(), &wanted).unwrap();
    assert_eq!(origin, Origin::Made);
    for name in
        ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "a.internal", "t.ns.svc", "a.cluster.local"]
    {
        assert!(accepted(&ca, name).is_ok(), "{name}: {:?}", accepted(&ca, name));
    }
    for name in ["bots.example.com", "10.1.2.3", "x.wild.example"] {
        assert!(accepted(&ca, name).is_ok(), "{name}: {:?}", accepted(&ca, name));
    }
    for name in ["webexapis.com", "example.com", "10.1.2.4", "::2", "localhost.example"] {
        assert!(accepted(&ca, name).is_err(), "{name}");
    }
}

#[test]
fn a_ca_in_memory_signs_for_any_name() {
    let ca = LocalCa::in_memory("Simulator CA").unwrap();
    assert!(accepted(&ca, "webexapis.com").is_ok());
    assert!(ca.certificate_pem().starts_with("-----BEGIN CERTIFICATE-----"));
}

#[test]
fn a_stored_ca_is_read_again_and_its_key_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state").join("ca");
    let (made, _) = LocalCa::load_or_make(&dir, &[]).unwrap();
    let (loaded, origin) = LocalCa::load_or_make(&dir, &[]).unwrap();
    assert_eq!(origin, Origin::Loaded);
    assert_eq!(made.certificate_der(), loaded.certificate_der());
    assert!(accepted(&loaded, "localhost").is_ok());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join("ca.key")), mode(&dir.join("ca.pem"))), (0o700, 0o600, 0o644));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "no temporary file stays");
}

#[test]
fn processes_that_start_at_once_agree_on_one_ca() {
    let dir = tempfile::tempdir().unwrap();
    let made: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> =
            (0..8).map(|_| scope.spawn(|| LocalCa::load_or_make(dir.path(), &[]).unwrap())).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(made.iter().all(|(ca, _)| ca.certificate_der() == made[0].0.certificate_der()));
    assert_eq!(made.iter().filter(|(_, origin)| *origin == Origin::Made).count(), 1);
}

#[test]
fn a_stored_ca_that_cannot_serve_is_replaced_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let replaced = |wanted: &[&str]| match LocalCa::load_or_make(dir.path(), &names(wanted)).unwrap().1 {
        Origin::Replaced(reason) => reason,
        other => panic!("{other:?}"),
    };
    LocalCa::load_or_make(dir.path(), &[]).unwrap();
    assert!(replaced(&["corp.example"]).contains("corp.example"));
    let other = tempfile::tempdir().unwrap();
    LocalCa::load_or_make(other.path(), &[]).unwrap();
    fs::copy(other.path().join("ca.key"), dir.path().join("ca.key")).unwrap();
    assert!(replaced(&[]).contains("localhost"));
    fs::write(dir.path().join("ca.pem"), b"\xff garbage").unwrap();
    assert!(replaced(&[]).contains("ca.pem"));
    fs::write(dir.path().join("ca.key"), "").unwrap();
    assert!(replaced(&[]).contains("ca.key"));
}

#[test]
fn a_leaf_lives_less_than_397_days() {
    let ca = LocalCa::in_memory("x").unwrap();
    let leaf = ca.issue(&names(&["localhost"])).unwrap();
    assert!(leaf.keys_match().is_ok());
    let left = expires_at(&leaf.cert[0]).unwrap().duration_since(Clock::system().wall()).unwrap();
    assert!(left > 389 * DAY && left + DAY < 397 * DAY, "{left:?}");
    let left = expires_at(&ca.certificate_der()).unwrap().duration_since(Clock::system().wall()).unwrap();
    assert!(left > 3649 * DAY);
}

#[test]
fn the_key_is_in_no_debug_output() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, _) = LocalCa::load_or_make(dir.path(), &[]).unwrap();
    let shown = format!("{ca:?}");
    let key = PrivateKeyDer::from_pem_file(dir.path().join("ca.key")).unwrap();
    let part = format!("{:?}", &key.secret_der()[40..60]);
    assert!(!shown.contains(part.trim_matches(['[', ']'])), "{shown}");
    assert!(!shown.contains("PRIVATE"), "{shown}");
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
