//! Putting a group together: its lanes, its intake and its settling side, with the channels between them. Whoever
//! asked for it gives each part a thread, or calls them one after the other. It must not know which, nor where
//! records come from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::batch::Batch;
use super::clock::Clock;
use super::intake::{Intake, IntakeLane, IntakePlugin, LANE_QUEUE_BATCHES};
use super::keeper::{Keeper, Keeping};
use super::lane::{
    Called, Encoding, Lane, LaneEnds, LaneGauge, LaneSettings, SETTLEMENTS_PER_LANE,
};
use super::lane_state::{LaneState, StateQuota};
use super::lease::Lease;
use super::member::Member;
use super::messages::{Control, FromLane, ToLane};
use super::outage::Outage;
use super::outside::{Producer, Store};
use super::routing::Sources;
use super::sending::Sending;
use super::settling::{CommitDesk, Settling, SettlingEnds, SettlingLane, SettlingPlugin, Work};
use super::versions::Versions;
use super::{GroupParts, GroupStatus, StartError};
use crate::config;
use crate::delivery::breaker::BreakerSettings;
use crate::delivery::lanes::OrderBy;
use crate::delivery::retry::{Backoff, RetryPolicy};
use crate::kafka::producer::Delivery;
use crate::store::{Journal, Rotation, Settle, SettleStore};

/// Commands that may wait for a lane: ticks of its partitions, and fences.
const COMMANDS_PER_LANE: usize = 1_024;

/// Rebalances and commits that may wait for the settling thread.
const CONTROLS: usize = 1_024;

/// What a group reaches outside of itself, apart from its consumer.
pub(super) struct Outside {
    pub(super) clock: Clock,
    pub(super) store: Arc<dyn Store>,
    /// Where lanes read state that has settled; none where no plugin is granted any.
    pub(super) state: Option<Arc<SettleStore>>,
    /// By plugin.
    pub(super) journals: BTreeMap<String, Journal>,
    pub(super) producer: Box<dyn Producer>,
    pub(super) deliveries: Receiver<Delivery>,
    pub(super) lease: Lease,
}

/// A group that is put together and not running.
pub(super) struct Assembled {
    pub(super) sources: Sources,
    pub(super) lanes: Vec<OwnLane>,
    pub(super) intake: Intake,
    pub(super) settling: Settling,
    pub(super) settling_ends: SettlingEnds,
    pub(super) control: Sender<Control>,
    pub(super) member: Member,
    pub(super) status: Arc<GroupStatus>,
}

/// A lane, and the other ends of its channels.
#[derive(Debug)]
pub(super) struct OwnLane {
    pub(super) lane: Lane,
    pub(super) gauge: Arc<LaneGauge>,
    pub(super) inbox: Receiver<Batch>,
    pub(super) commands: Receiver<ToLane>,
}

/// What is fixed for all parts of a group.
struct Plan {
    id: Arc<str>,
    sources: Sources,
    names: Vec<String>,
    /// By plugin; none where the operator turned it off.
    outages: Vec<Option<Arc<Outage>>>,
    clock: Clock,
    status: Arc<GroupStatus>,
}

/// Puts a group together.
pub(super) fn assemble(parts: &GroupParts<'_>, mut outside: Outside) -> Assembled {
    let group = parts.group;
    let plan = plan(parts, outside.clock.clone());
    let (from_lanes, lanes_answers) =
        bounded(SETTLEMENTS_PER_LANE * group.concurrency * plan.names.len().max(1));
    let lanes = lanes(parts, &plan, &outside, &from_lanes);
    let names = plan.names.iter();
    let journals = names.map(|name| outside.journals.remove_entry(name));
    let journals = journals.collect();
    let (control, controls) = bounded(CONTROLS);
    let lease = Arc::new(outside.lease);
    let intake = Intake::new(
        lanes.intake,
        (plan.sources.view(), parts.pauses.view(&plan.names)),
        order_by(group),
        group.dedup.clone(),
        (group.retry.park_events, group.retry.park_bytes),
        plan.clock.clone(),
        Arc::clone(&plan.status),
    );
    let intake = match parts.aside {
        Some(aside) => intake.ending_at(aside.ends),
        None => intake,
    };
    let member = Member::new(
        control.clone(),
        parts.drain_timeout,
        (plan.clock.clone(), Arc::clone(&lease)),
        Arc::clone(&plan.status),
    );
    let settling = Settling {
        group: plan.id,
        routing: plan.sources.view(),
        pauses: parts.pauses.view(&plan.names),
        plugins: lanes.settling_plugins,
        lanes: lanes.settling,
        keeping: Keeping::here(Keeper {
            store: Arc::clone(&outside.store),
            journals,
        }),
        store: outside.store,
        sending: Sending::new(
            (outside.producer, plan.clock.clone()),
            outside.deliveries,
            parts.metrics.group(&group.id),
        ),
        metrics: parts.metrics.group(&group.id),
        status: Arc::clone(&plan.status),
        lease,
        clock: plan.clock,
        commit_interval: group.commit_interval,
        dedup_events_max: group.dedup.as_ref().map(|dedup| dedup.max_events),
        start_from: group.start_from,
        commit_map: group.commit_map,
        work: Work::default(),
    };
    Assembled {
        sources: plan.sources,
        lanes: lanes.own,
        intake,
        settling,
        settling_ends: SettlingEnds {
            lanes: lanes_answers,
            control: controls,
            commit_desk: CommitDesk::default(),
        },
        control,
        member,
        status: plan.status,
    }
}

/// The lanes of every plugin that the group has.
fn lanes(
    parts: &GroupParts<'_>,
    plan: &Plan,
    outside: &Outside,
    from_lanes: &Sender<FromLane>,
) -> Lanes {
    let mut lanes = Lanes::default();
    for (plugin_index, name) in plan.names.iter().enumerate() {
        let Some((versions, settings)) = parts.plugins.get(name) else {
            continue;
        };
        let ends = (outside.state.as_ref(), from_lanes);
        lanes.add_plugin(plugin_index, parts, plan, (versions, settings), ends);
        lanes.settling_plugins.push(SettlingPlugin {
            versions: Arc::clone(versions),
            state_granted: settings.grants.state,
            tallies_max: settings.limits.tallies,
            tick: settings.tick,
            outage: plan.outages[plugin_index].clone(),
            lanes: lanes.of_last_plugin(plugin_index),
        });
    }
    lanes
}

/// Opens the journals of plugins that have one.
///
/// # Errors
/// One is in use or cannot be written.
pub(super) fn open_journals(
    store: &SettleStore,
    plugins: &BTreeMap<String, (Arc<Versions>, config::Plugin)>,
) -> Result<BTreeMap<String, Journal>, StartError> {
    let mut journals = BTreeMap::new();
    for (name, (_, settings)) in plugins {
        if let Some(settings) = &settings.journal {
            journals.insert(name.clone(), open_journal(store, name, settings)?);
        }
    }
    Ok(journals)
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

/// The lanes of a group, as each of the other threads reaches them.
#[derive(Default)]
struct Lanes {
    own: Vec<OwnLane>,
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
        (store, from_lanes): (Option<&Arc<SettleStore>>, &Sender<FromLane>),
    ) {
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
            let state = store.filter(|_| settings.grants.state).map(|store| {
                let quota = StateQuota {
                    plugin: versions.plugin().into(),
                    bytes_max: settings.state_quota_bytes,
                };
                let ends = (Arc::clone(store), Arc::clone(&state_stored));
                LaneState::new(quota, ends, plan.clock.clone())
            });
            let lane = Lane::new(
                lane_settings(index, parts, plan, plugin_index),
                Called::new(Arc::clone(versions)),
                LaneEnds {
                    inbox: batches.clone(),
                    spent,
                    commands: orders.clone(),
                    settle: from_lanes.clone(),
                },
                Arc::clone(&gauge),
                plan.clock.clone(),
                parts
                    .metrics
                    .lane(&plan.id, versions.plugin(), index, settings.limits.series),
                state,
            );
            self.own.push(OwnLane {
                lane,
                gauge: Arc::clone(&gauge),
                inbox: batches,
                commands: orders,
            });
            let open = Batch::new(&plan.sources.view().now.table);
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
    }
}

fn plan(parts: &GroupParts<'_>, clock: Clock) -> Plan {
    let group = parts.group;
    let names: Vec<String> = group.plugins().into_iter().map(str::to_owned).collect();
    let outage = || Some(Arc::new(Outage::new(breaker(group.breaker.as_ref()?))));
    let status = Arc::default();
    Plan {
        id: group.id.as_str().into(),
        sources: Sources::new(
            group,
            &names,
            (&parts.output_partitions, &parts.preparations),
            &status,
        ),
        outages: names.iter().map(|_| outage()).collect(),
        names,
        clock,
        status,
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
    LaneSettings {
        index,
        group: Arc::clone(&plan.id),
        preparations: plan.sources.view().now.preparations.clone(),
        routing: plan.sources.view(),
        pauses: parts.pauses.view(&plan.names),
        dedup: group.dedup.clone(),
        retry: retry_policy(&group.retry),
        park_budget: (group.retry.park_events, group.retry.park_bytes),
        outage: plan.outages[plugin_index].clone(),
        dead_letter_topic: group.dead_letter.topic.clone(),
        dialect: group.dead_letter.dialect,
        message_bytes_max: parts.kafka.message_max_bytes,
        correlation: parts.correlation.clone(),
        encoding: encoding(parts, &plan.names[plugin_index]),
        taps: Arc::clone(plan.status.taps()),
        traces: parts.traces.clone(),
    }
}

/// How the outputs of a plugin are written.
fn encoding(parts: &GroupParts<'_>, plugin: &str) -> Encoding {
    let settings = parts.plugins.get(plugin).map(|(_, settings)| settings);
    let granted = settings.map(|settings| settings.grants.output_topics.as_slice());
    Encoding::new(&parts.encoders, granted.unwrap_or_default())
}

fn order_by(group: &config::Group) -> OrderBy {
    match group.ordering {
        config::Ordering::Partition => OrderBy::Partition,
        config::Ordering::Key => OrderBy::Key,
        config::Ordering::Unordered => OrderBy::Id,
    }
}
