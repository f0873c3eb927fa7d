//! `millrace dlq show`: dead letters as they lie in their topic.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

use anyhow::ensure;
use clap::Args;
use serde_json::Value;

use super::options::{Place, topic_and_ids};
use super::repro::transcript_of;
use super::told::printable;
use crate::authoring::dead_letter::event_of;
use crate::authoring::fixture::Fixture;
use crate::authoring::shown::Shown;
use crate::cli::Output;
use crate::dead_letters::{Letter, LetterId, Redriven};
use crate::delivery::dead_letter::fact;

/// Records that are shown at once: they are held in memory.
const LAST_MAX: u64 = 10_000;

/// Arguments of `millrace dlq show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The topic of dead letters, or one letter by its id (TOPIC/PARTITION/OFFSET).
    #[arg(value_name = "TOPIC | ID")]
    what: String,
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
    #[command(flatten)]
    place: Place,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(args: &ShowArgs) -> anyhow::Result<()> {
    let (topic, mut ids) = topic_and_ids(std::slice::from_ref(&args.what))?;
    if let (Some(topic), Some(partition), Some(offset)) = (&topic, args.partition, args.offset) {
        ensure!(
            ids.is_empty(),
            "an id says its partition and offset already"
        );
        let topic = topic.clone();
        ids.insert(LetterId {
            topic,
            partition,
            offset,
        });
    }
    let (letters, config) = args.place.letters(topic.as_deref())?;
    let found = match ids.first() {
        Some(id) => vec![letters.letter(id)?],
        None => letters.newest(args.last as usize)?,
    };
    let topic = letters.topic();
    ensure!(
        !found.is_empty(),
        "topic {topic} is empty: there is no dead letter"
    );
    if args.as_fixture {
        found
            .iter()
            .for_each(|letter| println!("{}", event(letter).to_line()));
        return Ok(());
    }
    let redriven = letters.redriven()?;
    let shown = config.as_ref().map(Shown::of).transpose()?;
    let decoded = |letter: &Letter| decoded(letter, shown.as_ref()?);
    match args.output {
        Output::Json => {
            let all = found
                .iter()
                .map(|letter| letter.to_json(redriven.has(letter), decoded(letter).as_deref()));
            println!("{}", all.collect::<Value>());
        }
        Output::Text => found
            .iter()
            .for_each(|letter| print!("{}", told(letter, &redriven, decoded(letter)))),
    }
    Ok(())
}

/// The event of a letter, without what the host wrote on it.
pub(super) fn event(letter: &Letter) -> Fixture {
    let record = &letter.record;
    event_of(
        (&record.topic, record.partition, record.offset),
        record.timestamp_ms,
        (record.key.as_deref(), record.value.as_deref()),
        &record.headers,
    )
}

/// The value as its plugin is shown it, where the route decodes it and that can be done now.
fn decoded(letter: &Letter, shown: &Shown) -> Option<Vec<u8>> {
    let account = letter.account.as_ref()?;
    let value = shown.event(&account.group, event(letter)).ok()?.value?;
    (letter.record.value.as_ref() != Some(&value)).then_some(value)
}

/// What another system wrote on it.
fn foreign_facts(letter: &Letter) -> Vec<(String, String)> {
    let Some(account) = &letter.account else {
        return Vec::new();
    };
    let origin = account.origin.as_ref().map(|(topic, partition, offset)| {
        let number = |number: Option<i64>| number.map_or("?".to_owned(), |it| it.to_string());
        format!(
            "{topic}/{}/{}",
            number(partition.map(i64::from)),
            number(*offset)
        )
    });
    [
        (
            "written by",
            format!("{:?}", account.dialect).to_lowercase(),
        ),
        ("origin", origin.unwrap_or_default()),
        ("group", account.group.clone()),
        ("plugin", account.plugin.clone()),
        ("cause", account.cause.clone()),
        ("code", account.code.clone()),
        ("message", account.message.clone()),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    .map(|(name, text)| (name.to_owned(), text))
    .collect()
}

/// One letter, for a person.
fn told(letter: &Letter, redriven: &Redriven, decoded: Option<Vec<u8>>) -> String {
    let mut told = format!("{}\n", letter.id());
    let mut line = |name: &str, text: &str| told.push_str(&format!("  {name:<16} {text}\n"));
    let mut facts = letter.facts();
    if fact(&letter.record.headers, "cause").is_none() {
        facts.extend(foreign_facts(letter));
    }
    if letter.account.is_none() {
        line("", "this is no dead letter of a system that is known");
    }
    for (name, text) in facts.iter().filter(|(name, _)| name != "version") {
        line(name, &printable(text));
    }
    if let Some(signature) = letter.signature() {
        line("--signature", &signature);
    }
    if redriven.has(letter) {
        line("put back", "yes");
    }
    match transcript_of(letter) {
        Ok(Some(told)) => told
            .log_lines()
            .for_each(|logged| line("logged", &printable(logged))),
        Ok(None) => {}
        Err(error) => line("transcript", &format!("{error:#}")),
    }
    line("key", &shown(letter.record.key.as_deref()));
    line("value", &shown(letter.record.value.as_deref()));
    if let Some(decoded) = decoded {
        line("decoded", &shown(Some(&decoded)));
    }
    for (name, value) in &event(letter).headers {
        let name = format!("header {}", String::from_utf8_lossy(name));
        line(&printable(&name), &shown(value.as_deref()));
    }
    told
}

/// Text as it is, and anything else by its length.
fn shown(bytes: Option<&[u8]>) -> String {
    match bytes.map(std::str::from_utf8) {
        None => "null".to_owned(),
        Some(Ok("")) => "\"\"".to_owned(),
        Some(Ok(text)) => printable(text),
        Some(Err(_)) => {
            let bytes = bytes.unwrap_or_default();
            let of_registry = match bytes {
                [0, number @ ..] if number.len() >= 4 => {
                    let number = [number[0], number[1], number[2], number[3]];
                    format!(
                        ", perhaps by schema {} of a registry",
                        u32::from_be_bytes(number)
                    )
                }
                _ => String::new(),
            };
            let len = bytes.len();
            format!("{len} bytes that are no text{of_registry}; --as-fixture has them in base64")
        }
    }
}
