//! Dead letters put back where they came from: once each, in the order in which they lie, no faster than asked, and no
//! more often than allowed.
//!
//! It must not know how a letter is judged, nor how it is remembered what was put back.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use serde_json::{Value, json};

use super::filter::Filter;
use super::letter::Letter;
use super::outbox::Outbox;
use super::pace::Pace;
use super::progress::Progress;
use super::redriven::{self, Redriven};
use super::{DeadLetters, DeadLettersError};
use crate::delivery::dead_letter;
use crate::kafka::producer::OutgoingRecord;
use crate::kafka::reader::Scan;

/// An event that was put back so often stays, unless somebody says otherwise.
pub const REDRIVES_MAX: u32 = 3;

/// What is to be put back, and how.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Which letters.
    pub filter: Filter,
    /// Where they go; none puts each back into the topic that it came from.
    pub to: Option<String>,
    /// At most so many a second, above 0; none puts back as fast as the broker takes them.
    pub per_second: Option<f64>,
    /// An event that was put back so often is refused.
    pub redrives_max: u32,
    /// At most so many letters.
    pub limit: Option<u64>,
    /// Puts back those too that were put back already.
    pub again: bool,
    /// Says what would be done, and does nothing.
    pub dry_run: bool,
    /// Keeps the time of the record that it was. Kafka deletes by that time.
    pub keep_time: bool,
}

/// What a trial of a letter came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It succeeds now, or nobody wants to know.
    Fixed,
    /// It fails still.
    Failing,
}

/// What became of the letters that were meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Letters that were meant.
    pub matched: u64,
    /// Put back and acknowledged; with a dry run, what would be.
    pub redriven: u64,
    /// Letters by the topic that they went to, those too that were not acknowledged.
    pub to: BTreeMap<String, u64>,
    /// Those that stayed, by the reason.
    pub stayed: BTreeMap<&'static str, u64>,
    /// Topics that they would go to and that are not there.
    pub missing_topics: Vec<String>,
}

/// Why a letter stays.
mod stays {
    pub(super) const ALREADY: &str = "already-redriven";
    pub(super) const TOO_OFTEN: &str = "too-many-redrives";
    pub(super) const NO_ORIGIN: &str = "unknown-origin";
    pub(super) const LOOP: &str = "loop";
    pub(super) const NO_TOPIC: &str = "no-such-topic";
    pub(super) const FAILING: &str = "still-failing";
}

impl Report {
    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "matched": self.matched,
            "redriven": self.redriven,
            "to": self.to,
            "stayed": self.stayed,
            "missing_topics": self.missing_topics,
        })
    }

    fn stays(&mut self, why: &'static str) {
        *self.stayed.entry(why).or_default() += 1;
    }
}

impl DeadLetters {
    /// Puts back what is meant, for as long as nobody wishes otherwise. The report holds whatever the end was.
    pub fn redrive(
        &self,
        wish: &Wish,
        judge: &mut dyn FnMut(&Letter) -> Result<Judged, DeadLettersError>,
        progress: &Progress,
    ) -> (Report, Result<(), DeadLettersError>) {
        match Redrive::begin(self, wish, progress) {
            Ok(mut redrive) => {
                let done = redrive.run(judge);
                progress.show(&redrive.report);
                (redrive.report, done)
            }
            Err(error) => (Report::default(), Err(error)),
        }
    }
}

/// A redrive under way.
#[derive(Debug)]
struct Redrive<'a> {
    letters: &'a DeadLetters,
    wish: &'a Wish,
    progress: &'a Progress,
    redriven: Redriven,
    /// How many partitions the topics have that letters go to; none is not there.
    targets: HashMap<String, Option<usize>>,
    pace: Pace,
    /// None in a dry run.
    outbox: Option<Outbox>,
    planned: u64,
    report: Report,
}

impl<'a> Redrive<'a> {
    fn begin(
        letters: &'a DeadLetters,
        wish: &'a Wish,
        progress: &'a Progress,
    ) -> Result<Self, DeadLettersError> {
        if wish.to.as_deref() == Some(letters.topic()) {
            return Err(DeadLettersError::Loop(letters.topic.clone()));
        }
        // Before anything is made for a topic that is not there.
        letters.extents()?;
        let mut redriven = letters.redriven()?;
        let left = redriven.recover(&letters.reader, &letters.topic)?;
        let outbox = if wish.dry_run {
            None
        } else {
            redriven::ensure_marks_topic(&letters.topics, &letters.topic)?;
            let mut outbox = Outbox::new(&letters.kafka)?;
            // In their order: the beginning is taken back when everything since is remembered.
            outbox.note(&left)?;
            Some(outbox)
        };
        Ok(Self {
            letters,
            wish,
            progress,
            redriven,
            targets: HashMap::new(),
            pace: Pace::new(wish.per_second),
            outbox,
            planned: 0,
            report: Report::default(),
        })
    }

    fn run(
        &mut self,
        judge: &mut dyn FnMut(&Letter) -> Result<Judged, DeadLettersError>,
    ) -> Result<(), DeadLettersError> {
        let (letters, wish, progress) = (self.letters, self.wish, self.progress);
        let go_on = || !progress.is_stopped();
        let scanned = letters.scan_while(go_on, &wish.filter, |letter| {
            let scan = self.take(&letter, judge);
            self.show();
            scan
        });
        let Some(outbox) = &mut self.outbox else {
            self.report.redriven = self.planned;
            return scanned;
        };
        let finished = outbox.finish();
        self.report.redriven = outbox.acknowledged();
        scanned.and(finished)?;
        // Where something failed, the next redrive looks at what was left.
        let targets = self.report.to.keys();
        let ended: Vec<OutgoingRecord> = targets
            .map(|target| redriven::ended(letters.topic(), target))
            .collect();
        outbox.note(&ended)
    }

    /// What was acknowledged so far; in a dry run, what would be put back.
    fn show(&mut self) {
        let acknowledged = self.outbox.as_ref().map(Outbox::acknowledged);
        self.report.redriven = acknowledged.unwrap_or(self.planned);
        self.progress.show(&self.report);
    }

    fn take(
        &mut self,
        letter: &Letter,
        judge: &mut dyn FnMut(&Letter) -> Result<Judged, DeadLettersError>,
    ) -> Result<Scan, DeadLettersError> {
        self.report.matched += 1;
        let place = match self.place(letter)? {
            Ok(place) => place,
            Err(why) => {
                self.report.stays(why);
                return Ok(Scan::Continue);
            }
        };
        match judge(letter)? {
            Judged::Fixed => {}
            Judged::Failing => {
                self.report.stays(stays::FAILING);
                return Ok(Scan::Continue);
            }
        }
        if self.outbox.is_some() && !self.progress.wait(self.pace.next(Instant::now())) {
            return Ok(Scan::Enough);
        }
        self.put_back(letter, place)?;
        self.planned += 1;
        let enough = self.wish.limit.is_some_and(|limit| self.planned >= limit);
        Ok(if enough { Scan::Enough } else { Scan::Continue })
    }

    /// Topic and partition that a letter goes to, or why it stays. No partition leaves that to its key.
    fn place(
        &mut self,
        letter: &Letter,
    ) -> Result<Result<(String, Option<i32>), &'static str>, DeadLettersError> {
        if !self.wish.again && self.redriven.has(letter) {
            return Ok(Err(stays::ALREADY));
        }
        if dead_letter::redrives(&letter.record.headers) >= self.wish.redrives_max {
            return Ok(Err(stays::TOO_OFTEN));
        }
        let origin = letter.account.as_ref().and_then(|it| it.origin.as_ref());
        let Some(topic) = self.wish.to.as_ref().or(origin.map(|it| &it.0)) else {
            return Ok(Err(stays::NO_ORIGIN));
        };
        if *topic == self.letters.topic {
            return Ok(Err(stays::LOOP));
        }
        let Some(partitions) = self.partitions(topic)? else {
            return Ok(Err(stays::NO_TOPIC));
        };
        // Where it came from, so that whoever has its key's state has it again.
        let came_from = origin.filter(|it| it.0 == *topic).and_then(|it| it.1);
        let partition = came_from.filter(|it| usize::try_from(*it).is_ok_and(|it| it < partitions));
        Ok(Ok((topic.clone(), partition)))
    }

    fn partitions(&mut self, topic: &str) -> Result<Option<usize>, DeadLettersError> {
        if let Some(known) = self.targets.get(topic) {
            return Ok(*known);
        }
        let found = self.letters.topics.describe(topic)?;
        let partitions = found.map(|summary| summary.partitions);
        if partitions.is_none() {
            self.report.missing_topics.push(topic.to_owned());
        }
        self.targets.insert(topic.to_owned(), partitions);
        Ok(partitions)
    }

    fn put_back(
        &mut self,
        letter: &Letter,
        (topic, partition): (String, Option<i32>),
    ) -> Result<(), DeadLettersError> {
        let before = self.report.to.entry(topic.clone()).or_default();
        *before += 1;
        let Some(outbox) = &mut self.outbox else {
            return Ok(());
        };
        if *before == 1 {
            let extents = self.letters.reader.extents(&topic)?.unwrap_or_default();
            outbox.note(&[redriven::begun(self.letters.topic(), &topic, &extents)])?;
        }
        let account = letter.account.as_ref();
        let was_ms = account.and_then(|it| it.timestamp_ms);
        let mut headers = dead_letter::redriven(&letter.record.headers, account);
        headers.push((
            dead_letter::REDRIVE_OF.as_bytes().to_vec(),
            Some(redriven::redrive_of(letter).into_bytes()),
        ));
        let record = OutgoingRecord {
            topic,
            partition,
            // Otherwise that of writing, so that the topic's retention counts from now.
            timestamp_ms: was_ms
                .or(letter.record.timestamp_ms)
                .filter(|_| self.wish.keep_time),
            key: letter.record.key.clone(),
            value: letter.record.value.clone(),
            headers,
            ..OutgoingRecord::default()
        };
        let mark = redriven::mark(letter, &record.topic);
        outbox.send(&record, Some(mark))?;
        if self.planned == 0 {
            // The first one alone: what is refused is refused before a second one is tried, and what connecting takes
            // is not caught up on.
            outbox.finish()?;
            self.pace.begin(Instant::now());
        }
        Ok(())
    }
}
