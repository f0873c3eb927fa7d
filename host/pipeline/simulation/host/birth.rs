//! Putting a simulated host together, as `start.rs` does it with threads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, never};
use fastrand::Rng;

use super::super::plan::{Plan, TOPIC};
use super::super::plugin::{Plugin, RECORD_BYTES_MAX, SimulatedCallee};
use super::super::{DEAD_LETTERS, GROUP, PLUGIN};
use super::{Consumer, Disk, Host, Life, OwnLane, ROOM, Shared, Surroundings, Wire};
use crate::config::{self, IdSource, StartFrom};
use crate::delivery::retry::RetryPolicy;
use crate::kafka::consumer::MemberLimits;
use crate::pipeline::batch::Batch;
use crate::pipeline::intake::{Intake, IntakeLane, IntakePlugin, LANE_QUEUE_BATCHES};
use crate::pipeline::lane::{Called, Lane, LaneEnds, LaneGauge, LaneSettings};
use crate::pipeline::lease::Lease;
use crate::pipeline::member::Member;
use crate::pipeline::messages::FromLane;
use crate::pipeline::sending::Sending;
use crate::pipeline::settling::{CommitDesk, Settling, SettlingLane, SettlingPlugin, Work};
use crate::pipeline::status::GroupStatus;
use crate::pipeline::trial::Trial;
use crate::pipeline::versions::{Version, Versions};
use crate::sandbox::encode_topics;

/// Nothing is thought lost for the machine's own time, which plays no part.
const FOR_EVER: MemberLimits = MemberLimits {
    pause_ms: u64::MAX,
    max_poll_ms: u64::MAX,
};

/// Names of figures and sums: more than a simulated plugin uses.
const NAMES_MAX: usize = 1_000;

/// The lanes, as each part of the host reaches them.
#[derive(Default)]
struct Lanes {
    own: Vec<OwnLane>,
    intake: Vec<IntakeLane>,
    settling: Vec<SettlingLane>,
}

impl Host {
    /// Starts a life with what earlier ones left on the disk.
    pub(in super::super) fn start(
        around: &Arc<Surroundings>,
        life: Life,
        disk: &Shared<Disk>,
        random: &mut Rng,
    ) -> Self {
        let plan = &around.plan;
        let clock = around.clock();
        let table: Arc<[u8]> = encode_topics([TOPIC].into_iter()).into();
        let status = Arc::new(GroupStatus::default());
        let (answer, answers) = bounded(ROOM);
        let (control, controls) = bounded(ROOM);
        let refuse = plan.chances.send_fails;
        let wire = Wire::new(life, random.fork(), around, plan.producer_room, refuse);
        let wire = Arc::new(wire);
        let plugin = SimulatedCallee::new(Plugin::new(life, around, random.fork()));
        let first = Version::simulated(PLUGIN, plan.tick_ms.is_some(), Box::new(plugin.clone()));
        let trial = trial(around, &plugin);
        let versions = Arc::new(Versions::new(first).with_trial(trial));
        let lanes = lanes(around, &versions, &table, &answer);
        let lease = Arc::new(Lease::new(FOR_EVER));
        let mut settling = settling(
            around,
            &versions,
            lanes.settling,
            (disk, &wire),
            (&status, &lease),
        );
        settling.begin();
        let intake = Intake::new(
            vec![IntakePlugin {
                lanes: lanes.intake,
                paused: false,
                copies_paused: false,
                outage: None,
                resume_due: false,
            }],
            ([TOPIC.into()].into(), table),
            plan.order_by,
            dedup(plan),
            park_budget(plan),
            clock.clone(),
            Arc::clone(&status),
        );
        let drain_timeout = Duration::from_millis(plan.drain_timeout_ms);
        let member = Member::new(
            control,
            drain_timeout,
            (clock.clone(), Arc::clone(&lease)),
            status,
        );
        let consumer = Consumer::new(life, member, random.fork(), around, disk);
        Self {
            life,
            around: Arc::clone(around),
            random: random.fork(),
            next_settle: clock.instant(),
            clock,
            disk: Arc::clone(disk),
            wire,
            consumer,
            intake,
            versions,
            callee: plugin,
            lanes: lanes.own,
            answers,
            answered: VecDeque::new(),
            controls,
            settling,
            desk: CommitDesk::default(),
            leaving: None,
            over: false,
        }
    }
}

/// A canary, in half of the plans. It is the same plugin, so every promise holds for both together.
fn trial(around: &Surroundings, plugin: &SimulatedCallee) -> Option<Trial> {
    let plan = &around.plan;
    let settings = config::Trial {
        path: "next.wasm".into(),
        how: config::Try::Canary {
            share_of_a_million: plan.canary_of_a_million?,
        },
        promote_after: Some(plan.promote_after),
    };
    let first = Version::simulated(PLUGIN, plan.tick_ms.is_some(), Box::new(plugin.clone()));
    Some(Trial::new(
        settings,
        false,
        first,
        around.metrics.trial(PLUGIN),
    ))
}

fn lanes(
    around: &Surroundings,
    versions: &Arc<Versions>,
    table: &Arc<[u8]>,
    answer: &Sender<FromLane>,
) -> Lanes {
    let mut lanes = Lanes::default();
    for index in 0..around.plan.lanes {
        let (inbox, batches) = bounded(LANE_QUEUE_BATCHES);
        let (spent, empties) = bounded(LANE_QUEUE_BATCHES + 2);
        let (commands, orders) = bounded(ROOM);
        let gauge = Arc::new(LaneGauge::default());
        let ends = LaneEnds {
            inbox: batches.clone(),
            spent,
            commands: orders.clone(),
            settle: answer.clone(),
        };
        let lane = Lane::new(
            settings(index, &around.plan, table),
            Called::new(Arc::clone(versions)),
            ends,
            Arc::clone(&gauge),
            around.clock(),
            around.metrics.lane(GROUP, PLUGIN, index, NAMES_MAX),
            None,
        );
        lanes.own.push(OwnLane {
            lane,
            gauge: Arc::clone(&gauge),
            inbox: batches,
            commands: orders,
        });
        lanes.intake.push(IntakeLane {
            inbox,
            spent: empties,
            gauge: Arc::clone(&gauge),
            open: Batch::new(table),
        });
        lanes.settling.push(SettlingLane {
            commands,
            plugin_index: 0,
            state_stored: Arc::default(),
            gauge,
        });
    }
    lanes
}

fn settings(index: usize, plan: &Plan, table: &Arc<[u8]>) -> LaneSettings {
    LaneSettings {
        index,
        group: GROUP.into(),
        topics: [TOPIC.into()].into(),
        topic_table: Arc::clone(table),
        dedup: dedup(plan),
        retry: RetryPolicy {
            attempts_max: plan.attempts_max,
            backoff: plan.backoff.clone(),
            max_age_ms: plan.max_age_ms,
            max_park_ms: plan.max_park_ms,
            by_topic: false,
        },
        retry_topics: vec![None],
        park_budget: park_budget(plan),
        outage: None,
        dead_letter_topic: DEAD_LETTERS.to_owned(),
        dialect: config::Dialect::Millrace,
        message_bytes_max: RECORD_BYTES_MAX,
        output_partitions: BTreeMap::new(),
    }
}

fn settling(
    around: &Surroundings,
    versions: &Arc<Versions>,
    lanes: Vec<SettlingLane>,
    (disk, wire): (&Shared<Disk>, &Arc<Wire>),
    (status, lease): (&Arc<GroupStatus>, &Arc<Lease>),
) -> Settling {
    let plan = &around.plan;
    let plugin = SettlingPlugin {
        versions: Arc::clone(versions),
        state_granted: false,
        tallies_max: NAMES_MAX,
        tick: Duration::from_millis(plan.tick_ms.unwrap_or_default()),
        journal: None,
        outage: None,
        lanes: (0..lanes.len()).collect(),
    };
    Settling {
        group: GROUP.into(),
        topics: [TOPIC.into()].into(),
        routes: vec![0],
        retry_of: vec![None],
        plugins: vec![plugin],
        lanes,
        store: Box::new(Arc::clone(disk)),
        sending: Sending::new(
            (Box::new(Arc::clone(wire)), around.clock()),
            never(),
            around.metrics.group(GROUP),
        ),
        clock: around.clock(),
        metrics: around.metrics.group(GROUP),
        status: Arc::clone(status),
        lease: Arc::clone(lease),
        commit_interval: Duration::from_millis(plan.commit_interval_ms),
        dedup_events_max: plan.dedup_events_max,
        start_from: StartFrom::Earliest,
        commit_map: plan.commit_map,
        work: Work::default(),
    }
}

/// What one lane may hold back, in events and bytes.
fn park_budget(plan: &Plan) -> (usize, usize) {
    (plan.park_events, usize::MAX >> 8)
}

fn dedup(plan: &Plan) -> Option<config::Dedup> {
    plan.dedup_events_max.map(|max_events| config::Dedup {
        id: IdSource::ValueHash,
        // Record times are offsets, so no id is ever too old.
        window: Duration::from_secs(3_600),
        max_events,
        rebuild_timeout: Duration::MAX,
    })
}
