//! Cuts a list into pages and writes the `Link` to the next one, oddities included.

use http::header;
use serde::Serialize;

use super::call::Call;
use super::reply::{Refusal, Reply, text};
use crate::sim::settings::PagingQuirk;

/// The most items of any page.
const MAX: usize = 1000;

/// How one endpoint pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// The path in the link, below the public base, with the `?`.
    pub(super) path: &'static str,
    /// The parameter that carries the cursor.
    pub(super) cursor: &'static str,
    /// Items of a page when the request names no `max`.
    pub(super) default: usize,
    /// How the parameters stand in the link.
    pub(super) order: Order,
}

/// Where `max` stands in a next link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Filters, `max`, a `before` without a value, cursor: as people do.
    BareBefore,
    /// Filters, `max`, cursor.
    FiltersFirst,
    /// `max`, filters, cursor: as memberships do.
    MaxFirst,
}

#[derive(Serialize)]
pub(super) struct Items<T> {
    pub(super) items: Vec<T>,
}

/// One page of `items`, whose cursor is the id of the last item of the page before.
///
/// # Errors
/// 404 for a cursor that is unknown; 400 for a `max` that is no number above zero.
pub(super) fn page<T>(
    call: &Call<'_>,
    style: Style,
    items: &[T],
    id_of: impl Fn(&T) -> &str,
) -> Result<(Vec<T>, Option<String>), Refusal>
where
    T: Clone,
{
    let max = max(call, style)?;
    let cursor = call.query.value(style.cursor);
    let start = match &cursor {
        None => 0,
        Some(cursor) => {
            items.iter().position(|item| id_of(item) == cursor).ok_or_else(Refusal::not_found)? + 1
        }
    };
    let page: Vec<T> = items.iter().skip(start).take(max).cloned().collect();
    let quirks = &call.settings.paging;
    let more = start + page.len() < items.len()
        || (quirks.contains(&PagingQuirk::EmptyTailPage) && !page.is_empty());
    let next = page.last().filter(|_| more).map(|item| id_of(item).to_owned());
    let next = match (next, cursor) {
        (Some(_), Some(same)) if quirks.contains(&PagingQuirk::Loop) => Some(same),
        (next, _) => next,
    };
    let mut links = Vec::new();
    if quirks.contains(&PagingQuirk::FirstPrev) {
        links.push(link(call, style, max, None, "first"));
        if start > 0 {
            let before = start.saturating_sub(max).checked_sub(1).and_then(|at| items.get(at));
            links.push(link(call, style, max, before.map(&id_of), "prev"));
        }
    }
    links.extend(next.map(|cursor| link(call, style, max, Some(&cursor), "next")));
    Ok((page, (!links.is_empty()).then(|| links.join(", "))))
}

/// The page as an answer.
pub(super) fn reply<T: Serialize>(items: Vec<T>, link: Option<String>) -> Reply {
    let reply = Reply::json(&Items { items });
    match link {
        Some(link) => reply.with(header::LINK, text(&link)),
        None => reply,
    }
}

/// A page of resources that are shown as they are kept.
pub(super) fn list<T: Clone + Serialize>(
    call: &Call<'_>,
    style: Style,
    items: &[T],
    id_of: impl Fn(&T) -> &str,
) -> Result<Reply, Refusal> {
    page(call, style, items, id_of).map(|(items, link)| reply(items, link))
}

fn max(call: &Call<'_>, style: Style) -> Result<usize, Refusal> {
    match call.query.value("max").as_deref() {
        // Webex itself writes `max=null` into links.
        None | Some("null") => Ok(style.default),
        Some(text) => match text.parse::<u64>() {
            Ok(max) if max > 0 => Ok(usize::try_from(max).unwrap_or(MAX).min(MAX)),
            _ => Err(Refusal::bad("max must be a number greater than zero.")),
        },
    }
}

fn link(call: &Call<'_>, style: Style, max: usize, cursor: Option<&str>, relation: &str) -> String {
    let quirks = &call.settings.paging;
    let mut dropped = vec!["max", style.cursor];
    if style.order == Order::BareBefore {
        dropped.push("before");
    }
    if quirks.contains(&PagingQuirk::DropFilters) {
        dropped.push("mentionedPeople");
    }
    let mut pairs = call.query.without(&dropped);
    let max =
        if quirks.contains(&PagingQuirk::MaxNull) { "max=null".to_owned() } else { format!("max={max}") };
    match style.order {
        Order::MaxFirst => pairs.insert(0, max),
        Order::FiltersFirst => pairs.push(max),
        Order::BareBefore => pairs.extend([max, "before".to_owned()]),
    }
    pairs.extend(cursor.map(|cursor| format!("{}={cursor}", style.cursor)));
    let semicolon = if quirks.contains(&PagingQuirk::NoSemicolon) { "" } else { ";" };
    format!("<{}/{}{}>{semicolon} rel=\"{relation}\"", call.settings.public_base, style.path, pairs.join("&"))
}
