//! A deterministic simulation of the delivery core: the real intake, lanes, settling and membership on one
//! thread, in virtual time, with everything around them going wrong as one number says.
//!
//! A run is a function of its seed. A seed that fails is made smaller and printed with the command that runs it
//! again, step by step the same.

mod broker;
mod consumer;
mod decoder;
mod host;
mod operator;
mod plan;
mod plugin;
mod store;
mod witness;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use self::plan::{Plan, Seed};
use self::witness::Witness;
use self::world::Failure;
use super::clock::{Clock, VirtualTime};
use crate::telemetry::metrics::Metrics;

/// How many seeds every run of the tests tries.
const SEEDS: u64 = 10_000;

/// Threads that try them, each its own.
const THREADS: u64 = 2;

/// Lines of the trace that are printed of a failure.
const TRACE_LINES: usize = 60;

const GROUP: &str = "group";
const PLUGIN: &str = "plugin";
const DEAD_LETTERS: &str = "dead";

/// What several parts of a run reach, all of them on one thread; the data path wants what it holds to be
/// able to move to others.
type Shared<T> = Arc<Mutex<T>>;

/// What all lives of a run share.
struct Surroundings {
    plan: Arc<Plan>,
    time: Arc<VirtualTime>,
    /// Whether nothing goes wrong any more.
    calm: Arc<AtomicBool>,
    witness: Shared<Witness>,
    metrics: Metrics,
}

impl Surroundings {
    fn clock(&self) -> Clock {
        Clock::Virtual(Arc::clone(&self.time))
    }

    fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }
}

/// Runs a seed; a panic is a failure like any other.
fn run(seed: Seed, metrics: &Metrics, traced: bool) -> Result<Vec<String>, Failure> {
    let run = || Ok(world::run(Plan::new(seed), metrics, traced)?.trace);
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().cloned();
        let what = what.or_else(|| panic.downcast_ref::<&str>().map(|&what| what.to_owned()));
        Err(Failure {
            seed,
            what: format!("it panicked: {}", what.unwrap_or_default()),
            trace: Vec::new(),
        })
    })
}

/// The smallest run that still fails: fewer steps, then fewer events.
fn made_smaller(failure: Failure, metrics: &Metrics) -> Failure {
    let mut smallest = failure;
    let plan = Plan::new(smallest.seed);
    let (mut steps, mut events) = (plan.steps, plan.events.len());
    loop {
        let tries = [
            (steps / 2, events),
            (steps * 3 / 4, events),
            (steps.saturating_sub(1), events),
            (steps, events / 2),
            (steps, events * 3 / 4),
            (steps, events.saturating_sub(1)),
        ];
        let failed = tries.into_iter().find_map(|(steps_max, events_max)| {
            let seed = Seed {
                steps_max,
                events_max,
                ..smallest.seed
            };
            let smaller = steps_max < steps || events_max < events;
            smaller.then(|| run(seed, metrics, false).err()).flatten()
        });
        let Some(failed) = failed else {
            return smallest;
        };
        (steps, events) = (failed.seed.steps_max, failed.seed.events_max);
        smallest = failed;
    }
}

/// What went wrong without where, to tell one kind of failure from another.
fn kind(what: &str) -> String {
    what.chars()
        .map(|letter| if letter.is_ascii_digit() { '#' } else { letter })
        .collect::<String>()
        .replace("##", "#")
        .replace("##", "#")
}

/// What is printed of a failure.
fn report(failure: &Failure, metrics: &Metrics) -> String {
    let Seed {
        number,
        events_max,
        steps_max,
    } = failure.seed;
    let again = run(failure.seed, metrics, true).err();
    let trace = again.map_or_else(Vec::new, |failure| failure.trace);
    let last = &trace[trace.len().saturating_sub(TRACE_LINES)..];
    format!(
        "seed {number} fails: {}\n\n{}\n\nrun it again with\n  cargo test --release --lib replays -- \
         --nocapture seed={number},{steps_max},{events_max}\n",
        failure.what,
        last.join("\n")
    )
}

/// What the command line says after this name. The test runner takes it for the name of a test, and finds none.
fn argument(name: &str) -> Option<String> {
    std::env::args().find_map(|argument| argument.strip_prefix(name).map(str::to_owned))
}

/// How many seeds to try: the command line may ask for more, as in `keeps_every_promise seeds=1000000`.
fn seeds() -> u64 {
    let asked = argument("seeds=").and_then(|seeds| seeds.parse().ok());
    asked.unwrap_or(SEEDS)
}

/// The seed that the command line asks for.
fn asked_for() -> Option<Seed> {
    let asked = argument("seed=")?;
    let mut numbers = asked.split(',');
    let number = numbers.next()?.parse().ok()?;
    let mut limit = || numbers.next().and_then(|it| it.parse().ok());
    let (steps, events) = (limit(), limit());
    Some(Seed {
        number,
        steps_max: steps.unwrap_or(usize::MAX),
        events_max: events.unwrap_or(usize::MAX),
    })
}

#[test]
fn every_seed_keeps_every_promise() {
    let began = Instant::now();
    let (next, seeds) = (AtomicU64::new(0), seeds());
    let failed: Mutex<BTreeMap<String, (u64, Failure)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let metrics = Metrics::new().unwrap();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds {
                        return;
                    }
                    if let Err(failure) = run(Seed::new(number), &metrics, false) {
                        let mut failed = failed.lock().unwrap();
                        let kind = kind(&failure.what);
                        let (seeds, first) = failed.entry(kind).or_insert((0, failure.clone()));
                        *seeds += 1;
                        if number < first.seed.number {
                            *first = failure;
                        }
                    }
                }
            });
        }
    });
    println!("{seeds} seeds in {:?}", began.elapsed());
    let failed = failed.into_inner().unwrap();
    for (kind, (number, first)) in &failed {
        println!("{number} seeds, first {}: {kind}", first.seed.number);
    }
    let first = failed.into_values().map(|(_, failure)| failure);
    if let Some(first) = first.min_by_key(|failure| failure.seed.number) {
        let metrics = Metrics::new().unwrap();
        let first = made_smaller(first, &metrics);
        panic!("{}", report(&first, &metrics));
    }
}

#[test]
fn a_retry_ladder_of_24_hours_runs_in_under_a_second() {
    let began = Instant::now();
    let done = world::run(Plan::ladder_of_a_day(), &Metrics::new().unwrap(), true).unwrap();
    let day_ms = 24 * 60 * 60 * 1_000;
    assert!(done.took_ms > day_ms, "{} ms", done.took_ms);
    let attempts = done
        .trace
        .iter()
        .filter(|line| line.contains("calls (0, 0)"));
    assert_eq!(attempts.count(), 31);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_seed_replays_exactly() {
    let metrics = Metrics::new().unwrap();
    if let Some(seed) = asked_for() {
        match run(seed, &metrics, true) {
            Ok(trace) => println!("{}\nnothing is wrong with {seed:?}", trace.join("\n")),
            Err(failure) => panic!("{}\n{}", failure.trace.join("\n"), failure.what),
        }
        return;
    }
    let trace = |number| {
        let done = run(Seed::new(number), &metrics, true);
        done.unwrap_or_else(|failure| failure.trace)
    };
    for number in 0..20 {
        let differs = trace(number)
            .into_iter()
            .zip(trace(number))
            .find(|(once, again)| once != again);
        assert_eq!(differs, None, "seed {number}");
    }
}
