//! Reading a file of scenarios: everything that is wrong with it at once, each in its place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::expect::{self, Known, line_of};
use super::text::json_of;
use super::{BEGINS_AT_MS, Scenario, ScenarioError, Step, StepKind};
use crate::authoring::fixture::Fixture;
use crate::config::read::field::Field;
use crate::config::read::rehearsed;
use crate::config::read::section::{Context, Section, suggest};
use crate::config::tree::{Entry, Node, Value};
use crate::config::{Plugin, units};

/// Events of one scenario: each is kept, with everything that it did.
const EVENTS_MAX: usize = 100_000;

/// The longest that time may pass in one step: longer than any retry waits.
const ADVANCE_MAX: Duration = Duration::from_hours(24 * 366);

/// Steps that are one word.
const WORDS: [&str; 4] = ["tick", "crash", "restart", "rebalance"];

/// Steps that say more.
const SECTIONS: [&str; 4] = ["event", "events", "advance", "expect"];

/// The plugin whose scenarios are read.
#[derive(Debug, Clone, Copy)]
pub struct SourceOfScenarios<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its folder, where files of events are looked for.
    pub folder: &'a Path,
    /// Where its events come from; at least one.
    pub topics: &'a [String],
    /// Its settings, which a scenario may change.
    pub plugin: &'a Plugin,
}

/// Reads the scenarios of a file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read_file(
    path: &Path,
    source: &SourceOfScenarios<'_>,
) -> Result<Vec<Scenario>, ScenarioError> {
    let env = BTreeMap::new();
    let (documents, mut context) = rehearsed::documents(path, &env)?;
    let mut scenarios = Vec::new();
    for document in &documents {
        scenarios.extend(scenario(document, source, &mut context));
    }
    if !context.findings.is_empty() {
        return Err(context.findings.into_error().into());
    }
    Ok(scenarios)
}

fn scenario(
    document: &Node,
    source: &SourceOfScenarios<'_>,
    context: &mut Context<'_>,
) -> Option<Scenario> {
    let mut section = rehearsed::root(document, context)?;
    let name = section.require("name", "counts what it sees", context);
    let name = name.name(context).unwrap_or_default().to_owned();
    let begins_at_ms = now(&section.take("now"), context);
    let plugin = section.take("plugin");
    let plugin = rehearsed::plugin(&plugin, source.plugin, source.name, context)?;
    let group = section.take("group");
    let group = rehearsed::group(&group, (source.name, source.topics), &plugin, context)?;
    let known = Known {
        output_topics: &plugin.grants.output_topics,
        dead_letter_topic: &group.dead_letter.topic,
    };
    let steps_field = section.require("steps", "[ { event: { value: { id: 1 } } } ]", context);
    let mut steps = Vec::new();
    for item in steps_field.items(context) {
        steps.extend(step(&item, source, &known, context));
    }
    let events = steps.iter().map(|step: &Step| match &step.kind {
        StepKind::Events { events, .. } => events.len(),
        _ => 0,
    });
    if events.sum::<usize>() > EVENTS_MAX {
        let message = format!("a scenario has at most {EVENTS_MAX} events");
        steps_field.problem(context, message);
    }
    let expect_field = section.take("expect");
    let expect = expect::expect(&expect_field, &known, context);
    section.finish(context);
    Some(Scenario {
        name,
        line: line_of(&document.place),
        begins_at_ms,
        group,
        plugin,
        steps,
        expect,
    })
}

/// A time as `2026-01-31T12:00:00Z`, or in milliseconds since the Unix epoch.
fn now(field: &Field<'_>, context: &mut Context<'_>) -> u64 {
    let Some(text) = field.text(context) else {
        return BEGINS_AT_MS;
    };
    let read = text.parse().ok().or_else(|| units::utc_ms(text));
    read.unwrap_or_else(|| {
        let message = format!(
            "`{text}` is no time: write for example `2026-01-31T12:00:00Z`, or milliseconds since 1970"
        );
        field.problem(context, message);
        BEGINS_AT_MS
    })
}

fn step(
    item: &Field<'_>,
    source: &SourceOfScenarios<'_>,
    known: &Known<'_>,
    context: &mut Context<'_>,
) -> Option<Step> {
    let line = line_of(&item.place);
    let kind = match &item.node?.value {
        Value::Scalar(word) => word_step(&word.text, item, context)?,
        Value::Map(entries) => {
            let first = entries.first().map(|entry| entry.key.as_str());
            match first {
                // `- tick:` with nothing behind it means the same as `- tick`.
                Some(word) if WORDS.contains(&word) && entries[0].value.value == Value::Null => {
                    word_step(word, item, context)?
                }
                _ => section_step(entries, item, source, known, context)?,
            }
        }
        _ => {
            item.problem(context, unknown_step(""));
            return None;
        }
    };
    Some(Step { line, kind })
}

fn word_step(word: &str, item: &Field<'_>, context: &mut Context<'_>) -> Option<StepKind> {
    match word {
        "tick" => Some(StepKind::Tick),
        "crash" => Some(StepKind::Crash),
        "restart" => Some(StepKind::Restart),
        "rebalance" => Some(StepKind::Rebalance),
        other => {
            item.problem(context, unknown_step(other));
            None
        }
    }
}

fn unknown_step(word: &str) -> String {
    let all = || SECTIONS.into_iter().chain(WORDS);
    match suggest(word, all()) {
        Some(known) if SECTIONS.contains(&known) => {
            format!("there is no step `{word}`: did you mean `{known}: ...`?")
        }
        Some(known) => format!("there is no step `{word}`: did you mean `{known}`?"),
        None => {
            let all: Vec<&str> = all().collect();
            format!("a step is one of {}", all.join(", "))
        }
    }
}

fn section_step(
    entries: &[Entry],
    item: &Field<'_>,
    source: &SourceOfScenarios<'_>,
    known: &Known<'_>,
    context: &mut Context<'_>,
) -> Option<StepKind> {
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    let mut section = item.section(context)?;
    let events = if kinds.contains(&"event") {
        let field = section.take("event");
        let times = section.take("times");
        let times = times.number(context, 1, 1..=EVENTS_MAX);
        event(&field, source, context).map(|event| vec![event; times])
    } else if kinds.contains(&"events") {
        events(&section.take("events"), source, context)
    } else {
        return other_step(section, item, &kinds, known, context);
    };
    let expect = section.take("expect");
    let expect = expect::outcome(&expect, context);
    section.finish(context);
    Some(StepKind::Events {
        events: events?,
        expect,
    })
}

fn other_step(
    mut section: Section<'_>,
    item: &Field<'_>,
    kinds: &[&str],
    known: &Known<'_>,
    context: &mut Context<'_>,
) -> Option<StepKind> {
    let advance = section.take("advance");
    if !advance.is_absent() {
        let time = advance.duration(context, Duration::ZERO, Duration::ZERO..=ADVANCE_MAX);
        section.finish(context);
        return Some(StepKind::Advance(time));
    }
    let field = section.take("expect");
    if !field.is_absent() {
        section.finish(context);
        return expect::expect(&field, known, context).map(StepKind::Expect);
    }
    let first = kinds.first().copied().unwrap_or_default();
    item.problem(context, unknown_step(first));
    None
}

fn event(
    field: &Field<'_>,
    source: &SourceOfScenarios<'_>,
    context: &mut Context<'_>,
) -> Option<Fixture> {
    let node = field.node?;
    let Value::Map(entries) = &node.value else {
        field.problem(
            context,
            "an event is a section, as in `event: { key: a, value: { id: 1 } }`",
        );
        return None;
    };
    match Fixture::parse(&json_of(node)) {
        Ok(event) => check_event(&event, source, field, context).then_some(event),
        Err(problem) => {
            // The message names the key that it is about.
            let about = |entry: &&Entry| problem.message.contains(&format!("`{}`", entry.key));
            let place = entries
                .iter()
                .find(about)
                .map_or(&node.place, |entry| &entry.key_place);
            context.problem(place, problem.message.clone());
            None
        }
    }
}

/// What an event of a scenario cannot be.
fn check_event(
    event: &Fixture,
    source: &SourceOfScenarios<'_>,
    field: &Field<'_>,
    context: &mut Context<'_>,
) -> bool {
    if event.attempt.is_some_and(|attempt| attempt > 1) {
        let message =
            "`attempt` is counted by the host: leave it out, and let the plugin ask for a retry";
        field.problem(context, message);
        return false;
    }
    check_topic(event, source, field, context)
}

fn check_topic(
    event: &Fixture,
    source: &SourceOfScenarios<'_>,
    field: &Field<'_>,
    context: &mut Context<'_>,
) -> bool {
    let Some(topic) = event
        .topic
        .as_ref()
        .filter(|topic| !source.topics.contains(topic))
    else {
        return true;
    };
    let message = format!(
        "the plugin has no events of topic {topic}: add it to `topics` of its manifest, or write one of {}",
        source.topics.join(", ")
    );
    field.problem(context, message);
    false
}

fn events(
    field: &Field<'_>,
    source: &SourceOfScenarios<'_>,
    context: &mut Context<'_>,
) -> Option<Vec<Fixture>> {
    let named = field.name(context)?;
    // In the plugin's folder, or beside the scenario.
    let candidates: [PathBuf; 2] = [source.folder.join(named), context.base.join(named)];
    let path = candidates
        .iter()
        .find(|path| path.exists())
        .unwrap_or(&candidates[0]);
    match Fixture::read_file(path) {
        Ok(events) => {
            let mut all = events.iter();
            all.all(|event| check_event(event, source, field, context))
                .then_some(events)
        }
        Err(error) => {
            field.problem(context, error);
            None
        }
    }
}
