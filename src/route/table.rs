//! The fixed table of Webex routes: templates are metric labels, so nothing of a request ever becomes one.

use http::uri::PathAndQuery;

/// A route template: a word of the fixed table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteId(&'static str);

impl RouteId {
    /// Everything, when the upstream is not Webex.
    pub const GENERIC: Self = Self("generic");
    /// A Webex path that the table does not know.
    pub const OTHER: Self = Self("other");

    /// The template as it stands in log and metric, for example `/v1/rooms/{id}`.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// Every template there is: the bound of the label's cardinality.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| Self(row.template)).chain([Self::GENERIC, Self::OTHER])
    }

    /// The template that is written so; none for every other text, [`Self::GENERIC`] and [`Self::OTHER`] among them.
    pub fn named(template: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.template == template).map(|row| Self(row.template))
    }

    /// What the cache may do with an answer, unless the path's id or its query says otherwise.
    pub fn rule(self) -> CacheRule {
        TABLE.iter().find(|row| row.template == self.0).map_or(CacheRule::Standard, |row| row.rule)
    }

    /// The first word of its path, as in [`Family::segment`](super::Family::segment).
    pub fn segment(self) -> &'static str {
        TABLE.iter().find(|row| row.template == self.0).map_or("other", |row| row.segment)
    }
}

/// What the cache may do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheRule {
    /// Attachment bytes: never change under their id, access to them does (CACHE 1).
    Contents,
    /// Never kept, never shared.
    Never,
    /// What HTTP itself allows.
    Standard,
}

struct Row {
    template: &'static str,
    /// The first word behind the version.
    segment: &'static str,
    rule: CacheRule,
}

impl Row {
    const fn new(template: &'static str, rule: CacheRule) -> Self {
        let (_, words) = template.split_at(VERSION.len());
        let mut length = 0;
        while length < words.len() && !matches!(words.as_bytes().split_at(length).1, [b'/', ..]) {
            length += 1;
        }
        Self { template, segment: words.split_at(length).0, rule }
    }
}

const fn row(template: &'static str) -> Row {
    Row::new(template, CacheRule::Standard)
}

const fn never(template: &'static str) -> Row {
    Row::new(template, CacheRule::Never)
}

/// What every template begins with.
const VERSION: &str = "/v1/";

/// Fixed words come before `{id}` rows of the same length: the first match counts.
const TABLE: &[Row] = &[
    Row::new("/v1/contents/{id}", CacheRule::Contents),
    row("/v1/messages"),
    row("/v1/messages/direct"),
    row("/v1/messages/{id}"),
    row("/v1/people"),
    row("/v1/people/me"),
    row("/v1/people/{id}"),
    row("/v1/rooms"),
    row("/v1/rooms/{id}"),
    row("/v1/rooms/{id}/meetingInfo"),
    row("/v1/memberships"),
    row("/v1/memberships/{id}"),
    row("/v1/teams"),
    row("/v1/teams/{id}"),
    row("/v1/team/memberships"),
    row("/v1/team/memberships/{id}"),
    row("/v1/attachment/actions"),
    row("/v1/attachment/actions/{id}"),
    row("/v1/organizations"),
    row("/v1/organizations/{id}"),
    row("/v1/licenses"),
    row("/v1/licenses/{id}"),
    row("/v1/roles"),
    row("/v1/roles/{id}"),
    row("/v1/meetings"),
    row("/v1/meetings/{id}"),
    never("/v1/meetings/join"),
    never("/v1/webhooks"),
    never("/v1/webhooks/{id}"),
    never("/v1/events"),
    never("/v1/events/{id}"),
    never("/v1/devices"),
    never("/v1/devices/{id}"),
    never("/v1/xapi/status"),
    never("/v1/xapi/command/{id}"),
    never("/v1/recordings"),
    never("/v1/recordings/{id}"),
    never("/v1/access_token"),
    never("/v1/authorize"),
    never("/v1/guests/token"),
    never("/v1/jwt/login"),
];

/// First segments whose every path is kept from the cache, known template or not (CACHE 1, WEBEX 4).
const NEVER: &[&str] = &[
    "access_token",
    "adminAudit",
    "authorize",
    "device",
    "devices",
    "events",
    "guests",
    "jwt",
    "meetingTranscripts",
    "recordings",
    "webhooks",
    "xapi",
];

/// Template, family segment and cache rule of a canonical target.
pub(super) fn classify(target: &PathAndQuery) -> (RouteId, &'static str, CacheRule) {
    let path = target.path().as_bytes();
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let segment = segments(path).nth(2).unwrap_or_default();
    // For every request: a word that is compared is cheaper than a template that is taken apart.
    let found = TABLE.iter().find(|row| row.segment.as_bytes() == segment && matches(row.template, path));
    let Some(row) = found else {
        let is_never = NEVER.iter().any(|never| never.as_bytes() == segment);
        let rule = if is_never { CacheRule::Never } else { CacheRule::Standard };
        return (RouteId::OTHER, known(segment), rule);
    };
    let rule = match row.rule {
        // A query on contents is a signal with side effects (`allow=`), or unknown: always upstream.
        CacheRule::Contents if target.query().is_some() || !is_plain_id(path) => CacheRule::Never,
        rule => rule,
    };
    (RouteId(row.template), row.segment, rule)
}

/// The path lacks `/v1` and its first segment is one that the API has below it.
pub(super) fn is_missing_version(path: &str) -> bool {
    let first = segments(path.trim_start_matches('/').as_bytes()).next().unwrap_or_default();
    path.starts_with('/') && known(first) != "other"
}

/// Two parsers could disagree about such a path: dot segments, backslashes, encoded separators, empty segments.
pub(super) fn is_ambiguous(path: &str) -> bool {
    let is_plain = !path.bytes().any(|sign| matches!(sign, b'%' | b'.' | b'\\'));
    if is_plain {
        return !path.starts_with('/') || path.starts_with("//");
    }
    let lower = path.to_ascii_lowercase();
    let segments = || lower.split('/').map(|segment| segment.replace("%2e", "."));
    !path.starts_with('/')
        || path.starts_with("//")
        || lower.contains('\\')
        || ["%2f", "%5c", "%00"].iter().any(|encoded| lower.contains(encoded))
        || segments().any(|segment| segment == "." || segment == "..")
}

fn matches(template: &str, path: &[u8]) -> bool {
    let mut words = segments(template.as_bytes());
    let mut segments = segments(path);
    loop {
        match (words.next(), segments.next()) {
            (None, None) => return true,
            (Some(b"{id}"), Some(id)) if !id.is_empty() => {}
            (Some(word), Some(segment)) if word == segment => {}
            _ => return false,
        }
    }
}

/// As bytes: a search for a sign in so short a text costs more than to look at each.
fn segments(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|sign| *sign == b'/')
}

pub(super) fn known_segment(segment: &str) -> &'static str {
    known(segment.as_bytes())
}

fn known(segment: &[u8]) -> &'static str {
    TABLE.iter().map(|row| row.segment).find(|known| known.as_bytes() == segment).unwrap_or("other")
}

/// Content ids are base64url (or base64) text: anything else is not shared (SECURITY 1, row 14).
fn is_plain_id(path: &[u8]) -> bool {
    let id = segments(path).next_back().unwrap_or_default();
    id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'='))
}
