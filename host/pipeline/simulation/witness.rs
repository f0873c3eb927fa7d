//! What must hold, kept apart from the code that has to keep it: the witness sees every call, every settlement,
//! every record and every commit, and remembers the first thing that was wrong.

mod pausing;
mod promises;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::broker::{self, Life, Log};
use super::decoder;
use super::operator::Paused;
use super::plan::{Nature, Plan};
use super::store::Disk;
use crate::delivery::dead_letter;
use crate::delivery::lanes::OrderBy;
use crate::delivery::ledger::Settled;
use crate::delivery::offsets::{Applied, Offset};
use crate::kafka::consumer::Offered;
use crate::kafka::producer::OutgoingRecord;
use crate::pipeline::assignment::Assignment;

/// Where an event is: partition and offset.
pub(super) type Place = (i32, i64);

/// What a call made of an event, as the plugin knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handled {
    Processed,
    Filtered,
    /// Given up on, now or because no attempt is left.
    Dead,
    /// An attempt that counts.
    Failed {
        not_before: u64,
    },
    Overloaded {
        not_before: u64,
    },
    Held,
}

/// One event, over all lives.
#[derive(Debug)]
struct Fact {
    offset: i64,
    key: Option<u8>,
    id: Option<u16>,
    nature: Nature,
    /// Outputs that the broker has, as bits.
    written: u8,
    processed: bool,
    filtered: bool,
    dead: bool,
    /// Whether the broker has its dead letter.
    dead_written: bool,
}

impl Fact {
    /// Whether a call has finished it.
    fn is_handled(&self) -> bool {
        self.processed || self.filtered || self.dead
    }

    /// Whether what it came to can be seen outside.
    fn is_seen(&self) -> bool {
        let outputs = match self.nature {
            Nature::Fine { outputs } => outputs,
            _ => 1,
        };
        let all = (1 << outputs) - 1;
        self.filtered || self.dead_written || (self.processed && self.written & all == all)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Held,
    /// Given up in order: what was started is finished.
    Leaving,
    /// Another host may have it, and the settling thread has yet to hear of it.
    Losing,
    Lost,
    Ended,
}

/// What a store is worth when its host takes a partition up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finds {
    Own,
    Rewound,
    Stale,
}

/// One event in one assignment.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Whether the plugin has seen it, and whether an attempt has failed that counts.
    called: bool,
    failed: bool,
    /// The number of its next attempt.
    attempt: u32,
    not_before: u64,
    end: Option<Handled>,
    settled: Option<Settled>,
}

/// One assignment of one life.
#[derive(Debug)]
struct Tenure {
    phase: Phase,
    committed: i64,
    applied: Applied,
    /// In the order of the partition's events.
    runs: Vec<Run>,
    last_commit: i64,
}

/// Sees everything and forgets nothing.
#[derive(Debug)]
pub(super) struct Witness {
    plan: Arc<Plan>,
    facts: Vec<Vec<Fact>>,
    tenures: BTreeMap<(Life, u64), Tenure>,
    /// The assignment of each partition in each life, as that life knows it.
    current: BTreeMap<(Life, i32), u64>,
    /// Partitions that a life is taking up: what its store has not sent goes out at once.
    arriving: Vec<(Life, i32, Finds)>,
    /// How often each partition was rewound.
    rewinds: Vec<i64>,
    /// Sums that the broker has, by the emission that brought them.
    emissions: BTreeMap<String, (i32, Vec<(String, i64)>)>,
    /// What operators have paused, by the life that they told.
    paused: Vec<(Life, Paused)>,
    /// What has taken effect since a lane began what it does.
    taking_effect: Vec<(i32, usize)>,
    /// The first thing that was wrong.
    pub(super) wrong: Option<String>,
    /// What happened, where it is wanted.
    pub(super) trace: Option<Vec<String>>,
}

impl Witness {
    pub(super) fn new(plan: &Arc<Plan>, logs: &[Log], traced: bool) -> Self {
        let fact = |event: &super::plan::Event| Fact {
            offset: event.offset,
            key: event.key,
            id: event.id,
            nature: event.nature,
            written: 0,
            processed: false,
            filtered: false,
            dead: false,
            dead_written: false,
        };
        Self {
            plan: Arc::clone(plan),
            facts: logs
                .iter()
                .map(|log| log.events.iter().map(fact).collect())
                .collect(),
            tenures: BTreeMap::new(),
            current: BTreeMap::new(),
            arriving: Vec::new(),
            rewinds: vec![0; logs.len()],
            emissions: BTreeMap::new(),
            paused: Vec::new(),
            taking_effect: Vec::new(),
            wrong: None,
            trace: traced.then(Vec::new),
        }
    }

    /// Remembers what happens, where it is wanted.
    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(what());
        }
    }

    pub(super) fn wrong(&mut self, what: impl FnOnce() -> String) {
        if self.wrong.is_none() {
            let what = what();
            self.note(|| format!("WRONG: {what}"));
            self.wrong = Some(what);
        }
    }

    /// The place of an event in its partition.
    fn at(&self, (partition, offset): Place) -> Option<usize> {
        self.facts[partition as usize]
            .binary_search_by_key(&offset, |fact| fact.offset)
            .ok()
    }

    pub(super) fn nature(&self, place: Place) -> Nature {
        let at = self.at(place);
        at.map_or(Nature::Unwanted, |at| {
            self.facts[place.0 as usize][at].nature
        })
    }

    pub(super) fn rewound(&mut self, partition: i32) {
        self.rewinds[partition as usize] += 1;
    }

    /// A life begins to take partitions up. A commit below the last one that its store heard of says that
    /// the group was rewound, and what was settled runs again; one beyond everything in the store says that
    /// another host went on, and the store is stale.
    pub(super) fn arrives(&mut self, life: Life, offered: &[Offered], disk: &Disk) {
        self.arriving.clear();
        for offered in offered {
            let partition = offered.partition;
            let committed = offered.committed.map(|offset| offset.0);
            let row = disk.rows.get(&partition);
            let heard = row.and_then(|row| row.acknowledged);
            let ends = row.and_then(|row| row.applied().end());
            let finds = if heard > committed && offered.metadata.is_empty() {
                Finds::Rewound
            } else if heard > committed {
                // Rewound, and then another host went on and said what it settled.
                Finds::Own
            } else if row.is_some() && committed > heard.max(ends.map(|offset| offset.0)) {
                Finds::Stale
            } else {
                Finds::Own
            };
            self.arriving.push((life, partition, finds));
        }
    }

    fn arrived(&mut self, life: Life, assignment: &Assignment, disk: &Disk) {
        let partition = assignment.partition;
        let mut arriving = self.arriving.iter();
        let arriving = arriving.find(|(of, at, _)| *of == life && *at == partition);
        let finds = arriving.map(|(.., finds)| *finds);
        if finds == Some(Finds::Rewound) && assignment.applied != Applied::default() {
            self.wrong(|| format!("p{partition} was rewound, and {life:?} goes by its store"));
        }
        let kept = disk.rows.contains_key(&partition)
            || disk.sums.keys().any(|(of, _)| *of == partition)
            || disk.outbox.keys().any(|(of, _)| *of == partition);
        if finds == Some(Finds::Stale) && kept {
            self.wrong(|| {
                format!("another host went on with p{partition}, and {life:?} keeps its rows")
            });
        }
    }

    /// A life has a partition from now on.
    pub(super) fn assigned(&mut self, life: Life, assignment: &Assignment, disk: &Disk) {
        self.arrived(life, assignment, disk);
        let run = Run {
            called: false,
            failed: false,
            attempt: 1,
            not_before: 0,
            end: None,
            settled: None,
        };
        let runs = vec![run; self.facts[assignment.partition as usize].len()];
        let tenure = Tenure {
            phase: Phase::Held,
            committed: assignment.committed.0,
            applied: assignment.applied.clone(),
            runs,
            last_commit: assignment.committed.0,
        };
        self.note(|| {
            format!(
                "{life:?} has p{} as number {} from {} with {:?}",
                assignment.partition, assignment.id, tenure.committed, tenure.applied
            )
        });
        self.tenures.insert((life, assignment.id), tenure);
        self.current
            .insert((life, assignment.partition), assignment.id);
    }

    /// A life has learned that it gives a partition up.
    pub(super) fn given_up(&mut self, life: Life, assignment: &Assignment, lost: bool) {
        self.note(|| format!("{life:?} gives p{} up, lost: {lost}", assignment.partition));
        if let Some(tenure) = self.tenures.get_mut(&(life, assignment.id)) {
            tenure.phase = if lost { Phase::Losing } else { Phase::Leaving };
        }
    }

    /// The settling thread of a life has learned that partitions are lost.
    pub(super) fn lost(&mut self, life: Life, assignments: &[Arc<Assignment>]) {
        for assignment in assignments {
            if let Some(tenure) = self.tenures.get_mut(&(life, assignment.id)) {
                tenure.phase = Phase::Lost;
            }
        }
    }

    /// A life has given a partition up. Nothing of it is kept, unless there was no time for that.
    pub(super) fn ended(&mut self, life: Life, partition: i32, in_time: bool) {
        self.note(|| format!("{life:?} has given p{partition} up"));
        if let Some(id) = self.current.get(&(life, partition))
            && let Some(tenure) = self.tenures.get_mut(&(life, *id))
        {
            tenure.phase = Phase::Ended;
            let kept = tenure
                .runs
                .iter()
                .position(|run| run.called && run.settled.is_none());
            if let Some(at) = kept.filter(|_| in_time) {
                let offset = self.facts[partition as usize][at].offset;
                self.wrong(|| {
                    format!("{life:?} has given p{partition} up and still holds {offset}")
                });
            }
        }
    }

    /// The broker has a record.
    pub(super) fn written(&mut self, record: &OutgoingRecord) {
        let Some(origin) = origin(record) else {
            self.wrong(|| format!("a record of unknown origin: {record:?}"));
            return;
        };
        self.note(|| format!("written: {origin:?}"));
        match origin {
            Origin::Output(place, number) => {
                if let Some(at) = self.at(place) {
                    self.facts[place.0 as usize][at].written |= 1 << number;
                }
            }
            Origin::DeadLetter(place) => {
                if let Some(at) = self.at(place) {
                    let id = self.facts[place.0 as usize][at].id;
                    let read = broker::value(id, self.plan.value_bytes);
                    let own = record
                        .headers
                        .iter()
                        .filter(|(name, _)| name == decoder::REPLACED);
                    if record.value != read || own.count() != 2 * usize::from(place.1 % 5 == 0) {
                        self.wrong(|| format!("the dead letter of {place:?} is not what was read"));
                    }
                    self.facts[place.0 as usize][at].dead_written = true;
                }
            }
            Origin::Emission(partition, id, sums) => {
                let before = self.emissions.insert(id, (partition, sums.clone()));
                if before.is_some_and(|(_, before)| before != sums) {
                    self.wrong(|| "an emission was sent again with other sums".to_owned());
                }
            }
            Origin::Failed(place) => {
                self.wrong(|| format!("an output of an event that failed was sent: {place:?}"));
            }
        }
    }
}

#[derive(Debug)]
enum Origin {
    Output(Place, u8),
    DeadLetter(Place),
    Emission(i32, String, Vec<(String, i64)>),
    /// An output that should have been dropped.
    Failed(Place),
}

impl Origin {
    fn partition(&self) -> i32 {
        match self {
            Self::Output(place, _) | Self::DeadLetter(place) | Self::Failed(place) => place.0,
            Self::Emission(partition, ..) => *partition,
        }
    }
}

/// Which event or tick a record was made of.
fn origin(record: &OutgoingRecord) -> Option<Origin> {
    let header = |name: &str| {
        let found = record
            .headers
            .iter()
            .find(|(found, _)| *found == name.as_bytes());
        found.and_then(|(_, value)| value.clone())
    };
    let number = |name: &str| -> Option<i64> {
        let value = header(&format!("{}origin.{name}", dead_letter::PREFIX))?;
        String::from_utf8(value).ok()?.parse().ok()
    };
    if record.topic == super::DEAD_LETTERS {
        return Some(Origin::DeadLetter((
            number("partition")? as i32,
            number("offset")?,
        )));
    }
    let key = record.key.as_ref()?;
    let partition = i32::from(*key.get(1)?);
    if key[0] == b'e' {
        let text = String::from_utf8(record.value.clone()?).ok()?;
        let sums = text.split_terminator(';').filter_map(|sum| {
            let (name, value) = sum.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        let id = String::from_utf8(header("millrace.emission")?).ok()?;
        return Some(Origin::Emission(partition, id, sums.collect()));
    }
    let offset = i64::from_be_bytes(key.get(3..)?.try_into().ok()?);
    let place = (partition, offset);
    Some(match key[0] {
        b'o' => Origin::Output(place, key[2]),
        _ => Origin::Failed(place),
    })
}

impl Tenure {
    /// Whether the assignment began with the event settled.
    fn settled_before(&self, offset: i64) -> bool {
        offset < self.committed || self.applied.contains(Offset(offset))
    }
}

impl Witness {
    /// Whether two events have one id, within the scope of deduplication.
    fn same_id(&self, one: &Fact, other: &Fact) -> bool {
        one.id.is_some()
            && one.id == other.id
            && self.plan.dedup_events_max.is_some()
            && (self.plan.order_by != OrderBy::Key || one.key == other.key)
    }

    /// Whether two events must take effect in their order.
    fn same_order(&self, one: &Fact, other: &Fact) -> bool {
        match self.plan.order_by {
            OrderBy::Partition => true,
            OrderBy::Key => one.key == other.key,
            OrderBy::Id => false,
        }
    }
}
