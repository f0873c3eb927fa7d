//! Answers the admin server's questions about plugins. It translates, and decides nothing.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::admin::plugins::{Plugins, Refused, Request};
use crate::pipeline::{Refusal, Version};
use crate::reload::{PluginState, ReloadError, Reloader};

/// The plugins of this host, as the admin server sees them.
pub(super) struct Desk(pub(super) Arc<Reloader>);

impl Plugins for Desk {
    fn list(&self) -> Value {
        let states = self.0.states().map(|(name, state)| told(name, &state));
        Value::Array(states.collect())
    }

    fn ask(&self, plugin: &str, request: Request) -> Result<Value, Refused> {
        let met = match request {
            Request::Reload => self.0.reload(plugin).map(drop),
            Request::Back => self.0.step_back(plugin),
            Request::Approve(digest) => self.0.approve(plugin, &digest),
        };
        let state = met.and_then(|()| self.0.state(plugin));
        match state {
            Ok(state) => Ok(told(plugin, &state)),
            Err(error @ ReloadError::Unknown { .. }) => Err(Refused::Unknown(error.to_string())),
            Err(error) => Err(Refused::Conflict(error.to_string())),
        }
    }
}

fn told(plugin: &str, state: &PluginState) -> Value {
    let version = |version: &Arc<Version>| json!({ "version": version.name, "digest": version.digest, "grants": version.grants });
    let refused = |refusal: &Refusal| {
        json!({
            "digest": refusal.digest,
            "reason": refusal.reason,
            "at_ms": unix_ms(refusal.at),
        })
    };
    let published = &state.published;
    json!({
        "plugin": plugin,
        "version": published.current.name,
        "digest": published.current.digest,
        "grants": published.current.grants,
        "since_ms": unix_ms(published.since),
        "previous": published.previous.as_ref().map(version),
        "refused": published.refused.as_ref().map(refused),
        "waiting": state.waiting.as_ref().map(|(loaded, asks_for)| json!({
            "version": loaded.version,
            "digest": loaded.digest,
            "asks_for": asks_for,
        })),
    })
}

/// Milliseconds since the Unix epoch; 0 before it.
fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
