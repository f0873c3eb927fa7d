//! One life of a rehearsed host: the parts of its group, called in turn until none has anything left to do at this
//! point of time.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, never};

use super::broker::{Consumer, SharedBroker, Wire, lock};
use super::watched::{self, SharedRecord};
use super::{RehearsalError, RehearsalParts, SETTLES_UNTIL_REST, open_store};
use crate::config;
use crate::kafka::consumer::{Commit, MemberLimits};
use crate::pipeline::assembly::{Outside, assemble, open_journals};
use crate::pipeline::by_hand::ByHand;
use crate::pipeline::clock::Clock;
use crate::pipeline::lease::Lease;
use crate::pipeline::outside::{Source as _, Store};
use crate::pipeline::versions::Versions;
use crate::pipeline::{GroupParts, commit};
use crate::sandbox::TickReason;
use crate::store::{SettleStore, StoreError};
use crate::telemetry::metrics::Metrics;

/// Records that are read before the lanes get their turn: as many as a batch may have, and few enough that no
/// lane's queue fills up.
const RECORDS_AT_ONCE: usize = 64;

/// Rounds at one point of time. A plugin whose outputs are its own events would go on for ever.
const ROUNDS_MAX: u32 = 20_000;

/// A host while it lives.
pub(super) struct Life {
    group: ByHand,
    consumer: Consumer,
    wire: Arc<Wire>,
    store: Arc<SettleStore>,
    broker: SharedBroker,
    record: SharedRecord,
    topics: Arc<[Arc<str>]>,
    /// Partitions on their way out: what may be committed of them is answered here.
    leaving: Option<Receiver<Vec<Commit>>>,
    /// Settles that are due by the clock although nothing has happened.
    settles_left: u32,
}

impl Life {
    /// Starts a host with what earlier ones left in the store, and gives it every partition.
    pub(super) fn begin(
        parts: &RehearsalParts,
        versions: Arc<Versions>,
        clock: Clock,
        (broker, record, metrics): (&SharedBroker, &SharedRecord, &Metrics),
    ) -> Result<Self, RehearsalError> {
        let store = open_store(parts)?;
        let (name, settings) = &parts.plugin;
        let output_partitions = parts.group.retry.topics.iter().map(|(source, retry)| {
            let partitions = parts.partitions.get(source).copied().unwrap_or(1);
            (retry.clone(), partitions)
        });
        // An author looks at what the plugin wrote.
        let correlation = config::Correlation {
            make_for_outputs: false,
            ..config::Correlation::default()
        };
        let group_parts = GroupParts {
            group: &parts.group,
            kafka: &parts.kafka,
            plugins: BTreeMap::from([(name.clone(), (versions, settings.clone()))]),
            output_partitions: output_partitions.collect(),
            correlation: &correlation,
            preparations: BTreeMap::new(),
            encoders: BTreeMap::new(),
            pauses: Arc::default(),
            drain_timeout: parts.drain_timeout,
            metrics,
            aside: None,
            traces: None,
        };
        let wire = Arc::new(Wire::default());
        let outside = Outside {
            clock,
            journals: open_journals(&store, &group_parts.plugins)?,
            state: Some(Arc::clone(&store)),
            store: Arc::clone(&store) as Arc<dyn Store>,
            producer: Box::new(Arc::clone(&wire)),
            deliveries: never(),
            lease: Lease::new(MemberLimits::FOR_EVER),
        };
        let assembled = assemble(&group_parts, outside);
        let mut life = Self {
            consumer: Consumer::new(assembled.member, broker),
            group: ByHand::new(
                assembled.lanes,
                assembled.intake,
                assembled.settling,
                assembled.settling_ends,
            ),
            wire,
            store,
            broker: Arc::clone(broker),
            record: Arc::clone(record),
            topics: Arc::clone(&assembled.sources.view().now.topics),
            leaving: None,
            settles_left: SETTLES_UNTIL_REST,
        };
        life.take_up_all();
        Ok(life)
    }

    /// Gives the host every partition.
    pub(super) fn take_up_all(&mut self) {
        let offered = lock(&self.broker).offer_all(&self.topics);
        let answer = self.consumer.membership().begin_taking_up(&offered);
        while self.group.take_control(|_| {}) {}
        let taken_up = answer.and_then(|answer| answer.try_recv().ok());
        self.consumer.assign(&offered, taken_up.unwrap_or_default());
    }

    /// Begins to take every partition away.
    pub(super) fn begin_giving_up(&mut self, reason: TickReason) {
        let member = self.consumer.membership();
        let all = member.assignments();
        self.leaving = member.begin_giving_up(all, reason, false);
    }

    /// Whether every partition is given up. Then the last commit has been made.
    pub(super) fn given_up(&mut self) -> bool {
        let Some(answer) = &self.leaving else {
            return true;
        };
        let Ok(committable) = answer.try_recv() else {
            return false;
        };
        self.leaving = None;
        self.consumer.commit_now(&committable);
        self.consumer.unassign_all();
        while self.group.take_control(|_| {}) {}
        true
    }

    /// A partition that the host has, to name one.
    pub(super) fn first_place(&self) -> (String, i32) {
        let topic = self.topics.first();
        (topic.map_or_else(String::new, ToString::to_string), 0)
    }

    /// Does everything that can be done at this point of time.
    ///
    /// # Errors
    /// There is no end of it.
    pub(super) fn work(&mut self) -> Result<(), RehearsalError> {
        self.skip_idle_settles();
        for _ in 0..ROUNDS_MAX {
            let worked = self.step();
            let settled = self.group.settle();
            let worked = self.group.keep() && !settled || worked;
            if worked {
                self.settles_left = SETTLES_UNTIL_REST;
            } else if settled {
                self.settles_left = self.settles_left.saturating_sub(1);
            } else {
                return Ok(());
            }
        }
        Err(RehearsalError::NoEnd)
    }

    /// A host settles at every `commit_interval`, also when there is nothing to settle. Those are not played one by
    /// one, but what comes now is not settled at once for it.
    fn skip_idle_settles(&mut self) {
        let now = self.group.clock.instant();
        let idle = self.settles_left == 0 && self.leaving.is_none();
        if idle && self.group.settle_is_due() && !self.ticks().any(|tick| tick <= now) {
            self.group.next_settle = now + self.group.settling.commit_interval;
        }
    }

    fn step(&mut self) -> bool {
        let mut worked = self.leaving.is_none() && self.poll();
        let now_ms = self.group.clock.wall_ms();
        for at in 0..self.group.lanes.len() {
            let record = &self.record;
            worked |= self.group.run_lane(at, true, |answer| {
                watched::lock(record).answered(answer, now_ms);
            });
        }
        while self.group.take_answer() {
            worked = true;
        }
        while let Some(delivery) = self.wire.deliver(&self.broker, now_ms) {
            self.group.delivered(delivery);
            worked = true;
        }
        while self.consumer.answer_commit() {
            worked = true;
        }
        while self.group.take_control(|_| {}) {
            worked = true;
        }
        worked
    }

    fn poll(&mut self) -> bool {
        let mut read = 0;
        while read < RECORDS_AT_ONCE
            && let Some(record) = self.consumer.next()
        {
            self.group.intake.take(&*record, &self.consumer);
            read += 1;
        }
        let waited = self.group.waiting_batches();
        self.group.intake.seal_for_idle_lanes();
        self.group.intake.refresh(self.consumer.membership());
        self.group.intake.regulate(&self.consumer);
        self.group.intake.note_ends(&self.consumer);
        commit(&self.consumer, &self.group.desk);
        read > 0 || self.group.waiting_batches() != waited
    }

    /// When something is due next, in milliseconds of the clock.
    pub(super) fn next_due(&self) -> Option<u64> {
        let now = self.group.clock.instant();
        let ms = self.group.clock.now().0;
        let at =
            |when: std::time::Instant| ms + when.saturating_duration_since(now).as_millis() as u64;
        let settle = at(self.group.next_settle);
        let drain = self.group.settling.drain_deadline().map(at);
        let restless = (self.settles_left > 0 || drain.is_some()).then_some(settle);
        let tick = self.ticks().min().map(|tick| at(tick).max(settle));
        let lanes = self.group.lanes_due().map(at);
        [restless, drain, tick, lanes].into_iter().flatten().min()
    }

    /// When the last of the partitions' next ticks is due; none where the plugin has no timer.
    pub(super) fn last_tick(&self) -> Option<u64> {
        let now = self.group.clock.instant();
        let last = self.ticks().max()?;
        let until = last.saturating_duration_since(now).as_millis() as u64;
        Some(self.group.clock.now().0 + until)
    }

    fn ticks(&self) -> impl Iterator<Item = std::time::Instant> {
        let settling = &self.group.settling;
        let has_timer = |of: usize| settling.plugins[of].versions.has_timer();
        settling
            .work
            .books
            .values()
            .filter(move |books| has_timer(books.assignment.plugin_index) && !books.ticking())
            .map(|books| books.next_tick)
    }

    /// A value of the plugin's state: what a lane wrote lately, or else what the store has.
    pub(super) fn state(
        &self,
        (topic, partition): (&str, i32),
        plugin: &str,
        key: Option<&[u8]>,
        name: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let full = crate::pipeline::lane_state::full_key((topic, partition), plugin, key, name);
        let now_ms = self.group.clock.wall_ms();
        let mut lanes = self.group.lanes.iter();
        let lately = lanes.find_map(|own| own.lane.state()?.written_lately(&full, now_ms));
        match lately {
            Some(value) => Ok(value),
            None => self.store.state(&full, now_ms),
        }
    }

    /// Named sums over all partitions.
    pub(super) fn tallies(&self) -> BTreeMap<String, i64> {
        let mut all = BTreeMap::new();
        for books in self.group.settling.work.books.values() {
            for (name, op, value) in books.sums() {
                all.entry(name.to_owned())
                    .and_modify(|sum| *sum = op.join(*sum, value))
                    .or_insert(value);
            }
        }
        all
    }

    /// It has left in order.
    pub(super) fn finish(mut self) {
        self.group.intake.hand_over_all();
        self.group.settling.finish();
    }
}
