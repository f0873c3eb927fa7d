//! `millrace dlq redrive`: dead letters, put back.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;

use super::options::{FilterArgs, Place, topic_and_ids};
use super::trial::Trial;
use crate::cli::Output;
use crate::config::Config;
use crate::dead_letters::{Judged, Letter, Progress, REDRIVES_MAX, Report, Wish, rate};

/// Arguments of `millrace dlq redrive`.
#[derive(Debug, Args)]
pub(super) struct RedriveArgs {
    /// The topic of dead letters, or letters by their ids (TOPIC/PARTITION/OFFSET); left out, the topic of the
    /// configuration.
    #[arg(value_name = "TOPIC | ID")]
    what: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Puts back every dead letter of the topic.
    #[arg(long)]
    all: bool,
    /// Puts them back into this topic instead of those that they came from.
    #[arg(long, value_name = "TOPIC")]
    to: Option<String>,
    /// At most so many: 100/s, or 6000/m. Left out, as fast as the broker takes them.
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<f64>,
    /// At most so many letters.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Leaves events alone that were put back so often already.
    #[arg(long, value_name = "N", default_value_t = REDRIVES_MAX, value_parser = clap::value_parser!(u32).range(1..))]
    max_redrives: u32,
    /// Puts back only those that now succeed with this component, run with the grants, limits and settings of the
    /// plugin in the configuration.
    #[arg(long, value_name = "X.WASM", requires = "config")]
    if_fixed_by: Option<PathBuf>,
    /// Puts back those too that were put back already.
    #[arg(long)]
    again: bool,
    /// Keeps the time of each record that it was. Kafka deletes records by that time.
    #[arg(long)]
    keep_time: bool,
    /// Says what would be done, and does nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(args: &RedriveArgs) -> anyhow::Result<()> {
    let (topic, ids) = topic_and_ids(&args.what)?;
    let mut filter = args.filter.filter();
    filter.ids = ids;
    ensure!(
        args.all || !filter.is_open(),
        "say which dead letters: by their ids, by --signature as `millrace dlq clusters` shows it, by another filter, or \
         with --all"
    );
    let (letters, config) = args.place.letters(topic.as_deref())?;
    let mut trial = match (&args.if_fixed_by, &config) {
        (Some(component), Some(config)) => {
            let trial = Trial::of(component, config, args.filter.plugin.as_deref())?;
            // Others cannot be fixed by it.
            filter.plugin = Some(trial.plugin().to_owned());
            Some(trial)
        }
        _ => None,
    };
    let wish = Wish {
        filter,
        to: args.to.clone(),
        per_second: args.rate,
        redrives_max: args.max_redrives,
        limit: args.limit,
        again: args.again,
        dry_run: args.dry_run,
        keep_time: args.keep_time,
    };
    let mut judge = |letter: &Letter| match &mut trial {
        Some(trial) => trial.judge(letter),
        None => Ok(Judged::Fixed),
    };
    let (report, done) = letters.redrive(&wish, &mut judge, &Progress::default());
    print(args, &report, config.as_ref())?;
    Ok(done?)
}

fn print(args: &RedriveArgs, report: &Report, config: Option<&Config>) -> io::Result<()> {
    let warnings = warnings(report, config);
    let mut out = io::stdout().lock();
    if args.output == Output::Json {
        let mut told = report.to_json();
        told["dry_run"] = args.dry_run.into();
        told["warnings"] = warnings.into();
        return writeln!(out, "{told}");
    }
    for warning in &warnings {
        writeln!(io::stderr(), "warning: {warning}")?;
    }
    let would = if args.dry_run { "would be " } else { "" };
    writeln!(
        out,
        "{} of {} {would}put back",
        report.redriven, report.matched
    )?;
    for (topic, count) in &report.to {
        writeln!(out, "  {count} to {topic}")?;
    }
    for (why, count) in &report.stayed {
        writeln!(out, "  {count} stayed: {why}")?;
    }
    Ok(())
}

fn warnings(report: &Report, config: Option<&Config>) -> Vec<String> {
    let missing = report
        .missing_topics
        .iter()
        .map(|topic| format!("topic {topic} does not exist; --to puts its events elsewhere"));
    let is_read = |config: &Config, topic: &str| {
        let mut groups = config.groups.iter();
        groups.any(|group| group.route_of(topic).is_some() || group.carries(topic))
    };
    let unread = report
        .to
        .keys()
        .filter(|topic| config.is_some_and(|config| !is_read(config, topic)));
    let unread = unread.map(|topic| {
        format!("no group of the configuration reads topic {topic}: what is put back there is waited for by nobody")
    });
    missing.chain(unread).collect()
}
