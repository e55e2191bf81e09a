//! `/teams` and `/team/memberships`: groups of people above rooms.

use http::{Method, StatusCode};
use serde::Deserialize;

use super::call::{Call, wrong_method};
use super::paging::{self, Order, Style};
use super::people;
use super::reply::{Refusal, Reply, Verdict};
use super::world::{Team, TeamMembership, World};

const TEAMS: Style = Style { path: "teams?", cursor: "cursor", default: 100, order: Order::FiltersFirst };

const MEMBERS: Style =
    Style { path: "team/memberships?", cursor: "cursor", default: 100, order: Order::FiltersFirst };

#[derive(Deserialize)]
struct Draft {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MemberDraft {
    team_id: Option<String>,
    person_id: Option<String>,
    person_email: Option<String>,
    is_moderator: Option<bool>,
}

pub(super) fn answer(world: &mut World, call: &Call<'_>, path: &[&str]) -> Verdict {
    match (call.method(), path) {
        (&Method::GET | &Method::HEAD, []) => {
            let is_own = |team: &&Team| is_member(world, &team.id, &call.user);
            let found: Vec<Team> = world.teams.iter().filter(is_own).cloned().collect();
            paging::list(call, TEAMS, &found, |team| &team.id)
        }
        (&Method::POST, []) => create(world, call),
        (&Method::GET | &Method::HEAD, [id]) => find(world, call, id).map(Reply::json),
        (&Method::PUT, [id]) => {
            find(world, call, id)?;
            let draft: Draft = call.json()?;
            let team = world.teams.find_mut(id).ok_or_else(Refusal::not_found)?;
            team.name = draft.name.unwrap_or_else(|| team.name.clone());
            Ok(Reply::json(team))
        }
        (&Method::DELETE, [id]) => {
            find(world, call, id)?;
            let of_team = world.team_memberships.iter().filter(|member| member.team_id == *id);
            let members: Vec<String> = of_team.map(|member| member.id.clone()).collect();
            for member in members {
                world.team_memberships.remove(&member);
            }
            world.teams.remove(id);
            Ok(Reply::no_content())
        }
        (_, []) => Err(wrong_method("GET, HEAD, POST")),
        (_, [_]) => Err(wrong_method("GET, HEAD, PUT, DELETE")),
        _ => Err(Refusal::not_found()),
    }
}

pub(super) fn answer_memberships(world: &mut World, call: &Call<'_>, path: &[&str]) -> Verdict {
    match (call.method(), path) {
        (&Method::GET | &Method::HEAD, []) => {
            let team = call.query.value("teamId").ok_or_else(|| Refusal::bad("teamId is required."))?;
            find(world, call, &team)?;
            let of_team = world.team_memberships.iter().filter(|member| member.team_id == team);
            let found: Vec<TeamMembership> = of_team.cloned().collect();
            paging::list(call, MEMBERS, &found, |member| &member.id)
        }
        (&Method::POST, []) => add(world, call),
        (&Method::GET | &Method::HEAD, [id]) => member(world, call, id).map(Reply::json),
        (&Method::PUT, [id]) => {
            member(world, call, id)?;
            let draft: MemberDraft = call.json()?;
            let member = world.team_memberships.find_mut(id).ok_or_else(Refusal::not_found)?;
            member.is_moderator = draft.is_moderator.unwrap_or(member.is_moderator);
            Ok(Reply::json(member))
        }
        (&Method::DELETE, [id]) => {
            member(world, call, id)?;
            world.team_memberships.remove(id);
            Ok(Reply::no_content())
        }
        (_, []) => Err(wrong_method("GET, HEAD, POST")),
        (_, [_]) => Err(wrong_method("GET, HEAD, PUT, DELETE")),
        _ => Err(Refusal::not_found()),
    }
}

fn is_member(world: &World, team: &str, person: &str) -> bool {
    world.team_memberships.iter().any(|member| member.team_id == team && member.person_id == person)
}

fn find<'a>(world: &'a World, call: &Call<'_>, id: &str) -> Result<&'a Team, Refusal> {
    world.teams.find(id).filter(|_| is_member(world, id, &call.user)).ok_or_else(Refusal::not_found)
}

fn member<'a>(world: &'a World, call: &Call<'_>, id: &str) -> Result<&'a TeamMembership, Refusal> {
    let member = world.team_memberships.find(id).ok_or_else(Refusal::not_found)?;
    find(world, call, &member.team_id)?;
    Ok(member)
}

fn create(world: &mut World, call: &Call<'_>) -> Verdict {
    let draft: Draft = call.json()?;
    let name = draft.name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Refusal::bad("name is required."))?;
    let id = world.mint.id("TEAM");
    let team = Team { id: id.clone(), name, creator_id: call.user.clone(), created: call.stamp() };
    world.teams.put(&id, team);
    join(world, call, (&id, &call.user), true);
    find(world, call, &id).map(Reply::json)
}

fn add(world: &mut World, call: &Call<'_>) -> Verdict {
    let draft: MemberDraft = call.json()?;
    let team = draft.team_id.ok_or_else(|| Refusal::bad("teamId is required."))?;
    find(world, call, &team)?;
    let person = people::named(world, draft.person_id.as_deref(), draft.person_email.as_deref(), call.now)?;
    if is_member(world, &team, &person) {
        return Err(Refusal::new(StatusCode::CONFLICT, "The person is already in the team."));
    }
    let id = join(world, call, (&team, &person), draft.is_moderator.unwrap_or(false));
    let member = id.and_then(|id| world.team_memberships.find(&id));
    member.map(Reply::json).ok_or_else(Refusal::not_found)
}

fn join(
    world: &mut World,
    call: &Call<'_>,
    (team, person): (&str, &str),
    is_moderator: bool,
) -> Option<String> {
    let id = world.mint.id("TEAM_MEMBERSHIP");
    let who = world.people.find(person)?;
    let member = TeamMembership {
        id: id.clone(),
        team_id: team.to_owned(),
        person_id: person.to_owned(),
        person_email: who.email(),
        person_display_name: who.display_name.clone(),
        is_moderator,
        created: call.stamp(),
    };
    world.team_memberships.put(&id, member);
    Some(id)
}
