//! Whether everything outside of the host is there that a configuration needs: asked before a host runs, all of it at
//! once. Nothing is made, joined, registered or written. It must not know how the answers are printed.

use std::time::Duration;

use super::topics;
use crate::config::Config;
use crate::registry::Registry;
use crate::schema;

/// One thing that was asked about, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What it is about, such as `topic orders`.
    pub about: String,
    /// What was found.
    pub state: State,
    /// The same for people, with what to do where something is wrong.
    pub message: String,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is as it should be.
    Fine,
    /// It is not there, and the host makes it when it runs.
    Made,
    /// It could not be found out.
    Unknown,
    /// A host could not run.
    Wrong(Trouble),
}

/// Why a host could not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Nobody answers; it may later.
    Away,
    /// The other side does not accept this host.
    Refused,
    /// Something is missing or not permitted, until somebody acts.
    Wrong,
}

impl Check {
    pub(super) fn new(about: impl Into<String>, state: State, message: String) -> Self {
        Self {
            about: about.into(),
            state,
            message,
        }
    }
}

/// Asks Kafka, the schema registry and the registries of plugins, each for up to `timeout` an answer.
#[must_use]
pub fn check(config: &Config, timeout: Duration) -> Vec<Check> {
    let mut checks = Vec::new();
    topics::ask(config, timeout, &mut checks);
    if let Some(settings) = &config.schema_registry {
        let about = format!("schema registry {}", settings.url);
        match schema::ask_registry(settings) {
            Ok(()) => checks.push(Check::new(about, State::Fine, "it answers".to_owned())),
            Err(missing) => {
                for failure in missing {
                    let trouble = match failure.is_away {
                        true => Trouble::Away,
                        false => Trouble::Wrong,
                    };
                    let state = State::Wrong(trouble);
                    checks.push(Check::new(about.clone(), state, failure.why));
                }
            }
        }
    }
    check_plugins(config, &mut checks);
    checks
}

/// Components that are fetched: those in the cache too, because the next host may have another cache.
fn check_plugins(config: &Config, checks: &mut Vec<Check>) {
    let registry = Registry::new(&config.registry, false);
    for (name, plugin) in &config.plugins {
        let trial = plugin.trial.as_ref().map(|trial| &trial.origin);
        let origins = std::iter::once(&plugin.origin).chain(trial);
        for remote in origins.filter_map(|origin| origin.remote.as_ref()) {
            let about = format!("plugin {name}");
            checks.push(match registry.ask(remote, plugin.limits.component_bytes) {
                Ok(()) => Check::new(about, State::Fine, format!("{remote} is there")),
                Err(error) => {
                    let trouble = match error.may_pass() {
                        true => Trouble::Away,
                        false => Trouble::Wrong,
                    };
                    Check::new(about, State::Wrong(trouble), error.to_string())
                }
            });
        }
    }
}
