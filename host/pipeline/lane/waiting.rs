//! What a lane holds back: keys that wait for a retry, copies that came before their time, and everything
//! during an outage. When its time has come it runs; what waits too long or takes too much room is evicted.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::super::batch::{Batch, OwnedEvent};
use super::super::messages::{Fence, FromLane, Settlement};
use super::super::outage::Outage;
use super::paused::UNTIL_RESUMED;
use super::windows::window_at;
use super::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, FailedBefore, IDLE, Lane, PRESSED_QUARTERS};
use crate::delivery::lanes::OrderGroup;
use crate::delivery::ledger::Settled;
use crate::delivery::park::Allowance;
use crate::delivery::retry::Millis;

/// During an outage a lane looks this often whether it is over, or a probe is due. Probes are seconds apart.
const OUTAGE_LOOK: Duration = Duration::from_millis(50);

/// Events that are evicted between two looks at everything else.
const EVICTIONS_AT_ONCE: usize = 64;

/// Keys that are remembered as failing. Past this, further ones count as no sign of an outage: so many bad
/// keys would have opened the breaker long before.
const FAILING_KEYS_MAX: usize = 10_000;

/// A failing key is forgotten after this, when room is needed.
const FAILING_KEY_MS: u64 = 10 * 60 * 1_000;

impl Lane {
    /// Runs what has waited and is due, one batch of it, so that commands and fresh batches get their turn.
    /// Says how long nothing will be due.
    pub(in crate::pipeline) fn run_what_waited(&mut self) -> Duration {
        self.take_up_pauses();
        self.take_up_versions();
        if self.outage_is_on() {
            self.probe();
            return OUTAGE_LOOK;
        }
        let wait_left_ms = self.restarts.wait_left_ms(self.clock.now());
        if wait_left_ms > 0 {
            return Duration::from_millis(wait_left_ms);
        }
        // Where nothing goes well, each event finds out by itself whether the next does.
        let ailing = self.restarts.ailing();
        self.run_due(if ailing { 1 } else { BATCH_EVENTS_MAX });
        // What it evicts lets go of the events behind it, and those are due at once.
        self.relieve();
        match self.park.next_due().filter(|due| *due < UNTIL_RESUMED) {
            Some(due) => Duration::from_millis(due.0.saturating_sub(self.clock.now().0)),
            None => IDLE,
        }
    }

    /// Whether events wait for something else than their own time: for the end of an outage, or for a plugin
    /// of which nothing goes well.
    pub(super) fn events_wait(&self) -> bool {
        self.outage_is_on() || self.restarts.ailing()
    }

    /// Whether events have to wait until a probe has found that an outage is over.
    pub(super) fn outage_is_on(&self) -> bool {
        !self.probing && self.outage_is_open()
    }

    pub(super) fn outage_is_open(&self) -> bool {
        self.settings.outage.as_deref().is_some_and(Outage::is_open)
    }

    /// Runs one event where it is this lane's turn to find out whether the outage is over. Keys that were
    /// never tried come first, because they are due since they came.
    fn probe(&mut self) {
        let Some(outage) = self.settings.outage.clone() else {
            return;
        };
        if !outage.take_probe(self.clock.now()) {
            return;
        }
        let (well, judged) = (self.well, self.record.events);
        self.probing = true;
        self.run_due(1);
        self.probing = false;
        let now = self.clock.now();
        if self.record.events == judged {
            outage.return_probe();
        } else {
            outage.probed(self.well > well, now);
            if self.well > well {
                tracing::info!(group = %self.settings.group, plugin = self.plugin(),
                    "the outage is over; events flow again");
            }
        }
    }

    fn run_due(&mut self, events_max: usize) {
        let now = self.clock.now();
        let due = self.park.take_due(now, events_max, BATCH_BYTES_MAX);
        if due.events.is_empty() {
            return;
        }
        self.count_copies(&due.events);
        let mut batch = Batch::new(&self.settings.routing.now.table);
        let mut settlement = Settlement::default();
        for event in &due.events {
            batch.push_owned(event);
        }
        for meta in &batch.events {
            settlement.parked.push((meta.assignment, -1));
        }
        self.waited = true;
        self.end_long_waits(&mut batch, now, &mut settlement);
        let later = self.admit(&mut batch, &mut settlement);
        if !batch.is_empty() {
            self.handle(&mut batch, &mut settlement);
        }
        self.settle_later(later, &mut settlement);
        for rest in due.rests {
            self.park.put_back(rest, now);
        }
        self.hand_over(&batch, settlement);
    }

    /// Events whose key was let go before their time have held it for as long as they may: they are evicted,
    /// unless an outage has stopped that clock meanwhile.
    fn end_long_waits(&mut self, batch: &mut Batch, now: Millis, settlement: &mut Settlement) {
        if self.failed_before.is_empty() {
            return;
        }
        let pausing = self.pausing();
        let mut gone = Vec::new();
        for index in 0..batch.len() {
            let meta = batch.events[index];
            let assignment = batch.assignment_of(meta);
            if let Some(pausing) = &pausing
                && pausing.holds(&batch.view(index))
            {
                continue;
            }
            let waits = self.failed_before.get(&(assignment.id, meta.seq));
            let Some(failed) = waits.filter(|failed| failed.not_before > now) else {
                continue;
            };
            if assignment.is_revoked() || assignment.retry_of.is_some() {
                continue;
            }
            gone.push(index);
            let after_ms = failed.not_before.0 - now.0;
            let held_ms = self.held_ms(failed, now);
            let holds_ms = self.settings.retry.holds_ms(after_ms, held_ms);
            if holds_ms == 0 {
                self.evict(batch, index, settlement);
            } else {
                self.park
                    .park(meta.group, now.after(holds_ms), Allowance::ONE);
                let event = batch.take_out(index, batch.view(index).attempt());
                self.push(meta.group, event);
                settlement.parked.push((meta.assignment, 1));
            }
        }
        if !gone.is_empty() {
            batch.retain(|_, index| !gone.contains(&index));
        }
    }

    /// How long an event has held its key, in milliseconds, without the time of outages.
    pub(super) fn held_ms(&self, failed: &FailedBefore, now: Millis) -> u64 {
        self.without_outages(now)
            .0
            .saturating_sub(failed.holds_since.0)
    }

    pub(super) fn without_outages(&self, now: Millis) -> Millis {
        let outage = self.settings.outage.as_ref();
        outage.map_or(now, |outage| outage.without(now))
    }

    /// Whether what is held back takes so much of its budget that something has to go. Nothing goes because of what an
    /// operator has paused: partitions wait instead.
    pub(super) fn pressed(&self) -> bool {
        if !self.settings.pauses.now().is_empty() {
            return false;
        }
        let (events_max, bytes_max) = self.settings.park_budget;
        let (events, bytes) = self.parked();
        events * 4 > events_max * PRESSED_QUARTERS || bytes * 4 > bytes_max * PRESSED_QUARTERS
    }

    /// How much of its budget is taken by what is held back, from 0 to about 1.
    pub(super) fn park_used(&self) -> f64 {
        let (events_max, bytes_max) = self.settings.park_budget;
        let (events, bytes) = self.parked();
        let of = |held: usize, most: usize| held as f64 / most.max(1) as f64;
        of(events, events_max).max(of(bytes, bytes_max))
    }

    /// Events and bytes held back. Copies have a budget of their own: they wait for their time, and would
    /// otherwise stop the topics that they come from.
    pub(super) fn parked(&self) -> (usize, usize) {
        let (events, bytes) = self.copies;
        (self.park.events() - events, self.park.bytes() - bytes)
    }

    /// Makes room by evicting failed events with the longest queues behind them.
    fn relieve(&mut self) {
        if !self.pressed() {
            return;
        }
        let now = self.clock.now();
        let mut batch = Batch::new(&self.settings.routing.now.table);
        let mut settlement = Settlement::default();
        for _ in 0..EVICTIONS_AT_ONCE {
            let failed_before = &self.failed_before;
            let longest = self.park.take_longest(|event| {
                let failed = failed_before.get(&(event.assignment.id, event.meta.seq));
                let may_go = failed.is_some_and(|failed| !failed.not_ready);
                may_go && event.assignment.retry_of.is_none() && !event.assignment.is_revoked()
            });
            let Some((event, rest)) = longest else {
                break;
            };
            batch.push_owned(&event);
            let last = batch.len() - 1;
            settlement.parked.push((batch.events[last].assignment, -1));
            self.evict(&batch, last, &mut settlement);
            if let Some(rest) = rest {
                self.park.put_back(rest, now);
            }
            if !self.pressed() {
                break;
            }
        }
        self.hand_over(&batch, settlement);
    }

    /// Holds events back behind their keys: during an outage they would only fail.
    pub(super) fn park_part(
        &mut self,
        batch: &Batch,
        part: Range<usize>,
        settlement: &mut Settlement,
    ) {
        let now = self.clock.now();
        for index in part {
            let group = batch.events[index].group;
            if !self.park.holds(group) {
                self.park.park(group, now, Allowance::ALL);
            }
            self.hold(batch, index, settlement);
        }
    }

    /// Holds an event back behind its key.
    pub(super) fn hold(&mut self, batch: &Batch, index: usize, settlement: &mut Settlement) {
        let attempt = batch.view(index).attempt();
        self.put_back(batch, index, attempt, settlement);
    }

    /// An event settles that has been waiting: from now on its id counts.
    pub(super) fn remember_id(&mut self, batch: &Batch, index: usize) {
        let meta = batch.events[index];
        if let (Some(dedup), Some(id)) = (self.settings.dedup.as_ref(), meta.id) {
            let at = window_at(&mut self.windows, batch.assignment_of(meta), dedup);
            self.windows[at].1.insert(id, batch.record_ms(index));
        }
    }

    /// Holds an event back that was about to run, or has run. Its id counts as seen when it settles.
    pub(super) fn put_back(
        &mut self,
        batch: &Batch,
        index: usize,
        attempt: u32,
        settlement: &mut Settlement,
    ) {
        self.put_owned_back(batch.take_out(index, attempt), settlement);
    }

    /// The same for an event that was taken out of its batch.
    pub(super) fn put_owned_back(&mut self, event: OwnedEvent, settlement: &mut Settlement) {
        let meta = event.meta;
        let mut windows = self.windows.iter_mut();
        let window = windows.find(|(known, _)| Arc::ptr_eq(known, &event.assignment));
        if let (Some(id), Some((_, window))) = (meta.id, window) {
            window.forget(id);
        }
        self.push(meta.group, event);
        settlement.parked.push((meta.assignment, 1));
    }

    pub(super) fn push(&mut self, group: OrderGroup, event: OwnedEvent) {
        let size = event.size_bytes();
        if event.assignment.retry_of.is_some() {
            self.copies.0 += 1;
            self.copies.1 += size;
        }
        self.park.push(group, event, size);
    }

    /// Counts copies that have left the park.
    pub(super) fn count_copies(&mut self, left: &[OwnedEvent]) {
        for event in left {
            if event.assignment.retry_of.is_some() {
                self.copies.0 -= 1;
                self.copies.1 -= event.size_bytes();
            }
        }
    }

    /// Takes up what the copies of a batch say of their events.
    pub(super) fn note_come_back(&mut self, batch: &Batch) {
        if batch.come_back.is_empty() {
            return;
        }
        let (now, now_ms) = (self.clock.now(), self.clock.wall_ms());
        let holds_since = self.without_outages(now);
        for event in &batch.come_back {
            let assignment = &batch.assignments[event.assignment as usize];
            if assignment.is_revoked() {
                continue;
            }
            // Both clocks show whole milliseconds that have passed: one more, so that no attempt is early.
            let wait_ms = match event.due_ms.saturating_sub(now_ms) {
                0 => 0,
                left_ms => left_ms + 1,
            };
            let failed = FailedBefore {
                first_ms: event.first_failed_ms,
                holds_since,
                not_before: now.after(wait_ms),
                problem: None,
                not_ready: false,
                paused: false,
            };
            self.failed_before
                .insert((assignment.id, event.seq), failed);
        }
    }

    /// Forgets what is held back of revoked assignments. Their events will be read again by whoever has
    /// the partition next.
    pub(super) fn fence(&mut self, fence: &Fence) {
        self.windows
            .retain(|(assignment, _)| !assignment.is_revoked());
        if let Some(state) = &self.state {
            state.forget(&fence.assignments);
        }
        let mut forgotten = self.park.forget(|event| !event.assignment.is_revoked());
        // In log order neighbours join into runs.
        forgotten.sort_unstable_by_key(|event| (event.assignment.id, event.meta.seq));
        let mut settlement = Settlement::default();
        let mut batch = Batch::new(&[]);
        for event in &forgotten {
            batch.push_owned(event);
            let meta = batch.events[batch.len() - 1];
            settlement.parked.push((meta.assignment, -1));
            settlement.settle(meta.assignment, Settled::Abandoned, meta.seq, meta.offset);
        }
        let given_up = |id: u64| fence.assignments.iter().any(|of| of.id == id);
        self.failed_before.retain(|(id, _), _| !given_up(*id));
        self.known_tallies.retain(|id| !given_up(id));
        self.count_copies(&forgotten);
        self.hand_over(&batch, settlement);
        let (lane, drain) = (self.settings.index, fence.drain);
        let _ended = self
            .ends
            .settle
            .send(FromLane::FenceReached { lane, drain });
    }

    /// A key has failed in a way that an outage would cause.
    pub(super) fn note_failing(&mut self, group: OrderGroup) {
        let Some(outage) = self.settings.outage.as_ref() else {
            return;
        };
        let now = self.clock.now();
        let (keys, times_closed) = &mut self.failing_keys;
        if *times_closed != outage.times_closed() {
            *times_closed = outage.times_closed();
            keys.clear();
        }
        if keys.len() >= FAILING_KEYS_MAX {
            keys.retain(|_, at| now.0.saturating_sub(at.0) < FAILING_KEY_MS);
        }
        if keys.contains_key(&group) || keys.len() >= FAILING_KEYS_MAX {
            return;
        }
        keys.insert(group, now);
        if outage.failing(now) {
            tracing::warn!(group = %self.settings.group, plugin = self.plugin(),
                "so many different keys fail that the cause must be outside: the plugin's events wait, \
                 one at a time probes, and none is given up on meanwhile");
        }
    }

    /// An event has settled that had failed before: its key is well again.
    pub(super) fn recovered(&mut self, batch: &Batch, index: usize) {
        let meta = batch.events[index];
        let assignment = batch.assignment_of(meta).id;
        if self.failed_before.remove(&(assignment, meta.seq)).is_some() {
            self.failing_keys.0.remove(&meta.group);
        }
    }
}
