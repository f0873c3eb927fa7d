//! Starting a group: its store, its journals, its lanes, and the threads with the channels between them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::batch::Batch;
use super::clock::Clock;
use super::intake::{Intake, IntakeLane, IntakePlugin, LANE_QUEUE_BATCHES};
use super::lane::{Called, Lane, LaneEnds, LaneGauge, LaneSettings, SETTLEMENTS_PER_LANE};
use super::lane_state::{LaneState, StateQuota};
use super::lease::Lease;
use super::member::Member;
use super::messages::FromLane;
use super::outage::Outage;
use super::rebuild::Rebuilds;
use super::sending::Sending;
use super::settling::{CommitDesk, Settling, SettlingEnds, SettlingLane, SettlingPlugin, Work};
use super::versions::Versions;
use super::{Group, GroupStatus, poll};
use crate::config;
use crate::delivery::breaker::BreakerSettings;
use crate::delivery::lanes::OrderBy;
use crate::delivery::retry::{Backoff, RetryPolicy};
use crate::kafka::KafkaError;
use crate::kafka::consumer::{GroupConsumer, MemberLimits};
use crate::kafka::producer::GroupProducer;
use crate::sandbox::encode_topics;
use crate::store::{Journal, JournalError, Rotation, Settle, SettleStore, StoreError};
use crate::telemetry::metrics::Metrics;

/// Commands that may wait for a lane: ticks of its partitions, and fences.
const COMMANDS_PER_LANE: usize = 1_024;

/// Deliveries that may wait for the settling thread. Past this librdkafka's own thread waits.
const DELIVERIES: usize = 65_536;

/// Rebalances and commits that may wait for the settling thread.
const CONTROLS: usize = 1_024;

/// What a lane's thread needs for the deepest call: wasmtime's own 512 KiB of guest stack and 1 MiB for
/// the host's functions, with room to spare.
const LANE_STACK_BYTES: usize = 4 << 20;

/// Why a group cannot start. The operator must act.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages of the sources say everything")]
pub enum StartError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("no thread could be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// What a group is made of.
#[derive(Debug)]
pub struct GroupParts<'a> {
    /// The group as configured.
    pub group: &'a config::Group,
    /// How to reach Kafka.
    pub kafka: &'a config::Kafka,
    /// The plugins of its routes: their versions, with their configuration.
    pub plugins: BTreeMap<String, (Arc<Versions>, config::Plugin)>,
    /// Partitions of the topics that outputs and retry copies may go to.
    pub output_partitions: BTreeMap<String, usize>,
    /// Longest time for finishing what is in flight.
    pub drain_timeout: Duration,
    /// Where its figures go.
    pub metrics: &'a Metrics,
}

/// What is fixed for all threads of a group.
struct Plan {
    id: Arc<str>,
    topics: Arc<[Arc<str>]>,
    topic_table: Arc<[u8]>,
    routes: Vec<usize>,
    retry_of: Vec<Option<u32>>,
    names: Vec<String>,
    /// By plugin; none where the operator turned it off.
    outages: Vec<Option<Arc<Outage>>>,
    clock: Clock,
    status: Arc<GroupStatus>,
}

impl Group {
    /// Opens the store and the journals, starts the threads and joins the consumer group.
    ///
    /// # Errors
    /// Says what is missing or in use. Nothing has been consumed then.
    pub fn start(parts: &GroupParts<'_>) -> Result<Self, StartError> {
        let group = parts.group;
        let plan = plan(group);
        let store = Arc::new(SettleStore::open(&group.store)?);
        let (from_lanes, lanes_answers) =
            bounded(SETTLEMENTS_PER_LANE * group.concurrency * plan.names.len().max(1));
        let mut lanes = Lanes::default();
        for (plugin_index, name) in plan.names.iter().enumerate() {
            let Some((versions, settings)) = parts.plugins.get(name) else {
                continue;
            };
            let journal = settings.journal.as_ref();
            let journal = journal
                .map(|journal| open_journal(&store, name, journal))
                .transpose()?;
            let plugin = (versions, settings);
            lanes.add_plugin(plugin_index, parts, &plan, plugin, &store, &from_lanes)?;
            lanes.settling_plugins.push(SettlingPlugin {
                versions: Arc::clone(versions),
                state_granted: settings.grants.state,
                tallies_max: settings.limits.tallies,
                tick: settings.tick,
                journal,
                outage: plan.outages[plugin_index].clone(),
                lanes: lanes.of_last_plugin(plugin_index),
            });
        }
        drop(from_lanes);
        start_threads(parts, plan, store, lanes, lanes_answers)
    }
}

/// Opens the journal of a plugin, and vouches for what is in it from the start: a crash before the first
/// settle must not leave lines that nobody cuts off.
fn open_journal(
    store: &SettleStore,
    plugin: &str,
    settings: &config::Journal,
) -> Result<Journal, StartError> {
    let recorded = store.journal(plugin)?;
    let rotation = Rotation {
        bytes: settings.rotate_bytes,
        age_ms: settings.rotate_age.map(|age| age.as_millis() as u64),
        keep: settings.keep,
    };
    let journal = Journal::open(&settings.path, rotation, recorded)?;
    if recorded.is_none() {
        store.settle(&Settle {
            journals: vec![(plugin.to_owned(), journal.position())],
            ..Settle::default()
        })?;
    }
    Ok(journal)
}

fn start_threads(
    parts: &GroupParts<'_>,
    plan: Plan,
    store: Arc<SettleStore>,
    lanes: Lanes,
    lanes_answers: Receiver<FromLane>,
) -> Result<Group, StartError> {
    let group = parts.group;
    let status = Arc::clone(&plan.status);
    let (deliver, deliveries) = bounded(DELIVERIES);
    let (control, controls) = bounded(CONTROLS);
    let lease = Arc::new(Lease::new(MemberLimits::new(parts.kafka)));
    let commit_desk = CommitDesk::default();
    let settling = Settling {
        group: Arc::clone(&plan.id),
        topics: Arc::clone(&plan.topics),
        routes: plan.routes,
        retry_of: plan.retry_of,
        plugins: lanes.settling_plugins,
        lanes: lanes.settling,
        store: Box::new(store),
        sending: Sending::new(
            (
                Box::new(GroupProducer::start(parts.kafka, deliver)?),
                plan.clock.clone(),
            ),
            deliveries,
            parts.metrics.group(&group.id),
        ),
        metrics: parts.metrics.group(&group.id),
        status: Arc::clone(&status),
        lease: Arc::clone(&lease),
        clock: plan.clock.clone(),
        commit_interval: group.commit_interval,
        dedup_events_max: group.dedup.as_ref().map(|dedup| dedup.max_events),
        start_from: group.start_from,
        commit_map: group.commit_map,
        work: Work::default(),
    };
    let ends = SettlingEnds {
        lanes: lanes_answers,
        control: controls,
        commit_desk: Arc::clone(&commit_desk),
    };
    let settling = named("settle", None, &status, move || settling.run(&ends))?;
    let intake = Intake::new(
        lanes.intake,
        (Arc::clone(&plan.topics), plan.topic_table),
        order_by(group),
        group.dedup.clone(),
        (group.retry.park_events, group.retry.park_bytes),
        plan.clock.clone(),
        Arc::clone(&status),
    );
    let member = Member::new(
        control.clone(),
        parts.drain_timeout,
        (plan.clock, lease),
        Arc::clone(&status),
    );
    let topics: Vec<&str> = plan.topics.iter().map(|topic| &**topic).collect();
    let consumer = GroupConsumer::join(parts.kafka, &group.id, &topics, member)?;
    let rebuild_timeout = group.dedup.as_ref().map(|dedup| dedup.rebuild_timeout);
    let rebuilds = Rebuilds::new(rebuild_timeout.unwrap_or_default());
    let stop = Arc::new(AtomicBool::new(false));
    let poll = named("poll", None, &status, {
        let stop = Arc::clone(&stop);
        move || poll(consumer, intake, rebuilds, &commit_desk, &stop, &control)
    })?;
    Ok(Group {
        id: group.id.clone(),
        status,
        stop,
        poll,
        settling,
        lanes: lanes.threads,
    })
}

/// The lanes of a group, as each of the other threads reaches them.
#[derive(Default)]
struct Lanes {
    threads: Vec<JoinHandle<()>>,
    intake: Vec<IntakePlugin>,
    settling: Vec<SettlingLane>,
    settling_plugins: Vec<SettlingPlugin>,
}

impl Lanes {
    fn of_last_plugin(&self, plugin_index: usize) -> Vec<usize> {
        let lanes = self.settling.iter().enumerate();
        lanes
            .filter(|(_, lane)| lane.plugin_index == plugin_index)
            .map(|(at, _)| at)
            .collect()
    }

    fn add_plugin(
        &mut self,
        plugin_index: usize,
        parts: &GroupParts<'_>,
        plan: &Plan,
        (versions, settings): (&Arc<Versions>, &config::Plugin),
        store: &Arc<SettleStore>,
        from_lanes: &Sender<FromLane>,
    ) -> Result<(), StartError> {
        let mut intake = IntakePlugin {
            lanes: Vec::new(),
            paused: false,
            copies_paused: false,
            outage: plan.outages[plugin_index].clone(),
            resume_due: false,
        };
        for _ in 0..parts.group.concurrency {
            let index = self.settling.len();
            let (inbox, batches) = bounded(LANE_QUEUE_BATCHES);
            // One more than can be on their way, so that no batch's memory is lost.
            let (spent, empties) = bounded(LANE_QUEUE_BATCHES + 2);
            let (commands, orders) = bounded(COMMANDS_PER_LANE);
            let gauge = Arc::new(LaneGauge::default());
            let state_stored = Arc::new(AtomicU64::new(0));
            // Another version may use it where this one does not.
            let state = settings.grants.state.then(|| {
                let quota = StateQuota {
                    plugin: versions.plugin().into(),
                    bytes_max: settings.state_quota_bytes,
                };
                LaneState::new(quota, Arc::clone(store), Arc::clone(&state_stored))
            });
            let lane = Lane::new(
                lane_settings(index, parts, plan, plugin_index),
                Called::new(Arc::clone(versions)),
                LaneEnds {
                    inbox: batches,
                    spent,
                    commands: orders,
                    settle: from_lanes.clone(),
                },
                Arc::clone(&gauge),
                plan.clock.clone(),
                parts
                    .metrics
                    .lane(&plan.id, versions.plugin(), index, settings.limits.series),
                state,
            );
            self.threads.push(named(
                "lane",
                Some(LANE_STACK_BYTES),
                &plan.status,
                move || lane.run(),
            )?);
            let open = Batch::new(&plan.topic_table);
            intake.lanes.push(IntakeLane {
                inbox,
                spent: empties,
                gauge: Arc::clone(&gauge),
                open,
            });
            self.settling.push(SettlingLane {
                commands,
                plugin_index,
                state_stored,
                gauge,
            });
        }
        self.intake.push(intake);
        Ok(())
    }
}

fn plan(group: &config::Group) -> Plan {
    let mut topics: Vec<Arc<str>> = Vec::new();
    let mut names: Vec<String> = group.routes.values().cloned().collect();
    names.sort();
    names.dedup();
    let (mut routes, mut retry_of) = (Vec::new(), Vec::new());
    for (topic, plugin) in &group.routes {
        topics.push(topic.as_str().into());
        routes.push(names.binary_search(plugin).unwrap_or(0));
        retry_of.push(None);
    }
    // A retry topic follows the sources, with the plugin of its own.
    for (at, source) in group.routes.keys().enumerate() {
        if let Some(topic) = group.retry.topics.get(source) {
            topics.push(topic.as_str().into());
            routes.push(routes[at]);
            retry_of.push(Some(at as u32));
        }
    }
    let outage = || Some(Arc::new(Outage::new(breaker(group.breaker.as_ref()?))));
    Plan {
        id: group.id.as_str().into(),
        topic_table: encode_topics(topics.iter().map(|topic| &**topic)).into(),
        topics: topics.into(),
        routes,
        retry_of,
        outages: names.iter().map(|_| outage()).collect(),
        names,
        clock: Clock::start(),
        status: Arc::default(),
    }
}

fn breaker(breaker: &config::Breaker) -> BreakerSettings {
    BreakerSettings {
        threshold: breaker.threshold,
        keys_min: breaker.min_keys,
        window_ms: breaker.window.as_millis() as u64,
        probe_initial_ms: breaker.probe_initial.as_millis() as u64,
        probe_max_ms: breaker.probe_max.as_millis() as u64,
    }
}

fn retry_policy(retry: &config::Retry) -> RetryPolicy {
    RetryPolicy {
        attempts_max: retry.attempts,
        backoff: Backoff {
            initial_ms: retry.initial.as_millis() as u64,
            factor: retry.factor,
            max_ms: retry.max.as_millis() as u64,
            jitter: retry.jitter,
        },
        max_age_ms: retry.max_age.as_millis() as u64,
        max_park_ms: retry.max_park.as_millis() as u64,
        by_topic: retry.mode == config::RetryMode::Topic,
    }
}

fn lane_settings(
    index: usize,
    parts: &GroupParts<'_>,
    plan: &Plan,
    plugin_index: usize,
) -> LaneSettings {
    let group = parts.group;
    let retry_topics = group.routes.keys().map(|source| {
        let topic = group.retry.topics.get(source)?;
        let partitions = parts.output_partitions.get(topic).copied().unwrap_or(1);
        Some((topic.clone(), partitions))
    });
    LaneSettings {
        index,
        group: Arc::clone(&plan.id),
        topics: Arc::clone(&plan.topics),
        topic_table: Arc::clone(&plan.topic_table),
        dedup: group.dedup.clone(),
        retry: retry_policy(&group.retry),
        retry_topics: retry_topics.collect(),
        park_budget: (group.retry.park_events, group.retry.park_bytes),
        outage: plan.outages[plugin_index].clone(),
        dead_letter_topic: group.dead_letter.topic.clone(),
        dialect: group.dead_letter.dialect,
        message_bytes_max: parts.kafka.message_max_bytes,
        output_partitions: parts.output_partitions.clone(),
    }
}

fn order_by(group: &config::Group) -> OrderBy {
    match group.ordering {
        config::Ordering::Partition => OrderBy::Partition,
        config::Ordering::Key => OrderBy::Key,
        config::Ordering::Unordered => OrderBy::Id,
    }
}

fn named<T: Send + 'static>(
    name: &'static str,
    stack_bytes: Option<usize>,
    status: &Arc<GroupStatus>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, std::io::Error> {
    let alarm = PanicAlarm {
        thread: name,
        status: Arc::clone(status),
    };
    let work = move || {
        let _alarm = alarm;
        work()
    };
    let thread = thread::Builder::new().name(name.to_owned());
    match stack_bytes {
        Some(bytes) => thread.stack_size(bytes).spawn(work),
        None => thread.spawn(work),
    }
}

/// A group that has lost a thread must end: it would keep its partitions and do nothing with them.
struct PanicAlarm {
    thread: &'static str,
    status: Arc<GroupStatus>,
}

impl Drop for PanicAlarm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.status.fail(format!(
                "the {} thread panicked; please report this",
                self.thread
            ));
        }
    }
}
