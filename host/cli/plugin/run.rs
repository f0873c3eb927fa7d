//! `millrace plugin run`: events through one component, once, and what came of each.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::options::{ComponentArgs, is_stdin};
use crate::authoring;
use crate::authoring::figures::duration;
use crate::authoring::fixture::Fixture;
use crate::authoring::rig::{Outcome, Ran, Rig, Ticked};
use crate::authoring::subject::Subject;
use crate::cli::Output;
use crate::sandbox::{Compiler, TickReason};
use crate::telemetry::logs::{self, LogFormat};

/// Arguments of `millrace plugin run`.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    component: ComponentArgs,
    /// The file of events, one JSON object a line; `-` is standard input, and that is meant when this is left out.
    /// In a plugin's folder, without a component, fixtures/*.jsonl are.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Takes each line as the value of an event, as it stands.
    #[arg(long)]
    values: bool,
    /// Counts the fuel of each event. Counting makes it slower.
    #[arg(long)]
    fuel: bool,
    /// How the answer is printed; json is one object a line.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    logs::start("warn", LogFormat::Text).map_err(anyhow::Error::msg)?;
    let subject = Subject::find(&args.component.wishes(args.fuel))?;
    let events = events(args, &subject)?;
    anyhow::ensure!(!events.is_empty(), "there are no events to run: {}", HOW);
    let loaded = subject.load(&authoring::sandbox(Compiler::own_child()?)?)?;
    let mut rig = Rig::new(loaded, &subject.topic)?;
    let mut tally = Tally::default();
    let printed = print_all(&mut rig, &events, args.output, &mut tally);
    match printed {
        // A reader that has gone (`| head`) has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::from(u8::from(tally.failed))),
    }
}

/// How events are given.
const HOW: &str = "give them on standard input or with --events FILE, one a line, for example \
                   {\"key\":\"a\",\"value\":{\"id\":1}}";

/// Everything is read before anything runs, so that a mistake in the last line does not leave half of it done.
fn events(args: &RunArgs, subject: &Subject) -> anyhow::Result<Vec<Fixture>> {
    if args.events.is_none() && args.component.component.is_none() {
        return Ok(subject.fixtures()?);
    }
    let stdin = Path::new("-");
    let path = args.events.as_deref().unwrap_or(stdin);
    let read = if args.values {
        Fixture::read_values
    } else {
        Fixture::read
    };
    if !is_stdin(path) {
        if !args.values {
            return Ok(Fixture::read_file(path)?);
        }
        return Ok(Fixture::read_values(
            &path.display().to_string(),
            std::fs::File::open(path)?,
        )?);
    }
    if io::stdin().is_terminal() {
        writeln!(
            io::stderr(),
            "reading events from the terminal; Ctrl-D ends them"
        )?;
    }
    // Not the lock of standard input, which can be read as a whole only once.
    Ok(read("standard input", io::stdin())?)
}

/// What all events came to.
#[derive(Debug, Default)]
pub(super) struct Tally {
    outcomes: BTreeMap<&'static str, usize>,
    times: Vec<Duration>,
    /// Whether any failed.
    pub(super) failed: bool,
}

impl Tally {
    pub(super) fn count(&mut self, outcome: &Outcome, took: Option<Duration>) {
        self.failed |= !outcome.is_success();
        if let Some(took) = took {
            *self.outcomes.entry(outcome.word()).or_default() += 1;
            self.times.push(took);
        }
    }

    /// One line for a person.
    pub(super) fn told(&mut self) -> String {
        self.times.sort_unstable();
        let outcomes: Vec<String> = self
            .outcomes
            .iter()
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        let median = self.times.get(self.times.len() / 2).copied();
        let longest = self.times.last().copied();
        let count = self.times.len();
        let events = if count == 1 { "event" } else { "events" };
        format!(
            "{count} {events}: {}; {} median, {} longest",
            outcomes.join(", "),
            duration(median.unwrap_or_default()),
            duration(longest.unwrap_or_default())
        )
    }
}

/// Runs events one after the other and prints what came of each, then of a last tick, then of all.
pub(super) fn print_all(
    rig: &mut Rig,
    events: &[Fixture],
    output: Output,
    tally: &mut Tally,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for event in events {
        let ran = rig.run(event);
        tally.count(&ran.outcome, Some(ran.took));
        print(&mut out, output, &ran, Ran::to_json)?;
    }
    for ticked in rig.tick(TickReason::Shutdown) {
        tally.count(&ticked.outcome, None);
        if output == Output::Text && ticked.is_quiet() {
            continue;
        }
        print(&mut out, output, &ticked, Ticked::to_json)?;
    }
    if output == Output::Text {
        for ((topic, partition), sums) in rig.sums() {
            for (name, sum) in sums {
                writeln!(
                    out,
                    "{topic}/{partition}: sum {name} = {sum}, which no tick has taken"
                )?;
            }
        }
        writeln!(out, "{}", tally.told())?;
    }
    out.flush()
}

pub(super) fn print<T: std::fmt::Display>(
    out: &mut impl Write,
    output: Output,
    what: &T,
    in_json: impl Fn(&T) -> Value,
) -> io::Result<()> {
    match output {
        Output::Text => write!(out, "{what}"),
        Output::Json => writeln!(out, "{}", in_json(what)),
    }
}
