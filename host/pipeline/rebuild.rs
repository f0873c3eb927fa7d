//! Reading a partition again behind its commit, so that deduplication knows what was seen: how far it is, and
//! when it has taken long enough. Records there reach the lanes like any other; this only watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::assignment::Assignment;
use super::member::Member;
use crate::delivery::offsets::Offset;
use crate::kafka::consumer::GroupConsumer;

/// How often the positions are asked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// When nothing was read for so long, the rest up to the commit holds no records: compaction removed them,
/// or they are markers of transactions. Far above the wait of an empty fetch; and when it is wrong, what
/// comes later is still learned.
const SILENT: Duration = Duration::from_secs(5);

/// One rebuild, as the settling thread shows it.
#[derive(Debug)]
pub(crate) struct Rebuild {
    from: AtomicI64,
    to: AtomicI64,
    position: AtomicI64,
    took_ms: AtomicU64,
    running: AtomicBool,
    timed_out: AtomicBool,
}

impl Rebuild {
    /// Nothing to be read again.
    pub(crate) fn none() -> Self {
        Self {
            from: AtomicI64::new(0),
            to: AtomicI64::new(0),
            position: AtomicI64::new(0),
            took_ms: AtomicU64::new(0),
            running: AtomicBool::new(false),
            timed_out: AtomicBool::new(false),
        }
    }

    /// Reading begins at `from`, and what is below `to` only teaches.
    pub(crate) fn begin(&self, from: Offset, to: Offset) {
        self.from.store(from.0, Ordering::Relaxed);
        self.position.store(from.0, Ordering::Relaxed);
        self.to.store(to.0, Ordering::Relaxed);
        self.running.store(from < to, Ordering::Release);
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// How many offsets there are to read, and how many are left.
    pub(crate) fn total(&self) -> i64 {
        self.to.load(Ordering::Relaxed) - self.from.load(Ordering::Relaxed)
    }

    pub(crate) fn remaining(&self) -> i64 {
        match self.is_running() {
            true => self.to.load(Ordering::Relaxed) - self.position.load(Ordering::Relaxed),
            false => 0,
        }
    }

    /// How long it took; none while it runs, and where there was none.
    pub(crate) fn took(&self) -> Option<Duration> {
        let done = !self.is_running() && self.total() > 0;
        done.then(|| Duration::from_millis(self.took_ms.load(Ordering::Relaxed)))
    }

    /// Whether it was ended before it was done. Says so once.
    pub(crate) fn take_timed_out(&self) -> bool {
        self.timed_out.swap(false, Ordering::Relaxed)
    }

    fn moved_to(&self, position: Offset) {
        let to = self.to.load(Ordering::Relaxed);
        self.position.store(position.0.min(to), Ordering::Relaxed);
    }

    fn end(&self, took: Duration) {
        self.took_ms
            .store(took.as_millis() as u64, Ordering::Relaxed);
        self.running.store(false, Ordering::Release);
    }
}

/// The rebuilds that run, as the polling thread watches them.
#[derive(Debug)]
pub(crate) struct Rebuilds {
    timeout: Duration,
    running: Vec<Running>,
    generation: u64,
    looked: Instant,
}

#[derive(Debug)]
struct Running {
    assignment: Arc<Assignment>,
    began: Instant,
    position: Offset,
    moved: Instant,
}

impl Rebuilds {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            running: Vec::new(),
            generation: 0,
            looked: Instant::now(),
        }
    }

    /// Notes how far they are, and ends those that are done or have taken too long.
    pub(crate) fn watch(&mut self, consumer: &GroupConsumer<Member>) {
        self.take_up(consumer.membership());
        if self.running.is_empty() || self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        let timeout = self.timeout;
        self.running
            .retain_mut(|running| running.goes_on(consumer, timeout));
    }

    fn take_up(&mut self, member: &Member) {
        let generation = member.generation.load(Ordering::Acquire);
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        let now = Instant::now();
        for assignment in member.assignments() {
            let known = |running: &Running| running.assignment.id == assignment.id;
            if assignment.rebuild.is_running() && !self.running.iter().any(known) {
                self.running.push(Running {
                    began: now,
                    position: Offset(-1),
                    moved: now,
                    assignment,
                });
            }
        }
    }
}

impl Running {
    fn goes_on(&mut self, consumer: &GroupConsumer<Member>, timeout: Duration) -> bool {
        let of = &self.assignment;
        if of.is_revoked() {
            return false;
        }
        let position = consumer.position(&of.topic, of.partition);
        if let Some(position) = position.filter(|position| *position > self.position) {
            (self.position, self.moved) = (position, Instant::now());
            of.rebuild.moved_to(position);
        }
        if of.is_paused() {
            // What is not fetched for want of room is not silence.
            self.moved = Instant::now();
        }
        let silent = self.moved.elapsed() >= SILENT;
        if self.position >= of.committed || of.polled() > 0 || silent {
            of.rebuild.end(self.began.elapsed());
            return false;
        }
        if self.began.elapsed() < timeout {
            return true;
        }
        self.give_up(consumer, timeout);
        false
    }

    /// The window is what has been learned so far; events must not wait for it any longer.
    fn give_up(&self, consumer: &GroupConsumer<Member>, timeout: Duration) {
        let of = &self.assignment;
        tracing::warn!(topic = %of.topic, partition = of.partition, remaining = of.rebuild.remaining(),
            total = of.rebuild.total(), ?timeout,
            "reading what was seen took longer than dedup.rebuild_timeout; the group goes on with a part of \
             the window, and repeats of the rest are not recognised");
        if let Err(error) = consumer.seek(&of.topic, of.partition, of.committed) {
            // Then it is read to the end after all, which only takes longer.
            tracing::warn!(topic = %of.topic, partition = of.partition, %error, "the seek was refused");
            return;
        }
        of.rebuild.timed_out.store(true, Ordering::Relaxed);
        of.rebuild.end(self.began.elapsed());
    }
}
