//! Playing a scenario: each of its steps on the rehearsed host, and what is expected beside what there is.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::compare::{self, Difference, Mark};
use super::expect::{Expect, OutcomeWanted, RecordWanted};
use super::text::shown;
use super::{Scenario, Step, StepKind};
use crate::authoring::fixture::Fixture;
use crate::authoring::rig::Line;
use crate::authoring::rig::lines;
use crate::config::read::rehearsed;
use crate::pipeline::{Rehearsal, RehearsalError, RehearsalParts, Seen, Written};
use crate::sandbox::LoadedPlugin;

/// A scenario that could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// A step could not be taken.
    #[error("line {line}: {source}")]
    Step {
        /// Where it is written.
        line: usize,
        /// Why.
        source: RehearsalError,
    },
    /// What there is could not be read.
    #[error("what the plugin did cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// The host could not be started.
    #[error(transparent)]
    Start(#[from] RehearsalError),
}

/// A scenario that was played.
#[derive(Debug)]
pub struct Played {
    /// What is not as expected; nothing where all is well.
    pub differences: Vec<Difference>,
    /// How much time passed in it, in milliseconds.
    pub virtual_ms: u64,
    /// What was logged.
    pub log: Vec<Line>,
}

struct Player<'a> {
    rehearsal: Rehearsal,
    scenario: &'a Scenario,
    /// Where events come from that do not say.
    topics: &'a [String],
    differences: Vec<Difference>,
    log: Vec<Line>,
}

/// Plays a scenario of a plugin whose events come from these topics. `folder` is an empty one, for its store and
/// its journal.
///
/// # Errors
/// A step could not be taken. That something is not as expected is no error.
pub fn play(
    scenario: &Scenario,
    topics: &[String],
    loaded: &Arc<LoadedPlugin>,
    folder: PathBuf,
) -> Result<Played, PlayError> {
    let partitions = topics.iter().map(|topic| {
        let used = events(scenario)
            .filter(|event| event.topic.as_ref().unwrap_or(&topics[0]) == topic)
            .filter_map(|event| event.partition)
            .max();
        (topic.clone(), used.unwrap_or(0) as usize + 1)
    });
    let rehearsal = Rehearsal::start(RehearsalParts {
        group: scenario.group.clone(),
        kafka: rehearsed::kafka(),
        plugin: (loaded.name.clone(), scenario.plugin.clone()),
        loaded: Arc::clone(loaded),
        folder,
        partitions: partitions.collect(),
        drain_timeout: rehearsed::DRAIN_TIMEOUT,
        begins_at_ms: scenario.begins_at_ms,
    })?;
    let mut player = Player {
        rehearsal,
        scenario,
        topics,
        differences: Vec::new(),
        log: Vec::new(),
    };
    for step in &scenario.steps {
        player.logging(|player| player.step(step))?;
    }
    player.logging(|player| player.rehearsal.rest())?;
    if let Some(expect) = &scenario.expect {
        player.expect(expect)?;
    }
    player.check_ticks();
    Ok(Played {
        virtual_ms: player.rehearsal.now_ms() - scenario.begins_at_ms,
        differences: player.differences,
        log: player.log,
    })
}

fn events(scenario: &Scenario) -> impl Iterator<Item = &Fixture> {
    scenario.steps.iter().flat_map(|step| match &step.kind {
        StepKind::Events { events, .. } => events.as_slice(),
        _ => &[],
    })
}

impl Player<'_> {
    /// Keeps what is logged meanwhile.
    fn logging<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let (done, lines) = lines::caught(|| work(self));
        self.log.extend(lines);
        done
    }

    fn step(&mut self, step: &Step) -> Result<(), PlayError> {
        let line = step.line;
        let done = match &step.kind {
            StepKind::Events { events, expect } => {
                let mut done = Ok(());
                for event in events {
                    done = done.and_then(|()| self.event(event, line, expect.as_ref()));
                }
                done
            }
            StepKind::Advance(time) => self.rehearsal.advance(*time),
            StepKind::Tick => self.rehearsal.tick(),
            StepKind::Crash => self.rehearsal.crash(),
            StepKind::Restart => self.rehearsal.restart(),
            StepKind::Rebalance => self.rehearsal.rebalance(),
            StepKind::Expect(expect) => return self.expect(expect),
        };
        done.map_err(|source| PlayError::Step { line, source })
    }

    fn event(
        &mut self,
        event: &Fixture,
        line: usize,
        expect: Option<&OutcomeWanted>,
    ) -> Result<(), RehearsalError> {
        let topic = event.topic.as_ref().unwrap_or(&self.topics[0]);
        let now_ms = self.rehearsal.now_ms() as i64;
        let timestamp_ms = event.timestamp_ms.unwrap_or(now_ms);
        let mut written = Written::event(topic, event.partition.unwrap_or(0), timestamp_ms);
        written.offset = event.offset.unwrap_or(0);
        written.key.clone_from(&event.key);
        written.value.clone_from(&event.value);
        written.headers.clone_from(&event.headers);
        let before = self.rehearsal.seen_count();
        let place = self.rehearsal.produce(written)?;
        let Some(wanted) = expect else {
            return Ok(());
        };
        let seen = self.rehearsal.seen(before);
        let became = seen.into_iter().rfind(|seen| seen.place == place);
        let became = became.unwrap_or_else(|| Seen {
            place: place.clone(),
            attempt: 1,
            outcome: "held",
            code: String::new(),
            message: String::new(),
            after_ms: None,
            at_ms: 0,
        });
        if !compare::is_outcome(wanted, &became) {
            let (topic, partition, offset) = place;
            let key = shown(event.key.as_deref());
            let line = if wanted.line > 0 { wanted.line } else { line };
            let like = std::slice::from_ref(wanted);
            self.differences.push(Difference {
                line,
                what: format!("outcome of event {topic}/{partition}/{offset}, key {key}"),
                lines: vec![
                    (Mark::Missing, compare::outcome_wanted(wanted)),
                    (Mark::Unexpected, compare::outcome_seen(&became, like)),
                ],
            });
        }
        Ok(())
    }

    fn expect(&mut self, expect: &Expect) -> Result<(), PlayError> {
        if let Some(wanted) = &expect.outcomes {
            let seen = self.rehearsal.seen(0);
            self.differences.extend(compare::lists(
                (expect.line, "outcomes"),
                wanted,
                &seen,
                compare::is_outcome,
                (compare::outcome_wanted, |seen: &Seen| {
                    compare::outcome_seen(seen, wanted)
                }),
            ));
        }
        self.expect_records(expect);
        self.expect_figures(expect)?;
        self.expect_kept(expect)
    }

    fn expect_records(&mut self, expect: &Expect) {
        let written = self.rehearsal.written();
        let group = &self.scenario.group;
        let is_letter = |record: &Written| record.topic == group.dead_letter.topic;
        let is_retry = |topic: &String| group.retry.topics.values().any(|retry| retry == topic);
        let by_group = || {
            written
                .iter()
                .map(Arc::as_ref)
                .filter(|record| record.by_group)
        };
        if let Some(wanted) = &expect.dead_letters {
            let letters: Vec<&Written> = by_group().filter(|record| is_letter(record)).collect();
            let found = records((expect.line, "dead letters"), wanted, &letters);
            self.differences.extend(found);
        }
        if let Some(wanted) = &expect.outputs {
            let outputs: Vec<&Written> = by_group()
                .filter(|record| !is_letter(record) && !is_retry(&record.topic))
                .collect();
            let topics: BTreeSet<&str> = wanted
                .iter()
                .map(|wanted| wanted.topic.as_str())
                .chain(outputs.iter().map(|record| record.topic.as_str()))
                .collect();
            for topic in topics {
                let of = |record: &&RecordWanted| record.topic == topic;
                let wanted: Vec<RecordWanted> = wanted.iter().filter(of).cloned().collect();
                let outputs = outputs.iter().filter(|record| record.topic == topic);
                let outputs: Vec<&Written> = outputs.copied().collect();
                let what = format!("outputs to {topic}");
                let found = records((expect.line, &what), &wanted, &outputs);
                self.differences.extend(found);
            }
        }
    }

    fn expect_figures(&mut self, expect: &Expect) -> Result<(), PlayError> {
        if !expect.metrics.is_empty() {
            let scrape = self.rehearsal.figures()?;
            let prefix = format!("{}_", self.plugin_name().replace('-', "_"));
            for (series, wanted) in &expect.metrics {
                let actual = series.sum(&scrape, &prefix);
                if actual.unwrap_or(0.0) != *wanted {
                    let actual = actual.map_or("not there".to_owned(), |value| value.to_string());
                    self.differences.extend(compare::one(
                        expect.line,
                        "metrics",
                        format!("{series} {wanted}"),
                        format!("{series} {actual}"),
                    ));
                }
            }
        }
        if !expect.tallies.is_empty() {
            let sums = self.rehearsal.tallies();
            let shown = |name: &str, value: Option<i64>| {
                let value = value.map_or("null".to_owned(), |value| value.to_string());
                format!("{name}: {value}")
            };
            for (name, wanted) in &expect.tallies {
                let actual = sums.get(name).copied();
                self.differences.extend(compare::one(
                    expect.line,
                    "tallies",
                    shown(name, *wanted),
                    shown(name, actual),
                ));
            }
        }
        Ok(())
    }

    fn expect_kept(&mut self, expect: &Expect) -> Result<(), PlayError> {
        for (key, name, wanted) in &expect.state {
            let actual = self.state(key, name)?;
            if !wanted.is(actual.as_deref()) {
                self.differences.extend(compare::one(
                    expect.line,
                    "state",
                    format!("{key}: {{ {name}: {} }}", wanted.shown()),
                    format!("{key}: {{ {name}: {} }}", shown(actual.as_deref())),
                ));
            }
        }
        if let Some(wanted) = &expect.journal {
            let lines = self.rehearsal.journal_lines()?;
            self.differences.extend(compare::lists(
                (expect.line, "journal"),
                wanted,
                &lines,
                |wanted, actual| wanted == actual,
                (String::clone, String::clone),
            ));
        }
        let found = compare::among((expect.line, "log"), &expect.log, &self.log);
        self.differences.extend(found);
        for ((topic, partition), wanted) in &expect.commits {
            let actual = self.rehearsal.committed(topic, *partition);
            let shown = |offset: Option<i64>| {
                let offset = offset.map_or("null".to_owned(), |offset| offset.to_string());
                format!("{topic}/{partition}: {offset}")
            };
            let (wanted, actual) = (shown(*wanted), shown(actual));
            let found = compare::one(expect.line, "commits", wanted, actual);
            self.differences.extend(found);
        }
        if let Some(wanted) = expect.lag {
            let (wanted, actual) = (wanted.to_string(), self.rehearsal.lag().to_string());
            let found = compare::one(expect.line, "lag", wanted, actual);
            self.differences.extend(found);
        }
        Ok(())
    }

    /// The first value that any partition has under this key and name.
    fn state(&self, key: &str, name: &str) -> Result<Option<Vec<u8>>, RehearsalError> {
        for (topic, partitions) in self.rehearsal.partitions() {
            for partition in 0..*partitions as i32 {
                let value = self
                    .rehearsal
                    .state((topic, partition), Some(key.as_bytes()), name)?;
                if value.is_some() {
                    return Ok(value);
                }
            }
        }
        Ok(None)
    }

    fn plugin_name(&self) -> &str {
        let routes = self.scenario.group.routes.values().next();
        routes.map_or("", |route| route.plugin.as_str())
    }

    /// A tick that fails is tried again, and would otherwise not be heard of.
    fn check_ticks(&mut self) {
        let failed = self.rehearsal.failed_ticks();
        let expect = self.scenario.expect.as_ref();
        let wanted = expect.map_or(0, |expect| expect.failed_ticks);
        if failed.len() as u64 == wanted {
            return;
        }
        let mut lines = vec![(Mark::Missing, format!("failed_ticks: {wanted}"))];
        lines.extend(failed.iter().map(|tick| {
            let text = format!("a tick failed: {}: {}", tick.kind, tick.message);
            (Mark::Unexpected, text)
        }));
        self.differences.push(Difference {
            line: expect.map_or(self.scenario.line, |expect| expect.line),
            what: "ticks".to_owned(),
            lines,
        });
    }
}

fn records(at: (usize, &str), wanted: &[RecordWanted], actual: &[&Written]) -> Option<Difference> {
    compare::lists(
        at,
        wanted,
        actual,
        |wanted, actual| compare::is_record(wanted, actual),
        (compare::record_wanted, |record: &&Written| {
            compare::record_written(record, wanted)
        }),
    )
}
