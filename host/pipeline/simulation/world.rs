//! One run: hosts, a broker and time, and what goes wrong between them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fastrand::Rng;

use super::broker::{Life, Log};
use super::host::Host;
use super::plan::{Plan, Seed, TOPIC};
use super::store::Disk;
use super::witness::Witness;
use super::{Shared, Surroundings};
use crate::delivery::offsets::Offset;
use crate::kafka::consumer::Offered;
use crate::pipeline::clock::VirtualTime;
use crate::telemetry::metrics::Metrics;

/// Steps in which everything must come to rest once nothing goes wrong any more. What takes longer hangs.
const CALM_STEPS_MAX: usize = 20_000;

/// Why a run is wrong, and what led to it.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) seed: Seed,
    pub(super) what: String,
    pub(super) trace: Vec<String>,
}

/// A host, or the place of one that is down.
struct Slot {
    disk: Shared<Disk>,
    host: Option<Host>,
    starts: u32,
}

/// A run under way.
pub(super) struct World {
    around: Arc<Surroundings>,
    random: Rng,
    logs: Vec<Log>,
    slots: Vec<Slot>,
}

/// A run that kept every promise.
#[derive(Debug)]
pub(super) struct Done {
    /// What happened, where it is wanted.
    pub(super) trace: Vec<String>,
    /// Virtual time that passed, in milliseconds.
    pub(super) took_ms: u64,
}

/// Runs a plan to its end.
pub(super) fn run(plan: Plan, metrics: &Metrics, traced: bool) -> Result<Done, Failure> {
    let seed = plan.seed;
    // The lanes' own generators are forked from this thread's.
    fastrand::seed(seed.number);
    let plan = Arc::new(plan);
    let mut world = World::new(&plan, metrics, traced);
    let done = world.run();
    let mut witness = world
        .around
        .witness
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let trace = witness.trace.take().unwrap_or_default();
    let took_ms = world.around.time.ms();
    match done {
        Ok(()) => Ok(Done { trace, took_ms }),
        Err(what) => Err(Failure { seed, what, trace }),
    }
}

impl World {
    fn new(plan: &Arc<Plan>, metrics: &Metrics, traced: bool) -> Self {
        let mut logs: Vec<Log> = (0..plan.partitions).map(|_| Log::default()).collect();
        for event in &plan.events {
            logs[event.partition as usize].events.push(event.clone());
        }
        let witness = Witness::new(plan, &logs, traced);
        let time = VirtualTime::beginning_at(0);
        time.set_ms(1);
        let around = Surroundings {
            plan: Arc::clone(plan),
            time: Arc::new(time),
            calm: Arc::new(AtomicBool::new(false)),
            witness: Arc::new(Mutex::new(witness)),
            metrics: metrics.clone(),
        };
        let slots = (0..plan.hosts).map(|number| Slot {
            disk: Arc::new(Mutex::new(Disk {
                number: number as u64,
                ..Disk::default()
            })),
            host: None,
            starts: 0,
        });
        Self {
            around: Arc::new(around),
            random: Rng::with_seed(plan.seed.number ^ 0x5eed),
            logs,
            slots: slots.collect(),
        }
    }

    fn run(&mut self) -> Result<(), String> {
        let plan = Arc::clone(&self.around.plan);
        for _ in 0..plan.steps {
            self.trouble();
            self.coordinate();
            self.produce(60);
            self.work();
            self.verdict()?;
        }
        self.around.calm.store(true, Ordering::Relaxed);
        self.note(|| "calm".to_owned());
        for host in self.slots.iter_mut().filter_map(|slot| slot.host.as_mut()) {
            host.operator.resumes_all();
        }
        for _ in 0..CALM_STEPS_MAX {
            for at in 0..self.slots.len() {
                self.start(at);
            }
            self.coordinate();
            self.produce(1_000);
            if !self.work() && self.under_way().is_none() {
                return self.rest();
            }
            self.verdict()?;
        }
        Err(format!("it does not come to rest: {:?}", self.under_way()))
    }

    fn verdict(&self) -> Result<(), String> {
        let wrong = self.around.witness.lock().unwrap().wrong.take();
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        let mut hosts = self.slots.iter().filter_map(|slot| slot.host.as_ref());
        if hosts.any(Host::has_hole) {
            return Err("a ledger has a hole".to_owned());
        }
        Ok(())
    }

    fn note(&self, what: impl FnOnce() -> String) {
        self.around.witness.lock().unwrap().note(what);
    }

    fn happens(&mut self, chance: u32) -> bool {
        chance > 0 && self.random.u32(0..1_000) < chance
    }

    /// Lets one host do one thing, or time pass. False when only time passes.
    fn work(&mut self) -> bool {
        if self.random.u8(0..4) == 0 {
            let ms = self.random.u64(0..20);
            let time = &self.around.time;
            time.set_ms(time.ms() + ms);
        }
        let start = self.random.usize(0..self.slots.len());
        for number in 0..self.slots.len() {
            let at = (start + number) % self.slots.len();
            let slot = &mut self.slots[at];
            if let Some(host) = &mut slot.host
                && host.step(&mut self.logs)
            {
                if host.over
                    && let Some(host) = slot.host.take()
                {
                    host.finish();
                }
                return true;
            }
        }
        self.pass_time();
        false
    }

    /// Nothing can be done: time passes until something can.
    fn pass_time(&mut self) {
        let mut times = Vec::new();
        for host in self.slots.iter_mut().filter_map(|slot| slot.host.as_mut()) {
            host.next_times(&mut times);
        }
        let now = self.around.time.ms();
        times.retain(|at| *at > now);
        let at = match times.len() {
            0 => now + 10,
            len => times[self.random.usize(0..len)],
        };
        self.around.time.set_ms(at);
        self.note(|| format!("{at} on the clock"));
    }

    fn produce(&mut self, chance: u32) {
        if self.happens(chance) {
            let at = self.random.usize(0..self.logs.len());
            let log = &mut self.logs[at];
            log.visible = (log.visible + 1).min(log.events.len());
        }
    }

    fn start(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if slot.host.is_some() {
            return;
        }
        slot.starts += 1;
        let life: Life = (at, slot.starts);
        self.around
            .witness
            .lock()
            .unwrap()
            .note(|| format!("{life:?} starts"));
        slot.host = Some(Host::start(
            &self.around,
            life,
            &slot.disk,
            &mut self.random,
        ));
    }

    /// What goes wrong, and what operators do.
    fn trouble(&mut self) {
        let chances = self.around.plan.chances.clone();
        let at = self.random.usize(0..self.slots.len());
        if self.slots[at].host.is_none() {
            if self.happens(chances.restart) || self.slots[at].starts == 0 {
                self.start(at);
            }
        } else if self.happens(chances.crash) {
            self.crash(at);
        } else if self.happens(chances.shut_down) {
            self.give_up(at, true);
        } else if self.happens(chances.revoke) {
            self.give_up(at, false);
        }
        if self.happens(chances.pause)
            && let Some(host) = &mut self.slots[at].host
        {
            host.operator.acts();
        }
        if self.happens(chances.lose) {
            // Its owner does not know yet.
            let at = self.random.usize(0..self.logs.len());
            self.logs[at].owner = None;
            self.note(|| format!("p{at} is lost"));
        }
        if self.happens(chances.rewind) {
            self.rewind();
        }
    }

    fn crash(&mut self, at: usize) {
        if let Some(host) = self.slots[at].host.take() {
            let life = host.life;
            self.note(|| format!("{life:?} crashes"));
            host.crash();
            self.forget_owner(life);
        }
    }

    fn forget_owner(&mut self, life: Life) {
        for log in &mut self.logs {
            log.owner = log.owner.filter(|owner| *owner != life);
        }
    }

    /// A host gives some of its partitions up in order, or all of them for good.
    fn give_up(&mut self, at: usize, shut_down: bool) {
        let Some(host) = self.slots[at].host.as_mut().filter(|host| host.listens()) else {
            return;
        };
        let life = host.life;
        let mut partitions = host.partitions();
        // What it has lost without knowing it is told apart.
        partitions.retain(|partition| self.logs[*partition as usize].owner == Some(life));
        if !shut_down {
            partitions.retain(|_| self.random.bool());
        } else if partitions.len() < host.partitions().len() {
            return;
        }
        if shut_down || !partitions.is_empty() {
            // It may be the end of one of its threads that ends it.
            if shut_down && self.random.u8(0..4) == 0 {
                host.lose_keeper();
            }
            host.give_up(&partitions, false, shut_down);
            if host.over
                && let Some(host) = self.slots[at].host.take()
            {
                host.finish();
            }
        }
    }

    /// An operator sets the commit of a partition that nobody has.
    fn rewind(&mut self) {
        let partition = self.random.usize(0..self.logs.len());
        let log = &mut self.logs[partition];
        let Some(committed) = log.committed.filter(|_| log.owner.is_none()) else {
            return;
        };
        let to = self.random.i64(0..=committed);
        log.committed = (self.random.u8(0..4) > 0).then_some(to);
        log.metadata.clear();
        let mut witness = self.around.witness.lock().unwrap();
        witness.rewound(partition as i32);
        witness.note(|| format!("p{partition} is rewound from {committed} to {to}"));
    }

    /// The group's coordinator: tells who has lost a partition, and gives those that nobody has away.
    fn coordinate(&mut self) {
        if self.random.u8(0..6) > 0 {
            return;
        }
        let at = self.random.usize(0..self.slots.len());
        let Some(host) = self.slots[at].host.as_mut().filter(|host| host.listens()) else {
            return;
        };
        let life = host.life;
        let mut lost = host.partitions();
        lost.retain(|partition| self.logs[*partition as usize].owner != Some(life));
        if !lost.is_empty() {
            host.give_up(&lost, true, false);
            return;
        }
        let mut offered = Vec::new();
        for (partition, log) in self.logs.iter_mut().enumerate() {
            if log.owner.is_none() && self.random.u8(0..4) > 0 {
                log.owner = Some(life);
                offered.push(Offered {
                    topic: TOPIC.to_owned(),
                    partition: partition as i32,
                    committed: log.committed.map(Offset),
                    metadata: log.metadata.clone(),
                    oldest: Offset(0),
                    newest: Offset(log.end()),
                });
            }
        }
        if !offered.is_empty() {
            host.assign(&offered);
        }
    }

    /// What has not been done yet.
    fn under_way(&mut self) -> Option<&'static str> {
        if self.logs.iter().any(|log| log.visible < log.events.len()) {
            return Some("events are not produced");
        }
        if self.logs.iter().any(|log| log.owner.is_none()) {
            return Some("a partition has no owner");
        }
        let hosts = self.slots.iter().filter_map(|slot| slot.host.as_ref());
        let mut owned = hosts.flat_map(|host| {
            let partitions = host.partitions().into_iter();
            partitions.map(|partition| self.logs[partition as usize].owner == Some(host.life))
        });
        if owned.any(|owned| !owned) {
            return Some("a host has not learned that a partition is lost");
        }
        let open = |log: &Log| log.visible > 0 && log.committed != Some(log.end());
        if self.logs.iter().any(open) {
            return Some("not everything is committed");
        }
        let hosts = self.slots.iter_mut().filter_map(|slot| slot.host.as_mut());
        hosts.filter_map(Host::under_way).next()
    }

    fn rest(&mut self) -> Result<(), String> {
        let disks: Vec<_> = self
            .slots
            .iter()
            .map(|slot| slot.disk.lock().unwrap())
            .collect();
        let disks: Vec<&Disk> = disks.iter().map(|disk| &**disk).collect();
        self.around
            .witness
            .lock()
            .unwrap()
            .rests(&self.logs, &disks);
        self.verdict()
    }
}
