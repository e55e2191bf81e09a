//! The local CA: makes the certificates that bots see when the operator brought none.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::fault::Fault;
use super::validity::vouches;
use crate::clock::Clock;
use crate::machine;

/// A certificate authority whose key never leaves this process and its own state directory.
///
/// Its `Debug` output holds names and usages, never the key.
#[derive(Debug)]
pub struct LocalCa {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    clock: Clock,
}

/// Where a CA came from: a bot that trusted an earlier one must be told when it is a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Read from the directory as an earlier start left it.
    Loaded,
    /// Made now, because the directory held none.
    Made,
    /// Made now in the place of a stored one, for the reason given: clients must trust the new one.
    Replaced(String),
}

impl LocalCa {
    /// A CA that may sign for any name and is forgotten with the process.
    ///
    /// # Errors
    /// `Issue` if the key or the certificate cannot be made.
    pub fn in_memory(common_name: &str) -> Result<Self, Fault> {
        Self::make(common_name, None)
    }

    /// The CA kept under `dir` (`ca.pem`, `ca.key`), made if there is none that can sign for `names`.
    ///
    /// Name-constrained: localhost, internal, svc, cluster.local, 127/8, ::1 and `names`, so that a stolen key
    /// cannot impersonate the API.
    ///
    /// # Errors
    /// `Read` or `Write` if the directory cannot be used; `Issue` if a name is none or no key can be made.
    pub fn load_or_make(dir: &Path, names: &[String]) -> Result<(Self, Origin), Fault> {
        let failed = |source| Fault::Write { file: dir.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        // Two first starts at once would mix their files; the lock goes with the handle.
        let lock = fs::File::open(dir).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let origin = match Self::load(dir)? {
            None => Origin::Made,
            Some(Ok(stored)) => match stored.covers(names) {
                Ok(()) => return Ok((stored, Origin::Loaded)),
                Err(reason) => Origin::Replaced(reason),
            },
            Some(Err(reason)) => Origin::Replaced(reason),
        };
        let made = Self::make("Tollgate local CA", Some(constraints(names)))?;
        made.store(dir)?;
        Ok((made, origin))
    }

    /// The CA's certificate for a client's trust store. Shape: one PEM block.
    pub fn certificate_pem(&self) -> String {
        self.pem.clone()
    }

    /// The CA's certificate as DER.
    pub fn certificate_der(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// A new ECDSA P-256 server certificate for `names`, good for 390 days; addresses become IP names.
    ///
    /// # Errors
    /// `Issue` if a name is neither a host name nor an address, or the key cannot be made.
    pub fn issue(&self, names: &[String]) -> Result<Arc<CertifiedKey>, Fault> {
        let names: Vec<String> = names.iter().map(|name| bare(name).to_owned()).collect();
        let mut params = CertificateParams::new(names).map_err(issue)?;
        params.distinguished_name = named("Tollgate");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = self.clock.wall();
        params.not_before = (now - BACKDATED_FOR).into();
        params.not_after = (now + LEAF_FOR).into();
        let key = KeyPair::generate().map_err(issue)?;
        let leaf = params.signed_by(&key, &self.issuer).map_err(issue)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signer = any_ecdsa_type(&key).map_err(issue)?;
        Ok(Arc::new(CertifiedKey::new(vec![leaf.der().clone()], signer)))
    }

    fn make(common_name: &str, constraints: Option<NameConstraints>) -> Result<Self, Fault> {
        let clock = Clock::system();
        let mut params = CertificateParams::default();
        params.distinguished_name = named(common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = constraints;
        params.not_before = (clock.wall() - BACKDATED_FOR).into();
        params.not_after = (clock.wall() + CA_FOR).into();
        let key = KeyPair::generate().map_err(issue)?;
        let certificate = params.self_signed(&key).map_err(issue)?;
        let (pem, certificate) = (certificate.pem(), certificate.der().clone());
        Ok(Self { certificate, pem, issuer: Issuer::new(params, key), clock })
    }

    /// `None` if nothing is stored; an inner error if what is stored is no CA.
    fn load(dir: &Path) -> Result<Option<Result<Self, String>>, Fault> {
        let (Some(pem), Some(key)) = (read(&dir.join("ca.pem"))?, read(&dir.join("ca.key"))?) else {
            return Ok(None);
        };
        Ok(Some(Self::parse(pem, &key).map_err(|reason| format!("the stored CA cannot be read: {reason}"))))
    }

    fn parse(pem: String, key: &str) -> Result<Self, String> {
        let certificate =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| "ca.pem holds no certificate")?;
        let key = KeyPair::from_pem(key).map_err(|_| "ca.key holds no key")?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| error.to_string())?;
        Ok(Self { certificate, pem, issuer, clock: Clock::system() })
    }

    /// Proves by certificates issued for the purpose that clients will accept this CA for `names` now.
    ///
    /// That holds its constraints, its dates and its key to account at once.
    fn covers(&self, names: &[String]) -> Result<(), String> {
        let mut wanted = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        wanted.extend(names.iter().map(|name| bare(name).to_owned()));
        for name in wanted {
            let probe = self.issue(slice::from_ref(&name)).map_err(|fault| fault.to_string())?;
            let leaf = probe.cert.first().ok_or("no certificate came back")?;
            vouches(&self.certificate, leaf, &name.replacen("*.", "any.", 1), self.clock.wall())
                .map_err(|error| format!("the stored CA cannot sign for {name}: {error}"))?;
        }
        Ok(())
    }

    fn store(&self, dir: &Path) -> Result<(), Fault> {
        let failed = |file: &Path| {
            let file = file.to_owned();
            move |source| Fault::Write { file, source }
        };
        let (key, certificate) = (dir.join("ca.key"), dir.join("ca.pem"));
        replace(&key, &self.issuer.key().serialize_pem(), 0o600).map_err(failed(&key))?;
        replace(&certificate, &self.pem, 0o644).map_err(failed(&certificate))
    }
}

fn constraints(names: &[String]) -> NameConstraints {
    let mut permitted_subtrees: Vec<GeneralSubtree> = ["localhost", "internal", "svc", "cluster.local"]
        .map(|name| GeneralSubtree::DnsName(name.to_owned()))
        .into();
    permitted_subtrees.push(GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)));
    permitted_subtrees.push(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]),
        128,
    )));
    permitted_subtrees.extend(names.iter().map(|name| match bare(name).parse::<IpAddr>() {
        Ok(address) => {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, bits))
        }
        Err(_) => GeneralSubtree::DnsName(bare(name).trim_start_matches("*.").to_owned()),
    }));
    NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() }
}

/// An address without the brackets that it wears in a URL.
fn bare(name: &str) -> &str {
    name.trim_start_matches('[').trim_end_matches(']')
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn read(file: &Path) -> Result<Option<String>, Fault> {
    match machine::file::read(file, MAX_FILE_BYTES) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Fault::Read { file: file.to_owned(), source }),
    }
}

/// Writes a file whole or not at all, even when the machine stops in between.
fn replace(file: &Path, content: &str, mode: u32) -> io::Result<()> {
    let dir = file.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = tempfile::NamedTempFile::new_in(dir)?;
    temporary.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    temporary.write_all(content.as_bytes())?;
    temporary.as_file().sync_all()?;
    temporary.persist(file)?;
    Ok(())
}

fn issue(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::Issue(Box::new(error))
}

/// A certificate or a key of ours has less than 2 KiB.
const MAX_FILE_BYTES: usize = 64 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A client's clock may be behind ours.
const BACKDATED_FOR: Duration = DAY;
/// With the backdated day below the 397 days that browsers accept (Apple's limit of 2020-09-01 is 398).
const LEAF_FOR: Duration = Duration::from_secs(390 * DAY.as_secs());
const CA_FOR: Duration = Duration::from_secs(3650 * DAY.as_secs());
