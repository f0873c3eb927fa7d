//! The promises, one check each.

use super::{Fact, Handled, Nature, Origin, Phase, Place, Settled, Tenure, Witness, origin};
use crate::delivery::ledger::Ledger;
use crate::kafka::producer::OutgoingRecord;
use crate::pipeline::messages::Settlement;
use crate::pipeline::simulation::broker::{self, Life, Log};
use crate::pipeline::simulation::decoder;
use crate::pipeline::simulation::store::Disk;

impl Witness {
    /// An event is handed to the plugin: the partition is the host's, nobody has finished the event in this
    /// assignment, it is the attempt that it should be, its wait is over, and no operator has paused it.
    pub(in crate::pipeline::simulation) fn called(
        &mut self,
        life: Life,
        place: Place,
        attempt: u32,
        now: u64,
    ) {
        self.note(|| format!("{now} {life:?} calls {place:?}, attempt {attempt}"));
        let at = self.at(place);
        let id = self.current.get(&(life, place.0));
        let tenure = id.and_then(|id| self.tenures.get_mut(&(life, *id)));
        if let (Some(at), Some(tenure)) = (at, tenure) {
            tenure.runs[at].called = true;
        }
        let tenure = id.and_then(|id| self.tenures.get(&(life, *id)));
        let (Some(at), Some(tenure)) = (at, tenure) else {
            self.wrong(|| format!("{life:?} handles {place:?}, which it was never given"));
            return;
        };
        let run = tenure.runs[at];
        let most = self.plan.attempts_max;
        let told = if tenure.phase != Phase::Held {
            Some("after it learned that the partition is revoked")
        } else if tenure.settled_before(place.1) {
            Some("though it was settled before this assignment")
        } else if run.end.is_some() {
            Some("though it is finished")
        } else if run.attempt != attempt || attempt > most {
            Some("with a wrong number of attempts")
        } else if now < run.not_before {
            Some("before its wait is over")
        } else if self.is_paused(life, place, at) {
            Some("though it is paused")
        } else if self.plan.remembers_all_ids() && self.knows_id(tenure, place, at) {
            Some("though its id is settled")
        } else {
            None
        };
        if let Some(told) = told {
            self.wrong(|| {
                format!("{life:?} handles {place:?}, attempt {attempt}, {told}: {run:?}")
            });
        }
    }

    /// What the plugin is shown of an event, as key, value and headers: the view that the decoder made of it, or the
    /// record itself where nothing is decoded.
    pub(in crate::pipeline::simulation) fn shown(
        &mut self,
        place: Place,
        [key, value, headers]: [Option<&[u8]>; 3],
    ) {
        let Some(at) = self.at(place) else {
            return;
        };
        let fact = &self.facts[place.0 as usize][at];
        let (decodes, nature) = (self.plan.decodes, fact.nature);
        let read = broker::value(fact.id, self.plan.value_bytes);
        let replaced = decoder::headers_named(headers.unwrap_or_default(), decoder::REPLACED);
        let has_view = decodes && read.is_some();
        let wanted = if has_view {
            read.map(|value| decoder::decoded(&value))
        } else {
            read
        };
        let headers_wanted = if has_view {
            1
        } else {
            2 * usize::from(place.1 % 5 == 0)
        };
        let told = if nature == Nature::Undecodable {
            Some("which cannot be decoded")
        } else if value != wanted.as_deref()
            || key.map(<[u8]>::to_vec) != fact.key.map(|key| vec![key])
        {
            Some("with another key or value than it should have")
        } else if replaced != headers_wanted {
            Some("with other headers than it should have")
        } else {
            None
        };
        if let Some(told) = told {
            self.wrong(|| format!("the plugin is shown {place:?} {told}: {value:?}, {headers:?}"));
        }
    }

    /// Whether another event with the id is settled, or finished, as far as this assignment knows.
    fn knows_id(&self, tenure: &Tenure, place: Place, at: usize) -> bool {
        let facts = &self.facts[place.0 as usize];
        facts.iter().enumerate().any(|(other_at, other)| {
            other_at != at
                && self.same_id(other, &facts[at])
                && (tenure.runs[other_at].end.is_some()
                    || (other_at < at && tenure.settled_before(other.offset)))
        })
    }

    /// The plugin has answered for an event, and the host believes it.
    pub(in crate::pipeline::simulation) fn handled(
        &mut self,
        life: Life,
        place: Place,
        what: Handled,
    ) {
        self.note(|| format!("  {place:?}: {what:?}"));
        let at = self.at(place);
        let id = self.current.get(&(life, place.0));
        let tenure = id.and_then(|id| self.tenures.get_mut(&(life, *id)));
        let (Some(at), Some(tenure)) = (at, tenure) else {
            return;
        };
        let run = &mut tenure.runs[at];
        let fact = &mut self.facts[place.0 as usize][at];
        match what {
            Handled::Failed { not_before } => {
                run.failed = true;
                run.attempt += 1;
                run.not_before = not_before;
            }
            Handled::Overloaded { not_before } => run.not_before = not_before,
            Handled::Held => {}
            Handled::Processed => (fact.processed, run.end) = (true, Some(what)),
            Handled::Filtered => (fact.filtered, run.end) = (true, Some(what)),
            Handled::Dead => (fact.dead, run.end) = (true, Some(what)),
        }
        if run.end.is_some() {
            self.taking_effect.push((place.0, at));
        }
    }

    /// A lane has done what it did. What it gave up on is known only now.
    pub(in crate::pipeline::simulation) fn lane_rests(&mut self) {
        for (partition, at) in std::mem::take(&mut self.taking_effect) {
            let offset = self.facts[partition as usize][at].offset;
            self.in_order((partition, offset), at);
        }
    }

    /// An event takes effect: all earlier ones of its key have, or are repeats of one that has.
    fn in_order(&mut self, place: Place, at: usize) {
        let facts = &self.facts[place.0 as usize];
        let open = |at: usize| {
            let fact = &facts[at];
            let repeat = facts[..at]
                .iter()
                .any(|other| self.same_id(other, fact) && other.is_handled());
            !fact.is_handled() && !repeat
        };
        let passed =
            (0..at).find(|other| self.same_order(&facts[*other], &facts[at]) && open(*other));
        if let Some(passed) = passed {
            let passed = facts[passed].offset;
            self.wrong(|| {
                format!("{place:?} takes effect before {passed}, which has the same key")
            });
        }
    }

    /// A lane says what events came to: each once, truly, and nothing but abandoned for what is revoked.
    pub(in crate::pipeline::simulation) fn settles(&mut self, life: Life, settlement: &Settlement) {
        for settled in &settlement.runs {
            let assignment = &settlement.assignments[settled.assignment as usize];
            for number in 0..settled.run.count {
                let place = (
                    assignment.partition,
                    settled.run.first_offset.0 + number as i64,
                );
                let told = self.settle(
                    life,
                    assignment.id,
                    place,
                    settled.settled,
                    assignment.is_revoked(),
                );
                self.note(|| format!("  {life:?} settles {place:?}: {}", settled.settled.word()));
                if let Some(told) = told {
                    let word = settled.settled.word();
                    self.wrong(|| format!("{life:?} settles {place:?} as {word}, {told}"));
                }
            }
        }
    }

    fn settle(
        &mut self,
        life: Life,
        assignment: u64,
        place: Place,
        settled: Settled,
        revoked: bool,
    ) -> Option<&'static str> {
        let Some(at) = self.at(place) else {
            return Some("which is no event");
        };
        let Some(tenure) = self.tenures.get(&(life, assignment)) else {
            return Some("which it was never given");
        };
        let end = tenure.runs[at].end;
        let undecodable = self.facts[place.0 as usize][at].nature == Nature::Undecodable;
        let early = undecodable || (tenure.runs[at].failed && self.plan.gives_up_early());
        let given_up = end.is_none() && early;
        let true_ = match settled {
            Settled::Processed => end == Some(Handled::Processed),
            Settled::Filtered => end == Some(Handled::Filtered),
            Settled::Dead => end == Some(Handled::Dead) || given_up,
            Settled::Recovered => tenure.settled_before(place.1) && place.1 >= tenure.committed,
            Settled::Duplicate => end.is_none() && self.has_earlier(tenure, place, at),
            Settled::Abandoned => revoked && end.is_none(),
            Settled::Moved => false,
        };
        if revoked && settled != Settled::Abandoned {
            return Some("though its partition was revoked before the batch began");
        }
        if !true_ {
            return Some("which is not what it came to");
        }
        if settled == Settled::Dead && given_up && self.is_paused(life, place, at) {
            return Some("and gives up what is paused");
        }
        let tenure = self.tenures.get_mut(&(life, assignment))?;
        if tenure.runs[at].settled.replace(settled).is_some() {
            return Some("a second time");
        }
        if settled == Settled::Dead && given_up {
            tenure.runs[at].end = Some(Handled::Dead);
            self.facts[place.0 as usize][at].dead = true;
            self.taking_effect.push((place.0, at));
        }
        None
    }

    /// Whether an event with the same id is settled; a repeat is one only then.
    fn has_earlier(&self, tenure: &Tenure, place: Place, at: usize) -> bool {
        let facts = &self.facts[place.0 as usize];
        facts[..at].iter().enumerate().any(|(other_at, other)| {
            self.same_id(other, &facts[at])
                && (tenure.runs[other_at].end.is_some() || tenure.settled_before(other.offset))
        })
    }

    /// The host gives a record to its producer: the partition is still its own.
    pub(in crate::pipeline::simulation) fn enqueued(
        &mut self,
        life: Life,
        record: &OutgoingRecord,
    ) {
        let Some(origin) = origin(record) else {
            return;
        };
        self.note(|| format!("  {life:?} enqueues {origin:?}"));
        let current = self.current.get(&(life, origin.partition()));
        let tenure = current.and_then(|id| self.tenures.get(&(life, *id)));
        let phase = tenure.map(|tenure| tenure.phase);
        let mut arriving = self.arriving.iter();
        let arriving = arriving.any(|(of, at, _)| (*of, *at) == (life, origin.partition()));
        if !arriving && !matches!(phase, Some(Phase::Held | Phase::Leaving | Phase::Losing)) {
            self.wrong(|| format!("{life:?} enqueues {origin:?}, and its partition is {phase:?}"));
        }
        if let Origin::Failed(place) = origin {
            self.wrong(|| format!("{life:?} enqueues an output of {place:?}, which had failed"));
        }
    }

    /// The host commits: forward only, everything below is settled, can be seen outside, and is in the store.
    pub(in crate::pipeline::simulation) fn commits(
        &mut self,
        life: Life,
        partition: i32,
        offset: i64,
        last: bool,
        disk: &Disk,
    ) {
        self.note(|| format!("{life:?} commits p{partition} at {offset}"));
        let facts = &self.facts[partition as usize];
        let id = self.current.get(&(life, partition)).copied();
        let key = id.map(|id| (life, id));
        let Some(tenure) = key.and_then(|key| self.tenures.get(&key)) else {
            self.wrong(|| format!("{life:?} commits p{partition}, which it was never given"));
            return;
        };
        let allowed = if last { Phase::Leaving } else { Phase::Held };
        let below = disk.rows.get(&partition).and_then(|row| row.settled_below);
        let unsettled = facts.iter().zip(&tenure.runs).find(|(fact, run)| {
            let settled = run
                .settled
                .is_some_and(|settled| settled != Settled::Abandoned);
            fact.offset < offset && fact.offset >= tenure.committed && !settled
        });
        let unseen = facts
            .iter()
            .enumerate()
            .find(|(at, fact)| fact.offset < offset && !self.seen(facts, *at));
        let told = if tenure.phase != allowed {
            Some(format!("and the partition is {:?}", tenure.phase))
        } else if offset < tenure.last_commit {
            Some(format!("which goes back from {}", tenure.last_commit))
        } else if let Some((fact, _)) = unsettled {
            Some(format!("past {}, which is not settled", fact.offset))
        } else if let Some((_, fact)) = unseen {
            Some(format!("past {}, which nobody has seen", fact.offset))
        } else if below.is_none_or(|below| below < offset) {
            Some(format!("and the store only knows what is below {below:?}"))
        } else {
            None
        };
        if let Some(told) = told {
            self.wrong(|| format!("{life:?} commits p{partition} at {offset}, {told}"));
        }
        if let Some(tenure) = key.and_then(|key| self.tenures.get_mut(&key)) {
            tenure.last_commit = offset;
        }
    }

    /// Whether what an event came to can be seen outside, or the event it repeats can.
    fn seen(&self, facts: &[Fact], at: usize) -> bool {
        let repeats = |other: &Fact| self.same_id(other, &facts[at]) && other.is_seen();
        facts[at].is_seen() || facts[..at].iter().any(repeats)
    }

    /// Everything has come to rest: nothing is lost, and local effects happened once.
    pub(in crate::pipeline::simulation) fn rests(&mut self, logs: &[Log], disks: &[&Disk]) {
        for (partition, log) in logs.iter().enumerate() {
            let facts = &self.facts[partition];
            let lost = (0..facts.len()).find(|at| !self.seen(facts, *at));
            if let Some(at) = lost {
                let offset = facts[at].offset;
                self.wrong(|| format!("the event at {offset} of p{partition} is lost"));
            }
            if log.visible > 0 && log.committed != Some(log.end()) {
                let (committed, end) = (log.committed, log.end());
                self.wrong(|| format!("p{partition} is committed at {committed:?} of {end}"));
            }
        }
        self.counted_once(disks);
    }

    fn counted_once(&mut self, disks: &[&Disk]) {
        let mut wrong = None;
        // With a window that is too small an event may be its own repeat when it is read again.
        let certain = self.plan.dedup_events_max.is_none() || self.plan.remembers_all_ids();
        for (partition, facts) in self.facts.iter().enumerate() {
            let again = self.rewinds[partition];
            for fact in facts {
                let count = self.counted(partition as i32, &fact.offset.to_string(), disks);
                let alone = disks.len() == 1 && again == 0;
                let once = certain && alone && fact.processed && !fact.dead;
                let most = match disks.len() {
                    _ if !fact.processed => 0,
                    1 => 1 + again,
                    _ => i64::MAX,
                };
                if count > most || (once && count != 1) {
                    wrong = Some(format!(
                        "the sum of the event at {} of p{partition} counts {count} times",
                        fact.offset
                    ));
                }
            }
            if self.counted(partition as i32, "bad", disks) > 0 {
                wrong = Some("an event that failed has left a sum".to_owned());
            }
        }
        if let Some(wrong) = wrong {
            self.wrong(|| wrong);
        }
    }

    /// A sum over everything that stores and emissions hold of it.
    fn counted(&self, partition: i32, name: &str, disks: &[&Disk]) -> i64 {
        let stored = disks.iter().filter_map(|disk| {
            let sum = disk.sums.get(&(partition, name.to_owned()))?;
            Some(sum.value)
        });
        let emitted = self
            .emissions
            .values()
            .filter(|(of, _)| *of == partition)
            .flat_map(|(_, sums)| sums)
            .filter(|(found, _)| found == name);
        stored.sum::<i64>() + emitted.map(|(_, value)| value).sum::<i64>()
    }

    /// The ledger of an assignment that rests has nothing open.
    pub(in crate::pipeline::simulation) fn closes(
        &mut self,
        partition: i32,
        ledger: &Ledger,
        polled: u64,
    ) {
        if ledger.finished() != polled || ledger.parked != 0 {
            let ledger = *ledger;
            self.wrong(|| {
                format!("the ledger of p{partition} is open: {polled} polled, {ledger:?}")
            });
        }
    }
}
