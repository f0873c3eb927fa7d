//! Starting a group: its store, its journals, and a thread for each of its parts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::bounded;

use super::assembly::{Assembled, Outside, assemble, open_journals};
use super::clock::Clock;
use super::lease::Lease;
use super::outside::{Outlet, Producer};
use super::pauses::PauseDesk;
use super::rebuild::Rebuilds;
use super::versions::Versions;
use super::{Group, GroupStatus, poll};
use crate::config;
use crate::delivery::offsets::Offset;
use crate::kafka::KafkaError;
use crate::kafka::consumer::{GroupConsumer, MemberLimits};
use crate::kafka::producer::GroupProducer;
use crate::schema::Preparation;
use crate::schema::confluent::Encoders;
use crate::store::{JournalError, SettleStore, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Traces;

/// Deliveries that may wait for the settling thread. Past this librdkafka's own thread waits.
const DELIVERIES: usize = 65_536;

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
    /// How outputs are tied to their events.
    pub correlation: &'a config::Correlation,
    /// What is done with each event of a source topic before its plugin is called, where anything is.
    pub preparations: BTreeMap<String, Preparation>,
    /// What outputs are written by, where their topic asks for a schema.
    pub encoders: Encoders,
    /// What an operator has paused of it.
    pub pauses: Arc<PauseDesk>,
    /// Longest time for finishing what is in flight.
    pub drain_timeout: Duration,
    /// Where its figures go.
    pub metrics: &'a Metrics,
    /// A part of its topics only, whose records go elsewhere; none for a group that serves.
    pub(crate) aside: Option<Aside<'a>>,
    /// Where its spans go; none where tracing is off.
    pub traces: Option<Traces>,
}

/// What is different about a group that runs a range of events again, beside the one that serves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aside<'a> {
    /// Where its records go.
    pub(crate) outlet: &'a dyn Outlet,
    /// The offset behind the last record that it takes, by topic and partition.
    pub(crate) ends: &'a Ends,
}

/// Offsets behind the last record that is taken, by topic and partition.
pub(crate) type Ends = BTreeMap<(String, i32), Offset>;

impl Group {
    /// Opens the store and the journals, starts the threads and joins the consumer group.
    ///
    /// # Errors
    /// Says what is missing or in use. Nothing has been consumed then.
    pub fn start(parts: &GroupParts<'_>) -> Result<Self, StartError> {
        let store = Arc::new(SettleStore::open(&parts.group.store)?);
        let (deliver, deliveries) = bounded(DELIVERIES);
        let producer: Box<dyn Producer> = match parts.aside {
            Some(aside) => aside.outlet.open(deliver)?,
            None => Box::new(GroupProducer::start(parts.kafka, deliver)?),
        };
        let outside = Outside {
            clock: Clock::start(),
            journals: open_journals(&store, &parts.plugins)?,
            state: Some(Arc::clone(&store)),
            store,
            producer,
            deliveries,
            lease: Lease::new(MemberLimits::new(parts.kafka)),
        };
        start_threads(parts, assemble(parts, outside))
    }
}

fn start_threads(parts: &GroupParts<'_>, group: Assembled) -> Result<Group, StartError> {
    let Assembled {
        sources,
        lanes,
        intake,
        mut settling,
        settling_ends,
        control,
        member,
        status,
    } = group;
    let settings = parts.group;
    let lanes = lanes.into_iter().map(|own| {
        let lane = own.lane;
        let stack = Some(LANE_STACK_BYTES);
        named("lane", stack, &status, move || lane.run())
    });
    let lanes = lanes.collect::<Result<_, _>>()?;
    let commit_desk = Arc::clone(&settling_ends.commit_desk);
    let keeper = settling
        .keeping
        .give_thread()
        .map(|(keeper, work, answers)| {
            named("keeper", None, &status, move || keeper.run(&work, &answers))
        });
    let keeper = keeper.transpose()?;
    let settling = named("settle", None, &status, move || {
        settling.run(&settling_ends)
    })?;
    let routing = sources.view();
    let consumer = GroupConsumer::join(parts.kafka, &settings.id, &routing.now.subscribed, member)?;
    if routing.now.subscribed.is_empty() {
        // There is nothing that could be assigned.
        status.set_joined();
    }
    let rebuild_timeout = settings.dedup.as_ref().map(|dedup| dedup.rebuild_timeout);
    let rebuilds = Rebuilds::new(rebuild_timeout.unwrap_or_default());
    let stop = Arc::new(AtomicBool::new(false));
    let poll = named("poll", None, &status, {
        let stop = Arc::clone(&stop);
        move || {
            let ends = (&commit_desk, &control);
            poll(consumer, intake, rebuilds, routing, ends, &stop);
        }
    })?;
    Ok(Group {
        id: settings.id.clone(),
        sources,
        pauses: Arc::clone(&parts.pauses),
        status,
        stop,
        poll,
        settling,
        keeper,
        lanes,
    })
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
