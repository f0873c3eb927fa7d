//! What must go on: I6 every partition moves, each looked at alone, and I7 a clean group beside is not
//! disturbed.

use std::collections::BTreeMap;

use crate::CheckArgs;
use crate::evidence::{Evidence, Sample};
use crate::report::Report;
use crate::topics::{self, Found};

/// I6: no partition stands still for long while it has something to do, and in the end nothing is left.
pub(crate) fn partitions_move(
    args: &CheckArgs,
    evidence: &Evidence,
    found: &Found,
    report: &mut Report,
) {
    let mut wrong = Vec::new();
    for (partition, (committed, end)) in &found.last.partitions {
        let left = end - committed.unwrap_or(0);
        if left != 0 {
            wrong.push(format!("[{partition}] {left} events are left in the end"));
        }
    }
    let stalls = stalls(&evidence.commits);
    let longest = stalls.values().copied().max().unwrap_or(0);
    let too_long = stalls
        .iter()
        .filter(|(_, stall)| **stall > args.stall_max_ms);
    wrong.extend(too_long.map(|(partition, stall)| {
        format!(
            "[{partition}] stood still for {stall} ms, {} allowed",
            args.stall_max_ms
        )
    }));
    for mark in &evidence.marks {
        match recovered_ms(&evidence.commits, mark.until_ms) {
            Some(ms) if ms <= args.recover_max_ms => {
                report.recover_ms = report.recover_ms.max(Some(ms));
            }
            took => wrong.push(format!(
                "after {}, not every partition had moved on within {} ms ({took:?})",
                mark.what, args.recover_max_ms
            )),
        }
    }
    report.found(
        "I6",
        format!("the longest standstill took {longest} ms"),
        wrong,
    );
}

/// How long each partition stood still at most while it had something to do, in milliseconds.
fn stalls(samples: &[Sample]) -> BTreeMap<i32, i64> {
    let mut longest: BTreeMap<i32, i64> = BTreeMap::new();
    let mut since: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
    for sample in samples {
        for (partition, (committed, end)) in &sample.partitions {
            let committed = committed.unwrap_or(0);
            let idle = committed >= *end;
            match since.get(partition) {
                Some((at, from_ms)) if *at == committed && !idle => {
                    let stall = longest.entry(*partition).or_default();
                    *stall = (*stall).max(sample.at_ms - from_ms);
                }
                _ => drop(since.insert(*partition, (committed, sample.at_ms))),
            }
        }
    }
    longest
}

/// From a time until every partition that had something to do then had moved on.
pub(crate) fn recovered_ms(samples: &[Sample], from_ms: i64) -> Option<i64> {
    let from = samples.partition_point(|sample| sample.at_ms < from_ms);
    // The last look before it: while a broker is away there is none.
    let Some(before) = from.checked_sub(1).and_then(|at| samples.get(at)) else {
        return Some(0);
    };
    let waiting = before
        .partitions
        .iter()
        .filter_map(|(partition, (committed, end))| {
            let committed = committed.unwrap_or(0);
            (committed < *end).then_some((*partition, committed))
        });
    let mut waiting: BTreeMap<i32, i64> = waiting.collect();
    for sample in &samples[from..] {
        if waiting.is_empty() {
            return Some((sample.at_ms - from_ms).max(0));
        }
        waiting.retain(|partition, at| {
            let (committed, _) = sample
                .partitions
                .get(partition)
                .copied()
                .unwrap_or((None, 0));
            committed.unwrap_or(0) <= *at
        });
        if waiting.is_empty() {
            return Some(sample.at_ms - from_ms);
        }
    }
    None
}

/// I7: the neighbour's events all arrive, and its slowest hundredth is hardly slower during the faults.
pub(crate) fn neighbour_undisturbed(
    args: &CheckArgs,
    evidence: &Evidence,
    found: &Found,
    report: &mut Report,
) {
    let Some((events, written)) = &found.neighbour else {
        report.unchecked("I7", "there was no neighbour");
        return;
    };
    let mut first: BTreeMap<_, i64> = BTreeMap::new();
    for copy in topics::copies(written) {
        first.entry(copy.from).or_insert(copy.at_ms);
    }
    let mut wrong = Vec::new();
    let (mut quiet, mut meanwhile) = (Vec::new(), Vec::new());
    for (place, event) in events {
        let Some(at_ms) = first.get(place) else {
            wrong.push(format!("the neighbour's event at {place:?} is nowhere"));
            continue;
        };
        let during =
            |mark: &&crate::evidence::Mark| (mark.from_ms..=mark.until_ms).contains(&event.at_ms);
        let latencies = match evidence.marks.iter().find(during) {
            Some(_) => &mut meanwhile,
            None => &mut quiet,
        };
        latencies.push(at_ms - event.at_ms);
    }
    let (before, during) = (p99(&mut quiet), p99(&mut meanwhile));
    let bound = before + before / 10 + args.neighbour_slack_ms;
    if during > bound {
        wrong.push(format!(
            "its slowest hundredth took {during} ms, and {before} ms without faults"
        ));
    }
    if meanwhile.is_empty() || quiet.is_empty() {
        wrong.push("the neighbour had nothing to do during the faults, or outside them".to_owned());
    }
    let ended = evidence.ends.iter().filter(|end| end.signal.is_some());
    let ended = ended.filter(|end| end.wanted != crate::evidence::Wanted::Killed);
    wrong.extend(ended.map(|end| format!("host {} died of signal {:?}", end.host, end.signal)));
    let looked_at = format!(
        "{} events; slowest hundredth {before} ms without faults, {during} ms with them",
        events.len()
    );
    report.found("I7", looked_at, wrong);
}

fn p99(latencies: &mut [i64]) -> i64 {
    latencies.sort_unstable();
    let at = latencies.len() * 99 / 100;
    latencies.get(at).or(latencies.last()).copied().unwrap_or(0)
}
