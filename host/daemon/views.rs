//! Answers the admin server's questions about groups, from what each group has drawn of itself. It translates and adds
//! up, and decides nothing but how a partition's state is called.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::rising::Rises;
use super::rules;
use super::shown::{Shown, health_of};
use super::summary::Counts;
use crate::admin::Health;
use crate::admin::views::{Views, Wanted};
use crate::delivery::ledger::Ledger;
use crate::delivery::pace::Speed;
use crate::pipeline::{GroupStatus, GroupView, PartitionView, Waits};
use crate::schema::confluent::SchemaRegistry;
use crate::since_1970;
use crate::telemetry::metrics::{Metrics, PluginCounts};

/// This host, as the admin server sees it.
pub(super) struct HostViews {
    pub(super) started: SystemTime,
    pub(super) shown: Arc<Shown>,
    pub(super) rises: Arc<Rises>,
    pub(super) schema_registry: Option<Arc<SchemaRegistry>>,
    pub(super) metrics: Metrics,
}

impl Views for HostViews {
    fn host(&self) -> String {
        let parts = self.health();
        written(&Host {
            version: env!("CARGO_PKG_VERSION"),
            started_at_ms: since_1970::ms_of(self.started),
            now_ms: since_1970::now_ms(),
            ready: parts.iter().all(|part| part.ready),
            parts: parts
                .into_iter()
                .map(|health| Part {
                    part: health.part,
                    state: health.state,
                    ready: health.ready,
                })
                .collect(),
        })
    }

    fn groups(&self) -> String {
        let groups = self.shown.running();
        let groups = groups.iter();
        let groups: Vec<_> = groups
            .map(|(id, status)| Group {
                dead_letters_rise: self.rise(id),
                ..group(id, status, &self.metrics)
            })
            .collect();
        written(&groups)
    }

    fn partitions(&self, wanted: &Wanted) -> String {
        let mut shown = Vec::new();
        let views = self.views(wanted);
        for (group, view) in &views {
            let partitions = view.partitions.iter();
            let partitions = partitions.map(|partition| Partition::of(group, partition));
            shown.extend(partitions.filter(|partition| {
                fits(&wanted.topic, partition.topic)
                    && fits(&wanted.plugin, partition.plugin)
                    && fits(&wanted.state, partition.state)
            }));
        }
        written(&shown)
    }

    fn configuration(&self) -> Option<String> {
        let explained = self.shown.configuration()?;
        Some(explained.to_string())
    }

    fn lanes(&self, wanted: &Wanted) -> String {
        let mut shown = Vec::new();
        let views = self.views(wanted);
        for (group, view) in &views {
            let lanes = view.lanes.iter().map(|lane| Lane {
                group,
                plugin: &lane.plugin,
                lane: lane.lane,
                busy_ms: lane.busy_ms,
                batch_events_max: lane.batch_events_max,
                parked_events: lane.parked.0,
                parked_bytes: lane.parked.1,
                next_due_in_ms: lane.next_due_in_ms,
            });
            shown.extend(lanes.filter(|lane| fits(&wanted.plugin, lane.plugin)));
        }
        written(&shown)
    }
}

impl HostViews {
    /// The health of each part.
    pub(super) fn health(&self) -> Vec<Health> {
        let registry = self.schema_registry.iter();
        let mut parts = self.shown.health();
        parts.extend(registry.map(|registry| rules::health(registry)));
        parts
    }

    /// The dead letters of a group that came within the last minutes.
    fn rise(&self, group: &str) -> Option<Rise> {
        let rising = self.rises.of(group)?;
        let groups = self.shown.dead_letters();
        let topic = groups.into_iter().find(|known| known.id == group)?.topic;
        Some(Rise {
            topic,
            events: rising.by.values().sum(),
            since_ms: rising.since.0,
            last_ms: rising.last.0,
            causes: rising.by,
        })
    }

    fn views(&self, wanted: &Wanted) -> Vec<(String, Arc<GroupView>)> {
        let groups = self.shown.running().into_iter();
        let groups = groups.filter(|(id, _)| fits(&wanted.group, id));
        groups.map(|(id, status)| (id, status.view())).collect()
    }
}

fn fits(wanted: &Option<String>, is: &str) -> bool {
    wanted.as_deref().is_none_or(|wanted| wanted == is)
}

fn written(shown: &impl Serialize) -> String {
    // Names, numbers and lists of them: there is nothing in it that cannot be written.
    serde_json::to_string(shown).unwrap_or_default()
}

#[derive(Serialize)]
struct Host {
    version: &'static str,
    started_at_ms: u64,
    now_ms: u64,
    ready: bool,
    parts: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    part: String,
    state: String,
    ready: bool,
}

/// How far something is behind. The seconds are those of what is furthest behind.
#[derive(Serialize, Clone, Copy, Default)]
struct Lag {
    /// None before the first fetch.
    lag: Option<i64>,
    lag_seconds: Option<f64>,
    /// None where the lag does not fall.
    drain_seconds: Option<f64>,
    settled_per_second: f64,
    arriving_per_second: f64,
}

impl Lag {
    fn of<'a>(partitions: impl Iterator<Item = &'a PartitionView> + Clone) -> Self {
        let behind = partitions.clone().filter_map(|partition| partition.behind);
        let lag = behind
            .clone()
            .map(|behind| behind.events)
            .reduce(|a, b| a + b);
        let age_ms = behind.map(|behind| behind.age_ms).max();
        let speeds = partitions.filter_map(|partition| partition.speed);
        let speed = speeds.reduce(|a, b| a + b);
        let now = speed.unwrap_or_default();
        Self {
            lag,
            lag_seconds: age_ms.map(|ms| ms as f64 / 1_000.0),
            drain_seconds: speed.and_then(|speed: Speed| speed.drains_in_s(lag?)),
            settled_per_second: now.settles,
            arriving_per_second: (now.settles - now.catches_up).max(0.0),
        }
    }
}

/// What became of events since they were first counted, and those that are not finished.
#[derive(Serialize)]
struct Events {
    #[serde(flatten)]
    counts: Counts,
    parked: u64,
    in_flight: u64,
}

impl Events {
    fn of(ledger: &Ledger) -> Self {
        Self {
            counts: Counts::of(ledger),
            parked: ledger.parked,
            in_flight: ledger.in_flight(),
        }
    }
}

#[derive(Serialize)]
struct Group {
    group: String,
    state: &'static str,
    ready: bool,
    /// The state for a person, with everything that is noted.
    says: String,
    /// When this was drawn, in milliseconds since the Unix epoch.
    at_ms: u64,
    partitions: usize,
    stuck: usize,
    waiting: usize,
    #[serde(flatten)]
    lag: Lag,
    events: Events,
    topics: Vec<Topic>,
    plugins: Vec<Plugin>,
    /// None where none came for minutes.
    dead_letters_rise: Option<Rise>,
}

/// Dead letters that came one after the other within minutes.
#[derive(Serialize)]
struct Rise {
    /// Where they lie.
    topic: String,
    events: u64,
    causes: BTreeMap<&'static str, u64>,
    since_ms: u64,
    last_ms: u64,
}

#[derive(Serialize)]
struct Topic {
    topic: String,
    plugin: String,
    /// Whether it is a retry topic, which is paused with the topic that its events came from.
    retry_topic: bool,
    partitions: usize,
    #[serde(flatten)]
    lag: Lag,
    events: Events,
}

#[derive(Serialize)]
struct Plugin {
    plugin: String,
    breaker_open: bool,
    lanes: usize,
    lanes_busy: usize,
    retries: u64,
    traps: u64,
    restart_delays: u64,
    dead_letters: BTreeMap<&'static str, u64>,
    calls: u64,
    events_called: f64,
    event_seconds: f64,
}

#[derive(Serialize)]
struct Partition<'a> {
    group: &'a str,
    topic: &'a str,
    partition: i32,
    plugin: &'a str,
    /// Whether it is one of a retry topic.
    retry_topic: bool,
    state: &'static str,
    /// What it waits for; none while it gets on or has nothing to do.
    reason: Option<&'static str>,
    why: Option<&'a str>,
    waits_ms: Option<u64>,
    position: i64,
    committed: Option<i64>,
    end: Option<i64>,
    #[serde(flatten)]
    lag: Lag,
    rebuild_remaining: Option<i64>,
    events: Events,
}

#[derive(Serialize)]
struct Lane<'a> {
    group: &'a str,
    plugin: &'a str,
    lane: usize,
    busy_ms: Option<u64>,
    batch_events_max: usize,
    parked_events: usize,
    parked_bytes: usize,
    next_due_in_ms: Option<u64>,
}

impl<'a> Partition<'a> {
    fn of(group: &'a str, view: &'a PartitionView) -> Self {
        let waits = view.waits.as_ref();
        Self {
            group,
            topic: &view.topic,
            partition: view.partition,
            plugin: &view.plugin,
            retry_topic: view.retries,
            state: state_of(view),
            reason: waits.map(|waits| waits.reason.word()),
            why: waits.map(|waits| waits.why.as_str()),
            waits_ms: waits.map(|waits| waits.for_ms),
            position: view.position.0,
            committed: view.committed.map(|offset| offset.0),
            end: view.end.map(|offset| offset.0),
            lag: Lag::of(std::iter::once(view)),
            rebuild_remaining: view.rebuild.map(|(remaining, _)| remaining),
            events: Events::of(&view.ledger),
        }
    }
}

/// The word for a partition's state, one of [`crate::admin::views::PARTITION_STATES`].
fn state_of(view: &PartitionView) -> &'static str {
    let behind = view.behind.is_some_and(|behind| behind.events > 0);
    match &view.waits {
        Some(Waits { stuck: true, .. }) => "stuck",
        Some(_) => "waiting",
        None if view.rebuild.is_some() => "rebuilding",
        None if view.paused => "full",
        None if behind || view.ledger.in_flight() + view.ledger.parked > 0 => "working",
        None => "idle",
    }
}

fn group(id: &str, status: &GroupStatus, metrics: &Metrics) -> Group {
    let view = status.view();
    let health = health_of(id, status);
    let state = match (status.failure(), status.joined()) {
        (Some(_), _) => "stopped",
        (None, false) => "joining",
        (None, true) => "joined",
    };
    let waits = |stuck| {
        let waits = view.partitions.iter().filter_map(|it| it.waits.as_ref());
        waits.filter(|waits| waits.stuck == stuck).count()
    };
    let mut total = Ledger::default();
    view.topics
        .iter()
        .for_each(|topic| total.add(&topic.ledger));
    Group {
        group: id.to_owned(),
        state,
        ready: health.ready,
        says: health.state,
        at_ms: view.at_ms,
        partitions: view.partitions.len(),
        stuck: waits(true),
        waiting: waits(false),
        lag: Lag::of(view.partitions.iter()),
        events: Events::of(&total),
        topics: topics(&view),
        plugins: plugins(id, &view, metrics),
        dead_letters_rise: None,
    }
}

fn topics(view: &GroupView) -> Vec<Topic> {
    let topics = view.topics.iter().map(|of| {
        let partitions = view.partitions.iter();
        let partitions = partitions.filter(|partition| partition.topic == of.topic);
        Topic {
            topic: of.topic.to_string(),
            plugin: of.plugin.to_string(),
            retry_topic: partitions.clone().any(|partition| partition.retries),
            partitions: partitions.clone().count(),
            lag: Lag::of(partitions),
            events: Events::of(&of.ledger),
        }
    });
    topics.collect()
}

fn plugins(group: &str, view: &GroupView, metrics: &Metrics) -> Vec<Plugin> {
    let plugins = view.plugins.iter().map(|of| {
        let lanes = view.lanes.iter().filter(|lane| lane.plugin == of.plugin);
        let PluginCounts {
            retries,
            traps,
            restart_delays,
            dead_letters,
            calls,
            events_called,
            event_seconds,
        } = metrics.of_plugin(group, &of.plugin);
        Plugin {
            plugin: of.plugin.to_string(),
            breaker_open: of.breaker_open,
            lanes: lanes.clone().count(),
            lanes_busy: lanes.filter(|lane| lane.busy_ms.is_some()).count(),
            retries,
            traps,
            restart_delays,
            dead_letters: dead_letters.into_iter().collect(),
            calls,
            events_called,
            event_seconds,
        }
    });
    plugins.collect()
}
