//! Putting a simulated host together: what its plan says, as the configuration would say it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::never;
use fastrand::Rng;

use super::super::decoder::SimulatedDecoder;
use super::super::plan::{Plan, TOPIC};
use super::super::plugin::{Plugin, RECORD_BYTES_MAX, SimulatedCallee};
use super::super::{DEAD_LETTERS, GROUP, PLUGIN};
use super::{Consumer, Disk, Host, Life, Operator, Shared, Surroundings, Wire};
use crate::config::{self, IdSource, StartFrom};
use crate::delivery::lanes::OrderBy;
use crate::kafka::consumer::MemberLimits;
use crate::pipeline::GroupParts;
use crate::pipeline::assembly::{Outside, assemble};
use crate::pipeline::by_hand::ByHand;
use crate::pipeline::lease::Lease;
use crate::pipeline::outside::Store;
use crate::pipeline::trial::Trial;
use crate::pipeline::versions::{Version, Versions};
use crate::schema::Preparation;

/// Names of figures and sums: more than a simulated plugin uses.
const NAMES_MAX: usize = 1_000;

impl Host {
    /// Starts a life with what earlier ones left on the disk.
    pub(in super::super) fn start(
        around: &Arc<Surroundings>,
        life: Life,
        disk: &Shared<Disk>,
        random: &mut Rng,
    ) -> Self {
        let plan = &around.plan;
        let refuse = plan.chances.send_fails;
        let wire = Wire::new(life, random.fork(), around, plan.producer_room, refuse);
        let wire = Arc::new(wire);
        let plugin = SimulatedCallee::new(Plugin::new(life, around, random.fork()));
        let decoder = SimulatedDecoder::new(life, around, random.fork());
        let preparation = Preparation::new(Some(Arc::new(decoder)), None);
        let preparation = preparation.filter(|_| plan.decodes);
        let preparation = preparation.map(|preparation| (TOPIC.to_owned(), preparation));
        let first = Version::simulated(PLUGIN, plan.tick_ms.is_some(), Box::new(plugin.clone()));
        let trial = trial(around, &plugin);
        let versions = Arc::new(Versions::new(first).with_trial(trial));
        let settings = (Arc::clone(&versions), plugin_settings(plan));
        let operator = Operator::new(life, random.fork(), around);
        let correlation = config::Correlation::default();
        let parts = GroupParts {
            group: &group(plan),
            kafka: &config::Kafka {
                message_max_bytes: RECORD_BYTES_MAX,
                ..config::Kafka::at("")
            },
            plugins: BTreeMap::from([(PLUGIN.to_owned(), settings)]),
            output_partitions: BTreeMap::new(),
            correlation: &correlation,
            preparations: preparation.into_iter().collect(),
            encoders: BTreeMap::new(),
            pauses: Arc::clone(&operator.desk),
            drain_timeout: Duration::from_millis(plan.drain_timeout_ms),
            metrics: &around.metrics,
            aside: None,
            traces: None,
        };
        let outside = Outside {
            clock: around.clock(),
            store: Arc::clone(disk) as Arc<dyn Store>,
            state: None,
            journals: BTreeMap::new(),
            producer: Box::new(Arc::clone(&wire)),
            deliveries: never(),
            lease: Lease::new(MemberLimits::FOR_EVER),
        };
        let parts = assemble(&parts, outside);
        let consumer = Consumer::new(life, parts.member, random.fork(), around, disk);
        Self {
            life,
            around: Arc::clone(around),
            random: random.fork(),
            group: ByHand::new(
                parts.lanes,
                parts.intake,
                parts.settling,
                parts.settling_ends,
            ),
            disk: Arc::clone(disk),
            wire,
            consumer,
            operator,
            versions,
            callee: plugin,
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
        origin: config::Origin::default(),
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

fn plugin_settings(plan: &Plan) -> config::Plugin {
    config::Plugin {
        tick: Duration::from_millis(plan.tick_ms.unwrap_or_default()),
        limits: config::Limits {
            series: NAMES_MAX,
            tallies: NAMES_MAX,
            ..config::Limits::default()
        },
        ..config::Plugin::of_component(PathBuf::new())
    }
}

fn group(plan: &Plan) -> config::Group {
    config::Group {
        id: GROUP.to_owned(),
        routes: BTreeMap::from([(TOPIC.to_owned(), config::Route::to(PLUGIN))]),
        patterns: Vec::new(),
        ordering: match plan.order_by {
            OrderBy::Partition => config::Ordering::Partition,
            OrderBy::Key => config::Ordering::Key,
            OrderBy::Id => config::Ordering::Unordered,
        },
        concurrency: plan.lanes,
        dedup: dedup(plan),
        retry: config::Retry {
            attempts: plan.attempts_max,
            initial: Duration::from_millis(plan.backoff.initial_ms),
            factor: plan.backoff.factor,
            max: Duration::from_millis(plan.backoff.max_ms),
            jitter: plan.backoff.jitter,
            mode: config::RetryMode::Park,
            topics: BTreeMap::new(),
            topic_name: None,
            retention: Duration::MAX,
            max_age: Duration::from_millis(plan.max_age_ms),
            max_park: Duration::from_millis(plan.max_park_ms),
            park_events: plan.park_events,
            park_bytes: usize::MAX >> 8,
        },
        breaker: None,
        dead_letter: config::DeadLetter {
            topic: DEAD_LETTERS.to_owned(),
            dialect: config::Dialect::Millrace,
            partitions: None,
            retention: None,
        },
        store: PathBuf::new(),
        commit_interval: Duration::from_millis(plan.commit_interval_ms),
        commit_map: plan.commit_map,
        start_from: StartFrom::Earliest,
    }
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
