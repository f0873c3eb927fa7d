//! The headers that Spring Kafka, Kafka Connect and Kafka Streams put on their dead letters, written beside
//! the host's own so that the tools of those systems can read them.
//!
//! Names, encodings and what a second failure does to them follow `DeadLetterPublishingRecoverer` of Spring
//! Kafka, and `DeadLetterQueueReporter` and `ExceptionHandlerUtils` (KIP-1034) of Apache Kafka. This
//! must not know the host's own headers.

use super::{Facts, Header, capped};
use crate::config::Dialect;

/// Headers that say what went wrong rather than where the record came from.
const EXPLAINING: [&str; 10] = [
    "kafka_dlt-exception-fqcn",
    "kafka_dlt-exception-cause-fqcn",
    "kafka_dlt-exception-message",
    "kafka_dlt-exception-stacktrace",
    "__connect.errors.exception.class.name",
    "__connect.errors.exception.message",
    "__connect.errors.exception.stacktrace",
    "__streams.errors.exception",
    "__streams.errors.message",
    "__streams.errors.stacktrace",
];

/// Whether a header only explains a failure, in the dialect of any system.
pub(super) fn explains(name: &[u8]) -> bool {
    EXPLAINING.iter().any(|known| known.as_bytes() == name)
}

/// Adds what the dialect says of a failure.
pub(super) fn add(headers: &mut Vec<Header>, facts: &Facts<'_>, dialect: Dialect) {
    let mut written = Written { headers };
    match dialect {
        Dialect::Millrace => {}
        Dialect::Spring => spring(&mut written, facts),
        Dialect::Connect => connect(&mut written, facts),
        Dialect::Streams => streams(&mut written, facts),
    }
}

/// Numbers of the origin are binary, big-endian, as Java's `ByteBuffer` writes them. The origin is written
/// once (`appendOriginalHeaders` is false where a record may fail again), the exception replaces the one
/// before (`stripPreviousExceptionHeaders`).
fn spring(written: &mut Written<'_>, facts: &Facts<'_>) {
    let (topic, partition, offset) = facts.origin;
    written.once("kafka_dlt-original-topic", topic.as_bytes());
    written.once("kafka_dlt-original-partition", &partition.to_be_bytes());
    written.once("kafka_dlt-original-offset", &offset.0.to_be_bytes());
    // Java's clients say -1 for a record without a time.
    let timestamp_ms = facts.timestamp_ms.unwrap_or(-1);
    written.once("kafka_dlt-original-timestamp", &timestamp_ms.to_be_bytes());
    written.once("kafka_dlt-original-consumer-group", facts.group.as_bytes());
    written.replaced("kafka_dlt-exception-fqcn", &class(facts));
    written.replaced("kafka_dlt-exception-cause-fqcn", facts.code);
    written.replaced("kafka_dlt-exception-message", facts.message);
    written.replaced("kafka_dlt-exception-stacktrace", &trace(facts));
}

/// A header that is there stays as it is, so that the first failure is the one that is told of.
fn connect(written: &mut Written<'_>, facts: &Facts<'_>) {
    let (topic, partition, offset) = facts.origin;
    let mut once = |name: &str, value: &str| written.once(name, capped(value).as_bytes());
    once("__connect.errors.topic", topic);
    once("__connect.errors.partition", &partition.to_string());
    once("__connect.errors.offset", &offset.to_string());
    // A group stands for a connector, which has one task here: the hosts of a group have no numbers.
    once("__connect.errors.connector.name", facts.group);
    once("__connect.errors.task.id", "0");
    // The stage in which Connect hands records to code that is not its own.
    once("__connect.errors.stage", "TASK_PUT");
    once("__connect.errors.class.name", facts.plugin);
    once("__connect.errors.exception.class.name", &class(facts));
    once("__connect.errors.exception.message", facts.message);
    once("__connect.errors.exception.stacktrace", &trace(facts));
}

/// Streams appends to what is there, and its readers take the last of each name; replacing tells them the
/// same, and a record that fails often does not grow.
fn streams(written: &mut Written<'_>, facts: &Facts<'_>) {
    let (topic, partition, offset) = facts.origin;
    written.replaced("__streams.errors.exception", &class(facts));
    written.replaced("__streams.errors.message", facts.message);
    written.replaced("__streams.errors.stacktrace", &trace(facts));
    written.replaced("__streams.errors.topic", topic);
    written.replaced("__streams.errors.partition", &partition.to_string());
    written.replaced("__streams.errors.offset", &offset.to_string());
}

/// Stands where the others write the class of an exception.
fn class(facts: &Facts<'_>) -> String {
    format!("millrace.{}", facts.cause.word())
}

/// Looks like the stack trace of an exception in Java, which is what the tools show.
fn trace(facts: &Facts<'_>) -> String {
    let mut trace = format!("{}: {}", class(facts), facts.message);
    for frame in facts.frames {
        trace.push_str("\n\tat ");
        trace.push_str(frame);
    }
    trace
}

struct Written<'h> {
    headers: &'h mut Vec<Header>,
}

impl Written<'_> {
    fn once(&mut self, name: &str, value: &[u8]) {
        let there = self.headers.iter().any(|(each, _)| each == name.as_bytes());
        if !there {
            self.headers
                .push((name.as_bytes().to_vec(), Some(value.to_vec())));
        }
    }

    fn replaced(&mut self, name: &str, value: &str) {
        self.headers.retain(|(each, _)| each != name.as_bytes());
        let value = capped(value).as_bytes().to_vec();
        self.headers.push((name.as_bytes().to_vec(), Some(value)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cause, Offset, headers};
    use super::*;

    /// What a record carries that fails in `orders`, and whose dead letter then fails again in a group that
    /// reads `orders.dlq`: both lists, one header a line.
    fn written(dialect: Dialect) -> String {
        let frames = ["orders::price".to_owned(), "orders::handle".to_owned()];
        let first = Facts {
            origin: ("orders", 3, Offset(77)),
            timestamp_ms: Some(1_700_000_000_000),
            group: "billing",
            plugin: "prices",
            version: "1.4.0",
            digest: "0123456789abcdef",
            cause: Cause::Trap,
            code: "UnreachableCodeReached",
            message: "wasm `unreachable` instruction executed",
            frames: &frames,
            attempts: 5,
            failed_at_ms: (1_700_000_001_000, 1_700_000_002_000),
            transcript: None,
        };
        let second = Facts {
            origin: ("orders.dlq", 0, Offset(4)),
            group: "repairs",
            plugin: "mender",
            version: "1.4.0",
            digest: "fedcba9876543210",
            cause: Cause::Reject,
            code: "malformed",
            message: "no price in \"naïve\"",
            frames: &[],
            attempts: 1,
            failed_at_ms: (1_700_000_003_000, 1_700_000_003_000),
            transcript: None,
            ..first.clone()
        };
        let own = vec![
            (b"trace".to_vec(), Some(vec![0xff, 0])),
            (b"trace".to_vec(), None),
        ];
        let once = headers(own, &first, dialect);
        let twice = headers(once.clone(), &second, dialect);
        format!(
            "first failure\n{}\nsecond failure\n{}",
            lines(&once),
            lines(&twice)
        )
    }

    fn lines(headers: &[Header]) -> String {
        let line = |(name, value): &Header| {
            let name = String::from_utf8_lossy(name);
            let printable = |text: &&str| !text.contains('\0');
            match value
                .as_deref()
                .map(|value| (value, std::str::from_utf8(value)))
            {
                None => format!("{name} is null\n"),
                Some((_, Ok(text))) if printable(&text) => format!("{name} = {text:?}\n"),
                Some((bytes, _)) => {
                    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    format!("{name} = 0x{hex}\n")
                }
            }
        };
        headers.iter().map(line).collect()
    }

    #[test]
    fn each_dialect_is_written_as_its_golden_file_says() {
        for (dialect, golden) in [
            (Dialect::Millrace, include_str!("golden/millrace.txt")),
            (Dialect::Spring, include_str!("golden/spring.txt")),
            (Dialect::Connect, include_str!("golden/connect.txt")),
            (Dialect::Streams, include_str!("golden/streams.txt")),
        ] {
            let written = written(dialect);
            assert_eq!(written, golden, "{dialect:?}:\n{written}");
        }
    }

    #[test]
    fn what_a_dialect_adds_is_as_short_as_the_hosts_own() {
        let long = "é".repeat(3_000);
        let facts = Facts {
            origin: ("orders", 0, Offset(0)),
            timestamp_ms: None,
            group: "g",
            plugin: "p",
            version: "1.4.0",
            digest: "d",
            cause: Cause::Trap,
            code: &long,
            message: &long,
            frames: std::slice::from_ref(&long),
            attempts: 1,
            failed_at_ms: (0, 0),
            transcript: None,
        };
        for dialect in [Dialect::Spring, Dialect::Connect, Dialect::Streams] {
            for (name, value) in headers(Vec::new(), &facts, dialect) {
                let length = value.map_or(0, |value| value.len());
                let name = String::from_utf8_lossy(&name).into_owned();
                assert!(length <= super::super::VALUE_BYTES_MAX, "{name}: {length}");
            }
        }
    }
}
