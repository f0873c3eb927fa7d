//! What hosts show of themselves, held against what is known from outside: I5 memory, I8 how they end, I10
//! honest metrics and silent logs.

use std::collections::{BTreeMap, BTreeSet};

use crate::CheckArgs;
use crate::evidence::{Evidence, Kind, Wanted};
use crate::report::Report;
use crate::topics::Found;

/// Every event's value holds this word. It has no business in a log or a metric.
const CANARY: &str = "canary-7f3a";

/// Ways to spell a line of a log that a person is to act on.
const LINE_BYTES_MAX: usize = 2_000;

/// I5: no host takes much more memory than it had when it was ready.
pub(crate) fn memory_bounded(args: &CheckArgs, evidence: &Evidence, report: &mut Report) {
    let mut hosts: BTreeMap<(&str, u32), (u64, u64)> = BTreeMap::new();
    for memory in &evidence.memory {
        let peaks = hosts
            .entry((&memory.host, memory.pid))
            .or_insert((memory.peak_bytes, memory.peak_bytes));
        peaks.1 = peaks.1.max(memory.peak_bytes);
    }
    if hosts.is_empty() {
        report.unchecked("I5", "nobody looked at the memory");
        return;
    }
    let mib = |bytes: u64| bytes >> 20;
    let grown = |(first, most): &(u64, u64)| most - first;
    let most = hosts.values().map(grown).max().unwrap_or(0);
    let allowed = args.memory_growth_max_bytes;
    let beyond = hosts.iter().filter(|(_, peaks)| grown(peaks) > allowed);
    let beyond = beyond.map(|((host, _), peaks)| {
        format!(
            "host {host} grew from {} to {} MiB",
            mib(peaks.0),
            mib(peaks.1)
        )
    });
    let looked_at = format!(
        "{} lives; the most that one grew is {} MiB, {} allowed",
        hosts.len(),
        mib(most),
        mib(allowed)
    );
    report.found("I5", looked_at, beyond);
}

/// I8: every host ended as it should, in the time it had; a refusal says why.
pub(crate) fn ends_as_told(evidence: &Evidence, report: &mut Report) {
    if evidence.ends.is_empty() {
        report.unchecked("I8", "no host ended");
        return;
    }
    let mut wrong = Vec::new();
    for end in &evidence.ends {
        let as_wanted = match end.wanted {
            Wanted::Success => end.code == Some(0),
            Wanted::Refusal => end.code.is_some_and(|code| code != 0),
            Wanted::InTime => end.code.is_some(),
            Wanted::Killed => end.signal.is_some(),
        };
        let host = &end.host;
        if !as_wanted {
            wrong.push(format!(
                "host {host} ended with code {:?}, signal {:?}",
                end.code, end.signal
            ));
        }
        if end.took_ms > end.within_ms {
            wrong.push(format!(
                "host {host} took {} ms to end, {} allowed",
                end.took_ms, end.within_ms
            ));
        }
        let told = !end.last_line.trim().is_empty() && end.last_line.len() <= LINE_BYTES_MAX;
        if matches!(end.wanted, Wanted::Refusal | Wanted::InTime) && end.code != Some(0) && !told {
            wrong.push(format!("host {host} did not say why in one line"));
        }
    }
    report.found("I8", format!("{} ends", evidence.ends.len()), wrong);
}

/// I10: what a host says of itself adds up, agrees with the topics, and gives nothing away.
pub(crate) fn honest(group: &str, evidence: &Evidence, found: &Found, report: &mut Report) {
    if evidence.scrapes.is_empty() {
        report.unchecked("I10", "nobody asked for metrics");
        return;
    }
    let mut wrong = Vec::new();
    for (name, text) in &evidence.scrapes {
        let ledger = Ledger::read(text, group);
        wrong.extend(ledger.holes().map(|hole| format!("{name}: {hole}")));
    }
    let mut written: BTreeMap<&str, u64> = BTreeMap::new();
    for copy in found.copies() {
        *written.entry(&copy.host).or_default() += 1;
    }
    let mut said: BTreeMap<&str, u64> = BTreeMap::new();
    for end in &evidence.ends {
        *said.entry(&end.host).or_default() += end.processed.unwrap_or(0);
    }
    // A host that was killed took what it had counted with it, and one that lost a partition has written
    // copies of events that it does not count; neither counts what it has not written.
    let undisturbed = evidence.marks.iter().all(|mark| mark.kind == Kind::Orderly);
    for (host, said) in said {
        let written = written.get(host).copied().unwrap_or(0);
        if said > written || (undisturbed && said != written) {
            wrong.push(format!(
                "host {host} says {said} processed, and wrote {written} copies"
            ));
        }
    }
    for (name, text) in evidence.scrapes.iter().chain(&evidence.logs) {
        if text.contains(CANARY) {
            wrong.push(format!("{name} shows an event's value"));
        }
    }
    let looked_at = format!(
        "{} scrapes, {} logs",
        evidence.scrapes.len(),
        evidence.logs.len()
    );
    report.found("I10", looked_at, wrong);
}

/// The counts of one scrape, by topic and partition.
#[derive(Debug, Default)]
struct Ledger {
    polled: BTreeMap<String, f64>,
    accounted: BTreeMap<String, f64>,
    holes: f64,
}

impl Ledger {
    /// Reads Prometheus' text format, as far as the group's ledger goes.
    fn read(text: &str, group: &str) -> Self {
        let mut ledger = Self::default();
        let of_group = format!("group=\"{group}\"");
        for line in text.lines().filter(|line| line.contains(&of_group)) {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let Some((name, labels)) = series.split_once('{') else {
                continue;
            };
            let Ok(value) = value.parse::<f64>() else {
                continue;
            };
            let label = |name: &str| {
                let (_, rest) = labels.split_once(&format!("{name}=\""))?;
                rest.split_once('"').map(|(value, _)| value.to_owned())
            };
            let place = format!(
                "{}[{}]",
                label("topic").unwrap_or_default(),
                label("partition").unwrap_or_default()
            );
            match name {
                "millrace_events_polled_total" => *ledger.polled.entry(place).or_default() += value,
                "millrace_events_total"
                | "millrace_events_in_flight"
                | "millrace_events_parked" => {
                    *ledger.accounted.entry(place).or_default() += value;
                }
                "millrace_ledger_holes_total" => ledger.holes += value,
                _ => {}
            }
        }
        ledger
    }

    fn holes(&self) -> impl Iterator<Item = String> {
        let places: BTreeSet<&String> = self.polled.keys().chain(self.accounted.keys()).collect();
        let open = places.into_iter().filter_map(|place| {
            let polled = self.polled.get(place).copied().unwrap_or(0.0);
            let accounted = self.accounted.get(place).copied().unwrap_or(0.0);
            let closes = (polled - accounted).abs() < 0.5;
            (!closes).then(|| format!("{place}: {polled} polled, {accounted} accounted for"))
        });
        let own = (self.holes > 0.0).then(|| format!("it counted {} holes itself", self.holes));
        open.chain(own)
    }
}
