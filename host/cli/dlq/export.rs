//! `millrace dlq export`: dead letters as lines of JSON.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::options::{FilterArgs, Place};
use crate::cli::Output;
use crate::dead_letters::DeadLettersError;
use crate::kafka::reader::Scan;

/// Arguments of `millrace dlq export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The topic of dead letters; left out, that of the configuration.
    topic: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only those that were not put back.
    #[arg(long)]
    open: bool,
    /// The file that is written; left out, standard output. A file that is there is not touched.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// How to print what was done where a file is written; lines on standard output are JSON either way.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let Some(path) = &args.to else {
        let mut out = BufWriter::new(io::stdout().lock());
        return match write(args, &mut out) {
            // A reader that has gone (`| head`) has seen enough.
            Err(error) if is_broken_pipe(&error) => Ok(()),
            done => done.map(drop),
        };
    };
    let file =
        File::create_new(path).with_context(|| format!("{} cannot be written", path.display()))?;
    let written = write(args, &mut BufWriter::new(file))?;
    let mut out = io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", json!({ "written": written }))?,
        Output::Text => writeln!(out, "{written} written to {}", path.display())?,
    }
    Ok(())
}

fn write(args: &ExportArgs, out: &mut impl Write) -> anyhow::Result<u64> {
    let (letters, _) = args.place.letters(args.topic.as_deref())?;
    let redriven = match args.open {
        true => Some(letters.redriven()?),
        false => None,
    };
    let mut written = 0;
    letters.scan(&args.filter.filter(), |letter| {
        if redriven.as_ref().is_none_or(|it| !it.has(&letter)) {
            writeln!(out, "{}", letter.line())?;
            written += 1;
        }
        Ok(Scan::Continue)
    })?;
    out.flush()?;
    Ok(written)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    match error.downcast_ref() {
        Some(DeadLettersError::Output(error)) => is(error),
        _ => error.downcast_ref().is_some_and(is),
    }
}
