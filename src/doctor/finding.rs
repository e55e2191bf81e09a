//! What a check says: the line, and what to do about it.

use std::fmt;

/// What one check found. Shown as one line, and a second one with what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    what: &'static str,
    state: State,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// What to do about it; nothing works without.
    Fault(String),
    /// It works, but something should be done.
    Warning(String),
    Well,
}

impl Finding {
    /// Something that keeps requests from being answered, and what to do.
    pub fn fault(what: &'static str, text: impl fmt::Display, advice: impl Into<String>) -> Self {
        Self { what, state: State::Fault(advice.into()), text: text.to_string() }
    }

    /// Something that works for now.
    pub fn warning(what: &'static str, text: impl fmt::Display, advice: impl Into<String>) -> Self {
        Self { what, state: State::Warning(advice.into()), text: text.to_string() }
    }

    /// Something that works.
    pub fn well(what: &'static str, text: impl fmt::Display) -> Self {
        Self { what, state: State::Well, text: text.to_string() }
    }

    pub(super) fn is_fault(&self) -> bool {
        matches!(self.state, State::Fault(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, advice) = match &self.state {
            State::Fault(advice) => ("FAULT", Some(advice)),
            State::Warning(advice) => ("warn", Some(advice)),
            State::Well => ("ok", None),
        };
        write!(f, "{mark:<6} {:<15} {}", self.what, self.text)?;
        advice.map_or(Ok(()), |advice| write!(f, "\n{:23}-> {advice}", ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_to_do() {
        let fault = Finding::fault("answer", "508", "stop it");
        assert_eq!(fault.to_string(), "FAULT  answer          508\n                       -> stop it");
        assert_eq!(Finding::well("answer", "401").to_string(), "ok     answer          401");
        assert!(fault.is_fault());
    }
}
