//! Answers the admin server's questions about plugins. It translates, and decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::admin::plugins::{Plugins, Refused, Request};
use crate::config::Try;
use crate::delivery::trial::Record;
use crate::pipeline::{Difference, Differs, End, Refusal, Trial, Version, Versions};
use crate::reload::{PluginState, ReloadError, Reloader};
use crate::since_1970;

/// The plugins of this host, as the admin server sees them.
pub(super) struct Desk(pub(super) Arc<Reloader>);

impl Plugins for Desk {
    fn list(&self) -> Value {
        let states = self.0.states();
        Value::Array(
            states
                .iter()
                .map(|(name, state)| told(name, state))
                .collect(),
        )
    }

    fn ask(&self, plugin: &str, request: Request) -> Result<Value, Refused> {
        let met = match request {
            Request::Reload => self.0.reload(plugin).map(drop),
            Request::Back => self.0.step_back(plugin),
            Request::Approve(digest) => self.0.approve(plugin, &digest),
            Request::Promote => self.0.promote(plugin),
            Request::Dismiss => self.0.dismiss(plugin),
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
            "at_ms": since_1970::ms_of(refusal.at),
        })
    };
    let published = &state.versions.published();
    json!({
        "plugin": plugin,
        "version": published.current.name,
        "digest": published.current.digest,
        "grants": published.current.grants,
        "since_ms": since_1970::ms_of(published.since),
        "previous": published.previous.as_ref().map(version),
        "refused": published.refused.as_ref().map(refused),
        "waiting": state.waiting.as_ref().map(|(loaded, asks_for)| json!({
            "version": loaded.version,
            "digest": loaded.digest,
            "asks_for": asks_for,
        })),
        "trial": state.versions.trial().map(|trial| told_of_trial(trial, &state.versions)),
    })
}

fn told_of_trial(trial: &Trial, serving: &Versions) -> Value {
    let round = trial.round();
    let record = |record: Record| json!({ "events": record.events, "failed": record.failed });
    let (candidate, of_serving) = round.records();
    let differences = Differs::ALL.map(|differs| (differs.word(), round.differences(differs)));
    let sample = |difference: &Difference| {
        json!({
            "differs": difference.differs.word(),
            "topic": &*difference.topic,
            "partition": difference.partition,
            "offset": difference.offset.0,
            "serving": difference.serving,
            "candidate": difference.candidate,
        })
    };
    let (how, share) = match trial.settings().how {
        Try::Canary { share_of_a_million } => ("canary", Some(f64::from(share_of_a_million) / 1e6)),
        Try::Shadow => ("shadow", None),
    };
    let ended = match round.end() {
        None => Value::Null,
        Some(End::Promoted) => json!({ "promoted": true }),
        Some(End::SteppedBack(reason)) => json!({ "promoted": false, "reason": reason }),
    };
    let refused = trial.candidate().published().refused;
    json!({
        "how": how,
        "share": share,
        "version": round.version.name,
        "digest": round.version.digest,
        "since_ms": since_1970::ms_of(round.since),
        "candidate": record(candidate),
        "serving": record(of_serving),
        "differences": BTreeMap::from(differences),
        "samples": round.samples().iter().map(sample).collect::<Vec<_>>(),
        "waits_for_approval": trial.waits_for_approval(&round, serving),
        "ended": ended,
        "refused": refused.map(|refusal| refusal.reason),
    })
}
