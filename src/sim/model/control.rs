//! The control plane below `/_sim/`: orders, seeding, settings, and what was seen. JSON in, JSON out.
//!
//! | call | body or query |
//! |---|---|
//! | `GET stats` | sums by token, user, method, path, family, status, limit and second; bodies; sockets |
//! | `GET log` | the requests, `?method=&path=&user=&status=` (`path` is a beginning) |
//! | `GET content/{id}` | name, type, size, state, source, SHA-256, data-loss signals of one content |
//! | `GET settings`, `POST settings` | names and values as [`SimSettings::set`] takes them; `limit` may be a list |
//! | `POST force` | orders, see [`Forced`](super::Forced) |
//! | `POST reset` | `{"only": "counters"}` keeps the world |
//! | `POST people` | `{email, display_name, type: person or bot, tokens: [..]}` |
//! | `POST rooms` | `{title, type, members: [e-mail or token, ..], count, messages, kms}` |
//! | `POST memberships` | `{room_id, email, remove}` |
//! | `POST messages` | `{room_id, email, text, markdown, count}` |
//! | `POST content` | `{size, state, name, media_type, room_id or members}` |

use std::sync::Arc;
use std::time::SystemTime;

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::ledger::Entry;
use super::query::Query;
use super::{Model, forced, seeding};
use crate::sim::settings::{SettingFault, SimSettings};

/// Why the control plane did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ControlFault {
    /// The body is not what the call takes.
    #[error("the body does not fit: {0}")]
    Body(String),
    /// What the body names does not exist.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// A setting that means nothing.
    #[error(transparent)]
    Setting(#[from] SettingFault),
    /// No such call.
    #[error("there is no control call {0:?}")]
    Unknown(String),
}

impl Model {
    /// One call of the control plane. `call` is the path below `/_sim/`, `query` its query string; a GET has a null
    /// body. Lists of orders, people, rooms, memberships, messages and contents are answered with lists.
    ///
    /// # Errors
    /// `Body` if the body does not fit; `Missing` if it names what is not there; `Setting` for a setting without
    /// meaning; `Unknown` if there is no such call.
    pub fn control(
        &mut self,
        method: &Method,
        (call, query): (&str, &str),
        body: Value,
        now: SystemTime,
    ) -> Result<Value, ControlFault> {
        let unknown = || ControlFault::Unknown(format!("{method} {call}"));
        match (method.as_str(), call.trim_matches('/')) {
            ("GET", "stats") => Ok(self.stats()),
            ("GET", "log") => Ok(self.log(&Query::parse(query))),
            ("GET", "settings") => Ok(json!({"settings": format!("{:?}", self.settings)})),
            ("GET", call) => match call.strip_prefix("content/") {
                Some(id) => self.content(id),
                None => Err(unknown()),
            },
            ("POST", "reset") => {
                self.reset(body.get("only").and_then(Value::as_str), now);
                Ok(json!({}))
            }
            ("POST", "settings") => self.change(&body),
            ("POST", "force") => each(body, |order: forced::Forced| {
                self.orders.add(order);
                Ok(json!({}))
            }),
            ("POST", call) => self.seed(call, body, now).unwrap_or_else(|| Err(unknown())),
            _ => Err(unknown()),
        }
    }

    fn seed(&mut self, call: &str, body: Value, now: SystemTime) -> Option<Result<Value, ControlFault>> {
        let (world, settings) = (&mut self.world, &self.settings);
        Some(match call {
            "people" => each(body, |seed| Ok(seeding::person(world, seed, now))),
            "rooms" => each(body, |seed| seeding::room(world, &seed, (settings, now))),
            "memberships" => each(body, |seed| seeding::membership(world, &seed, now)),
            "messages" => each(body, |seed| seeding::message(world, &seed, (settings, now))),
            "content" => each(body, |seed| seeding::content(world, &seed, (settings, now))),
            _ => return None,
        })
    }

    /// Changes settings by name; all of them or, if one means nothing, none. Limits start anew.
    fn change(&mut self, body: &Value) -> Result<Value, ControlFault> {
        let body = body.as_object().ok_or_else(|| ControlFault::Body("no object".to_owned()))?;
        let mut changed = SimSettings::clone(&self.settings);
        for (name, value) in body {
            let values = value.as_array().map_or_else(|| vec![value], |values| values.iter().collect());
            let words = values.into_iter().map(|value| match value {
                Value::String(word) => word.clone(),
                other => other.to_string(),
            });
            if name == "paging" {
                changed.set(name, &words.collect::<Vec<_>>().join(","))?;
            } else {
                for word in words {
                    changed.set(name, &word)?;
                }
            }
        }
        self.settings = Arc::new(changed);
        self.limits.clear();
        Ok(json!({}))
    }

    fn content(&self, id: &str) -> Result<Value, ControlFault> {
        let content = self.world.contents.find(id).ok_or(ControlFault::Missing("content"))?;
        Ok(json!({
            "id": content.id, "name": content.name, "type": content.media_type, "size": content.payload.len(),
            "state": format!("{:?}", content.state), "source": content.source, "roomId": content.room_id,
            "dlp_signals": content.dlp_signals, "sha256": super::ids::sha256(content.payload.chunks()),
        }))
    }

    /// The entries, all or those with the given `method`, `path`, `user`, `status`.
    fn log(&self, query: &Query) -> Value {
        let [method, path, user, status] = ["method", "path", "user", "status"].map(|key| query.value(key));
        let keeps = |entry: &Entry| {
            method.as_ref().is_none_or(|method| *method == entry.method)
                && path.as_ref().is_none_or(|path| entry.path.starts_with(path.as_str()))
                && user.as_ref().is_none_or(|user| *user == entry.user)
                && status.as_ref().is_none_or(|status| *status == entry.status.to_string())
        };
        json!({"items": self.ledger.entries(keeps)})
    }
}

impl ControlFault {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Body(_) | Self::Setting(_) => StatusCode::BAD_REQUEST,
            Self::Missing(_) | Self::Unknown(_) => StatusCode::NOT_FOUND,
        }
    }
}

/// Does one thing for an object, or for each object of a list.
fn each<T: DeserializeOwned>(
    body: Value,
    mut act: impl FnMut(T) -> Result<Value, ControlFault>,
) -> Result<Value, ControlFault> {
    let mut act = |value| {
        serde_json::from_value(value)
            .map_err(|error| ControlFault::Body(error.to_string()))
            .and_then(&mut act)
    };
    match body {
        Value::Array(values) => values.into_iter().map(act).collect::<Result<Vec<_>, _>>().map(Value::Array),
        value => act(value),
    }
}
