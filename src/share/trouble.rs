//! Decides what an error of the server or of the way to it means: its kind, and whether it concerns one bucket or all.

use std::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// What went wrong. Its text carries no credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What sort of thing.
    pub kind: TroubleKind,
    /// What the server or the system said.
    pub text: String,
}

/// The sorts of trouble, told apart because different things help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TroubleKind {
    /// User or password is wrong.
    Auth,
    /// No connection.
    Connect,
    /// A key of ours is of another type.
    Foreign,
    /// A field of ours is no number.
    Garbage,
    /// A message that no replica of this deployment wrote, or that was played again.
    Message,
    /// The user may not do what is needed.
    Permission,
    /// The server says that it cannot, or something that is no answer.
    Server,
    /// No answer in time.
    Timeout,
    /// The certificate, or TLS itself.
    Tls,
    /// The server is too old.
    Version,
}

impl TroubleKind {
    /// All.
    pub const ALL: [Self; 10] = [
        Self::Auth,
        Self::Connect,
        Self::Foreign,
        Self::Garbage,
        Self::Message,
        Self::Permission,
        Self::Server,
        Self::Timeout,
        Self::Tls,
        Self::Version,
    ];

    /// The word for log, status and metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Connect => "connect",
            Self::Foreign => "foreign",
            Self::Garbage => "garbage",
            Self::Message => "message",
            Self::Permission => "permission",
            Self::Server => "server",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Version => "version",
        }
    }

    /// Whether it concerns the one bucket that was asked about: all others go on.
    pub(super) fn is_of_one(self) -> bool {
        matches!(self, Self::Foreign | Self::Garbage)
    }
}

impl Trouble {
    pub(super) fn new(kind: TroubleKind, text: impl fmt::Display) -> Self {
        Self { kind, text: tame(&text.to_string()) }
    }

    pub(super) fn timeout(what: &str) -> Self {
        Self::new(TroubleKind::Timeout, format_args!("{what} took too long"))
    }

    /// What an error means that came while connecting.
    pub(super) fn connecting(error: &RedisError) -> Self {
        let found = Self::calling(error);
        match found.kind {
            TroubleKind::Server if error.is_io_error() => Self { kind: TroubleKind::Connect, ..found },
            _ => found,
        }
    }

    /// What an error means that came in answer to a call.
    pub(super) fn calling(error: &RedisError) -> Self {
        let text = error.to_string();
        let says = |word: &str| text.contains(word);
        let kind = match error.kind() {
            _ if error.is_timeout() => TroubleKind::Timeout,
            // Redis 6 tells a script's errors in the middle of another one.
            _ if says("WRONGTYPE") => TroubleKind::Foreign,
            _ if error.code() == Some("TOLLGATE") || says("TOLLGATE garbage") => TroubleKind::Garbage,
            ErrorKind::AuthenticationFailed => TroubleKind::Auth,
            _ if says("WRONGPASS") || says("NOAUTH") || says("invalid username-password") => {
                TroubleKind::Auth
            }
            ErrorKind::RESP3NotSupported => TroubleKind::Version,
            ErrorKind::Server(ServerErrorKind::NoPerm) => TroubleKind::Permission,
            _ if says("NOPERM") || says("can't run this command") => TroubleKind::Permission,
            _ if says("certificate") || says("TLS") || says("tls") => TroubleKind::Tls,
            _ if error.is_connection_refusal() || error.is_connection_dropped() => TroubleKind::Connect,
            _ => TroubleKind::Server,
        };
        Self { kind, text: tame(&text) }
    }
}

/// What a stranger may have written moves no terminal and fills no log.
fn tame(text: &str) -> String {
    text.chars().take(MAX_TEXT).map(|sign| if sign.is_control() { '?' } else { sign }).collect()
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a server has to say is said in fewer characters.
const MAX_TEXT: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_wrote_is_cut_and_moves_no_terminal() {
        let trouble =
            Trouble::new(TroubleKind::Garbage, format_args!("a\n\u{1b}[31m{}", "x".repeat(100_000)));
        assert!(trouble.text.starts_with("a??[31mx") && trouble.text.len() == MAX_TEXT);
    }
}
