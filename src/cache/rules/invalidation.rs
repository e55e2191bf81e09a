//! Decides what an unsafe request makes outdated (RFC 9111 §4.4).

use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Uri};
use http::{HeaderMap, Method, StatusCode, header};

use super::list;

/// Whether an answer of this status to this method makes what is kept under the request's URI outdated, all variants.
///
/// Any method but the safe ones of RFC 9110, unknown ones too; a refusal or an error changes nothing.
pub(in crate::cache) fn invalidates(method: &Method, status: StatusCode) -> bool {
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method);
    !is_safe && (status.is_success() || status.is_redirection())
}

/// The other URIs of the same origin that such an answer makes outdated: those of Location and Content-Location.
///
/// A reference with an authority counts only if the request's URI or Host names the same.
pub(in crate::cache) fn also_outdated(request: &Parts, response: &HeaderMap) -> Vec<PathAndQuery> {
    let mut targets = Vec::new();
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        if let Some(target) = resolved(request, response, &name)
            && !targets.contains(&target)
        {
            targets.push(target);
        }
    }
    targets
}

/// Whether an answer says by its Content-Location that it is what a GET of the request's own URI would get.
pub(super) fn is_about_itself(request: &Parts, response: &HeaderMap) -> bool {
    let own = request.uri.path_and_query();
    resolved(request, response, &header::CONTENT_LOCATION).is_some_and(|target| Some(&target) == own)
}

/// The target of a reference, if it is of the request's origin (RFC 3986 §5.2).
fn resolved(request: &Parts, response: &HeaderMap, name: &header::HeaderName) -> Option<PathAndQuery> {
    let text = str::from_utf8(list::single(response, name)?).ok()?.trim_ascii();
    let text = text.split('#').next().unwrap_or_default();
    let own = request.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if let Some(network) = text.strip_prefix("//") {
        return within(request, &format!("http://{network}"));
    }
    let scheme = text.split(['/', '?']).next().and_then(|segment| segment.split_once(':'));
    if let Some((scheme, _)) = scheme {
        let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        return if is_http { within(request, text) } else { None };
    }
    let whole = match text.chars().next() {
        None => return Some(own),
        Some('?') => format!("{}{text}", own.path()),
        Some('/') => text.to_owned(),
        Some(_) => {
            let folder = own.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{text}")
        }
    };
    plain(&whole)
}

/// The path of an absolute reference to the request's own authority.
fn within(request: &Parts, text: &str) -> Option<PathAndQuery> {
    let uri: Uri = text.parse().ok()?;
    let host =
        || list::single(&request.headers, &header::HOST).and_then(|host| Authority::try_from(host).ok());
    let own = request.uri.authority().cloned().or_else(host)?;
    let is_own = uri.authority().is_some_and(|named| {
        let port = |authority: &Authority| authority.port_u16().filter(|port| ![80, 443].contains(port));
        named.host().eq_ignore_ascii_case(own.host()) && port(named) == port(&own)
    });
    if !is_own {
        return None;
    }
    plain(uri.path_and_query().map_or("/", PathAndQuery::as_str))
}

/// A path without its dot segments (RFC 3986 §5.2.4).
fn plain(whole: &str) -> Option<PathAndQuery> {
    let (path, query) = whole.split_once('?').map_or((whole, None), |(path, query)| (path, Some(query)));
    let mut segments: Vec<&str> = Vec::new();
    let mut is_folder = false;
    for segment in path.split('/').skip(1) {
        is_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut text = segments.iter().map(|segment| format!("/{segment}")).collect::<String>();
    if is_folder || text.is_empty() {
        text.push('/');
    }
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    text.parse().ok()
}
