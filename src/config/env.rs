//! Decides which variables of the environment set a key, and which merely look like it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::fault::{Fault, Place, did_you_mean};
use super::section::Key;
use super::written::Written;

/// The variable that names the configuration file; the flag `--config` goes before it.
pub const CONFIG_VARIABLE: &str = "TOLLGATE_CONFIG";

/// The file that [`CONFIG_VARIABLE`] names, if it is set and not empty.
pub fn config_path(env: &[(OsString, OsString)]) -> Option<PathBuf> {
    find(env, CONFIG_VARIABLE).map(PathBuf::from)
}

/// Where state is kept if nobody says: the XDG directory for it, else one beside the program's start.
///
/// A relative `XDG_STATE_HOME` is ignored (XDG Base Directory Specification 0.8).
pub(super) fn default_state_dir(env: &[(OsString, OsString)]) -> PathBuf {
    let absolute = |name| find(env, name).map(PathBuf::from).filter(|path| path.is_absolute());
    let xdg = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    xdg.map_or_else(|| PathBuf::from(".tollgate"), |state| state.join("tollgate"))
}

/// Every `TOLLGATE_` variable as a value of its key; unknown ones are faults.
pub(super) fn read(
    env: &[(OsString, OsString)],
    keys: &[Key],
    faults: &mut Vec<Fault>,
) -> Vec<(&'static str, Written)> {
    let variables: Vec<_> = keys.iter().filter_map(|key| Some((key.variable()?, key.path))).collect();
    let mut values = vec![];
    for (name, value) in env {
        let name = name.to_string_lossy();
        if !name.starts_with("TOLLGATE_") || name == CONFIG_VARIABLE || is_service_link(&name) {
            continue;
        }
        let place = Place::Env(name.clone().into_owned());
        let Some((_, path)) = variables.iter().find(|(variable, _)| *variable == name) else {
            let near = did_you_mean(&name, variables.iter().map(|(variable, _)| variable.as_str()));
            faults.push(Fault { place, key: None, problem: format!("unknown variable{near}") });
            continue;
        };
        match value.to_str() {
            Some(text) => values.push((*path, Written::bare(text, place))),
            None => {
                let problem = "not UTF-8".to_owned();
                faults.push(Fault { place, key: Some((*path).to_owned()), problem });
            }
        }
    }
    values
}

/// Kubernetes describes a Service named `tollgate` to every pod of its namespace in variables such as
/// `TOLLGATE_SERVICE_HOST` and `TOLLGATE_PORT_8443_TCP_ADDR`; they are no settings.
fn is_service_link(name: &str) -> bool {
    let ends_in = |end: &str| name.ends_with(end);
    let is_port = name.split_once("_PORT_").is_some_and(|(_, rest)| {
        let mut parts = rest.split('_');
        let number = parts.next().is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        number && parts.next().is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"))
    });
    let is_service = ends_in("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || ends_in("_PORT");
    !name.contains("__") && (is_service || is_port)
}

fn find<'a>(env: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    let found = env.iter().find(|(key, value)| key == OsStr::new(name) && !value.is_empty());
    found.map(|(_, value)| value.as_os_str())
}
