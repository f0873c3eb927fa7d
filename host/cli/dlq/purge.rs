//! `millrace dlq purge`: the oldest dead letters, removed for good.

use std::io::{self, Write as _};

use anyhow::bail;
use clap::Args;

use super::options::Place;
use crate::cli::Output;
use crate::dead_letters::{Bound, Purge, moment};

/// Arguments of `millrace dlq purge`.
#[derive(Debug, Args)]
pub(super) struct PurgeArgs {
    /// The topic of dead letters; left out, that of the configuration.
    topic: Option<String>,
    #[command(flatten)]
    up_to: UpTo,
    /// The partition that --before-offset is about.
    #[arg(long, requires = "before_offset", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Removes them. Without this, only what would be removed is told.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: Place,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct UpTo {
    /// Of one partition those before this offset.
    #[arg(long, value_name = "OFFSET", requires = "partition", value_parser = clap::value_parser!(i64).range(0..))]
    before_offset: Option<i64>,
    /// Of each partition those before the first that was given up then or later: a time such as
    /// 2026-11-29T12:30:00Z, or 30d for thirty days ago.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    before_time: Option<i64>,
    /// Of each partition those before the first that was not put back.
    #[arg(long)]
    redriven: bool,
    /// All of them.
    #[arg(long)]
    all: bool,
}

pub(super) fn run(args: &PurgeArgs) -> anyhow::Result<()> {
    let bound = match (&args.up_to, args.partition) {
        (
            UpTo {
                before_offset: Some(offset),
                ..
            },
            Some(partition),
        ) => Bound::Offset {
            partition,
            offset: *offset,
        },
        (
            UpTo {
                before_time: Some(time),
                ..
            },
            _,
        ) => Bound::Time(*time),
        (UpTo { all: true, .. }, _) => Bound::All,
        _ => Bound::Redriven,
    };
    let (letters, _) = args.place.letters(args.topic.as_deref())?;
    let purge = letters.doomed(bound)?;
    if args.yes {
        letters.purge(&purge)?;
    }
    print(args, &purge)?;
    if !args.yes && purge.letters() > 0 {
        bail!("nothing was removed: --yes removes them, and nothing brings them back");
    }
    Ok(())
}

fn print(args: &PurgeArgs, purge: &Purge) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.output == Output::Json {
        let mut told = purge.to_json();
        told["removed"] = args.yes.into();
        return writeln!(out, "{told}");
    }
    let would = if args.yes { "" } else { "would be " };
    writeln!(
        out,
        "{} {would}removed, {} of them never put back",
        purge.letters(),
        purge.not_redriven()
    )?;
    for doomed in &purge.doomed {
        writeln!(
            out,
            "  partition {}: offsets {} to before {}, {} letters",
            doomed.partition, doomed.from, doomed.before, doomed.letters
        )?;
    }
    Ok(())
}
