//! What keeps replicas from sharing, and what to do about it: each thing that is needed is tried once.

use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Clock;
use crate::gate::{Found, NodeKey, Rate, Wish};

use super::link::{Address, Caller, Link};
use super::script::{self, Report, Script, Terms};
use super::trouble::{Trouble, TroubleKind};
use super::{Names, ShareSettings};

/// What one look has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// It cannot work so: what is wrong, and what to do.
    Fault(String, &'static str),
    /// It works, but something should be done.
    Warning(String, &'static str),
    /// It works.
    Well(String),
}

/// Connects, logs in, and runs both scripts on a bucket of its own, which is removed again. Each step takes at most the
/// configured time.
pub async fn examine(settings: &ShareSettings) -> Vec<Check> {
    let mut found = Vec::new();
    let address = &settings.address;
    let is_here = ["localhost", "::1"].contains(&address.host.as_str())
        || address.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if !address.tls && !is_here && address.password.is_some() {
        let text = format!("the password goes to {} unencrypted", address.host);
        found.push(Check::Warning(text, "write rediss:// in share.url if the network is not yours alone"));
    }
    // Slow is another finding than silent.
    let patient = Address {
        connect_timeout: address.connect_timeout.max(PATIENCE),
        response_timeout: address.response_timeout.max(PATIENCE),
        ..address.clone()
    };
    let settings = ShareSettings { address: patient, ..settings.clone() };
    match Box::pin(walk(&settings)).await {
        Ok((_, took)) if took > address.response_timeout => {
            let text = format!("a call took {} ms, share.response_timeout is less", took.as_millis());
            found.push(Check::Warning(
                text,
                "look for what is slow, or raise it: without an answer in time the local share holds",
            ));
        }
        Ok((version, _)) => {
            let whole =
                format!("{}:{} answers{version}, and does all that is needed", address.host, address.port);
            found.push(Check::Well(whole));
        }
        Err(trouble) => found.push(Check::Fault(trouble.text.clone(), advice(trouble.kind))),
    }
    found
}

/// Returns what the server says of its version, and how long a call took.
async fn walk(settings: &ShareSettings) -> Result<(String, Duration), Trouble> {
    let clock = Clock::system();
    let names = Names::new(&settings.prefix);
    let channels = [names.gate.clone(), names.void.clone()];
    let link = Link::open(&settings.address, &[], &channels, clock.clone()).await?;
    let caller = &link.caller;
    let version = match settings.address.cluster {
        true => String::new(),
        false => version(caller).await?,
    };
    let bucket = format!("{}{{doctor}}", names.prefix);
    let (state, members) = (format!("{bucket}:s"), format!("{bucket}:m"));
    let rate = Rate::MIN;
    let (key, found) = (NodeKey::Egress, Found::Nothing);
    let wish = Wish { key, slots: 1, weight: 1, rate, found, is_alone: false };
    let terms =
        Terms { horizon: settings.horizon, member_ttl: settings.member_ttl, highest: Rate::MAX, burst: 1 };
    let args = script::acquire_args("doctor", &wish, &terms);
    let answer = caller.run(&Script::acquire(), &[&state, &members], &args).await?;
    script::acquired(&answer, &wish)?;
    let began_at = clock.now();
    // Longer than what is told of: so the message is sent, and says nothing to anybody.
    let report = Report::Rest { remaining: Duration::from_millis(200) };
    let message = (names.gate.as_str(), "doctor".to_owned());
    let args = script::gate_args("doctor", report, Some(&wish), Rate::MAX, message);
    let report = Script::gate();
    caller.run(&report, &[&state], &args).await?;
    let took = clock.now() - began_at;
    let mut publish = redis::cmd("PUBLISH");
    publish.arg(&names.void).arg("doctor");
    caller.call::<i64>(publish).await?;
    let mut read = redis::cmd("HGETALL");
    read.arg(&state);
    caller.call::<Vec<(String, String)>>(read).await?;
    let mut remove = redis::cmd("DEL");
    remove.arg(&state).arg(&members);
    // Who may not remove them has them for a day.
    drop(caller.call::<i64>(remove).await);
    Ok((version, took))
}

async fn version(caller: &Caller) -> Result<String, Trouble> {
    let mut call = redis::cmd("INFO");
    call.arg("server");
    // Not needed for anything else: who may not ask is not told.
    let Ok(text) = caller.call::<String>(call).await else { return Ok(String::new()) };
    let (name, version, least) = stated(&text).unwrap_or(("Redis", "an unknown version", 0));
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(least);
    if major < least {
        let problem = format!("{name} {version} is too old: {least} or later is needed");
        return Err(Trouble::new(TroubleKind::Version, problem));
    }
    Ok(format!(" as {name} {version}"))
}

/// The name, the version, and the least that is needed.
fn stated(info: &str) -> Option<(&'static str, &str, u32)> {
    let find = |key: &str| info.lines().find_map(|line| line.trim().strip_prefix(key));
    match (find("valkey_version:"), find("redis_version:")) {
        (Some(version), _) => Some(("Valkey", version, 7)),
        (None, Some(version)) => Some(("Redis", version, 6)),
        (None, None) => None,
    }
}

fn advice(kind: TroubleKind) -> &'static str {
    match kind {
        TroubleKind::Auth => "correct share.username and the password in share.password_file",
        TroubleKind::Connect => "start the server, open the way to it, or correct share.url",
        TroubleKind::Foreign | TroubleKind::Garbage => {
            "something else uses these names: choose another share.prefix, or delete the keys that begin with it"
        }
        TroubleKind::Message | TroubleKind::Server => "see the server's own log",
        TroubleKind::Permission => {
            "allow the user +hello +evalsha +eval +hmget +hgetall +hset +hdel +pexpire +time +publish +subscribe (and \
             +select, +cluster where used), keys ~tg:v1:* and channels &tg:v1:*, with share.prefix for tg"
        }
        TroubleKind::Timeout => {
            "open the way to the server, or raise share.connect_timeout and share.response_timeout"
        }
        TroubleKind::Tls => {
            "give the CA of its certificate as share.ca_file, or correct the host in share.url"
        }
        TroubleKind::Version => "use Redis 6 or later, or Valkey 7 or later",
    }
}

/// Long enough to tell a slow server from a silent one.
const PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_states_its_name_and_version() {
        for (info, expected) in [
            ("# Server\r\nredis_version:7.0.15\r\n", Some(("Redis", "7.0.15", 6))),
            ("redis_version:7.2.4\r\nvalkey_version:8.1.0\r\n", Some(("Valkey", "8.1.0", 7))),
            ("nothing", None),
        ] {
            assert_eq!(stated(info), expected);
        }
    }
}
