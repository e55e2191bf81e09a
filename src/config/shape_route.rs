//! Decides which templates of the route table a rule of the cache may name, and says why not the others.

use crate::route::{CacheRule, RouteId};

use super::fault::{did_you_mean, quote};
use super::shape::{Shape, Tell};
use super::written::Written;

/// A template of the route table whose answers an operator may keep.
pub(super) struct Template;

impl Shape for Template {
    type Value = RouteId;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<RouteId> {
        let Some(text) = written.text() else {
            self.mismatch(written, tell);
            return None;
        };
        let Some(route) = RouteId::named(text) else {
            let near = nearest(text).unwrap_or_else(|| format!(": expected {}", self.accepts()));
            tell.fault(written, format!("no template of a Webex path{near}"));
            return None;
        };
        if let Some(reason) = refusal(route) {
            tell.fault(written, format!("{} takes no rule: {reason}", quote(route.as_str())));
            return None;
        }
        Some(route)
    }

    fn show(&self, value: &RouteId) -> String {
        quote(value.as_str())
    }

    fn accepts(&self) -> String {
        "a template of people, rooms, memberships, teams or team/memberships such as \"/v1/people/{id}\""
            .to_owned()
    }
}

/// Why the answers of a route are kept by no rule of the operator; none if they may be.
fn refusal(route: RouteId) -> Option<&'static str> {
    match (route.rule(), route.segment()) {
        (CacheRule::Contents, _) => Some("attachments are kept by a rule of their own, see cache.proof_ttl"),
        (CacheRule::Never, _) => {
            Some("its answers are never kept, for they hold secrets or the state of a moment")
        }
        (CacheRule::Standard, "people" | "rooms" | "memberships" | "teams" | "team") => None,
        (CacheRule::Standard, "messages") => Some("a bot must see a new message at once"),
        (CacheRule::Standard, "attachment") => Some("an action is asked for once, when it has happened"),
        (CacheRule::Standard, "meetings") => Some("a meeting changes by the minute"),
        (CacheRule::Standard, _) => Some("such answers are asked for too seldom to gain by it"),
    }
}

/// The template that was probably meant, of those that may have a rule.
fn nearest(text: &str) -> Option<String> {
    let below = text.strip_prefix("/v1").unwrap_or(text).trim_matches('/');
    let path = format!("/v1/{below}");
    let allowed = || RouteId::all().filter(|route| refusal(*route).is_none()).map(RouteId::as_str);
    let near = did_you_mean(&path, allowed());
    if !near.is_empty() {
        return Some(near);
    }
    // A whole id where the template has its place-holder is far off in letters.
    let template = allowed().find(|template| is_instance(&path, template))?;
    Some(format!(": did you mean {}?", quote(template)))
}

fn is_instance(path: &str, template: &str) -> bool {
    let mut words = template.split('/');
    let fits =
        path.split('/').all(|segment| words.next().is_some_and(|word| word == "{id}" || word == segment));
    fits && words.next().is_none()
}
