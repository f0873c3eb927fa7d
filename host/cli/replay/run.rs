//! `millrace replay` itself: the range is found, the side is made, run to its end, and told of.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::side_of;
use crate::cli::Output;
use crate::cli::offsets::{TIMEOUT, group_of, position, print_table};
use crate::cli::run::{ConfigArgs, EXIT_MARGIN, exit_in_the_end, time};
use crate::cli::signals::Signals;
use crate::config::{Config, Group};
use crate::daemon::{GroupSummary, Replaying};
use crate::delivery::offsets::Offset;
use crate::kafka::group_offsets::GroupOffsets;
use crate::kafka::reader::Reader;
use crate::replay::{
    Capture, Chosen, Manifest, Moved, Position, Range, ReplayError, SentTo, Setting, Side,
    Standing, Web, ranges, remaining, set_offsets,
};
use crate::sandbox::Compiler;
use crate::since_1970;
use crate::telemetry::logs::{self, LogFormat};

/// How often it is looked how far the replay is. A commit takes a quarter of a second anyway.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// How often a person is told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Arguments of `millrace replay`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The live group, as the configuration calls it.
    #[arg(short, long, required = true)]
    group: Option<String>,
    /// The first event: earliest, committed, an offset, a time such as 2026-11-29T08:00:00Z, or how long ago, such as 2h.
    #[arg(long, value_name = "POSITION", value_parser = position, required = true)]
    from: Option<Position>,
    /// Where it ends, before the event there.
    #[arg(long, value_name = "POSITION", value_parser = position, default_value = "latest")]
    to: Position,
    /// Only this topic, or these partitions of it. May be repeated.
    #[arg(long = "topic", value_name = "TOPIC[:0,2]", value_parser = Chosen::parse)]
    topics: Vec<Chosen>,
    /// The consumer group that it runs in; GROUP.replay when left out.
    #[arg(long, value_name = "SIDE_GROUP")]
    into: Option<String>,
    /// The folder of its store, journals and outputs; beside the store of the live group when left out.
    #[arg(long, value_name = "FOLDER")]
    side: Option<PathBuf>,
    /// Begins anew where the folder holds a replay already; what it holds is removed.
    #[arg(long)]
    again: bool,
    /// Sends outputs for one topic to another one, instead of into a file. May be repeated.
    #[arg(long = "send", value_name = "TOPIC=TOPIC", value_parser = renamed)]
    sent: Vec<(String, String)>,
    /// Sends dead letters to this topic, instead of into a file.
    #[arg(long, value_name = "TOPIC")]
    dead_letters_to: Option<String>,
    /// What becomes of requests to others that plugins are granted: send, or refuse.
    #[arg(long, value_name = "send|refuse", value_parser = web)]
    web: Option<Web>,
    /// Gives up after this time, as in `20m`.
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<Duration>,
    /// How the summary is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Which log lines are written.
    #[arg(long, default_value = "warn")]
    log: String,
}

/// How a replay ended.
enum Ended {
    AtItsEnd,
    /// With so many offsets left.
    Early(String, i64),
}

/// What is told at the end.
struct Told<'a> {
    manifest: &'a Manifest,
    summary: Option<GroupSummary>,
    capture: &'a Capture,
    ended: &'a Ended,
    side: &'a Side,
}

fn renamed(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.into(), to.into())),
        _ => Err("write it as TOPIC=TOPIC".to_owned()),
    }
}

fn web(text: &str) -> Result<Web, String> {
    match text {
        "send" => Ok(Web::Send),
        "refuse" => Ok(Web::Refuse),
        _ => Err("write send or refuse".to_owned()),
    }
}

pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    logs::start(&args.log, LogFormat::Auto).map_err(anyhow::Error::msg)?;
    let config = args.config.load()?;
    let group = args.group.as_deref().context("--group is missing")?;
    let group = group_of(&config, group)?;
    let into = args.into.clone();
    let into = into.unwrap_or_else(|| format!("{}.replay", group.id));
    if into == group.id {
        return Err(ReplayError::IntoItself(into).into());
    }
    let found = ranges_of(args, &config, &group)?;
    let side = side_of(&group, args.side.as_ref());
    let side_config = side.config(&config, &group, &into, (&found, args.web))?;
    let sent = sent_to(args, &config, &group)?;
    let offsets = GroupOffsets::new(&config.kafka, &into, TIMEOUT)?;
    // Somebody else's replay into the same group must not lose its folder to this one.
    crate::replay::check_nobody_is_in(&offsets, &into)?;
    side.begin(args.again, &group.store)?;
    let mut manifest = Manifest {
        group: group.id.clone(),
        into: into.clone(),
        whole: args.topics.is_empty(),
        ranges: found,
        complete: false,
        plugins: BTreeMap::new(),
        began_ms: since_1970::now_ms(),
        took_ms: 0,
        swapped: None,
    };
    side.keep(&manifest)?;
    set_offsets(&offsets, &into, &beginning(&manifest.ranges))?;
    let capture = Capture::new(&side, &group.dead_letter.topic, sent, &config.kafka)?;
    let began = Instant::now();
    let (ended, summary) = if remaining(&offsets, &manifest.ranges)? == 0 {
        (Ended::AtItsEnd, None)
    } else {
        let signals = Signals::receive(|| {})?;
        let running = Replaying::start(
            &side_config,
            &capture,
            &manifest.ranges,
            Compiler::own_child()?,
        )?;
        manifest.plugins.clone_from(running.plugins());
        let mut ended = until_the_end(args, &running, (&offsets, &manifest.ranges), &signals);
        exit_in_the_end(config.drain_timeout + EXIT_MARGIN);
        let summary = running.stop();
        // What was in flight has been finished meanwhile.
        if let Ended::Early(_, left) = &mut ended
            && let Ok(now) = remaining(&offsets, &manifest.ranges)
        {
            *left = now;
        }
        (ended, Some(summary))
    };
    manifest.took_ms = began.elapsed().as_millis() as u64;
    manifest.complete = matches!(ended, Ended::AtItsEnd);
    side.keep(&manifest)?;
    let told = Told {
        manifest: &manifest,
        summary,
        capture: &capture,
        ended: &ended,
        side: &side,
    };
    match args.output {
        Output::Json => println!("{}", told.json()),
        Output::Text => told.print(),
    }
    let failed = !manifest.complete || capture.dead_letters() > 0;
    Ok(ExitCode::from(u8::from(failed)))
}

fn ranges_of(args: &RunArgs, config: &Config, group: &Group) -> anyhow::Result<Vec<Range>> {
    let from = args.from.context("--from is missing")?;
    let live = GroupOffsets::new(&config.kafka, &group.id, TIMEOUT)?;
    let reader = Reader::new(&config.kafka, TIMEOUT)?;
    let topics: Vec<String> = group.routes.keys().cloned().collect();
    let found = ranges((&live, &reader), &topics, &args.topics, (from, args.to))?;
    Ok(found)
}

/// The topics that records are sent to, which must be there.
fn sent_to(
    args: &RunArgs,
    config: &Config,
    group: &Group,
) -> anyhow::Result<BTreeMap<String, SentTo>> {
    let dead_letters = args.dead_letters_to.iter();
    let dead_letters = dead_letters.map(|to| (group.dead_letter.topic.clone(), to.clone()));
    let asked = args.sent.iter().cloned().chain(dead_letters);
    let topics = crate::kafka::topics::Topics::new(&config.kafka, TIMEOUT)?;
    let mut sent = BTreeMap::new();
    for (from, topic) in asked {
        let found = topics.describe(&topic)?;
        let partitions = found
            .ok_or_else(|| ReplayError::NoTopic(topic.clone()))?
            .partitions;
        sent.insert(from, SentTo { topic, partitions });
    }
    Ok(sent)
}

/// The side group begins where the ranges do.
fn beginning(ranges: &[Range]) -> Setting {
    let moved = ranges.iter().map(|range| Moved {
        from: Standing {
            topic: range.topic.clone(),
            partition: range.partition,
            oldest: Offset(range.oldest),
            newest: Offset(range.until),
            committed: None,
        },
        to: Offset(range.from),
    });
    Setting {
        moved: moved.collect(),
        forget_state: true,
    }
}

fn until_the_end(
    args: &RunArgs,
    running: &Replaying,
    (offsets, ranges): (&GroupOffsets, &[Range]),
    signals: &Signals,
) -> Ended {
    let began = Instant::now();
    let mut told = began;
    let mut left = i64::MAX;
    loop {
        match remaining(offsets, ranges) {
            Ok(0) => return Ended::AtItsEnd,
            Ok(now) => left = now,
            Err(error) => tracing::warn!(%error, "it is not known how far the replay is"),
        }
        if let Some(failure) = running.failure() {
            return Ended::Early(failure, left);
        }
        if args
            .timeout
            .is_some_and(|timeout| began.elapsed() >= timeout)
        {
            let waits = running.trouble().map(|why| format!("; {why}"));
            let waits = waits.unwrap_or_default();
            return Ended::Early(format!("the time of --timeout is over{waits}"), left);
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tracing::warn!(left, trouble = ?running.trouble(), "the replay goes on");
        }
        if signals.wait(LOOK_EVERY) {
            return Ended::Early("it was asked to end".to_owned(), left);
        }
    }
}

impl Told<'_> {
    fn json(&self) -> serde_json::Value {
        let (end, left) = match self.ended {
            Ended::AtItsEnd => (None, 0),
            Ended::Early(why, left) => (Some(why), *left),
        };
        json!({
            "group": self.manifest.group,
            "into": self.manifest.into,
            "complete": self.manifest.complete,
            "ended_early": end,
            "offsets_left": left,
            "events": self.summary.as_ref().map(|summary| summary.total),
            "outputs": self.capture.outputs(),
            "dead_letters": self.capture.dead_letters(),
            "took_ms": self.manifest.took_ms,
            "plugins": self.manifest.plugins,
            "side": self.side.folder(),
            "ranges": self.manifest.ranges,
        })
    }

    fn print(&self) {
        let manifest = self.manifest;
        println!("{}, replayed into {}", manifest.group, manifest.into);
        let rows = manifest.ranges.iter().map(|range| {
            let numbers = [i64::from(range.partition), range.from, range.until];
            let numbers = numbers.map(|number| number.to_string());
            std::iter::once(range.topic.clone()).chain(numbers)
        });
        print_table(&["topic", "partition", "from", "before"], rows);
        if let Some(summary) = &self.summary {
            let counts = &summary.total;
            println!(
                "{} events: {} processed, {} filtered, {} duplicate, {} dead, {} abandoned, in {:.1} s",
                counts.polled,
                counts.processed,
                counts.filtered,
                counts.duplicate,
                counts.dead,
                counts.abandoned,
                manifest.took_ms as f64 / 1_000.0
            );
        } else {
            println!("there are no events in this range");
        }
        for (topic, count) in self.capture.outputs() {
            println!("{count} outputs for {topic}");
        }
        println!("{} dead letters", self.capture.dead_letters());
        println!("kept in {}", self.side.folder().display());
        if let Ended::Early(why, left) = self.ended {
            println!("ended before its end, with {left} offsets left: {why}");
        }
    }
}
