//! `millrace dlq`: dead letters, as they lie in their topic. It must not know how Kafka is spoken to; [`crate::kafka`]
//! does.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Output;
use super::topics::Connection;
use crate::authoring::dead_letter::event_of;
use crate::authoring::fixture::Fixture;
use crate::config;
use crate::delivery::dead_letter::{PREFIX, fact};
use crate::kafka::reader::{ReadRecord, Reader};

/// A cluster that is up answers in milliseconds; reading the newest records takes a second or two.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Records that are shown at once: they are held in memory.
const LAST_MAX: u64 = 10_000;

/// Look into dead letters.
#[derive(Debug, Args)]
pub struct DlqArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show dead letters: where they come from, why they were given up, and what they hold. No group is joined, and
    /// nothing is committed.
    Show(Show),
}

#[derive(Debug, Args)]
struct Show {
    /// The topic of dead letters.
    topic: String,
    /// The partition of one.
    #[arg(long, requires = "offset", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// The offset of one.
    #[arg(long, requires = "partition", value_parser = clap::value_parser!(i64).range(0..))]
    offset: Option<i64>,
    /// So many of the newest, the newest last.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "offset",
        value_parser = clap::value_parser!(u64).range(1..=LAST_MAX))]
    last: u64,
    /// Print each as the event that it was, one JSON line, for fixtures/*.jsonl of a plugin.
    #[arg(long)]
    as_fixture: bool,
    /// Takes the cluster from this configuration instead of --brokers.
    #[arg(short, long, value_name = "FILE", conflicts_with = "brokers")]
    config: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Runs `millrace dlq`.
///
/// # Errors
/// The cluster cannot be reached, or there is no such dead letter.
pub fn run(args: &DlqArgs) -> anyhow::Result<()> {
    let Command::Show(show) = &args.command;
    let records = records(show)?;
    if show.as_fixture {
        for record in &records {
            println!("{}", event(record).to_line());
        }
        return Ok(());
    }
    match show.output {
        Output::Json => {
            let all: Vec<Value> = records.iter().map(in_json).collect();
            println!("{}", Value::from(all));
        }
        Output::Text => records.iter().for_each(|record| print!("{}", told(record))),
    }
    Ok(())
}

fn records(show: &Show) -> anyhow::Result<Vec<ReadRecord>> {
    let kafka = match &show.config {
        Some(path) => config::load(path, config::process_environment(), &[])?.kafka,
        None => show.connection.kafka(),
    };
    let reader = Reader::new(&kafka, TIMEOUT)?;
    let topic = &show.topic;
    if let (Some(partition), Some(offset)) = (show.partition, show.offset) {
        let record = reader.at(topic, partition, offset)?;
        return record.map(|record| vec![record]).ok_or_else(|| {
            anyhow::anyhow!(
                "there is no record at offset {offset} of partition {partition} of topic {topic}; `--last 10` \
                 shows the newest"
            )
        });
    }
    let newest = reader.newest(topic, show.last as usize)?;
    let newest = newest.ok_or_else(|| {
        anyhow::anyhow!("there is no topic {topic}; `millrace topics list` shows which there are")
    })?;
    anyhow::ensure!(
        !newest.is_empty(),
        "topic {topic} is empty: there is no dead letter"
    );
    Ok(newest)
}

fn event(record: &ReadRecord) -> Fixture {
    event_of(
        (&record.topic, record.partition, record.offset),
        record.timestamp_ms,
        (record.key.as_deref(), record.value.as_deref()),
        &record.headers,
    )
}

/// What the host wrote on it, by name without the prefix.
fn facts(record: &ReadRecord) -> Vec<(String, String)> {
    let names = record.headers.iter().filter_map(|(name, _)| {
        let name = name.strip_prefix(PREFIX.as_bytes())?;
        String::from_utf8(name.to_vec()).ok()
    });
    names
        .filter_map(|name| Some((name.clone(), fact(&record.headers, &name)?)))
        .collect()
}

fn in_json(record: &ReadRecord) -> Value {
    // What was written as a line reads as a value.
    let event: Value = serde_json::from_str(&event(record).to_line()).unwrap_or_default();
    let facts = facts(record)
        .into_iter()
        .map(|(name, text)| (name, Value::from(text)));
    json!({
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "dead_letter": facts.collect::<serde_json::Map<_, _>>(),
        "event": event,
    })
}

/// One record, for a person.
fn told(record: &ReadRecord) -> String {
    let mut told = format!("{}/{}/{}\n", record.topic, record.partition, record.offset);
    let mut line = |name: &str, text: &str| told.push_str(&format!("  {name:<16} {text}\n"));
    let facts = facts(record);
    if facts.is_empty() {
        line("", "this is no dead letter of a millrace host");
    }
    for (name, text) in facts.iter().filter(|(name, _)| name != "version") {
        line(name, text);
    }
    line("key", &shown(record.key.as_deref()));
    line("value", &shown(record.value.as_deref()));
    for (name, value) in &event(record).headers {
        let name = format!("header {}", String::from_utf8_lossy(name));
        line(&name, &shown(value.as_deref()));
    }
    told
}

/// Text as it is, without what could drive a terminal, and anything else by its length.
fn shown(bytes: Option<&[u8]>) -> String {
    match bytes.map(std::str::from_utf8) {
        None => "null".to_owned(),
        Some(Ok(text)) if text.contains(char::is_control) => format!("{text:?}"),
        Some(Ok("")) => "\"\"".to_owned(),
        Some(Ok(text)) => text.to_owned(),
        Some(Err(_)) => {
            let len = bytes.map_or(0, <[u8]>::len);
            format!("{len} bytes that are no text; --as-fixture has them in base64")
        }
    }
}
