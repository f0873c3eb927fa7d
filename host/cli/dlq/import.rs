//! `millrace dlq import`: what `export` has written, written back.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use super::options::Place;
use crate::authoring::fixture::Fixture;
use crate::cli::Output;
use crate::dead_letters::Outbox;
use crate::kafka::producer::OutgoingRecord;

/// Longest line: the largest record that Kafka takes by its own limits, in base64, and some more.
const LINE_BYTES_MAX: u64 = 256 << 20;

/// Arguments of `millrace dlq import`.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The file; `-` is standard input.
    file: PathBuf,
    /// Writes everything to this topic, by its keys; left out, each goes to the topic and partition that it says.
    #[arg(long, value_name = "TOPIC")]
    to: Option<String>,
    #[command(flatten)]
    place: Place,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(args: &ImportArgs) -> anyhow::Result<()> {
    let (kafka, _) = args.place.load()?;
    let name = args.file.display();
    let from: Box<dyn Read> = match args.file == Path::new("-") {
        true => Box::new(io::stdin().lock()),
        false => {
            Box::new(File::open(&args.file).with_context(|| format!("{name} cannot be read"))?)
        }
    };
    let mut from = BufReader::new(from);
    let mut outbox = Outbox::new(&kafka)?;
    let (mut line, mut number) = (String::new(), 0_u64);
    loop {
        line.clear();
        number += 1;
        let read = from.by_ref().take(LINE_BYTES_MAX).read_line(&mut line);
        if read.with_context(|| format!("{name}:{number} cannot be read"))? == 0 {
            break;
        }
        if line.trim().is_empty() {
            continue;
        }
        let event = Fixture::parse(&line).with_context(|| format!("{name}:{number}"))?;
        outbox.send(&record(event, args, number)?, None)?;
    }
    outbox.finish()?;
    let written = outbox.acknowledged();
    let mut out = io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", json!({ "written": written }))?,
        Output::Text => writeln!(out, "{written} written")?,
    }
    Ok(())
}

fn record(event: Fixture, args: &ImportArgs, line: u64) -> anyhow::Result<OutgoingRecord> {
    let partition = event.partition.filter(|_| args.to.is_none());
    let Some(topic) = args.to.clone().or(event.topic) else {
        bail!(
            "{}:{line} does not say its topic; --to does",
            args.file.display()
        );
    };
    Ok(OutgoingRecord {
        topic,
        partition,
        timestamp_ms: event.timestamp_ms,
        key: event.key,
        value: event.value,
        headers: event.headers,
        ..OutgoingRecord::default()
    })
}
