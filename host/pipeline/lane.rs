//! A lane: one thread with its own plugin instance. It admits events, runs them, and judges what they came
//! to; what has to wait, waits in [`waiting`]. An event belongs to exactly one lane, so nothing here is shared or locked.

mod call;
mod callee;
mod check;
mod compare;
mod encoding;
mod gauge;
mod given_up;
mod judge;
mod outputs;
mod paused;
mod preparing;
mod spans;
mod tapped;
mod trying;
mod waiting;
mod windows;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, select};

pub(crate) use self::callee::{Called, Callee, CalleeInstance, not_made};
pub(crate) use self::check::{OutputPartitions, refused_output};
pub(crate) use self::encoding::Encoding;
pub(crate) use self::gauge::LaneGauge;
use self::given_up::Lines;
use self::paused::UNTIL_RESUMED;
use self::spans::Spans;
use self::trying::Trying;
use super::assignment::Assignment;
use super::batch::{Batch, EventKind, OwnedEvent};
use super::clock::Clock;
use super::lane_state::LaneState;
use super::messages::{FromLane, Settlement, ToLane};
use super::outage::Outage;
use super::pauses::PauseView;
use super::routing::RoutingView;
use super::tally_names::KnownTallies;
use super::tap::Taps;
use crate::config;
use crate::delivery::dedup::Window;
use crate::delivery::lanes::GroupMap;
use crate::delivery::ledger::Settled;
use crate::delivery::park::{Allowance, Park};
use crate::delivery::restarts::Restarts;
use crate::delivery::retry::{Millis, RetryPolicy};
use crate::delivery::trial::Record;
use crate::sandbox::{Problem, Transcript};
use crate::schema::Preparation;
use crate::telemetry::metrics::LaneMetrics;
use crate::telemetry::traces::Traces;

/// Events of one batch at most. Past this the cost of a call is spread thin enough, and a lone slow event
/// would hold up too many others.
pub(crate) const BATCH_EVENTS_MAX: usize = 512;

/// Bytes of one batch at most, so that it stays in the second-level cache while it is copied and read.
pub(crate) const BATCH_BYTES_MAX: usize = 256 << 10;

/// How long a call should take at most; the size of batches follows it.
const CALL_GOAL: Duration = Duration::from_millis(20);

/// A lane that holds back more than so many quarters of its budget evicts. Partitions pause when it is full,
/// and keys that are well should not have to wait for keys that are not.
pub(crate) const PRESSED_QUARTERS: usize = 3;

/// Settlements that may wait for the settling thread, for each lane. Enough that a sync of the disk does
/// not stop a lane at once.
pub(crate) const SETTLEMENTS_PER_LANE: usize = 64;

/// Bytes of a settlement that take a further place in that queue: what a plugin may write for each event, in every
/// place, would be a quarter of a gigabyte. Those of ordinary batches take one place.
const SETTLEMENT_PLACE_BYTES: usize = 256 << 10;

/// How long an idle lane sleeps when nothing is due. It wakes earlier for anything sent to it.
pub(super) const IDLE: Duration = Duration::from_secs(1);

/// What is known of an event before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It is new and may run.
    No,
    /// Its id, or the event itself, was settled before.
    Yes,
    /// Its key waits for a retry.
    Held,
    /// An operator has paused it, or one before it that it keeps its order with.
    Paused,
    /// It came back from a retry topic before its time.
    Early(Millis),
    /// Its partition was taken away.
    Revoked,
}

/// An event that has its turn after the batch that it stood in, and why.
type Later = (Known, OwnedEvent);

/// What a lane needs to know, fixed for its life but for the topics.
#[derive(Debug)]
pub(crate) struct LaneSettings {
    pub(crate) index: usize,
    pub(crate) group: Arc<str>,
    pub(crate) routing: RoutingView,
    pub(crate) pauses: PauseView,
    /// By place of the source: what is done with each event before the plugin is called. Empty where nothing is.
    pub(crate) preparations: Vec<Option<Preparation>>,
    pub(crate) dedup: Option<config::Dedup>,
    pub(crate) retry: RetryPolicy,
    /// Events and bytes that the lane may hold back.
    pub(crate) park_budget: (usize, usize),
    pub(crate) outage: Option<Arc<Outage>>,
    pub(crate) dead_letter_topic: String,
    pub(crate) dialect: config::Dialect,
    pub(crate) message_bytes_max: usize,
    pub(crate) correlation: config::Correlation,
    /// How outputs are written to topics that ask for a schema.
    pub(crate) encoding: Encoding,
    pub(crate) taps: Arc<Taps>,
    /// Where spans are recorded; none where tracing is off.
    pub(crate) traces: Option<Traces>,
}

/// An event that has failed before.
#[derive(Debug, Clone)]
struct FailedBefore {
    /// When it failed first, in milliseconds since the Unix epoch.
    first_ms: u64,
    /// Since when it holds its key, by the clock that stands still during outages.
    holds_since: Millis,
    /// The next attempt is not made before this.
    not_before: Millis,
    /// What it said the last time, where that was here.
    problem: Option<Problem>,
    /// Whether it waits for something that it is decoded by, which is no reason to give it up.
    not_ready: bool,
    /// Whether it waits for the end of a pause.
    paused: bool,
}

/// How a lane is reached, and where it answers.
#[derive(Debug)]
pub(crate) struct LaneEnds {
    pub(crate) inbox: Receiver<Batch>,
    /// Empty batches go back, so that their memory is used again.
    pub(crate) spent: Sender<Batch>,
    pub(crate) commands: Receiver<ToLane>,
    pub(crate) settle: Sender<FromLane>,
}

/// One lane, on its thread.
#[derive(Debug)]
pub(crate) struct Lane {
    settings: LaneSettings,
    ends: LaneEnds,
    gauge: Arc<LaneGauge>,
    clock: Clock,
    metrics: LaneMetrics,
    called: Called,
    /// A candidate for the next version, where one is tried.
    trying: Option<Trying>,
    state: Option<LaneState>,
    restarts: Restarts,
    known_tallies: KnownTallies,
    park: Park<OwnedEvent>,
    /// Events and bytes in the park that came from a retry topic.
    copies: (usize, usize),
    /// Ids settled lately, or running now.
    windows: Vec<(Arc<Assignment>, Window)>,
    /// Where the window of each assignment of the batch stands.
    window_of: Vec<usize>,
    /// What is known of each event of the current batch.
    known: Vec<Known>,
    /// Events that wait for another attempt, by assignment and number.
    failed_before: HashMap<(u64, u64), FailedBefore>,
    /// Keys whose failures say nothing new about an outage, and the breaker's times closed as of them.
    failing_keys: (GroupMap<Millis>, u64),
    /// Events that went well in the lane's life.
    well: u64,
    /// Events that were judged, and those that failed at their first attempt.
    record: Record,
    /// Whether events of the current batch have waited here; others cannot have failed before.
    waited: bool,
    /// What the host answered in the call whose event is judged now, where that is recorded. Only a dead letter has it
    /// written down.
    told: Option<Transcript>,
    /// Whether the one event that runs now probes whether an outage is over.
    probing: bool,
    random: fastrand::Rng,
    spans: Option<Spans>,
    given_up_lines: Lines,
}

impl Lane {
    pub(crate) fn new(
        settings: LaneSettings,
        called: Called,
        ends: LaneEnds,
        gauge: Arc<LaneGauge>,
        clock: Clock,
        mut metrics: LaneMetrics,
        state: Option<LaneState>,
    ) -> Self {
        let version = called.version();
        metrics.set_version(version.labels());
        let events = call::events_at_first(version);
        gauge.events_limit.store(events, Ordering::Relaxed);
        let trying = Trying::of(called.versions(), &metrics);
        let spans = settings.traces.as_ref().map(Spans::new);
        Self {
            settings,
            ends,
            gauge,
            clock,
            metrics,
            called,
            trying,
            state,
            restarts: Restarts::default(),
            known_tallies: KnownTallies::default(),
            park: Park::default(),
            copies: (0, 0),
            windows: Vec::new(),
            window_of: Vec::new(),
            known: Vec::new(),
            failed_before: HashMap::new(),
            failing_keys: (GroupMap::default(), 0),
            waited: false,
            well: 0,
            record: Record::default(),
            told: None,
            probing: false,
            random: fastrand::Rng::new(),
            spans,
            given_up_lines: Lines::default(),
        }
    }

    /// What it knows of its plugin's state; none where that is not granted.
    pub(super) fn state(&self) -> Option<&LaneState> {
        self.state.as_ref()
    }

    /// When it may be found out next whether an outage is over; none where there is none.
    pub(super) fn next_probe(&self) -> Option<Millis> {
        self.settings.outage.as_ref()?.next_probe()
    }

    /// Works until the group lets go of the lane.
    pub(crate) fn run(mut self) {
        loop {
            let idle = self.run_what_waited();
            select! {
                recv(self.ends.commands) -> command => match command {
                    Ok(command) => self.obey(command),
                    Err(_) => return,
                },
                recv(self.ends.inbox) -> batch => match batch {
                    Ok(batch) => {
                        // A partition may have gone and come back since: its fence comes before its new events.
                        while let Ok(command) = self.ends.commands.try_recv() {
                            self.obey(command);
                        }
                        self.take_in(batch);
                    }
                    // The polling thread has gone; commands may still follow.
                    Err(_) => match self.ends.commands.recv() {
                        Ok(command) => self.obey(command),
                        Err(_) => return,
                    },
                },
                default(idle) => {}
            }
        }
    }

    /// Does what the settling thread has told it.
    pub(super) fn obey(&mut self, command: ToLane) {
        match command {
            ToLane::Tick(job) => self.tick(job),
            ToLane::Fence(fence) => self.fence(&fence),
        }
    }

    /// The path of a fresh batch through the lane.
    pub(super) fn take_in(&mut self, mut batch: Batch) {
        self.take_up_topics();
        self.take_up_pauses();
        self.take_up_versions();
        let mut settlement = Settlement::default();
        self.waited = !batch.come_back.is_empty();
        let later = self.admit(&mut batch, &mut settlement);
        if self.events_wait() {
            self.park_part(&batch, 0..batch.len(), &mut settlement);
        } else if !batch.is_empty() {
            self.handle(&mut batch, &mut settlement);
        }
        self.settle_later(later, &mut settlement);
        self.hand_over(&batch, settlement);
        batch.begin(&self.settings.routing.now.table);
        // A full pool means that enough batches wait already; this one is dropped.
        let _pooled = self.ends.spent.try_send(batch);
    }

    /// Looks between two batches whether the group reads other topics.
    fn take_up_topics(&mut self) {
        let settings = &mut self.settings;
        if settings.routing.refresh() {
            settings
                .preparations
                .clone_from(&settings.routing.now.preparations);
        }
    }

    /// Drops what needs no call: what was taken away, what was settled before, and what waits behind its
    /// key. Returns the events whose id is already known, and those that are paused: before them events of this
    /// very batch may run that they repeat, or wait behind, so they have their turn after it.
    fn admit(&mut self, batch: &mut Batch, settlement: &mut Settlement) -> Vec<Later> {
        self.note_come_back(batch);
        self.remember_ids(batch);
        let Self { park, known, .. } = self;
        let (mut later, mut held) = (Vec::new(), Vec::new());
        batch.retain(|batch, index| {
            let meta = batch.events[index];
            if known[index] == Known::No {
                return true;
            }
            let event = batch.view(index);
            let mut settle = |settled| {
                settlement.settle(meta.assignment, settled, meta.seq, meta.offset);
            };
            match (known[index], meta.kind) {
                (_, EventKind::Seen) => {}
                (Known::Revoked, _) => settle(Settled::Abandoned),
                (_, EventKind::Recovered) => settle(Settled::Recovered),
                (Known::Held | Known::Early(_), EventKind::New) => {
                    if let Known::Early(due) = known[index] {
                        park.park(meta.group, due, Allowance::ONE);
                    }
                    held.push(batch.take_out(index, event.attempt()));
                }
                (known, EventKind::New) => {
                    later.push((known, batch.take_out(index, event.attempt())));
                }
            }
            false
        });
        for event in held {
            settlement.parked.push((event.meta.assignment, 1));
            self.push(event.meta.group, event);
        }
        later
    }

    /// Looks every id up and remembers it, before anything else is done with the batch. An event that will
    /// run again forgets its id when it is put back.
    fn remember_ids(&mut self, batch: &Batch) {
        self.approach_windows(batch);
        let mut pausing = self.pausing();
        let Self {
            park,
            windows,
            window_of,
            known,
            failed_before,
            clock,
            ..
        } = self;
        let now = clock.now();
        let latest_ms = clock.wall_ms() as i64 + check::TIMESTAMP_AHEAD_MAX_MS;
        known.clear();
        for meta in &batch.events {
            let assignment = batch.assignment_of(*meta);
            if assignment.is_revoked() {
                known.push(Known::Revoked);
                continue;
            }
            let settled_before = meta.kind != EventKind::New;
            let held = park.holds(meta.group);
            #[cfg(feature = "sabotage")]
            let held = held && !crate::sabotage::does("ignore-key-order");
            if !settled_before && held {
                known.push(Known::Held);
                continue;
            }
            if let Some(pausing) = &mut pausing
                && !settled_before
                && pausing.holds_in_batch(&batch.view(known.len()), meta.group)
            {
                if let Some(failed) = failed_before.get_mut(&(assignment.id, meta.seq)) {
                    failed.paused = true;
                }
                known.push(Known::Paused);
                continue;
            }
            if !failed_before.is_empty()
                && assignment.retry_of.is_some()
                && let Some(failed) = failed_before.get(&(assignment.id, meta.seq))
                && failed.not_before > now
            {
                known.push(Known::Early(failed.not_before));
                continue;
            }
            let (Some(at), Some(id)) = (window_of.get(meta.assignment as usize), meta.id) else {
                known.push(if settled_before {
                    Known::Yes
                } else {
                    Known::No
                });
                continue;
            };
            // A record from the future must not make everything before it look old.
            let record_ms = batch.record_ms(known.len()).min(latest_ms);
            let new = windows[*at].1.insert(id, record_ms);
            known.push(if new && !settled_before {
                Known::No
            } else {
                Known::Yes
            });
        }
    }

    /// An event whose id is known is a duplicate, unless the event that has it is held back: then it
    /// waits behind it. One that is paused waits in any case.
    fn settle_later(&mut self, later: Vec<Later>, settlement: &mut Settlement) {
        for (known, event) in later {
            let meta = event.meta;
            if known == Known::Paused && !self.park.holds(meta.group) {
                self.park.park(meta.group, UNTIL_RESUMED, Allowance::ALL);
            }
            if self.park.holds(meta.group) {
                self.push(meta.group, event);
                settlement.parked.push((meta.assignment, 1));
            } else {
                settlement.settle(meta.assignment, Settled::Duplicate, meta.seq, meta.offset);
                if self.is_watched() {
                    self.show(event.view(), "duplicate", None);
                }
            }
        }
    }

    pub(super) fn hand_over(&mut self, batch: &Batch, mut settlement: Settlement) {
        let (parked, copies) = (self.parked(), self.copies);
        self.gauge.parked_events.store(parked.0, Ordering::Relaxed);
        self.gauge.parked_bytes.store(parked.1, Ordering::Relaxed);
        self.gauge.copies_events.store(copies.0, Ordering::Relaxed);
        self.gauge.copies_bytes.store(copies.1, Ordering::Relaxed);
        let due = self.park.next_due().filter(|due| *due < UNTIL_RESUMED);
        let due = due.map_or(0, |due| due.0 + 1);
        self.gauge.next_due_ms.store(due, Ordering::Relaxed);
        self.metrics
            .dedup_window(self.windows.iter().map(|(_, window)| window.len()).sum());
        self.metrics.park_used(self.park_used());
        if settlement.is_empty() {
            return;
        }
        settlement.assignments.clone_from(&batch.assignments);
        if let Some(state) = self.state.as_mut().filter(|_| !settlement.state.is_empty()) {
            settlement.state_serial = state.seal();
        }
        // The settling thread outlives its lanes; a closed channel means that the process is ending.
        for _ in 0..(settlement.bytes() / SETTLEMENT_PLACE_BYTES).min(SETTLEMENTS_PER_LANE - 1) {
            let _ended = self.ends.settle.send(FromLane::Place);
        }
        let _ended = self
            .ends
            .settle
            .send(FromLane::Settlement(self.settings.index, settlement));
    }
}
