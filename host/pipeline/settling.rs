//! The settling thread of a group: keeps the books, makes effects durable, and says what may be committed.
//!
//! Order of a settle: records are acknowledged, journals are synced, the store's transaction is durable,
//! and only then the offsets are offered for commit. The disk is the keeper's: meanwhile records are sent and
//! acknowledged, and the next settle gathers.

mod drain;
mod drawing;
mod durable;
mod progress;
mod take_up;
mod ticks;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, select};

use self::drain::Drain;
use self::durable::UnderWay;
use super::assignment::Assignment;
use super::books::Books;
use super::clock::Clock;
use super::keeper::Keeping;
use super::lane::LaneGauge;
use super::lease::Lease;
use super::messages::{Control, FromLane, Settlement, ToLane};
use super::outage::Outage;
use super::outside::Store;
use super::pauses::PauseView;
use super::routing::RoutingView;
use super::sending::{Sending, WaitedForBy};
use super::status::GroupStatus;
use super::versions::Versions;
use crate::delivery::ledger::{Ledger, Settled};
use crate::delivery::retry::Millis;
use crate::kafka::consumer::Commit;
use crate::kafka::producer::Delivery;
use crate::store::{Emission, Settle};
use crate::telemetry::metrics::GroupMetrics;

/// Bytes of records that may wait for the broker before lanes have to wait too.
const UNACKNOWLEDGED_BYTES_MAX: usize = 64 << 20;

/// Settlements that may wait for their records, over all lanes.
const WAITING_SETTLEMENTS_MAX: usize = 1_024;

/// Bytes of effects that may wait for records or for the next transaction: far more than ordinary handlers make in a
/// commit interval, and no more than a host can hold for each group.
const EFFECT_BYTES_MAX: usize = 32 << 20;

/// One plugin of the group, as the settling thread needs it.
#[derive(Debug)]
pub(crate) struct SettlingPlugin {
    pub(crate) versions: Arc<Versions>,
    pub(crate) tick: Duration,
    pub(crate) outage: Option<Arc<Outage>>,
    /// Whether a version of it may use state.
    pub(crate) state_granted: bool,
    /// Named sums that a partition may have.
    pub(crate) tallies_max: usize,
    /// The lanes of this plugin.
    pub(crate) lanes: Vec<usize>,
}

impl SettlingPlugin {
    fn outage_is_open(&self) -> bool {
        self.outage.as_deref().is_some_and(Outage::is_open)
    }
}

/// One lane, as the settling thread reaches it.
#[derive(Debug)]
pub(crate) struct SettlingLane {
    pub(crate) commands: Sender<ToLane>,
    pub(crate) plugin_index: usize,
    /// The last serial of state writes that the store has.
    pub(crate) state_stored: Arc<AtomicU64>,
    pub(crate) gauge: Arc<LaneGauge>,
}

/// What the polling thread is asked to commit, by assignment.
pub(crate) type CommitDesk = Arc<Mutex<BTreeMap<u64, Commit>>>;

/// The settling thread's ends of its channels.
#[derive(Debug)]
pub(crate) struct SettlingEnds {
    pub(crate) lanes: Receiver<FromLane>,
    pub(crate) control: Receiver<Control>,
    pub(crate) commit_desk: CommitDesk,
}

#[derive(Debug)]
struct Waiting {
    serial: u64,
    unacknowledged: usize,
    /// What its effects take, in bytes.
    bytes: usize,
    settlement: Settlement,
}

/// The settling thread.
#[derive(Debug)]
pub(crate) struct Settling {
    pub(crate) group: Arc<str>,
    pub(crate) routing: RoutingView,
    pub(crate) pauses: PauseView,
    pub(crate) plugins: Vec<SettlingPlugin>,
    pub(crate) lanes: Vec<SettlingLane>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keeping: Keeping,
    pub(crate) sending: Sending,
    pub(crate) metrics: GroupMetrics,
    pub(crate) status: Arc<GroupStatus>,
    pub(crate) lease: Arc<Lease>,
    pub(crate) clock: Clock,
    pub(crate) commit_interval: Duration,
    pub(crate) dedup_events_max: Option<usize>,
    pub(crate) start_from: crate::config::StartFrom,
    /// Whether commits say what is settled above them.
    pub(crate) commit_map: bool,
    pub(crate) work: Work,
}

/// What the settling thread has in hand.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(super) books: BTreeMap<u64, Books>,
    /// Settlements in the order of their lane, which is the order of their effects.
    waiting: Vec<VecDeque<Waiting>>,
    /// What the effects of those take, in bytes.
    waiting_bytes: usize,
    next_serial: u64,
    next_assignment: u64,
    next_emission: u64,
    /// What the next transaction holds, apart from the rows of the books.
    pending: Settle,
    /// Lines that go to journals before it, by plugin.
    pending_lines: Vec<(usize, Vec<u8>)>,
    /// What its state and those lines take, in bytes.
    pending_bytes: usize,
    /// State serials that the next transaction covers, by lane.
    pending_serials: HashMap<usize, u64>,
    /// Emissions that become durable with the next transaction and are sent after it.
    unsent: Vec<(u64, Emission)>,
    /// Emissions that the broker has, whose row can go.
    sent: Vec<(u64, u64)>,
    /// What follows once the keeper has answered.
    under_way: Option<UnderWay>,
    /// Whether an interval has passed while the keeper worked.
    overdue: bool,
    /// What is durable and may be committed, by assignment.
    committable: Vec<(u64, Commit)>,
    drain: Option<Drain>,
    next_drain: u64,
    totals: BTreeMap<(Arc<str>, i32), Ledger>,
    failing: bool,
    /// When the group was last drawn for whoever looks.
    drawn: Option<Millis>,
    reported: Option<Instant>,
}

/// What the settling thread was woken by, and has not looked at yet.
enum Arrived {
    FromLane(FromLane),
    Delivery(Delivery),
}

impl Settling {
    /// Works until it is told to stop. Returns what became of every event, by topic and partition.
    pub(crate) fn run(mut self, ends: &SettlingEnds) -> BTreeMap<(Arc<str>, i32), Ledger> {
        self.begin();
        let deliveries = self.sending.deliveries().clone();
        let (nothing, no_deliveries) = (never(), never());
        let mut kept = self.keeping.answers();
        let mut next_settle = self.clock.instant() + self.commit_interval;
        let mut arrived = None;
        loop {
            // The process may have stood still since it arrived, so it is taken up after that look only.
            match arrived.take_if(|_| !self.thought_lost()) {
                Some(Arrived::FromLane(message)) => self.take_message(message),
                Some(Arrived::Delivery(delivery)) => self.delivered(delivery),
                None => {}
            }
            let now = self.clock.instant();
            if (now >= next_settle || self.has_enough()) && !self.thought_lost() {
                next_settle = now + self.commit_interval;
                self.settle_and_offer(now, &ends.commit_desk);
            }
            self.drain_further();
            let held = arrived.is_some() || self.thought_lost();
            let lanes = if held || self.overfull() {
                &nothing
            } else {
                &ends.lanes
            };
            let deliveries = if held { &no_deliveries } else { &deliveries };
            let wake = self
                .drain_deadline()
                .map_or(next_settle, |deadline| next_settle.min(deadline));
            select! {
                recv(lanes) -> message => arrived = message.ok().map(Arrived::FromLane),
                recv(deliveries) -> delivery => arrived = delivery.ok().map(Arrived::Delivery),
                recv(kept) -> answer => match answer {
                    Ok(answer) => self.kept_and_offer(answer, &ends.commit_desk),
                    // Its thread has ended, and with it the group.
                    Err(_) => kept = never(),
                },
                recv(ends.control) -> control => match control {
                    Ok(Control::Stop) | Err(_) => break,
                    Ok(control) => self.control(control),
                },
                default(wake.saturating_duration_since(self.clock.instant())) => {}
            }
        }
        self.finish()
    }

    /// What is done before the first message.
    pub(super) fn begin(&mut self) {
        self.work.waiting = self.lanes.iter().map(|_| VecDeque::new()).collect();
        self.work.next_emission = self.store.next_emission().unwrap_or_else(|error| {
            tracing::error!(%error, "the settle store cannot be read");
            // Numbers only have to be new; the clock has passed every number that was counted up.
            self.clock.wall_ms()
        });
    }

    /// What is done each `commit_interval`.
    pub(super) fn settle_and_offer(&mut self, now: Instant, desk: &CommitDesk) {
        self.sending.resend_due(now);
        self.start_ticks(now);
        self.begin_settle();
        self.offer_commits(desk);
        self.check_ledgers();
        self.watch_progress();
        self.draw();
    }

    /// What is done after the last message.
    pub(super) fn finish(mut self) -> BTreeMap<(Arc<str>, i32), Ledger> {
        // The answer to the last commit has arrived meanwhile.
        self.settle();
        for (_, books) in std::mem::take(&mut self.work.books) {
            self.close(books);
        }
        self.work.totals
    }

    /// Whether another member may have everything already. The polling thread gives it up in a moment, and
    /// until then nothing may be sent or settled; then the drain takes out what is lost.
    fn thought_lost(&self) -> bool {
        self.work.drain.is_none() && self.lease.ran_out().is_some()
    }

    /// Whether lanes have to wait: that is how a slow broker reaches the consumer.
    pub(super) fn overfull(&self) -> bool {
        let waiting: usize = self.work.waiting.iter().map(VecDeque::len).sum();
        self.work.failing
            || waiting >= WAITING_SETTLEMENTS_MAX
            || self.work.pending_bytes >= EFFECT_BYTES_MAX
            || self.disk_is_slow()
            || self.work.waiting_bytes >= EFFECT_BYTES_MAX
            || self.sending.bytes() >= UNACKNOWLEDGED_BYTES_MAX
    }

    pub(super) fn take_message(&mut self, message: FromLane) {
        match message {
            FromLane::Settlement(lane, mut settlement) => {
                // Whoever has the partition next sends the others.
                let books = &self.work.books;
                let records = std::mem::take(&mut settlement.records).into_iter();
                let records = records.filter_map(|(of, record)| {
                    let of = &settlement.assignments[of as usize];
                    counts(books, of).then_some((of.id, record))
                });
                let records: Vec<_> = records.collect();
                if records.is_empty() && self.work.waiting[lane].is_empty() {
                    self.apply(lane, settlement);
                    return;
                }
                let serial = self.work.next_serial;
                self.work.next_serial += 1;
                let unacknowledged = records.len();
                let bytes = settlement.effect_bytes();
                self.work.waiting_bytes += bytes;
                self.work.waiting[lane].push_back(Waiting {
                    serial,
                    unacknowledged,
                    bytes,
                    settlement,
                });
                for (assignment, record) in records {
                    let by = WaitedForBy::Settlement {
                        lane,
                        serial,
                        assignment,
                    };
                    self.sending.send(record, by);
                }
            }
            FromLane::Place => {}
            FromLane::Ticked { assignment, result } => self.ticked(assignment, result),
            FromLane::FenceReached { lane, drain } => {
                if let Some(running) = self.work.drain.as_mut() {
                    running.fence_reached(lane, drain);
                }
            }
        }
    }

    pub(super) fn delivered(&mut self, delivery: Delivery) {
        let Some(by) = self.sending.delivered(delivery) else {
            return;
        };
        match by {
            WaitedForBy::Settlement { lane, serial, .. } => {
                let queue = &mut self.work.waiting[lane];
                if let Some(waiting) = queue.iter_mut().find(|waiting| waiting.serial == serial) {
                    waiting.unacknowledged -= 1;
                }
                self.apply_acknowledged(lane);
            }
            WaitedForBy::Emission { assignment, number } => {
                self.work.sent.push((assignment, number));
                self.metrics.emissions.inc();
            }
        }
    }

    /// Applies the settlements of a lane whose records are all acknowledged, in their order.
    fn apply_acknowledged(&mut self, lane: usize) {
        let queue = |work: &mut Work| {
            let waiting = &mut work.waiting[lane];
            let first = waiting.front()?;
            (first.unacknowledged == 0).then(|| waiting.pop_front())?
        };
        while let Some(first) = queue(&mut self.work) {
            self.work.waiting_bytes -= first.bytes;
            self.apply(lane, first.settlement);
        }
    }

    /// Takes the events of a settlement as settled. Their effects become durable with the next settle.
    fn apply(&mut self, lane: usize, settlement: Settlement) {
        self.status.settled_at(self.clock.wall_ms());
        let plugin_index = self.lanes[lane].plugin_index;
        for settled in &settlement.runs {
            let assignment = &settlement.assignments[settled.assignment as usize];
            if !counts(&self.work.books, assignment) {
                continue;
            }
            let Some(books) = self.work.books.get_mut(&assignment.id) else {
                continue;
            };
            books.dirty = true;
            books.ledger.count(settled.settled, settled.run.count);
            if settled.settled == Settled::Abandoned {
                // Whoever has the partition next reads it again.
                continue;
            }
            if let Err(twice) = books.tracker.settle(settled.run) {
                tracing::error!(topic = %assignment.topic, partition = assignment.partition, %twice,
                    "the ledger has a hole");
                self.metrics.ledger_holes.inc();
            }
        }
        for (assignment, change) in &settlement.parked {
            let assignment = &settlement.assignments[*assignment as usize];
            if let Some(books) = self.work.books.get_mut(&assignment.id) {
                books.ledger.parked = books.ledger.parked.saturating_add_signed(*change);
            }
        }
        for (assignment, change) in settlement.tallies {
            let assignment = &settlement.assignments[assignment as usize];
            if assignment.is_lost() {
                continue;
            }
            if let Some(books) = self.work.books.get_mut(&assignment.id) {
                books.add(change);
            }
        }
        // Effects of an assignment that has been given up run again with their events, elsewhere or here.
        let books = &self.work.books;
        let kept = |assignment: u32| counts(books, &settlement.assignments[assignment as usize]);
        let rows = settlement
            .state
            .into_iter()
            .filter(|(assignment, _)| kept(*assignment));
        let mut pending_bytes = 0;
        let rows = rows.map(|(_, write)| {
            pending_bytes += write.bytes();
            (
                write.key,
                write.value.map(|value| (value, write.expires_ms)),
            )
        });
        self.work.pending.state.extend(rows);
        self.work.pending_bytes += pending_bytes;
        if settlement.state_serial > 0 {
            self.work
                .pending_serials
                .insert(lane, settlement.state_serial);
        }
        let mut journal = settlement.journal;
        journal.retain(|(assignment, _)| kept(*assignment));
        for (_, lines) in journal {
            self.append_journal(plugin_index, lines);
        }
    }

    fn check_ledgers(&mut self) {
        let (now, wall_ms) = (self.clock.now(), self.clock.wall_ms());
        for books in self.work.books.values_mut() {
            books.ledger.polled = books.assignment.polled();
            let abandoned = books.ledger.of(Settled::Abandoned);
            if let Err(hole) = books.ledger.check(books.tracker.settled() + abandoned) {
                tracing::error!(topic = %books.assignment.topic,
                    partition = books.assignment.partition, %hole, "the ledger has a hole");
                self.metrics.ledger_holes.inc();
            }
            #[cfg(feature = "sabotage")]
            if crate::sabotage::does("ledger-lies") {
                books.ledger.count(Settled::Processed, 1);
            }
            let behind = books.behind(now, wall_ms);
            books.show(behind);
        }
    }

    /// Adds the ledger of an assignment that has ended to the totals. What was polled and is not
    /// accounted for was abandoned.
    fn close(&mut self, mut books: Books) {
        let assignment = &books.assignment;
        books.ledger.polled = assignment.polled();
        books.ledger.parked = 0;
        let open = books.ledger.in_flight();
        books.ledger.count(Settled::Abandoned, open);
        books.metrics.publish(&books.ledger, None);
        books.metrics.set_stalled(None);
        books.metrics.rebuild(0, None);
        let place = (Arc::clone(&assignment.topic), assignment.partition);
        self.work
            .totals
            .entry(place)
            .or_default()
            .add(&books.ledger);
    }
}

/// Whether effects of an assignment still count: not once it was given up or lost.
fn counts(books: &BTreeMap<u64, Books>, assignment: &Assignment) -> bool {
    !assignment.is_lost() && books.contains_key(&assignment.id)
}
