//! Which endpoint a path means, and what stands before every endpoint: token, limits, acceptable format.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderValue, Request, header};

use super::call::Call;
use super::ledger::Entry;
use super::limits::Throttled;
use super::query::Query;
use super::reply::{Refusal, Reply, Verdict};
use super::{
    Model, actions, contents, devices, directory, entrance, memberships, messages, people, rooms, stamp,
    teams, webhooks,
};
use crate::sim::settings::ThrottleAt;

/// The families that have endpoints.
const FAMILIES: &[&str] = &[
    "attachment",
    "contents",
    "licenses",
    "memberships",
    "messages",
    "organizations",
    "people",
    "roles",
    "rooms",
    "team",
    "teams",
    "webhooks",
    "xapi",
];

/// The words of a path; a slash at its end makes no difference.
pub(super) fn segments(path: &str) -> Vec<&str> {
    path.split('/').filter(|word| !word.is_empty()).collect()
}

/// The family that a limit is named after; `other` for what no endpoint answers.
pub(super) fn family(segments: &[&str]) -> String {
    match segments {
        ["v1", "team", "memberships", ..] => "team/memberships".to_owned(),
        ["v1", "attachment", "actions", ..] => "attachment/actions".to_owned(),
        ["v1", family, ..] if FAMILIES.contains(family) => (*family).to_owned(),
        ["v1", "access_token"] => "access_token".to_owned(),
        _ => "other".to_owned(),
    }
}

impl Model {
    /// The endpoint's answer, or that of what stands before it.
    pub(super) fn dispatch(
        &mut self,
        request: &Request<Bytes>,
        (tracking_id, now): (&str, SystemTime),
        entry: &mut Entry,
    ) -> Reply {
        let words = segments(request.uri().path());
        let verdict = match words.as_slice() {
            ["u2c", "api", "v1", "catalog"] | ["u2c", "api", "v1", "limited", "catalog"] => {
                Ok(entrance::catalog())
            }
            ["v1", "access_token"] => entrance::access_token(&mut self.world, request),
            ["v1", path @ ..] => self.admitted(request, path, (tracking_id, now), entry),
            _ => Err(Refusal::not_found()),
        };
        verdict.unwrap_or_else(|refusal| refusal.into_reply(tracking_id))
    }

    fn admitted(
        &mut self,
        request: &Request<Bytes>,
        path: &[&str],
        (tracking_id, now): (&str, SystemTime),
        entry: &mut Entry,
    ) -> Verdict {
        let user = people::owner(&mut self.world, request.headers(), now)?;
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let room = messages::room_read(request.method(), path, &query);
        if self.settings.throttle_at == ThrottleAt::End
            && let Err(throttled) = self.charge(&user, &entry.family, room.as_deref(), now)
        {
            entry.throttled_by = Some(throttled.by.clone());
            return Ok(throttled.reply(&self.settings, now, tracking_id));
        }
        let [first, rest @ ..] = path else { return Err(Refusal::not_found()) };
        if *first != "contents" && !accepts_json(request) {
            return Err(Refusal::not_found());
        }
        let settings = Arc::clone(&self.settings);
        let call = Call { request, settings: &settings, query, user, now };
        let reply = self.endpoint(&call, first, rest)?;
        let bucket = room.and_then(|_| settings.limits.get("room")).filter(|limit| limit.is_limiting());
        Ok(match bucket {
            Some(limit) => reply.with(messages::bucket_header(), HeaderValue::from(limit.burst)),
            None => reply,
        })
    }

    /// The limit that refuses a request by its head; `None` if none does, or if limits wait for the body.
    pub(super) fn refused_at_head<B>(
        &mut self,
        request: &Request<B>,
        user: &str,
        now: SystemTime,
    ) -> Option<Throttled> {
        let words = segments(request.uri().path());
        let ["v1", path @ ..] = words.as_slice() else { return None };
        if self.settings.throttle_at == ThrottleAt::End || *path == ["access_token"] {
            return None;
        }
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let room = messages::room_read(request.method(), path, &query);
        self.charge(user, &family(&words), room.as_deref(), now).err()
    }

    fn charge(
        &mut self,
        user: &str,
        family: &str,
        room: Option<&str>,
        now: SystemTime,
    ) -> Result<(), Throttled> {
        self.limits.charge(&self.settings, (user, family, room), stamp::since_epoch(now))
    }

    fn endpoint(&mut self, call: &Call<'_>, family: &str, path: &[&str]) -> Verdict {
        let world = &mut self.world;
        match (family, path) {
            ("people", _) => people::answer(world, call, path),
            ("rooms", _) => rooms::answer(world, call, path),
            ("memberships", _) => memberships::answer(world, call, path),
            ("messages", _) => messages::answer(world, call, path),
            ("contents", _) => contents::answer(world, call, path),
            ("teams", _) => teams::answer(world, call, path),
            ("team", ["memberships", path @ ..]) => teams::answer_memberships(world, call, path),
            ("webhooks", _) => webhooks::answer(world, call, path),
            ("attachment", ["actions", path @ ..]) => actions::answer(world, call, path),
            ("organizations" | "licenses" | "roles", _) => directory::answer(world, call, family, path),
            ("xapi", _) => devices::answer(call, path),
            _ => Err(Refusal::not_found()),
        }
    }
}

/// The seed: 404 is "also returned when the requested format is not supported".
fn accepts_json(request: &Request<Bytes>) -> bool {
    let Some(accept) = request.headers().get(header::ACCEPT) else { return true };
    let Ok(accept) = accept.to_str() else { return true };
    let mut types = accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
    types.any(|media_type| matches!(media_type, "" | "*/*" | "application/*" | "application/json"))
}
