//! What operators have paused, group by group: kept as long as the process lives and the group is configured, over
//! rebalances and other configurations. It checks what may be paused, and must not know how a pause is obeyed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::admin::pausing::{Asked, Pausing, Whose};
use crate::admin::plugins::Refused;
use crate::config;
use crate::delivery::pauses::Target;
use crate::pipeline::{PAUSES_MAX, PauseDesk};
use crate::since_1970;
use crate::telemetry::metrics::Metrics;

/// The pauses of every group.
#[derive(Debug)]
pub(super) struct Paused {
    groups: Mutex<BTreeMap<String, OfGroup>>,
    metrics: Metrics,
}

#[derive(Debug)]
struct OfGroup {
    desk: Arc<PauseDesk>,
    /// As it runs.
    group: config::Group,
}

impl Paused {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            groups: Mutex::default(),
            metrics,
        }
    }

    /// The pauses of a group that starts. Those that held before hold on.
    pub(super) fn of(&self, group: &config::Group) -> Arc<PauseDesk> {
        let mut groups = self.lock();
        let known = groups.entry(group.id.clone()).or_insert_with(|| OfGroup {
            desk: Arc::default(),
            group: group.clone(),
        });
        known.group = group.clone();
        self.show(&group.id, &known.desk);
        Arc::clone(&known.desk)
    }

    /// Forgets the groups that are not configured any more.
    pub(super) fn keep(&self, groups: &[config::Group]) {
        self.lock().retain(|id, _| {
            let stays = groups.iter().any(|group| group.id == *id);
            if !stays {
                self.metrics.pauses_are_gone(id, &Target::WORDS);
            }
            stays
        });
    }

    fn change(&self, id: &str, of: &OfGroup, pause: bool, target: &Target) -> Result<(), Refused> {
        let desk = &of.desk;
        if pause && !desk.pause(target.clone(), since_1970::now_ms()) {
            return Err(Refused::Conflict(format!(
                "group {id} has {PAUSES_MAX} pauses already; resume some of them, or pause a whole topic or plugin"
            )));
        }
        if !pause && !desk.resume(target) {
            return Err(Refused::Conflict(format!(
                "nothing was resumed: {} of group {id} is not paused by itself; `millrace pause --list` or /v1/pauses tells what is",
                said(target)
            )));
        }
        let what = if pause { "paused" } else { "resumed" };
        tracing::warn!(group = id, what, "an operator has {what} {}", said(target));
        self.show(id, desk);
        Ok(())
    }

    fn show(&self, id: &str, desk: &PauseDesk) {
        let pauses = desk.current();
        for word in Target::WORDS {
            let count = pauses.all().filter(|(target, _)| target.word() == word);
            self.metrics.pauses(id, word, count.count());
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, OfGroup>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pausing for Paused {
    fn list(&self) -> Value {
        let groups = self.lock();
        let listed = groups.iter().flat_map(|(id, of)| {
            let pauses = of.desk.current();
            let told = pauses.all().map(|(target, since)| told(id, target, since));
            told.collect::<Vec<_>>()
        });
        Value::Array(listed.collect())
    }

    fn ask(&self, asked: &Asked) -> Result<Value, Refused> {
        let groups = self.lock();
        match &asked.whose {
            Whose::Group(id, target) => {
                let of = groups.get(id).ok_or_else(|| {
                    let known: Vec<_> = groups.keys().map(String::as_str).collect();
                    let known = known.join(", ");
                    Refused::Unknown(format!(
                        "there is no group {id}; the configuration has: {known}"
                    ))
                })?;
                // What a group does not read any more may still be paused, and must be let go.
                if asked.pause {
                    has(id, &of.group, target)?;
                }
                self.change(id, of, asked.pause, target)?;
            }
            Whose::Plugin(plugin) => {
                let target = Target::Plugin(plugin.clone());
                let mut using: Vec<_> = groups.iter().collect();
                using.retain(|(_, of)| match asked.pause {
                    true => of.group.plugins().contains(plugin.as_str()),
                    false => of.desk.current().all().any(|(paused, _)| *paused == target),
                });
                if using.is_empty() {
                    return Err(Refused::Unknown(match asked.pause {
                        true => format!("no group has plugin {plugin} in its routes"),
                        false => format!("plugin {plugin} is paused in no group"),
                    }));
                }
                for (id, of) in using {
                    self.change(id, of, asked.pause, &target)?;
                }
            }
        }
        drop(groups);
        Ok(self.list())
    }
}

/// Whether a group has what is to be paused.
fn has(id: &str, group: &config::Group, target: &Target) -> Result<(), Refused> {
    let unknown = |why: String| Err(Refused::Unknown(why));
    match target {
        Target::Group => Ok(()),
        Target::Plugin(plugin) if group.plugins().contains(plugin.as_str()) => Ok(()),
        Target::Plugin(plugin) => {
            let plugins: Vec<_> = group.plugins().into_iter().collect();
            unknown(format!(
                "group {id} has no plugin {plugin}; its routes lead to {}",
                plugins.join(", ")
            ))
        }
        Target::Topic(topic) | Target::Partition(topic, _) | Target::Key(topic, _) => {
            match group.route_of(topic) {
                Some(_) => Ok(()),
                None => unknown(format!(
                    "group {id} has no route for topic {topic}; pause the topic that its events came from at first"
                )),
            }
        }
    }
}

fn told(id: &str, target: &Target, since_ms: u64) -> Value {
    let mut told = json!({ "group": id, "what": target.word(), "since_ms": since_ms });
    match target {
        Target::Group => {}
        Target::Plugin(plugin) => told["plugin"] = json!(plugin),
        Target::Topic(topic) => told["topic"] = json!(topic),
        Target::Partition(topic, partition) => {
            told["topic"] = json!(topic);
            told["partition"] = json!(partition);
        }
        Target::Key(topic, key) => {
            told["topic"] = json!(topic);
            match std::str::from_utf8(key) {
                Ok(text) => told["key"] = json!(text),
                Err(_) => told["key_base64"] = json!(BASE64_STANDARD.encode(key)),
            }
        }
    }
    told
}

/// For people. A key may be personal, and is not written into logs.
fn said(target: &Target) -> String {
    match target {
        Target::Group => "the whole group".to_owned(),
        Target::Plugin(plugin) => format!("plugin {plugin}"),
        Target::Topic(topic) => format!("topic {topic}"),
        Target::Partition(topic, partition) => format!("{topic}[{partition}]"),
        Target::Key(topic, _) => format!("a key of topic {topic}"),
    }
}
