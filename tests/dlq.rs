//! Dead letters from the command line: found, grouped, written out, put back each once, and removed.

mod dialects;
mod lasting;
mod redrive;
mod refused;
mod times;

use serde_json::Value;

use crate::harness::host::command;
use crate::harness::kafka;
use crate::harness::topic::{Record, Stored, Topic, recent_ms, unique};

/// What `millrace dlq` answers on the shared broker.
#[track_caller]
fn ask(args: &[&str]) -> Value {
    let cluster = ["--brokers", kafka::shared(), "--output", "json"];
    let exit = command(&[&["dlq"], args, &cluster].concat());
    assert_eq!(
        exit.code,
        Some(0),
        "{args:?}: {}{}",
        exit.stdout,
        exit.stderr
    );
    serde_json::from_str(&exit.stdout).unwrap_or_else(|error| panic!("{error}: {}", exit.stdout))
}

/// What it says where it does not do what was asked.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let exit = command(&[&["dlq"], args, &["--brokers", kafka::shared()]].concat());
    assert_ne!(exit.code, Some(0), "{}", exit.stdout);
    exit.stderr
}

/// A source, and the topic of its dead letters, which the tests write as a host does.
struct Graveyard {
    source: Topic,
    letters: Topic,
}

impl Graveyard {
    fn new(hint: &str, partitions: i32) -> Self {
        let name = unique(hint);
        let create = |name: &str, partitions, settings: &[(&str, &str)]| {
            Topic::create_with(kafka::shared(), name, partitions, settings)
        };
        Self {
            // So that the time of each record is the broker's.
            source: create(
                &name,
                partitions,
                &[("message.timestamp.type", "LogAppendTime")],
            ),
            letters: create(&format!("{name}.dlq"), 2, &[("retention.ms", "-1")]),
        }
    }

    fn name(&self) -> &str {
        self.letters.name()
    }

    /// The dead letter of the event with this number: cause, code, message and what the signature adds.
    fn letter(&self, number: usize, account: [&str; 4]) -> Record {
        self.letter_of(number, recent_ms() + number as i64, account)
    }

    /// The same for an event that was given up at this time.
    fn letter_of(
        &self,
        number: usize,
        failed_at_ms: i64,
        [cause, code, message, frames]: [&str; 4],
    ) -> Record {
        let key = number % 40;
        let failed_at = failed_at_ms.to_string();
        let facts = [
            ("version", "1"),
            ("origin.topic", self.source.name()),
            ("origin.partition", &(key % 3).to_string()),
            ("origin.offset", &number.to_string()),
            ("group", "billing"),
            ("plugin", "versioned"),
            ("plugin.digest", "0123456789abcdef"),
            ("cause", cause),
            ("code", code),
            ("message", message),
            ("signature", &format!("0123456789ab:{cause}:{code}{frames}")),
            ("attempts", "3"),
            ("first-failed-at", &failed_at),
            ("last-failed-at", &failed_at),
        ];
        let record = Record::new(format!("key-{key}"), format!(r#"{{"id":{number}}}"#))
            .timestamp_ms(recent_ms())
            .header("correlation-id", format!("c-{number}"))
            .null_header("nothing");
        facts.into_iter().fold(record, |record, (name, value)| {
            record.header(&format!("millrace.dlq.{name}"), value)
        })
    }

    /// A few letters of one cause.
    fn with_rejected(self, count: usize) -> Self {
        let letter = |number| {
            let message = format!("no price for order {number}");
            self.letter(number, ["reject", "no-price", &message, ""])
        };
        self.letters
            .produce(&(0..count).map(letter).collect::<Vec<_>>());
        self
    }
}

/// The number of an event.
#[track_caller]
fn number(record: &Stored) -> u64 {
    record.json()["id"].as_u64().expect("a number")
}
