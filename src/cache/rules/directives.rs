//! Decides what Cache-Control says, in requests and in answers (RFC 9111 §5.2, RFC 5861).

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

use super::{list, targeted};

/// The longest time a directive can state, 2^31 seconds (RFC 9111 §1.2.2).
const LONGEST: Duration = Duration::from_secs(1 << 31);

/// What a response directive covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Reach {
    /// It is absent.
    #[default]
    Nothing,
    /// The named fields alone.
    Fields(Vec<HeaderName>),
    /// The whole response.
    All,
}

/// What an answer allows. Directives that contradict each other or cannot be read count as the strictest of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) max_age: Option<Duration>,
    pub(super) s_maxage: Option<Duration>,
    pub(super) stale_while_revalidate: Option<Duration>,
    pub(super) stale_if_error: Option<Duration>,
    pub(super) no_cache: Reach,
    pub(super) private: Reach,
    pub(super) no_store: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) must_understand: bool,
    /// Said to caches like this one alone (RFC 9213): then Expires has no say.
    pub(super) is_targeted: bool,
}

/// What a request wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cache) struct Wishes {
    pub(in crate::cache) max_age: Option<Duration>,
    pub(in crate::cache) min_fresh: Option<Duration>,
    /// How stale an answer may be.
    pub(in crate::cache) max_stale: Option<Duration>,
    pub(in crate::cache) stale_if_error: Option<Duration>,
    pub(in crate::cache) no_cache: bool,
    pub(in crate::cache) no_store: bool,
    pub(in crate::cache) only_if_cached: bool,
}

impl Directives {
    /// What the fields of an answer say: the targeted field if it is valid, else Cache-Control.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        targeted::directives(headers).unwrap_or_else(|| Self::read(headers))
    }

    fn read(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        for line in headers.get_all(header::CACHE_CONTROL) {
            let members = list::members(line.as_bytes());
            if !members.is_closed {
                said.max_age = Some(Duration::ZERO);
                said.s_maxage = Some(Duration::ZERO);
            }
            for member in members.all {
                said.note(&Member::of(member));
            }
        }
        said
    }

    fn note(&mut self, member: &Member<'_>) {
        match member.name.as_str() {
            "max-age" => strictest(&mut self.max_age, member.lifetime()),
            "s-maxage" => strictest(&mut self.s_maxage, member.lifetime()),
            "stale-while-revalidate" => strictest(&mut self.stale_while_revalidate, member.lifetime()),
            "stale-if-error" => strictest(&mut self.stale_if_error, member.lifetime()),
            "no-cache" => self.no_cache.widen(member.fields()),
            "private" => self.private.widen(member.fields()),
            "no-store" => self.no_store = true,
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            _ => {}
        }
    }

    /// Whether a stale answer must never be used without asking. `s-maxage` says so too (RFC 9111 §5.2.2.10).
    pub(super) fn forbids_stale(&self) -> bool {
        self.must_revalidate
            || self.proxy_revalidate
            || self.s_maxage.is_some()
            || self.no_cache == Reach::All
    }

    /// Whether an answer to a request with credentials may be used for others (RFC 9111 §3.5).
    pub(super) fn allows_sharing(&self) -> bool {
        self.public || self.must_revalidate || self.s_maxage.is_some()
    }
}

/// Whether an answer's fields forbid to keep it, or to let others have it.
pub(in crate::cache) fn forbids_keeping(headers: &HeaderMap) -> bool {
    Directives::of(headers).no_store
}

impl Wishes {
    /// What a request says. `Pragma: no-cache` counts where there is no Cache-Control (RFC 9111 §5.4).
    pub(in crate::cache) fn of(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        if !headers.contains_key(header::CACHE_CONTROL) {
            said.no_cache =
                list::of(headers, &header::PRAGMA).any(|member| Member::of(member).name == "no-cache");
            return said;
        }
        for member in list::of(headers, &header::CACHE_CONTROL) {
            said.note(&Member::of(member));
        }
        said
    }

    fn note(&mut self, member: &Member<'_>) {
        match member.name.as_str() {
            "max-age" => strictest(&mut self.max_age, member.lifetime()),
            "min-fresh" => {
                let wanted = member.seconds().unwrap_or(LONGEST);
                self.min_fresh = Some(self.min_fresh.map_or(wanted, |earlier| earlier.max(wanted)));
            }
            "max-stale" if member.value.is_none() => strictest(&mut self.max_stale, LONGEST),
            "max-stale" => strictest(&mut self.max_stale, member.lifetime()),
            "stale-if-error" => strictest(&mut self.stale_if_error, member.lifetime()),
            "no-cache" => self.no_cache = true,
            "no-store" => self.no_store = true,
            "only-if-cached" => self.only_if_cached = true,
            _ => {}
        }
    }
}

impl Reach {
    fn widen(&mut self, fields: Vec<HeaderName>) {
        match self {
            Self::All => {}
            _ if fields.is_empty() => *self = Self::All,
            Self::Fields(known) => known.extend(fields),
            Self::Nothing => *self = Self::Fields(fields),
        }
    }

    /// The fields named in a quoted string. None, or a name that is no field's: all of the response.
    pub(super) fn of_fields(text: &[u8]) -> Self {
        let fields = field_names(text);
        if fields.is_empty() { Self::All } else { Self::Fields(fields) }
    }

    /// The fields that must not be used without asking.
    pub(super) fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(fields) => fields,
            Self::Nothing | Self::All => &[],
        }
    }
}

/// A time as this cache can represent it.
pub(super) fn bounded(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(LONGEST)
}

struct Member<'a> {
    /// In lower case.
    name: String,
    /// Without its quotes.
    value: Option<&'a [u8]>,
}

impl<'a> Member<'a> {
    fn of(text: &'a [u8]) -> Self {
        let mut halves = text.splitn(2, |byte| *byte == b'=');
        let name = halves.next().unwrap_or_default();
        let mut value = halves.next();
        // Space before the `=` is no part of the syntax; the value is then none that can be read.
        if value.is_some() && name.trim_ascii_end().len() < name.len() {
            value = Some(b"");
        }
        let name = String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase();
        let unquoted = value.and_then(|value| value.strip_prefix(b"\"")?.strip_suffix(b"\""));
        Self { name, value: unquoted.or(value) }
    }

    fn seconds(&self) -> Option<Duration> {
        list::digits(self.value?).map(bounded)
    }

    /// What cannot be read lasts no time at all.
    fn lifetime(&self) -> Duration {
        self.seconds().unwrap_or(Duration::ZERO)
    }

    fn fields(&self) -> Vec<HeaderName> {
        field_names(self.value.unwrap_or_default())
    }
}

fn field_names(text: &[u8]) -> Vec<HeaderName> {
    let names: Option<Vec<_>> =
        list::members(text).all.into_iter().map(|name| HeaderName::from_bytes(name).ok()).collect();
    names.unwrap_or_default()
}

fn strictest(slot: &mut Option<Duration>, stated: Duration) {
    *slot = Some(slot.map_or(stated, |earlier| earlier.min(stated)));
}
