//! What must be true of the topics and the commits: I1 nothing lost, I2 duplicates bounded, I3 key order,
//! I4 commits behind the work.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::CheckArgs;
use crate::evidence::{Evidence, Mark, Sample};
use crate::liveness;
use crate::report::Report;
use crate::topics::{Coordinates, Found};

/// The broker stamps records and the watcher its looks with one clock, in whole milliseconds.
const CLOCK_MS: i64 = 2;

/// What was on the wire when something was stopped may be written this much later, in milliseconds.
const ON_THE_WIRE_MS: i64 = 1_000;

/// I1: every event that was acknowledged is in the output or in the dead-letter topic, as it was.
pub(crate) fn nothing_lost(evidence: &Evidence, found: &Found, report: &mut Report) {
    let acked = evidence.acked();
    report.sent = acked.len() as u64;
    let mut wrong = found.strange.clone();
    let mut arrived: BTreeSet<Coordinates> = BTreeSet::new();
    for copy in found.copies() {
        match found.source.get(&copy.from) {
            Some(event) if (event.id, event.seq, &event.key) == (copy.id, copy.seq, &copy.key) => {
                arrived.insert(copy.from);
            }
            _ => wrong.push(format!("a copy of nothing that was sent: {copy:?}")),
        }
    }
    for letter in &found.letters {
        match found.source.get(&letter.from) {
            Some(event) if (&event.key, &event.value) == (&letter.key, &letter.value) => {
                arrived.insert(letter.from);
            }
            _ => wrong.push(format!(
                "a dead letter that is not as its event: {:?}",
                letter.from
            )),
        }
    }
    let stored: BTreeSet<u64> = found.source.values().map(|event| event.id).collect();
    let unstored = acked
        .difference(&stored)
        .map(|id| format!("event {id} is not in the source"));
    let lost: Vec<String> = found
        .source
        .iter()
        .filter(|(place, event)| acked.contains(&event.id) && !arrived.contains(*place))
        .map(|(place, event)| format!("event {} at {place:?} is nowhere", event.id))
        .collect();
    report.lost = lost.len() as u64;
    let looked_at = format!(
        "{} acknowledged, {} copies, {} dead letters",
        acked.len(),
        found.copies().count(),
        found.letters.len()
    );
    let none_sent = acked.is_empty().then(|| "nothing was sent".to_owned());
    report.found(
        "I1",
        looked_at,
        lost.into_iter()
            .chain(wrong)
            .chain(unstored)
            .chain(none_sent),
    );
}

/// Where events may run again because of a fault, for each partition: from the commit to the position.
type Window = BTreeMap<i32, (i64, i64)>;

/// I2: what is there twice stood between commit and position when something was done to the system, and is
/// not repeated once its commit is known.
pub(crate) fn duplicates_bounded(
    args: &CheckArgs,
    evidence: &Evidence,
    found: &Found,
    report: &mut Report,
) {
    let windows: Vec<(Window, u64)> = evidence
        .marks
        .iter()
        .map(|mark| (window(evidence, found, mark), mark.times))
        .collect();
    // How often an event may be repeated, by what was done to the system around it.
    let inside = |place: &Coordinates| -> u64 {
        let holds = |(window, _): &&(Window, u64)| {
            let reach = window.get(&place.0);
            reach.is_some_and(|(from, to)| (*from..*to).contains(&place.1))
        };
        windows.iter().filter(holds).map(|(_, times)| times).sum()
    };
    let between: u64 = windows
        .iter()
        .flat_map(|(window, times)| window.values().map(move |(from, to)| (to - from, *times)))
        .map(|(events, times)| events.max(0) as u64 * times)
        .sum();
    let allowed = args
        .duplicates_max
        .map_or(between, |most| most.min(between));
    let mut times: BTreeMap<Coordinates, Vec<i64>> = BTreeMap::new();
    for (place, at_ms) in found.finished() {
        times.entry(place).or_default().push(at_ms);
    }
    let committed_ms = committed_times(&evidence.commits);
    let (mut duplicated, mut wrong) = (0, Vec::new());
    for (place, mut at_ms) in times.into_iter().filter(|(_, at_ms)| at_ms.len() > 1) {
        let repeats = at_ms.len() as u64 - 1;
        duplicated += repeats;
        at_ms.sort_unstable();
        if repeats > inside(&place) {
            wrong.push(format!(
                "{place:?} is there {} times, with {} faults around it",
                repeats + 1,
                inside(&place)
            ));
        }
        let last = at_ms.last().copied().unwrap_or_default();
        let committed = committed_ms
            .get(&place.0)
            .and_then(|times| first_beyond(times, place.1));
        if let Some(committed) = committed.filter(|committed| last > committed + args.grace_ms) {
            wrong.push(format!(
                "{place:?} was written again {} ms after it was known as committed",
                last - committed
            ));
        }
    }
    report.duplicated = duplicated;
    report.duplicates_allowed = allowed;
    if duplicated > report.duplicates_allowed {
        wrong.push(format!(
            "{duplicated} repeats, {} allowed",
            report.duplicates_allowed
        ));
    }
    let looked_at = format!(
        "{duplicated} repeats, {between} events between commit and position at {} faults",
        windows.len()
    );
    report.found("I2", looked_at, wrong);
}

/// What stood between the last known commit before a fault and the position after it.
fn window(evidence: &Evidence, found: &Found, mark: &Mark) -> Window {
    let committed = evidence.commits_at(mark.from_ms);
    // Hosts notice that an outage is over a little later, and repeat what they had sent until then.
    let noticed_ms = mark
        .is_outage()
        .then(|| liveness::recovered_ms(&evidence.commits, mark.until_ms))
        .flatten();
    let until_ms = mark.until_ms + noticed_ms.unwrap_or(0);
    let committed = |partition: i32| {
        let (offset, _) = committed?.partitions.get(&partition)?;
        *offset
    };
    let mut positions: BTreeMap<i32, i64> = BTreeMap::new();
    let all = found.finished();
    for ((partition, offset), _) in all.filter(|(_, at_ms)| *at_ms <= until_ms + ON_THE_WIRE_MS) {
        let position = positions.entry(partition).or_default();
        *position = (*position).max(offset + 1);
    }
    positions
        .into_iter()
        .map(|(partition, position)| (partition, (committed(partition).unwrap_or(0), position)))
        .collect()
}

/// For each partition, the commits that were seen and when each was first seen.
fn committed_times(samples: &[Sample]) -> BTreeMap<i32, Vec<(i64, i64)>> {
    let mut times: BTreeMap<i32, Vec<(i64, i64)>> = BTreeMap::new();
    for sample in samples {
        for (partition, (offset, _)) in &sample.partitions {
            let Some(offset) = offset else { continue };
            let seen = times.entry(*partition).or_default();
            if seen.last().is_none_or(|(highest, _)| offset > highest) {
                seen.push((*offset, sample.at_ms));
            }
        }
    }
    times
}

/// When a commit beyond this offset was first seen.
fn first_beyond(times: &[(i64, i64)], offset: i64) -> Option<i64> {
    let at = times.partition_point(|(committed, _)| *committed <= offset);
    times.get(at).map(|(_, at_ms)| *at_ms)
}

/// I3: what is seen for the first time of a key comes in the order in which it was sent.
pub(crate) fn key_order(found: &Found, report: &mut Report) {
    struct Progress {
        highest: u64,
        seen: BTreeSet<u64>,
    }
    let mut keys: HashMap<&[u8], Progress> = HashMap::new();
    let mut wrong = Vec::new();
    for copy in found.copies() {
        let Some(key) = copy.key.as_deref() else {
            continue;
        };
        let Some(progress) = keys.get_mut(key) else {
            let seen = BTreeSet::from([copy.seq]);
            keys.insert(
                key,
                Progress {
                    highest: copy.seq,
                    seen,
                },
            );
            continue;
        };
        if progress.seen.insert(copy.seq) {
            if copy.seq < progress.highest {
                wrong.push(format!(
                    "key {} shows {} after {}",
                    String::from_utf8_lossy(key),
                    copy.seq,
                    progress.highest
                ));
            }
            progress.highest = progress.highest.max(copy.seq);
        }
    }
    report.reordered = wrong.len() as u64;
    report.found("I3", format!("{} keys", keys.len()), wrong);
}

/// I4: a commit never goes back, and never passes an event that has not been written.
pub(crate) fn commits_behind(evidence: &Evidence, found: &Found, report: &mut Report) {
    let mut done: BTreeMap<Coordinates, i64> = BTreeMap::new();
    for (place, at_ms) in found.finished() {
        done.entry(place)
            .and_modify(|first| *first = (*first).min(at_ms))
            .or_insert(at_ms);
    }
    let mut highest: BTreeMap<i32, i64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for sample in evidence.commits.iter().chain([&found.last]) {
        for (partition, (offset, _)) in &sample.partitions {
            let before = highest.get(partition).copied();
            let Some(offset) = *offset else {
                if let Some(before) = before {
                    wrong.push(format!("[{partition}] the commit {before} is gone"));
                }
                continue;
            };
            if before.is_some_and(|before| offset < before) {
                wrong.push(format!(
                    "[{partition}] the commit went back from {before:?} to {offset}"
                ));
            }
            // What is below an older commit has been looked at with it.
            let from = before.unwrap_or(0).min(offset);
            let new = found.source.range((*partition, from)..(*partition, offset));
            let late = new.filter(|(place, _)| {
                done.get(*place)
                    .is_none_or(|at_ms| *at_ms > sample.at_ms + CLOCK_MS)
            });
            wrong.extend(late.map(|(place, _)| {
                format!("{place:?} was below the commit {offset} before it was written")
            }));
            highest.insert(*partition, before.unwrap_or(0).max(offset));
        }
    }
    if evidence.commits.is_empty() {
        report.unchecked("I4", "nobody looked at the commits");
        return;
    }
    report.found(
        "I4",
        format!("{} looks at the commits", evidence.commits.len()),
        wrong,
    );
}
