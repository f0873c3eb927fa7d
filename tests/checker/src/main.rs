//! The checker of the fault suite: a process of its own that judges a run of the host by what is in Kafka and
//! by what was noted meanwhile. It shares no code with the host, so that a mistake cannot hide in both.
//!
//! Exit codes: 0 every invariant holds, 1 one is violated, 2 it could not be checked.

mod evidence;
mod fencing;
mod figures;
mod invariants;
mod liveness;
mod report;
mod table;
mod topics;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};

use self::report::Report;

/// Why nothing could be said.
#[derive(Debug)]
pub(crate) struct Unchecked(pub(crate) String);

impl<E: std::error::Error> From<E> for Unchecked {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Judges a run of the host from outside.
#[derive(Debug, Parser)]
enum Command {
    /// Notes what the group commits, until its standard input ends.
    Watch(Place),
    /// Judges a run that is over, and answers a report in JSON.
    Check(Box<CheckArgs>),
    /// Makes the table of a document from the reports of many runs.
    Table(table::TableArgs),
}

/// What is looked at.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The cluster, as `bootstrap.servers`.
    #[arg(long)]
    brokers: String,
    /// The group under test.
    #[arg(long)]
    group: String,
    /// The topic that it reads.
    #[arg(long)]
    source: String,
    /// The folder of what was noted during the run.
    #[arg(long)]
    evidence: PathBuf,
}

/// What a run is held against.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    place: Place,
    /// The topic that the copies go to.
    #[arg(long)]
    output: String,
    /// The topic of what was given up on; none where there is none.
    #[arg(long)]
    dead_letters: Option<String>,
    /// The source of a clean group beside the one under test.
    #[arg(long, requires = "neighbour_output")]
    neighbour_source: Option<String>,
    /// Where the clean group's copies go.
    #[arg(long)]
    neighbour_output: Option<String>,
    /// Repeated events that are allowed, instead of what stood between commit and position at the faults.
    #[arg(long)]
    duplicates_max: Option<u64>,
    /// Copies that an owner of a partition may write after the next one's first.
    #[arg(long, default_value_t = 0)]
    late_max: u64,
    /// How long after a commit an event below it may still be repeated, in milliseconds.
    #[arg(long, default_value_t = 2_000)]
    grace_ms: i64,
    /// How long one partition may stand still while it has something to do, in milliseconds.
    #[arg(long, default_value_t = 60_000)]
    stall_max_ms: i64,
    /// How long it may take after a fault until every partition has moved on, in milliseconds.
    #[arg(long, default_value_t = 60_000)]
    recover_max_ms: i64,
    /// How much a host's memory may grow over what it was when it was ready, in bytes.
    #[arg(long, default_value_t = 256 << 20)]
    memory_growth_max_bytes: u64,
    /// How much the neighbour's slowest hundredth may lose beyond a tenth of it, in milliseconds: a
    /// machine with two cores has that much noise.
    #[arg(long, default_value_t = 250)]
    neighbour_slack_ms: i64,
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Watch(place) => watch::run(&place).map(|()| ExitCode::SUCCESS),
        Command::Check(args) => check(&args),
        Command::Table(args) => table::run(&args).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|Unchecked(why)| {
        #[expect(
            clippy::print_stderr,
            reason = "the last word of a command that failed"
        )]
        {
            eprintln!("millrace-checker: {why}");
        }
        ExitCode::from(2)
    })
}

fn check(args: &CheckArgs) -> Result<ExitCode, Unchecked> {
    let evidence = evidence::Evidence::read(&args.place.evidence)?;
    let found = topics::Found::read(args)?;
    let mut report = Report::default();
    for mark in &evidence.marks {
        *report.faults.entry(mark.what.clone()).or_default() += 1;
    }
    invariants::nothing_lost(&evidence, &found, &mut report);
    invariants::duplicates_bounded(args, &evidence, &found, &mut report);
    invariants::key_order(&found, &mut report);
    invariants::commits_behind(&evidence, &found, &mut report);
    figures::memory_bounded(args, &evidence, &mut report);
    liveness::partitions_move(args, &evidence, &found, &mut report);
    liveness::neighbour_undisturbed(args, &evidence, &found, &mut report);
    figures::ends_as_told(&evidence, &mut report);
    fencing::one_owner_at_a_time(args, &evidence, &found, &mut report);
    figures::honest(&args.place.group, &evidence, &found, &mut report);
    let answer = serde_json::to_string_pretty(&report)?;
    #[expect(clippy::print_stdout, reason = "the report is the answer")]
    {
        println!("{answer}");
    }
    Ok(ExitCode::from(u8::from(report.is_red())))
}
