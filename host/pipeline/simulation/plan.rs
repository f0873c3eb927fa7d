//! What one seed means: the settings of a group, its events with their nature, and how often what goes wrong.

use fastrand::Rng;

use crate::delivery::lanes::OrderBy;
use crate::delivery::retry::Backoff;

/// Topic of the events.
pub(super) const TOPIC: &str = "events";

/// Long enough that nothing is given up for its age, and a backoff is never cut.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Everything that a run is made of. A run is a function of it and of nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seed {
    pub(super) number: u64,
    /// No more events than this; less than the seed would have when a failure is made smaller.
    pub(super) events_max: usize,
    /// No more steps than this until nothing goes wrong any more.
    pub(super) steps_max: usize,
}

impl Seed {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            events_max: usize::MAX,
            steps_max: usize::MAX,
        }
    }
}

/// How an event behaves when it is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// It is processed, with this many outputs.
    Fine { outputs: u8 },
    /// It is filtered.
    Unwanted,
    /// It asks for this many retries before it is processed with one output.
    Flaky { failures: u32 },
    /// It is rejected.
    Rejected,
    /// It takes its whole call down.
    Trapping,
    /// Its output is larger than a record may be.
    TooLarge,
    /// It uses what the plugin was not granted.
    NotGranted,
    /// It cannot be decoded, where events are.
    Undecodable,
}

/// One event as it is produced.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: Option<u8>,
    /// What it is recognised by when it comes twice.
    pub(super) id: Option<u16>,
    pub(super) nature: Nature,
}

/// Chances out of 1 000, for each step or for each time it could happen.
#[derive(Debug, Clone, Default)]
pub(super) struct Chances {
    pub(super) crash: u32,
    pub(super) restart: u32,
    pub(super) shut_down: u32,
    pub(super) revoke: u32,
    pub(super) lose: u32,
    pub(super) rewind: u32,
    pub(super) store_fails: u32,
    pub(super) send_fails: u32,
    pub(super) commit_fails: u32,
    pub(super) batch_traps: u32,
    pub(super) contract_broken: u32,
    pub(super) overloaded: u32,
    /// That an event cannot be decoded yet, where events are decoded.
    pub(super) not_now: u32,
    pub(super) retry: u32,
    /// That the plugin says how long to wait.
    pub(super) own_wait: u32,
    pub(super) no_instance: u32,
    pub(super) tick_fails: u32,
    pub(super) fetched_again: u32,
    /// That an operator pauses or resumes something.
    pub(super) pause: u32,
}

/// A run, planned.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) seed: Seed,
    pub(super) hosts: usize,
    pub(super) partitions: i32,
    pub(super) lanes: usize,
    pub(super) order_by: OrderBy,
    pub(super) dedup_events_max: Option<usize>,
    pub(super) attempts_max: u32,
    pub(super) backoff: Backoff,
    pub(super) commit_interval_ms: u64,
    pub(super) drain_timeout_ms: u64,
    pub(super) tick_ms: Option<u64>,
    pub(super) park_events: usize,
    pub(super) max_age_ms: u64,
    pub(super) max_park_ms: u64,
    /// Whether events are decoded before the plugin sees them.
    pub(super) decodes: bool,
    /// Whether commits say what is settled above them.
    pub(super) commit_map: bool,
    /// The share of a canary, where there is one, and after how many events it serves.
    pub(super) canary_of_a_million: Option<u32>,
    pub(super) promote_after: u64,
    /// Records that the producer takes before its queue is full.
    pub(super) producer_room: usize,
    pub(super) events: Vec<Event>,
    /// Bytes of a value. Large ones fill batches, and make what waits for a retry come in parts.
    pub(super) value_bytes: usize,
    /// Steps until nothing goes wrong any more.
    pub(super) steps: usize,
    pub(super) chances: Chances,
}

impl Plan {
    pub(super) fn new(seed: Seed) -> Self {
        let mut random = Rng::with_seed(seed.number);
        let partitions = random.i32(1..=3);
        let decodes = random.bool();
        let order_by = match random.u8(0..8) {
            0 => OrderBy::Id,
            1 | 2 => OrderBy::Partition,
            _ => OrderBy::Key,
        };
        let dedup = order_by == OrderBy::Id || random.u8(0..4) > 0;
        // A window that holds everything, or one that is much too small; the first is what is checked most.
        let window = if random.u8(0..6) == 0 { 3 } else { 10_000 };
        let chances = chances(&mut random);
        let hosts = [1, 1, 2, 2, 3][random.usize(0..5)];
        // Most runs are short, because most mistakes need little; some are long enough for queues to fill.
        let most = if random.u8(0..6) == 0 { 200 } else { 40 };
        let events_max = random.usize(3..=most).min(seed.events_max);
        let steps = random.usize(50..=most * 20).min(seed.steps_max);
        Self {
            seed,
            hosts,
            partitions,
            lanes: random.usize(1..=3),
            order_by,
            dedup_events_max: dedup.then_some(window),
            attempts_max: random.u32(1..=5),
            backoff: Backoff {
                initial_ms: random.u64(1..200),
                factor: 1.0 + random.f64() * 2.0,
                max_ms: random.u64(200..60_000),
                jitter: random.f64(),
            },
            commit_interval_ms: random.u64(1..400),
            drain_timeout_ms: random.u64(1..3_000),
            tick_ms: (random.u8(0..3) > 0).then(|| random.u64(10..2_000)),
            park_events: [1_000, random.usize(1..30)][random.usize(0..2)],
            max_age_ms: [DAY_MS, random.u64(100..20_000)][usize::from(random.u8(0..5) == 0)],
            max_park_ms: [DAY_MS, random.u64(100..10_000)][usize::from(random.u8(0..5) == 0)],
            commit_map: random.bool(),
            decodes,
            canary_of_a_million: random.bool().then(|| random.u32(1..=1_000_000)),
            promote_after: random.u64(1..1_000),
            producer_room: random.usize(1..20),
            events: events(&mut random, (partitions, decodes), events_max),
            value_bytes: if random.u8(0..40) == 0 { 70_000 } else { 2 },
            steps,
            chances,
        }
    }

    /// A day of retries of one event, with others of its key behind it, and nothing else going on.
    pub(super) fn ladder_of_a_day() -> Self {
        let hour_ms = 60 * 60 * 1_000;
        let event = |offset, failures| Event {
            partition: 0,
            offset,
            key: Some(1),
            id: None,
            nature: Nature::Flaky { failures },
        };
        Self {
            hosts: 1,
            partitions: 1,
            order_by: OrderBy::Key,
            decodes: false,
            dedup_events_max: None,
            // One, two, four minutes and so on, and then an hour each.
            attempts_max: 31,
            backoff: Backoff {
                initial_ms: 60_000,
                factor: 2.0,
                max_ms: hour_ms,
                jitter: 0.0,
            },
            commit_interval_ms: 250,
            park_events: 1_000,
            max_age_ms: 2 * DAY_MS,
            max_park_ms: 2 * DAY_MS,
            events: vec![event(0, 30), event(1, 0), event(2, 0)],
            steps: 0,
            chances: Chances::default(),
            ..Self::new(Seed::new(0))
        }
    }

    /// Whether events may be given up on before their attempts are used up: for their age, or for the room
    /// that they take.
    pub(super) fn gives_up_early(&self) -> bool {
        self.max_age_ms < DAY_MS || self.max_park_ms < DAY_MS || self.park_events < 1_000
    }

    /// Whether the window of ids holds all events of the run.
    pub(super) fn remembers_all_ids(&self) -> bool {
        self.dedup_events_max
            .is_some_and(|max| max > self.events.len())
    }
}

/// Each kind of trouble is left out in most runs, so that every mixture of a few is met.
fn chances(random: &mut Rng) -> Chances {
    let mut sometimes = |most: u32| {
        if random.u8(0..5) < 2 {
            random.u32(1..=most)
        } else {
            0
        }
    };
    Chances {
        crash: sometimes(20),
        shut_down: sometimes(10),
        revoke: sometimes(40),
        lose: sometimes(20),
        rewind: sometimes(8),
        store_fails: sometimes(300),
        send_fails: sometimes(300),
        commit_fails: sometimes(400),
        batch_traps: sometimes(150),
        contract_broken: sometimes(100),
        overloaded: sometimes(100),
        not_now: sometimes(200),
        retry: sometimes(150),
        own_wait: sometimes(500),
        no_instance: sometimes(100),
        tick_fails: sometimes(300),
        fetched_again: sometimes(500),
        pause: sometimes(60),
        restart: 30,
    }
}

fn events(random: &mut Rng, (partitions, decodes): (i32, bool), events_max: usize) -> Vec<Event> {
    let keys = random.u8(1..=6);
    let ids = random.u16(2..=60);
    let trouble = random.u8(0..=60);
    let mut ends = vec![0_i64; partitions as usize];
    let mut events: Vec<Event> = Vec::with_capacity(events_max);
    for _ in 0..events_max {
        let partition = random.i32(0..partitions);
        let end = &mut ends[partition as usize];
        // Compaction and transaction markers leave gaps.
        if random.u8(0..6) == 0 {
            *end += random.i64(1..5);
        }
        events.push(Event {
            partition,
            offset: *end,
            key: (random.u8(0..10) > 0).then(|| random.u8(0..keys)),
            id: (random.u8(0..10) > 0).then(|| random.u16(0..ids)),
            nature: nature(random, trouble, decodes),
        });
        *end += 1;
    }
    events
}

fn nature(random: &mut Rng, trouble: u8, decodes: bool) -> Nature {
    if random.u8(0..100) >= trouble {
        return match random.u8(0..8) {
            0 => Nature::Unwanted,
            1 => Nature::Fine { outputs: 0 },
            2 => Nature::Fine { outputs: 2 },
            _ => Nature::Fine { outputs: 1 },
        };
    }
    match random.u8(0..10) {
        4..6 if decodes => Nature::Undecodable,
        0 => Nature::Rejected,
        1 => Nature::Trapping,
        2 => Nature::TooLarge,
        3 => Nature::NotGranted,
        _ => Nature::Flaky {
            failures: random.u32(1..4),
        },
    }
}
