//! Decides who a request speaks for: the tenant, from at most one credential.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::{digest, hmac};
use http::{HeaderMap, header};

use crate::words::{CredentialId, TenantId};

/// The tenants an operator has named.
#[derive(Debug, Clone)]
pub struct NamedTenant {
    /// As it appears in logs and metrics.
    pub name: Arc<str>,
    /// SHA-256 of each of its tokens.
    pub token_sha256: Vec<[u8; 32]>,
}

/// A request that may go on, and for whom. Made only by [`Doorman::admit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    tenant: TenantId,
    credential: CredentialId,
    name: Option<Arc<str>>,
}

impl Pass {
    /// Who waits in line: all tokens of a named tenant are one.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Which credential was shown: what the API said yes to, it said to this one alone.
    pub fn credential(&self) -> CredentialId {
        self.credential
    }

    /// The configured name, if there is one: the only form of a tenant that may become a label.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// A pass for unit tests of the rooms that need one.
    #[cfg(test)]
    pub(crate) fn for_tests(seed: u8) -> Self {
        let id = [seed; 16];
        Self { tenant: TenantId::new(id), credential: CredentialId::new(id), name: None }
    }
}

/// Why a request has no tenant: always the client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Two credentials: the API might believe another one than we do.
    #[error("the request carries more than one Authorization field")]
    TwoCredentials,
    /// Only named tenants may pass, and this token is nobody's.
    #[error("only the tokens that the operator has listed may pass: add this one to a [[tenant]]")]
    Unlisted,
}

/// Knows tenants by a keyed hash of their credential; the credential itself is never kept.
pub struct Doorman {
    key: hmac::Key,
    list: ArcSwap<List>,
}

/// What the operator says; the key is not his to change while the process runs.
struct List {
    named: HashMap<[u8; 32], Arc<str>>,
    names: HashMap<TenantId, Arc<str>>,
    admittance: Admittance,
}

/// Who may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admittance {
    /// Every credential, and none.
    Any,
    /// Tokens of named tenants.
    Listed,
}

impl fmt::Debug for Doorman {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Doorman({} named tokens)", self.list.load().named.len())
    }
}

impl Doorman {
    /// `key` is secret and stays the same over restarts, or cached answers and learned limits lose their owners.
    pub fn new(key: &[u8], tenants: &[NamedTenant], admittance: Admittance) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let list = ArcSwap::from_pointee(List::new(&key, tenants, admittance));
        Self { key, list }
    }

    /// Takes a new list: holds for every request admitted from now on.
    pub fn relist(&self, tenants: &[NamedTenant], admittance: Admittance) {
        self.list.store(Arc::new(List::new(&self.key, tenants, admittance)));
    }

    /// Finds the tenant. No credential at all is the anonymous tenant: OAuth calls carry none.
    ///
    /// # Errors
    /// [`Denied::TwoCredentials`] if two Authorization fields came; [`Denied::Unlisted`] if only named tenants may pass.
    pub fn admit(&self, headers: &HeaderMap) -> Result<Pass, Denied> {
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let credential = shown.next().map(http::HeaderValue::as_bytes).unwrap_or_default();
        if shown.next().is_some() {
            return Err(Denied::TwoCredentials);
        }
        let list = self.list.load();
        let name = list.name_of(credential);
        if name.is_none() && list.admittance == Admittance::Listed {
            return Err(Denied::Unlisted);
        }
        let id = keyed(&self.key, b"credential", credential);
        let tenant = name.as_ref().map_or_else(|| TenantId::new(id), |name| self.tenant(name));
        // Who shows no other credential may be known by a cookie. In line all of them are one tenant.
        let cookies: Vec<_> =
            headers.get_all(header::COOKIE).iter().map(http::HeaderValue::as_bytes).collect();
        let is_known_by_cookie = credential.is_empty() && !cookies.is_empty();
        let own =
            if is_known_by_cookie { keyed(&self.key, b"cookie", &cookies.join(&b"; "[..])) } else { id };
        Ok(Pass { tenant, credential: CredentialId::new(own), name })
    }

    /// The id of a named tenant, for rules that concern it.
    pub fn tenant(&self, name: &str) -> TenantId {
        tenant_id(&self.key, name)
    }

    /// The names behind the ids of named tenants.
    pub fn names(&self) -> HashMap<TenantId, Arc<str>> {
        self.list.load().names.clone()
    }
}

impl List {
    fn new(key: &hmac::Key, tenants: &[NamedTenant], admittance: Admittance) -> Self {
        let tokens = tenants
            .iter()
            .flat_map(|tenant| tenant.token_sha256.iter().map(|hash| (*hash, Arc::clone(&tenant.name))));
        let names = tenants.iter().map(|tenant| (tenant_id(key, &tenant.name), Arc::clone(&tenant.name)));
        Self { named: tokens.collect(), names: names.collect(), admittance }
    }

    fn name_of(&self, credential: &[u8]) -> Option<Arc<str>> {
        if self.named.is_empty() {
            return None;
        }
        let token = match credential.iter().position(u8::is_ascii_whitespace) {
            Some(end) => credential.get(end..).unwrap_or_default().trim_ascii(),
            None => credential,
        };
        self.named.get(digest::digest(&digest::SHA256, token).as_ref()).cloned()
    }
}

fn tenant_id(key: &hmac::Key, name: &str) -> TenantId {
    TenantId::new(keyed(key, b"tenant", name.as_bytes()))
}

/// The domain keeps a tenant's name from ever hashing like a token.
fn keyed(key: &hmac::Key, domain: &[u8], text: &[u8]) -> [u8; 16] {
    let mut context = hmac::Context::with_key(key);
    context.update(domain);
    context.update(&[0]);
    context.update(text);
    let mut id = [0; 16];
    id.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(doorman: &Doorman, values: &[&str]) -> Result<Pass, Denied> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        doorman.admit(&headers)
    }

    fn doorman() -> Doorman {
        Doorman::new(b"key", &alerts(), Admittance::Any)
    }

    fn alerts() -> [NamedTenant; 1] {
        let sha256 =
            |token: &str| digest::digest(&digest::SHA256, token.as_bytes()).as_ref().try_into().unwrap();
        [NamedTenant { name: "alerts".into(), token_sha256: vec![sha256("one"), sha256("two")] }]
    }

    #[test]
    fn each_credential_is_a_tenant_of_its_own() {
        let doorman = doorman();
        let [a, b, none] =
            [&["Bearer a"][..], &["Bearer b"], &[]].map(|shown| admit(&doorman, shown).unwrap());
        assert_eq!(a, admit(&doorman, &["Bearer a"]).unwrap());
        assert!(a.tenant() != b.tenant() && a.tenant() != none.tenant() && b.tenant() != none.tenant());
    }

    #[test]
    fn a_cookie_is_the_credential_of_who_shows_no_other() {
        let doorman = doorman();
        let pass = |fields: &[(http::HeaderName, &str)]| {
            let headers = fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            doorman.admit(&headers).unwrap()
        };
        let cookie = |value| (header::COOKIE, value);
        let [none, a, b] = [pass(&[]), pass(&[cookie("s=a")]), pass(&[cookie("s=b")])];
        assert!(none.credential() != a.credential() && a.credential() != b.credential());
        assert_eq!((none.tenant(), none.tenant()), (a.tenant(), b.tenant()));
        assert_eq!(a, pass(&[cookie("s=a")]));
        let token = (header::AUTHORIZATION, "Bearer t");
        assert_eq!(pass(&[token.clone(), cookie("s=a")]), pass(&[token]));
    }

    #[test]
    fn the_tokens_of_a_named_tenant_share_the_line_but_not_the_proof() {
        let doorman = doorman();
        let [one, two] = ["Bearer one", "bearer  two"].map(|shown| admit(&doorman, &[shown]).unwrap());
        assert_eq!(one.tenant(), two.tenant());
        assert_eq!(one.name().map(AsRef::as_ref), Some("alerts"));
        assert_ne!(one.credential(), two.credential());
    }

    #[test]
    fn a_new_list_holds_from_the_next_request_on() {
        let doorman = doorman();
        let before = admit(&doorman, &["Bearer one"]).unwrap();
        assert_eq!(doorman.names()[&before.tenant()].as_ref(), "alerts");
        doorman.relist(&[], Admittance::Any);
        let after = admit(&doorman, &["Bearer one"]).unwrap();
        assert_eq!((after.name(), doorman.names().len()), (None, 0));
        assert_eq!(after.credential(), before.credential());
    }

    #[test]
    fn two_credentials_are_refused() {
        assert_eq!(admit(&doorman(), &["Bearer a", "Bearer a"]).unwrap_err(), Denied::TwoCredentials);
    }

    #[test]
    fn a_closed_list_refuses_strangers_and_the_nameless() {
        let listed = doorman();
        listed.relist(&alerts(), Admittance::Listed);
        assert!(admit(&listed, &["Bearer one"]).is_ok());
        assert_eq!(admit(&listed, &["Bearer three"]).unwrap_err(), Denied::Unlisted);
        assert_eq!(admit(&listed, &[]).unwrap_err(), Denied::Unlisted);
    }

    #[test]
    fn no_debug_output_shows_a_token() {
        let doorman = doorman();
        let shown = format!("{doorman:?} {:?}", admit(&doorman, &["Bearer canary-7f3a"]).unwrap());
        assert!(!shown.contains("canary"));
    }

    #[test]
    fn another_key_gives_other_ids() {
        let other = Doorman::new(b"other", &[], Admittance::Any);
        assert_ne!(admit(&other, &["Bearer a"]).unwrap(), admit(&doorman(), &["Bearer a"]).unwrap());
    }
}
