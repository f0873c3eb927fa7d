//! What is expected beside what there is, line by line. It must not know where either comes from.

use std::collections::BTreeSet;

use super::expect::{HeadersWanted, OneOutcome, OutcomeWanted, RecordWanted};
use super::text::shown;
use crate::authoring::rig::Line;
use crate::config::units::show_duration;
use crate::delivery::dead_letter;
use crate::pipeline::{Seen, Written};

/// Pairs that are compared to find which lines belong together. Past this, lines are compared one by one.
const PAIRS_MAX: usize = 4_000_000;

/// Common start of the headers that the host puts on records.
const HOST_HEADERS: &[u8] = b"millrace.";

/// How a line of a difference stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It is there as expected.
    Same,
    /// It is expected, and not there.
    Missing,
    /// It is there, and not expected.
    Unexpected,
}

impl Mark {
    /// The sign in front of the line.
    #[must_use]
    pub fn sign(self) -> char {
        match self {
            Self::Same => ' ',
            Self::Missing => '-',
            Self::Unexpected => '+',
        }
    }
}

/// Something that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The line of the file that expects it.
    pub line: usize,
    /// What is compared.
    pub what: String,
    /// Line by line.
    pub lines: Vec<(Mark, String)>,
}

/// Compares two single lines.
pub(super) fn one(line: usize, what: &str, wanted: String, actual: String) -> Option<Difference> {
    (wanted != actual).then(|| Difference {
        line,
        what: what.to_owned(),
        lines: vec![(Mark::Missing, wanted), (Mark::Unexpected, actual)],
    })
}

/// Compares two lists, in their order.
pub(super) fn lists<W, A>(
    (line, what): (usize, &str),
    wanted: &[W],
    actual: &[A],
    same: impl Fn(&W, &A) -> bool,
    (show_wanted, show_actual): (impl Fn(&W) -> String, impl Fn(&A) -> String),
) -> Option<Difference> {
    let pairs = common(wanted, actual, same);
    if pairs.len() == wanted.len() && pairs.len() == actual.len() {
        return None;
    }
    let mut lines = Vec::new();
    let (mut w, mut a) = (0, 0);
    for (next_w, next_a) in pairs.into_iter().chain([(wanted.len(), actual.len())]) {
        let missing = wanted[w..next_w]
            .iter()
            .map(|of| (Mark::Missing, show_wanted(of)));
        lines.extend(missing);
        let more = actual[a..next_a]
            .iter()
            .map(|of| (Mark::Unexpected, show_actual(of)));
        lines.extend(more);
        if let Some(of) = wanted.get(next_w) {
            lines.push((Mark::Same, show_wanted(of)));
        }
        (w, a) = (next_w + 1, next_a + 1);
    }
    Some(Difference {
        line,
        what: what.to_owned(),
        lines,
    })
}

/// Looks for lines among those that were logged, in their order.
pub(super) fn among(
    (line, what): (usize, &str),
    wanted: &[String],
    logged: &[Line],
) -> Option<Difference> {
    let mut rest = logged.iter();
    let missing: Vec<&String> = wanted
        .iter()
        .filter(|wanted| !rest.by_ref().any(|line| line.text == **wanted))
        .collect();
    if missing.is_empty() {
        return None;
    }
    let missing = missing
        .into_iter()
        .map(|text| (Mark::Missing, text.clone()));
    let logged = logged
        .iter()
        .map(|line| (Mark::Unexpected, line.text.clone()));
    Some(Difference {
        line,
        what: what.to_owned(),
        lines: missing.chain(logged).collect(),
    })
}

/// The places of the longest common subsequence.
fn common<W, A>(wanted: &[W], actual: &[A], same: impl Fn(&W, &A) -> bool) -> Vec<(usize, usize)> {
    let zipped = wanted.iter().zip(actual);
    let begin = zipped
        .take_while(|(wanted, actual)| same(wanted, actual))
        .count();
    let mut pairs: Vec<(usize, usize)> = (0..begin).map(|at| (at, at)).collect();
    let (w, a) = (&wanted[begin..], &actual[begin..]);
    if w.len().saturating_mul(a.len()) > PAIRS_MAX {
        let alike = w.iter().zip(a).enumerate();
        let alike = alike.filter(|(_, (wanted, actual))| same(wanted, actual));
        pairs.extend(alike.map(|(at, _)| (begin + at, begin + at)));
        return pairs;
    }
    // How many of the rest belong together, from each pair of places on.
    let width = a.len() + 1;
    let mut longest = vec![0_u32; (w.len() + 1) * width];
    for i in (0..w.len()).rev() {
        for j in (0..a.len()).rev() {
            longest[i * width + j] = if same(&w[i], &a[j]) {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < w.len() && j < a.len() {
        if same(&w[i], &a[j]) {
            pairs.push((begin + i, begin + j));
            (i, j) = (i + 1, j + 1);
        } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// A line of named parts.
#[derive(Default)]
struct Parts(Vec<String>);

impl Parts {
    fn add(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        self.0.extend(value.map(|value| format!("{name}: {value}")));
    }

    fn line(self) -> String {
        format!("{{ {} }}", self.0.join(", "))
    }
}

/// Whether that is what became of an event.
pub(super) fn is_outcome(wanted: &OutcomeWanted, seen: &Seen) -> bool {
    wanted.any.iter().any(|wanted| {
        wanted.word == seen.outcome
            && wanted.code.as_ref().is_none_or(|code| *code == seen.code)
            && wanted
                .message
                .as_ref()
                .is_none_or(|part| seen.message.contains(part))
            && wanted
                .attempt
                .is_none_or(|attempt| attempt == u64::from(seen.attempt))
            && wanted
                .after_ms
                .is_none_or(|after| Some(after) == seen.after_ms)
            && wanted
                .offset
                .is_none_or(|offset| offset as i64 == seen.place.2)
    })
}

pub(super) fn outcome_wanted(wanted: &OutcomeWanted) -> String {
    let shown = wanted.any.iter().map(|wanted| {
        let mut parts = Parts::default();
        parts.add("outcome", Some(&wanted.word));
        parts.add("code", wanted.code.as_ref());
        parts.add(
            "message",
            wanted.message.as_ref().map(|text| format!("{text:?}")),
        );
        parts.add("attempt", wanted.attempt);
        parts.add("after", wanted.after_ms.map(shown_ms));
        parts.add("offset", wanted.offset);
        plain(parts)
    });
    shown.collect::<Vec<_>>().join(" or ")
}

/// What became of an event, with what any of these expectations names.
pub(super) fn outcome_seen(seen: &Seen, like: &[OutcomeWanted]) -> String {
    let named = |is: fn(&OneOutcome) -> bool| like.iter().flat_map(|like| &like.any).any(is);
    let mut parts = Parts::default();
    parts.add("outcome", Some(seen.outcome));
    let failed = !seen.code.is_empty();
    parts.add(
        "code",
        (failed || named(|it| it.code.is_some())).then_some(&seen.code),
    );
    let message = failed || named(|it| it.message.is_some());
    parts.add("message", message.then(|| format!("{:?}", seen.message)));
    parts.add(
        "attempt",
        named(|it| it.attempt.is_some()).then_some(seen.attempt),
    );
    let after = named(|it| it.after_ms.is_some());
    parts.add("after", seen.after_ms.filter(|_| after).map(shown_ms));
    parts.add(
        "offset",
        named(|it| it.offset.is_some()).then_some(seen.place.2),
    );
    plain(parts)
}

/// A lone outcome is shown as it may be written.
fn plain(parts: Parts) -> String {
    match parts.0.as_slice() {
        [only] => only.trim_start_matches("outcome: ").to_owned(),
        _ => parts.line(),
    }
}

fn shown_ms(ms: u64) -> String {
    show_duration(std::time::Duration::from_millis(ms))
}

/// Whether that is the record.
pub(super) fn is_record(wanted: &RecordWanted, actual: &Written) -> bool {
    wanted.topic == actual.topic
        && wanted
            .partition
            .is_none_or(|it| it == actual.partition as u64)
        && wanted
            .timestamp_ms
            .is_none_or(|it| it as i64 == actual.timestamp_ms)
        && wanted
            .key
            .as_ref()
            .is_none_or(|key| key.is(actual.key.as_deref()))
        && wanted
            .value
            .as_ref()
            .is_none_or(|value| value.is(actual.value.as_deref()))
        && wanted
            .headers
            .as_ref()
            .is_none_or(|headers| has_headers(headers, actual))
        && wanted
            .facts
            .iter()
            .all(|(name, text)| is_fact(name, text, actual))
}

fn has_headers(wanted: &HeadersWanted, actual: &Written) -> bool {
    match wanted {
        HeadersWanted::Some(some) => some.iter().all(|(name, value)| {
            let mut headers = actual.headers.iter();
            headers.any(|(found, bytes)| found == name.as_bytes() && value.is(bytes.as_deref()))
        }),
        HeadersWanted::All(all) => {
            let own: Vec<_> = own_headers(actual).collect();
            own.len() == all.len()
                && own.iter().zip(all).all(|((found, bytes), (name, value))| {
                    *found == name.as_bytes() && value.is(bytes.as_deref())
                })
        }
    }
}

/// The headers that the host has not added.
fn own_headers(record: &Written) -> impl Iterator<Item = &(Vec<u8>, Option<Vec<u8>>)> {
    let headers = record.headers.iter();
    headers.filter(|(name, _)| !name.starts_with(HOST_HEADERS))
}

fn is_fact(name: &str, text: &str, actual: &Written) -> bool {
    let fact = dead_letter::fact(&actual.headers, name).unwrap_or_default();
    if name == "message" {
        fact.contains(text)
    } else {
        fact == text
    }
}

pub(super) fn record_wanted(wanted: &RecordWanted) -> String {
    let mut parts = Parts::default();
    for (name, text) in &wanted.facts {
        parts.add(&name.replace('.', "_"), Some(fact_shown(name, text)));
    }
    if wanted.facts.is_empty() {
        parts.add("topic", Some(&wanted.topic));
    }
    parts.add("partition", wanted.partition);
    parts.add("timestamp_ms", wanted.timestamp_ms);
    parts.add("key", wanted.key.as_ref().map(super::Wanted::shown));
    parts.add("value", wanted.value.as_ref().map(super::Wanted::shown));
    parts.add("headers", wanted.headers.as_ref().map(headers_wanted));
    parts.line()
}

fn headers_wanted(wanted: &HeadersWanted) -> String {
    let (HeadersWanted::All(list) | HeadersWanted::Some(list)) = wanted;
    let list = list
        .iter()
        .map(|(name, value)| format!("{name}={}", value.shown()));
    format!("[{}]", list.collect::<Vec<_>>().join(", "))
}

/// A record, with what any of these expectations names.
pub(super) fn record_written(record: &Written, like: &[RecordWanted]) -> String {
    let named = |is: fn(&RecordWanted) -> bool| like.is_empty() || like.iter().any(is);
    let facts: BTreeSet<&str> = like
        .iter()
        .flat_map(|wanted| wanted.facts.iter().map(|(name, _)| *name))
        .collect();
    let mut parts = Parts::default();
    let said = dead_letter::fact(&record.headers, "cause").is_some();
    let always: &[&str] = if said {
        &["cause", "code", "message"]
    } else {
        &[]
    };
    for name in always
        .iter()
        .chain(facts.iter().filter(|name| !always.contains(name)))
    {
        let text = dead_letter::fact(&record.headers, name).map(|text| fact_shown(name, &text));
        parts.add(&name.replace('.', "_"), text);
    }
    if !said {
        parts.add("topic", Some(&record.topic));
    }
    parts.add(
        "partition",
        named(|it| it.partition.is_some()).then_some(record.partition),
    );
    let timed = like.iter().any(|it| it.timestamp_ms.is_some());
    parts.add("timestamp_ms", timed.then_some(record.timestamp_ms));
    let key = named(|it| it.key.is_some()).then(|| shown(record.key.as_deref()));
    parts.add("key", key);
    let value = named(|it| it.value.is_some()).then(|| shown(record.value.as_deref()));
    parts.add("value", value);
    if like.iter().any(|it| it.headers.is_some()) {
        let list = own_headers(record).map(|(name, value)| {
            format!(
                "{}={}",
                String::from_utf8_lossy(name),
                shown(value.as_deref())
            )
        });
        parts.add(
            "headers",
            Some(format!("[{}]", list.collect::<Vec<_>>().join(", "))),
        );
    }
    parts.line()
}

fn fact_shown(name: &str, text: &str) -> String {
    if name == "message" {
        format!("{text:?}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(wanted: &[&str], actual: &[&str]) -> Vec<String> {
        let show = |text: &&str| (*text).to_owned();
        let found = lists((1, "x"), wanted, actual, |w, a| w == a, (show, show));
        let lines = found.map(|found| found.lines).unwrap_or_default();
        lines
            .into_iter()
            .map(|(mark, text)| format!("{}{text}", mark.sign()))
            .collect()
    }

    #[test]
    fn a_list_that_is_as_expected_makes_no_difference() {
        assert!(lines(&["a", "b"], &["a", "b"]).is_empty() && lines(&[], &[]).is_empty());
    }

    #[test]
    fn what_is_missing_and_what_is_more_stand_where_they_belong() {
        assert_eq!(
            lines(&["a", "b", "c"], &["a", "x", "c"]),
            [" a", "-b", "+x", " c"]
        );
        assert_eq!(lines(&["b", "c"], &["a", "b", "c"]), ["+a", " b", " c"]);
        assert_eq!(lines(&["a", "b"], &[]), ["-a", "-b"]);
        assert_eq!(lines(&[], &["a"]), ["+a"]);
        assert_eq!(lines(&["a", "b"], &["b", "a"]), ["-a", " b", "+a"]);
    }
}
