//! What a scenario expects, as it is written. It must not know how it is compared.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::scrape::Series;
use super::text::Wanted;
use crate::config::finding::Place;
use crate::config::read::field::Field;
use crate::config::read::section::{Context, Section, suggest};
use crate::config::tree::Value;
use crate::config::units;

/// What can become of an event.
const OUTCOMES: [&str; 15] = [
    "processed",
    "filtered",
    "retry",
    "reject",
    "overloaded",
    "held",
    "duplicate",
    "recovered",
    "trap",
    "deadline",
    "memory",
    "fuel",
    "capability",
    "output",
    "host",
];

/// What a dead letter says of itself, beside its record: the keys here and the names of its headers.
const FACTS: [(&str, &str); 10] = [
    ("cause", "cause"),
    ("code", "code"),
    ("message", "message"),
    ("attempts", "attempts"),
    ("signature", "signature"),
    ("plugin", "plugin"),
    ("group", "group"),
    ("origin_topic", "origin.topic"),
    ("origin_partition", "origin.partition"),
    ("origin_offset", "origin.offset"),
];

/// What is expected to have become of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct OutcomeWanted {
    /// Where it is written.
    pub line: usize,
    /// Any one of these.
    pub any: Vec<OneOutcome>,
}

/// One thing that may have become of an event. What is not said is not compared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OneOutcome {
    /// The word.
    pub word: String,
    /// The plugin's own word, or the name of a limit.
    pub code: Option<String>,
    /// Some of what it says.
    pub message: Option<String>,
    /// Which attempt.
    pub attempt: Option<u64>,
    /// How long it asks to wait, in milliseconds.
    pub after_ms: Option<u64>,
    /// Which event: its offset.
    pub offset: Option<u64>,
}

/// A record that is expected. What is not said is not compared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecordWanted {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: Option<u64>,
    /// Its time in milliseconds since the Unix epoch.
    pub timestamp_ms: Option<u64>,
    /// Its key.
    pub key: Option<Wanted>,
    /// Its value.
    pub value: Option<Wanted>,
    /// Its headers.
    pub headers: Option<HeadersWanted>,
    /// What a dead letter says, by the end of the header's name.
    pub facts: Vec<(&'static str, String)>,
}

/// Headers that are expected.
#[derive(Debug, Clone, PartialEq)]
pub enum HeadersWanted {
    /// These in this order, and no other but the host's own.
    All(Vec<(String, Wanted)>),
    /// These among others.
    Some(Vec<(String, Wanted)>),
}

/// What is expected to be true. What is not said is not compared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Expect {
    /// Where it is written.
    pub line: usize,
    /// Everything that became of events, in its order.
    pub outcomes: Option<Vec<OutcomeWanted>>,
    /// Every output, in the order of its topic.
    pub outputs: Option<Vec<RecordWanted>>,
    /// Every dead letter, in its order.
    pub dead_letters: Option<Vec<RecordWanted>>,
    /// Figures by name and labels.
    pub metrics: Vec<(Series, f64)>,
    /// Named sums; none is one that is not there.
    pub tallies: Vec<(String, Option<i64>)>,
    /// State by key and name.
    pub state: Vec<(String, String, Wanted)>,
    /// Lines that are logged, in this order and among others.
    pub log: Vec<String>,
    /// Every line of the journal.
    pub journal: Option<Vec<String>>,
    /// Committed offsets by topic and partition.
    pub commits: Vec<((String, i32), Option<i64>)>,
    /// Records that are not committed.
    pub lag: Option<i64>,
    /// Ticks that failed.
    pub failed_ticks: u64,
}

/// The line of a place.
pub(super) fn line_of(place: &Place) -> usize {
    match place {
        Place::File { line, .. } => *line,
        Place::Override(_) => 0,
    }
}

/// What the reading of expectations must know of the plugin.
pub(super) struct Known<'a> {
    /// Topics that it may write to.
    pub(super) output_topics: &'a [String],
    pub(super) dead_letter_topic: &'a str,
}

/// One outcome, or a list of which any will do.
pub(super) fn outcome(field: &Field<'_>, context: &mut Context<'_>) -> Option<OutcomeWanted> {
    let any = match field.node.map(|node| &node.value)? {
        Value::List(_) => {
            let items = field.items(context);
            items
                .iter()
                .filter_map(|item| one_outcome(item, context))
                .collect()
        }
        _ => one_outcome(field, context).into_iter().collect(),
    };
    Some(OutcomeWanted {
        line: line_of(field.value_place()),
        any,
    })
}

fn one_outcome(field: &Field<'_>, context: &mut Context<'_>) -> Option<OneOutcome> {
    let mut wanted = OneOutcome::default();
    let Some(Value::Map(_)) = field.node.map(|node| &node.value) else {
        wanted.word = word(field, context)?;
        return Some(wanted);
    };
    let mut section = field.section(context)?;
    let word_field = section.require("outcome", "reject", context);
    let text = |field: Field<'_>, context: &mut Context<'_>| Some(field.text(context)?.to_owned());
    wanted.code = text(section.take("code"), context);
    wanted.message = text(section.take("message"), context);
    wanted.attempt = number(&section.take("attempt"), context);
    wanted.offset = number(&section.take("offset"), context);
    wanted.after_ms = duration_ms(&section.take("after"), context);
    section.finish(context);
    wanted.word = word(&word_field, context)?;
    Some(wanted)
}

fn word(field: &Field<'_>, context: &mut Context<'_>) -> Option<String> {
    let word = field.text(context)?;
    if OUTCOMES.contains(&word) {
        return Some(word.to_owned());
    }
    let advice = suggest(word, OUTCOMES.into_iter()).map_or_else(
        || format!("write one of {}", OUTCOMES.join(", ")),
        |known| format!("did you mean `{known}`?"),
    );
    field.problem(context, format!("there is no outcome `{word}`: {advice}"));
    None
}

fn number(field: &Field<'_>, context: &mut Context<'_>) -> Option<u64> {
    (!field.is_absent()).then(|| field.number(context, 0, 0..=i64::MAX as u64))
}

pub(super) fn duration_ms(field: &Field<'_>, context: &mut Context<'_>) -> Option<u64> {
    let text = field.text(context)?;
    match units::duration(text) {
        Ok(duration) => Some(duration.as_millis() as u64),
        Err(error) => {
            field.problem(context, error);
            None
        }
    }
}

/// A section of expectations.
pub(super) fn expect(
    field: &Field<'_>,
    known: &Known<'_>,
    context: &mut Context<'_>,
) -> Option<Expect> {
    let mut section = field.section(context)?;
    let mut expect = Expect {
        line: line_of(&field.place),
        ..Expect::default()
    };
    let outcomes = section.take("outcomes");
    expect.outcomes = list(&outcomes, context, outcome);
    let outputs = section.take("outputs");
    expect.outputs = list(&outputs, context, |item, context| {
        output(item, known, context)
    });
    let letters = section.take("dead_letters");
    expect.dead_letters = list(&letters, context, |item, context| {
        dead_letter(item, known, context)
    });
    for (name, value) in section.take("metrics").entries(context) {
        let number = value.number(context, 0.0, f64::MIN..=f64::MAX);
        match Series::parse(name) {
            Some(series) => expect.metrics.push((series, number)),
            None => {
                let message = format!(
                    "`{name}` is no series: write a name, or in quotes a name with labels, as in \
                     'events_total{{kind=\"x\"}}'"
                );
                context.problem(&value.place, message);
            }
        }
    }
    for (name, value) in section.take("tallies").entries(context) {
        let is_none = matches!(value.node.map(|node| &node.value), Some(Value::Null));
        let value = (!is_none).then(|| value.number(context, 0, i64::MIN..=i64::MAX));
        expect.tallies.push((name.to_owned(), value));
    }
    for (key, names) in section.take("state").entries(context) {
        for (name, value) in names.entries(context) {
            if let Some(node) = value.node {
                let wanted = Wanted::of(node);
                expect.state.push((key.to_owned(), name.to_owned(), wanted));
            }
        }
    }
    let log = section.take("log");
    let log = list(&log, context, |line, context| {
        Some(line.text(context)?.to_owned())
    });
    expect.log = log.unwrap_or_default();
    let journal = section.take("journal");
    expect.journal = list(&journal, context, |line, context| {
        Some(line.text(context)?.to_owned())
    });
    for (place, value) in section.take("commits").entries(context) {
        expect.commits.extend(commit(place, &value, context));
    }
    let lag = section.take("lag");
    expect.lag = number(&lag, context).map(|lag| lag as i64);
    expect.failed_ticks = section
        .take("failed_ticks")
        .number(context, 0, 0..=u64::MAX);
    section.finish(context);
    Some(expect)
}

/// None where it is absent; an empty list is one.
fn list<T>(
    field: &Field<'_>,
    context: &mut Context<'_>,
    read: impl Fn(&Field<'_>, &mut Context<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    if field.is_absent() {
        return None;
    }
    let items = field.items(context);
    Some(
        items
            .iter()
            .filter_map(|item| read(item, context))
            .collect(),
    )
}

/// `TOPIC: OFFSET`, or `TOPIC/PARTITION: OFFSET`.
fn commit(
    place: &str,
    value: &Field<'_>,
    context: &mut Context<'_>,
) -> Option<((String, i32), Option<i64>)> {
    let (topic, partition) = match place.split_once('/') {
        None => (place, 0),
        Some((topic, partition)) => {
            let Ok(partition) = partition.parse() else {
                let message = format!("`{place}` is not TOPIC or TOPIC/PARTITION");
                context.problem(&value.place, message);
                return None;
            };
            (topic, partition)
        }
    };
    let is_none = matches!(value.node.map(|node| &node.value), Some(Value::Null));
    let offset = (!is_none).then(|| value.number(context, 0, 0..=i64::MAX));
    Some(((topic.to_owned(), partition), offset))
}

fn output(item: &Field<'_>, known: &Known<'_>, context: &mut Context<'_>) -> Option<RecordWanted> {
    let mut section = item.section(context)?;
    let topic = section.take("topic");
    let topic = match (topic.is_absent(), known.output_topics) {
        (true, [only]) => only.clone(),
        (true, _) => {
            let message = "`topic` is missing: the plugin may write to more than one, or to none";
            context.problem(&item.place, message);
            String::new()
        }
        (false, _) => topic.topic(context).unwrap_or_default(),
    };
    let record = record(&mut section, topic, context);
    section.finish(context);
    Some(record)
}

fn dead_letter(
    item: &Field<'_>,
    known: &Known<'_>,
    context: &mut Context<'_>,
) -> Option<RecordWanted> {
    let mut section = item.section(context)?;
    let mut facts = Vec::new();
    for (key, header) in FACTS {
        if let Some(text) = section.take(key).text(context) {
            facts.push((header, text.to_owned()));
        }
    }
    let topic = known.dead_letter_topic.to_owned();
    let record = record(&mut section, topic, context);
    section.finish(context);
    Some(RecordWanted { facts, ..record })
}

fn record(section: &mut Section<'_>, topic: String, context: &mut Context<'_>) -> RecordWanted {
    let partition = section.take("partition");
    let timestamp_ms = section.take("timestamp_ms");
    let (key, key_base64) = (section.take("key"), section.take("key_base64"));
    let (value, value_base64) = (section.take("value"), section.take("value_base64"));
    let headers_field = section.take("headers");
    RecordWanted {
        topic,
        partition: number(&partition, context),
        timestamp_ms: number(&timestamp_ms, context),
        key: bytes(&key, &key_base64, context),
        value: bytes(&value, &value_base64, context),
        headers: headers(&headers_field, context),
        facts: Vec::new(),
    }
}

fn bytes(plain: &Field<'_>, base64: &Field<'_>, context: &mut Context<'_>) -> Option<Wanted> {
    if let Some(text) = base64.text(context) {
        return match STANDARD.decode(text) {
            Ok(bytes) => Some(Wanted::Bytes(bytes)),
            Err(error) => {
                base64.problem(context, format!("this is not base64: {error}"));
                None
            }
        };
    }
    plain.node.map(Wanted::of)
}

fn headers(field: &Field<'_>, context: &mut Context<'_>) -> Option<HeadersWanted> {
    if let Some(Value::List(_)) = field.node.map(|node| &node.value) {
        let mut all = Vec::new();
        for item in field.items(context) {
            let Some(mut section) = item.section(context) else {
                continue;
            };
            let name = section.require("name", "trace", context);
            let name = name.text(context).unwrap_or_default().to_owned();
            let (value, base64) = (section.take("value"), section.take("value_base64"));
            let value = bytes(&value, &base64, context).unwrap_or(Wanted::Null);
            section.finish(context);
            all.push((name, value));
        }
        return Some(HeadersWanted::All(all));
    }
    if field.is_absent() {
        return None;
    }
    let some: BTreeMap<&str, Wanted> = field
        .entries(context)
        .into_iter()
        .filter_map(|(name, value)| Some((name, Wanted::of(value.node?))))
        .collect();
    let some = some
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    Some(HeadersWanted::Some(some.collect()))
}
