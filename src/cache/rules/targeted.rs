//! Decides whether CDN-Cache-Control alone has the say (RFC 9213): if it is a valid, non-empty dictionary of structured fields.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::directives::{Directives, Reach, bounded};

/// The field that speaks to caches in front of an origin, in place of Cache-Control and Expires.
pub(super) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// What the targeted field says; none if it is absent, empty or invalid, a directive of the wrong type included.
pub(super) fn directives(headers: &HeaderMap) -> Option<Directives> {
    if !headers.contains_key(CDN_CACHE_CONTROL) {
        return None;
    }
    let lines: Vec<_> = headers.get_all(CDN_CACHE_CONTROL).iter().map(http::HeaderValue::as_bytes).collect();
    let dictionary: Dictionary = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
    if dictionary.is_empty() {
        return None;
    }
    let mut said = Directives { is_targeted: true, ..Directives::default() };
    for (key, entry) in &dictionary {
        let item = match entry {
            ListEntry::Item(item) => Some(&item.bare_item),
            ListEntry::InnerList(_) => None,
        };
        match key.as_str() {
            "max-age" => said.max_age = Some(seconds(item)?),
            "s-maxage" => said.s_maxage = Some(seconds(item)?),
            "stale-while-revalidate" => said.stale_while_revalidate = Some(seconds(item)?),
            "stale-if-error" => said.stale_if_error = Some(seconds(item)?),
            "no-cache" => said.no_cache = reach(item)?,
            "private" => said.private = reach(item)?,
            "no-store" => said.no_store = item?.as_boolean()?,
            "public" => said.public = item?.as_boolean()?,
            "must-revalidate" => said.must_revalidate = item?.as_boolean()?,
            "proxy-revalidate" => said.proxy_revalidate = item?.as_boolean()?,
            "must-understand" => said.must_understand = item?.as_boolean()?,
            _ => {}
        }
    }
    Some(said)
}

/// A negative time is of the right type, and none at all.
fn seconds(item: Option<&BareItem>) -> Option<Duration> {
    let stated = i64::from(item?.as_integer()?);
    Some(bounded(u64::try_from(stated).unwrap_or(0)))
}

fn reach(item: Option<&BareItem>) -> Option<Reach> {
    let item = item?;
    if let Some(fields) = item.as_string() {
        return Some(Reach::of_fields(fields.as_str().as_bytes()));
    }
    Some(if item.as_boolean()? { Reach::All } else { Reach::Nothing })
}
