//! Which certificate a name gets, and what is said of files that cannot serve.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use crate::clock::Clock;
use crate::server::ca::LocalCa;
use crate::server::tls::{CertificateFiles, Certificates, Tls};

fn files(dir: &Path, name: &str, year: i32) -> CertificateFiles {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_after = date_time_ymd(year, 1, 1);
    if year > 3000 {
        params.not_before = date_time_ymd(year - 1, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let files = CertificateFiles {
        cert_file: dir.join(format!("{name}-{year}.pem")),
        key_file: dir.join(format!("{name}-{year}.key")),
    };
    fs::write(&files.cert_file, certificate.pem()).unwrap();
    fs::write(&files.key_file, key.serialize_pem()).unwrap();
    files
}

fn shown(certificates: &Certificates, name: Option<&str>) -> Vec<u8> {
    certificates.choose(name).cert[0].to_vec()
}

#[test]
fn the_name_asked_for_decides_and_the_first_is_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let first = files(dir.path(), "one.example", 2090);
    let second = files(dir.path(), "*.two.example", 2080);
    let certificates = Certificates::from_files(&first, &[second]).unwrap();
    let default = shown(&certificates, None);
    assert_eq!(shown(&certificates, Some("one.example")), default);
    assert_eq!(shown(&certificates, Some("unknown.example")), default);
    assert_ne!(shown(&certificates, Some("a.two.example")), default);
    let tomorrow = std::time::SystemTime::from(date_time_ymd(2080, 1, 1));
    assert_eq!(certificates.not_after(), tomorrow);

    let ca = Arc::new(LocalCa::in_memory("x").unwrap());
    certificates.replace(&Certificates::from_ca(ca, vec!["localhost".to_owned()]).unwrap());
    assert_ne!(shown(&certificates, Some("one.example")), default, "a reload takes effect");
}

#[test]
fn a_fault_names_the_file_and_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let good = files(dir.path(), "good.example", 2090);
    let other = files(dir.path(), "other.example", 2090);
    let old = files(dir.path(), "old.example", 2001);
    let early = files(dir.path(), "early.example", 3002);
    let write = |name: &str, text: &str| -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let cases = [
        (old.cert_file, old.key_file, "old.example-2001.pem expired on Mon, 01 Jan 2001"),
        (early.cert_file, early.key_file, "early.example-3002.pem is not valid before Thu, 01 Jan 3001"),
        (good.cert_file.clone(), other.key_file, "does not belong to the certificate in"),
        (good.key_file.clone(), good.key_file.clone(), "good.example-2090.key holds no certificate"),
        (good.cert_file.clone(), good.cert_file.clone(), "good.example-2090.pem holds no private key"),
        (write("text", "hello"), good.key_file.clone(), "text is not PEM"),
        (dir.path().join("gone"), good.key_file.clone(), "cannot read"),
        (
            write("junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            good.key_file.clone(),
            "junk holds a certificate that cannot be used",
        ),
        (write("cut", "-----BEGIN CERTIFICATE-----\nAAAA\n"), good.key_file, "cut is not PEM"),
    ];
    for (cert_file, key_file, expected) in cases {
        let fault = Certificates::from_files(&CertificateFiles { cert_file, key_file }, &[]).unwrap_err();
        assert!(fault.to_string().contains(expected), "{fault} / {expected}");
    }
}

#[test]
fn an_issued_certificate_is_renewed_in_the_last_third_of_its_life() {
    let after = |days: u64| {
        let ca = Arc::new(LocalCa::in_memory("x").unwrap());
        let certificates = Certificates::from_ca(ca, vec!["localhost".to_owned()]).unwrap();
        let first = certificates.choose(None);
        let now = Clock::system().wall() + Duration::from_secs(days * 24 * 60 * 60);
        let certificates = certificates.with_clock(Clock::starting_at(now));
        certificates.choose(None);
        first.cert != certificates.choose(None).cert
    };
    assert_eq!([1, 259, 261, 389, 500].map(after), [false, false, true, true, true]);
}

#[test]
fn a_client_ca_must_be_a_certificate_file() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Arc::new(LocalCa::in_memory("x").unwrap());
    let certificates = Arc::new(Certificates::from_ca(ca.clone(), vec!["localhost".to_owned()]).unwrap());
    let file = dir.path().join("clients.pem");
    assert!(Tls::new(certificates.clone(), Some(&file)).is_err());
    fs::write(&file, ca.certificate_pem()).unwrap();
    assert!(Tls::new(certificates, Some(&file)).is_ok());
}
