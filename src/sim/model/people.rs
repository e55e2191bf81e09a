//! `/people`: who there is, and whose token a request carries.

use std::time::SystemTime;

use http::{HeaderMap, Method, StatusCode, header};

use super::call::{Call, wrong_method};
use super::ids::token_mark;
use super::paging::{self, Order, Style};
use super::reply::{Refusal, Reply, Verdict};
use super::stamp::stamp;
use super::world::{Person, PersonKind, World};

const PEOPLE: Style = Style { path: "people?", cursor: "after", default: 100, order: Order::BareBefore };

/// Tokens remembered at most.
const MAX_TOKENS: usize = 1_000_000;

pub(super) fn answer(world: &World, call: &Call<'_>, path: &[&str]) -> Verdict {
    match (call.method(), path) {
        (&Method::GET | &Method::HEAD, []) => search(world, call),
        (&Method::GET | &Method::HEAD, ["me"]) => one(world, &call.user),
        (&Method::GET | &Method::HEAD, [id]) => one(world, id),
        (&Method::POST, []) | (&Method::PUT | &Method::DELETE, [_]) => {
            Err(Refusal::forbidden("The request requires an administrator."))
        }
        (_, [] | [_]) => Err(wrong_method("GET, HEAD")),
        _ => Err(Refusal::not_found()),
    }
}

/// The person whose token the request carries; one never seen before belongs to a bot of its own.
///
/// # Errors
/// 401 without a valid token.
pub(super) fn owner(world: &mut World, headers: &HeaderMap, now: SystemTime) -> Result<String, Refusal> {
    let refusal = || {
        Refusal::new(
            StatusCode::UNAUTHORIZED,
            "The request requires a valid access token set in the Authorization request header.",
        )
    };
    let token = bearer(headers).ok_or_else(refusal)?;
    if token.starts_with("expired") || token.starts_with("unknown") {
        return Err(refusal());
    }
    Ok(holder(world, token, now))
}

/// The person to whom a token belongs, whatever it is called.
pub(super) fn holder(world: &mut World, token: &str, now: SystemTime) -> String {
    if let Some(person) = world.tokens.get(token) {
        return person.clone();
    }
    let mark = token_mark(token);
    let bot = ensure(world, &format!("bot-{mark}@webex.bot"), &format!("Bot {mark}"), PersonKind::Bot, now);
    // The same token gives the same bot again, so one that is not remembered loses nothing.
    if world.tokens.len() < MAX_TOKENS {
        world.tokens.insert(token.to_owned(), bot.clone());
    }
    bot
}

/// The token of a `Bearer` credential.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The id of the person with that address, made if there is none.
pub(super) fn ensure(
    world: &mut World,
    email: &str,
    name: &str,
    kind: PersonKind,
    now: SystemTime,
) -> String {
    if let Some(person) = world.by_email(email) {
        return person.id.clone();
    }
    let id = world.person_id(email);
    let (first, last) = name.split_once(' ').unwrap_or((name, ""));
    let person = Person {
        id: id.clone(),
        emails: vec![email.to_owned()],
        display_name: name.to_owned(),
        nick_name: first.to_owned(),
        first_name: first.to_owned(),
        last_name: last.to_owned(),
        org_id: world.organization.clone(),
        created: stamp(now),
        last_activity: stamp(now),
        status: "active".to_owned(),
        kind,
    };
    world.people.put(&id, person);
    id
}

/// The id of the person that a request body names by id or by address; an unknown address becomes a person.
///
/// # Errors
/// 400 if none is named; 404 for an unknown id.
pub(super) fn named(
    world: &mut World,
    id: Option<&str>,
    email: Option<&str>,
    now: SystemTime,
) -> Result<String, Refusal> {
    match (id, email) {
        (Some(id), _) => world.people.find(id).map(|person| person.id.clone()).ok_or_else(Refusal::not_found),
        (None, Some(email)) if email.contains('@') => {
            let name = email.split('@').next().unwrap_or(email);
            Ok(ensure(world, email, name, PersonKind::Person, now))
        }
        (None, Some(_)) => Err(Refusal::bad("personEmail is not a valid email address.")),
        (None, None) => Err(Refusal::bad("personId or personEmail is required.")),
    }
}

fn one(world: &World, id: &str) -> Verdict {
    world.people.find(id).map(Reply::json).ok_or_else(Refusal::not_found)
}

fn search(world: &World, call: &Call<'_>) -> Verdict {
    let [email, name, ids] = ["email", "displayName", "id"].map(|key| call.query.value(key));
    if email.is_none() && name.is_none() && ids.is_none() {
        return Err(Refusal::bad("Email, displayName, or id list should be specified."));
    }
    let name = name.map(|name| name.to_lowercase());
    let matches = |person: &&Person| {
        email.as_ref().is_none_or(|email| person.has_email(email))
            && name.as_ref().is_none_or(|name| person.display_name.to_lowercase().starts_with(name))
            && ids.as_ref().is_none_or(|ids| ids.split(',').any(|id| id == person.id))
    };
    let found: Vec<Person> = world.people.iter().filter(matches).cloned().collect();
    paging::list(call, PEOPLE, &found, |person| &person.id)
}
