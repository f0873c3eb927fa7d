//! A rehearsal: one group with one plugin on its real data path, on one thread and in virtual time, so that a day
//! takes as long as what happens in it. The settle store and the journal are real files; only the broker is a
//! few lists in memory, and the hands of the clock are set. It must not know what anybody expects.

mod broker;
mod life;
mod watched;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::broker::Written;
use self::broker::{SharedBroker, lock};
use self::life::Life;
use self::watched::SharedRecord;
pub use self::watched::{FailedTick, Place, Seen};
use super::clock::{Clock, VirtualTime};
use super::start::StartError;
use super::versions::{Version, Versions};
use crate::config;
use crate::kafka::KafkaError;
use crate::sandbox::{LoadedPlugin, TickReason};
use crate::store::{SettleStore, StoreError};
use crate::telemetry::metrics::Metrics;

/// Points of time at which something is done, in one stretch of time: far more than any scenario has, and
/// a minute or two of real time.
const MOMENTS_MAX: u64 = 1_000_000;

/// How often a group settles after the last thing that happened until nothing is left to be settled or
/// committed: the effects, then the commit that was acknowledged, then the emissions.
const SETTLES_UNTIL_REST: u32 = 4;

/// What is rehearsed.
#[derive(Debug)]
pub struct RehearsalParts {
    /// The group. Its store, and the journal of its plugin, are put into `folder`.
    pub group: config::Group,
    /// How large a record may be is taken from here.
    pub kafka: config::Kafka,
    /// The plugin's name in the routes of the group, and its settings.
    pub plugin: (String, config::Plugin),
    /// The plugin itself.
    pub loaded: Arc<LoadedPlugin>,
    /// An empty folder.
    pub folder: PathBuf,
    /// Partitions of each source.
    pub partitions: BTreeMap<String, usize>,
    /// How long giving up a partition may take.
    pub drain_timeout: Duration,
    /// What the wall clock shows at first, in milliseconds since the Unix epoch.
    pub begins_at_ms: u64,
}

/// Why a rehearsal cannot go on.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum RehearsalError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the figures cannot be kept: {0}")]
    Metrics(String),
    #[error("the plugin has no ticks: it does not export `millrace:plugin/timer`")]
    NoTimer,
    #[error(
        "there is no end of what happens at one point of time; do the plugin's outputs go to a topic of its own events?"
    )]
    NoEnd,
    #[error(
        "something was due at more than {MOMENTS_MAX} points of time in one step; let less time pass in it, or let \
         the plugin ask for longer waits"
    )]
    TooMuch,
    #[error("partition {partition} of topic {topic} could not be given up in time: {}", shown(*.after))]
    NotGivenUp {
        topic: String,
        partition: i32,
        after: Duration,
    },
    #[error(
        "offset {offset} of partition {partition} of topic {topic} is already written: the next one is {end}; leave \
         `offset` out, or let it rise"
    )]
    OffsetTaken {
        topic: String,
        partition: i32,
        offset: i64,
        end: i64,
    },
}

fn shown(time: Duration) -> String {
    config::units::show_duration(time)
}

/// A group in virtual time.
pub struct Rehearsal {
    parts: RehearsalParts,
    time: Arc<VirtualTime>,
    broker: SharedBroker,
    record: SharedRecord,
    metrics: Metrics,
    /// None only between two lives.
    life: Option<Life>,
}

impl std::fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rehearsal").finish_non_exhaustive()
    }
}

impl Rehearsal {
    /// Starts the group. It has every partition, and nothing is in them.
    ///
    /// # Errors
    /// Its store or its journal cannot be made.
    pub fn start(mut parts: RehearsalParts) -> Result<Self, RehearsalError> {
        parts.group.store = parts.folder.join("store");
        if let Some(journal) = &mut parts.plugin.1.journal {
            journal.path = parts.folder.join("journal").join("lines");
        }
        let broker = SharedBroker::default();
        for (topic, partitions) in &parts.partitions {
            lock(&broker).create(topic, *partitions);
            if let Some(retry) = parts.group.retry.topics.get(topic) {
                lock(&broker).create(retry, *partitions);
            }
        }
        let mut rehearsal = Self {
            time: Arc::new(VirtualTime::beginning_at(parts.begins_at_ms)),
            parts,
            broker,
            record: SharedRecord::default(),
            metrics: figures()?,
            life: None,
        };
        rehearsal.begin_life()?;
        Ok(rehearsal)
    }

    fn clock(&self) -> Clock {
        Clock::Virtual(Arc::clone(&self.time))
    }

    fn begin_life(&mut self) -> Result<(), RehearsalError> {
        // Waits are shortened by chance, as their jitter says: the same chance in every run.
        fastrand::seed(0);
        self.metrics = figures()?;
        let mut version = Version::new(&self.parts.loaded);
        version.callee = Box::new(watched::Watched {
            loaded: Arc::clone(&self.parts.loaded),
            record: Arc::clone(&self.record),
            clock: self.clock(),
        });
        let versions = Arc::new(Versions::new(version));
        let around = (&self.broker, &self.record, &self.metrics);
        self.life = Some(Life::begin(&self.parts, versions, self.clock(), around)?);
        self.work()
    }

    fn work(&mut self) -> Result<(), RehearsalError> {
        self.life.as_mut().map_or(Ok(()), Life::work)
    }

    /// The sources, and how many partitions each has.
    #[must_use]
    pub fn partitions(&self) -> &BTreeMap<String, usize> {
        &self.parts.partitions
    }

    /// What the wall clock shows, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.clock().wall_ms()
    }

    /// Writes an event, and lets the group do what it does with it at once. Returns its place.
    ///
    /// # Errors
    /// Its offset is taken.
    pub fn produce(&mut self, event: Written) -> Result<Place, RehearsalError> {
        let (topic, partition, offset) = (event.topic.clone(), event.partition, event.offset);
        let end = lock(&self.broker).end(&topic, partition);
        if offset > 0 && offset < end {
            return Err(RehearsalError::OffsetTaken {
                topic,
                partition,
                offset,
                end,
            });
        }
        let written = lock(&self.broker).append(event);
        self.work()?;
        Ok((topic, partition, written.offset))
    }

    /// Lets time pass, with everything that is due meanwhile.
    ///
    /// # Errors
    /// More is due than can be waited for.
    pub fn advance(&mut self, time: Duration) -> Result<(), RehearsalError> {
        let target = self.time.ms().saturating_add(time.as_millis() as u64);
        for _ in 0..MOMENTS_MAX {
            self.work()?;
            let due = self.life.as_ref().and_then(Life::next_due);
            // What is due now and was not done waits for something else.
            let next = due
                .map_or(target, |at| at.max(self.time.ms() + 1))
                .min(target);
            if self.time.ms() >= target {
                return Ok(());
            }
            self.time.set_ms(next);
        }
        Err(RehearsalError::TooMuch)
    }

    /// Lets time pass until every partition has had a tick, and what it emitted is written.
    ///
    /// # Errors
    /// The plugin has no ticks.
    pub fn tick(&mut self) -> Result<(), RehearsalError> {
        let due = self.life.as_ref().and_then(Life::last_tick);
        let at = due.ok_or(RehearsalError::NoTimer)?;
        let until = Duration::from_millis(at.saturating_sub(self.time.ms()));
        self.advance(until + 3 * self.parts.group.commit_interval)
    }

    /// Lets time pass until nothing is left to be settled or committed. Events that wait for a retry wait on.
    ///
    /// # Errors
    /// More is due than can be waited for.
    pub fn rest(&mut self) -> Result<(), RehearsalError> {
        self.advance((SETTLES_UNTIL_REST + 1) * self.parts.group.commit_interval)
    }

    /// Ends the host from one moment to the next, and starts another one.
    ///
    /// # Errors
    /// The store or the journal cannot be opened again.
    pub fn crash(&mut self) -> Result<(), RehearsalError> {
        self.life = None;
        self.begin_life()
    }

    /// Ends the host in order, and starts another one.
    ///
    /// # Errors
    /// As for [`Self::crash`], or it did not end in time.
    pub fn restart(&mut self) -> Result<(), RehearsalError> {
        self.give_up_all(TickReason::Shutdown)?;
        if let Some(life) = self.life.take() {
            life.finish();
        }
        self.begin_life()
    }

    /// Takes every partition away in order, and gives it back.
    ///
    /// # Errors
    /// They could not be given up in time.
    pub fn rebalance(&mut self) -> Result<(), RehearsalError> {
        self.give_up_all(TickReason::Revoked)?;
        if let Some(life) = &mut self.life {
            life.take_up_all();
        }
        self.work()
    }

    fn give_up_all(&mut self, reason: TickReason) -> Result<(), RehearsalError> {
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        let until = self.time.ms() + self.parts.drain_timeout.as_millis() as u64;
        life.begin_giving_up(reason);
        loop {
            life.work()?;
            if life.given_up() {
                return Ok(());
            }
            let now = self.time.ms();
            if now > until {
                let after = self.parts.drain_timeout;
                let (topic, partition) = life.first_place();
                return Err(RehearsalError::NotGivenUp {
                    topic,
                    partition,
                    after,
                });
            }
            self.time
                .set_ms(life.next_due().unwrap_or(now).max(now + 1).min(until + 1));
        }
    }

    /// What became of events, from the `from`th time on that something did.
    #[must_use]
    pub fn seen(&self, from: usize) -> Vec<Seen> {
        watched::lock(&self.record).since(from)
    }

    /// How often something has become of an event.
    #[must_use]
    pub fn seen_count(&self) -> usize {
        watched::lock(&self.record).seen.len()
    }

    /// Ticks that failed.
    #[must_use]
    pub fn failed_ticks(&self) -> Vec<FailedTick> {
        watched::lock(&self.record).failed_ticks.clone()
    }

    /// Everything that stands in the topics, in the order in which it was written.
    #[must_use]
    pub fn written(&self) -> Vec<Arc<Written>> {
        lock(&self.broker).written().to_vec()
    }

    /// The committed offset of a partition; none before the first commit.
    #[must_use]
    pub fn committed(&self, topic: &str, partition: i32) -> Option<i64> {
        lock(&self.broker)
            .committed(topic, partition)
            .map(|offset| offset.0)
    }

    /// Records of the sources that are not committed.
    #[must_use]
    pub fn lag(&self) -> i64 {
        let broker = lock(&self.broker);
        let lag = |(topic, partitions): (&String, &usize)| {
            let of = |partition| {
                let committed = broker.committed(topic, partition);
                broker.end(topic, partition) - committed.map_or(0, |offset| offset.0)
            };
            (0..*partitions as i32).map(of).sum::<i64>()
        };
        self.parts.partitions.iter().map(lag).sum()
    }

    /// A value of the plugin's state as its next call would find it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn state(
        &self,
        (topic, partition): (&str, i32),
        key: Option<&[u8]>,
        name: &str,
    ) -> Result<Option<Vec<u8>>, RehearsalError> {
        let Some(life) = &self.life else {
            return Ok(None);
        };
        Ok(life.state((topic, partition), &self.parts.plugin.0, key, name)?)
    }

    /// The plugin's named sums over all partitions, those that no tick has taken.
    #[must_use]
    pub fn tallies(&self) -> BTreeMap<String, i64> {
        self.life.as_ref().map(Life::tallies).unwrap_or_default()
    }

    /// The lines of the journal, those in finished segments too.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn journal_lines(&self) -> std::io::Result<Vec<String>> {
        let Some(journal) = &self.parts.plugin.1.journal else {
            return Ok(Vec::new());
        };
        let mut lines = Vec::new();
        for segment in segments(&journal.path)? {
            let text = std::fs::read(segment)?;
            lines.extend(String::from_utf8_lossy(&text).lines().map(str::to_owned));
        }
        Ok(lines)
    }

    /// The figures of the host's life, as a scrape shows them.
    ///
    /// # Errors
    /// They cannot be shown.
    pub fn figures(&self) -> Result<String, RehearsalError> {
        let shown = self.metrics.render();
        shown.map_err(|error| RehearsalError::Metrics(error.to_string()))
    }
}

fn figures() -> Result<Metrics, RehearsalError> {
    Metrics::new().map_err(|error| RehearsalError::Metrics(error.to_string()))
}

/// The files of a journal, oldest first: `NAME.0`, `NAME.1` and so on, and the one that is written to.
fn segments(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut numbered = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.path();
        let number = file
            .extension()
            .and_then(|number| number.to_str()?.parse::<u64>().ok());
        if let Some(number) = number {
            numbered.insert(number, file);
        }
    }
    let finished = numbered.into_values();
    Ok(finished.chain([path.to_owned()]).collect())
}

impl From<KafkaError> for RehearsalError {
    fn from(error: KafkaError) -> Self {
        Self::Start(error.into())
    }
}

/// Opens the store of a rehearsal, which a life before may have written.
fn open_store(parts: &RehearsalParts) -> Result<Arc<SettleStore>, RehearsalError> {
    Ok(Arc::new(SettleStore::open(&parts.group.store)?))
}
