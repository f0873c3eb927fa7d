//! What a dead letter says of itself, whichever system wrote it, and the record that it was before. It must not know
//! where dead letters are kept.

use super::{Header, PREFIX, fact};
use crate::config::Dialect;

/// Counts how often an event was put back. It stays on the event, and on its next dead letter.
pub const REDRIVES: &str = "millrace.dlq.redrives";

/// Names the dead letter that an event was put back from.
pub const REDRIVE_OF: &str = "millrace.dlq.redrive-of";

/// What the headers begin with by which systems tell of failures. `kafka_exception-` and its neighbours are those of
/// Spring's retry topics.
const ERROR_PREFIXES: [&str; 7] = [
    PREFIX,
    "kafka_dlt-",
    "kafka_exception-",
    "kafka_original-",
    "retry_topic-",
    "__connect.errors.",
    "__streams.errors.",
];

/// Why an event was given up on, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Whose headers were read; the host's own where it has them.
    pub dialect: Dialect,
    /// Topic, partition and offset of the event at first, as far as they are told.
    pub origin: Option<(String, Option<i32>, Option<i64>)>,
    /// Its time in milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// The consumer group or connector that gave up.
    pub group: String,
    /// The plugin, or the class that stands in its place.
    pub plugin: String,
    /// SHA-256 of the component.
    pub digest: String,
    /// The host's word, or the class of an exception.
    pub cause: String,
    /// The plugin's own word, or the name of a limit.
    pub code: String,
    /// For a person.
    pub message: String,
    /// What groups failures of one reason, as the host wrote it.
    pub signature: String,
    /// Counted attempts.
    pub attempts: Option<u32>,
    /// First and last failure, in milliseconds since the Unix epoch.
    pub failed_at_ms: (Option<i64>, Option<i64>),
    /// How often the event had been put back before.
    pub redrives: u32,
}

impl Account {
    /// Reads the headers of a record; none where no system that is known has given it up.
    #[must_use]
    pub fn read(headers: &[Header]) -> Option<Self> {
        let by_host = Self::of_host(headers);
        let account = by_host
            .or_else(|| Self::of_spring(headers))
            .or_else(|| Self::of_connect(headers))
            .or_else(|| Self::of_streams(headers))?;
        Some(Self {
            redrives: redrives(headers),
            ..account
        })
    }

    /// The functions that the plugin trapped in, innermost first, as the signature has them; empty where it has none.
    #[must_use]
    pub fn frames(&self) -> &str {
        // The version, the cause and the code stand before them.
        self.signature.splitn(4, ':').nth(3).unwrap_or_default()
    }

    fn of_host(headers: &[Header]) -> Option<Self> {
        let text = |name: &str| fact(headers, name).unwrap_or_default();
        let number = |name: &str| text(name).parse::<i64>().ok();
        let cause = fact(headers, "cause")?;
        Some(Self {
            dialect: Dialect::Millrace,
            origin: fact(headers, "origin.topic").map(|topic| {
                let partition = text("origin.partition").parse().ok();
                (topic, partition, number("origin.offset"))
            }),
            timestamp_ms: number("origin.timestamp"),
            group: text("group"),
            plugin: text("plugin"),
            digest: text("plugin.digest"),
            cause,
            code: text("code"),
            message: text("message"),
            signature: text("signature"),
            attempts: text("attempts").parse().ok(),
            failed_at_ms: (number("first-failed-at"), number("last-failed-at")),
            redrives: 0,
        })
    }

    /// Numbers are binary. Where a record failed twice and nothing was replaced, the first origin and the last
    /// exception count.
    fn of_spring(headers: &[Header]) -> Option<Self> {
        let first = |name: &str| first(headers, &format!("kafka_dlt-{name}"));
        let last =
            |name: &str| text(last(headers, &format!("kafka_dlt-{name}")).unwrap_or_default());
        let topic = first("original-topic").map(text);
        let cause = last("exception-fqcn");
        if topic.is_none() && cause.is_empty() {
            return None;
        }
        let long = |name: &str| first(name)?.try_into().ok().map(i64::from_be_bytes);
        let partition = first("original-partition").and_then(|bytes| bytes.try_into().ok());
        Some(Self {
            origin: topic.map(|topic| {
                let partition = partition.map(i32::from_be_bytes);
                (topic, partition, long("original-offset"))
            }),
            timestamp_ms: long("original-timestamp").filter(|time| *time >= 0),
            group: first("original-consumer-group")
                .map(text)
                .unwrap_or_default(),
            cause,
            code: last("exception-cause-fqcn"),
            message: last("exception-message"),
            ..Self::of(Dialect::Spring)
        })
    }

    /// Everything is text, and what is there is never replaced.
    fn of_connect(headers: &[Header]) -> Option<Self> {
        let said = |name: &str| first(headers, &format!("__connect.errors.{name}")).map(text);
        let told = |name: &str| said(name).unwrap_or_default();
        let (topic, cause) = (said("topic"), said("exception.class.name"));
        if topic.is_none() && cause.is_none() {
            return None;
        }
        Some(Self {
            origin: topic.map(|topic| {
                let numbers = (told("partition").parse().ok(), told("offset").parse().ok());
                (topic, numbers.0, numbers.1)
            }),
            group: told("connector.name"),
            plugin: told("class.name"),
            cause: cause.unwrap_or_default(),
            code: told("stage"),
            message: told("exception.message"),
            ..Self::of(Dialect::Connect)
        })
    }

    /// Everything is text. A second failure is appended: the first origin and the last exception count.
    fn of_streams(headers: &[Header]) -> Option<Self> {
        let origin = |name: &str| first(headers, &format!("__streams.errors.{name}")).map(text);
        let why = |name: &str| last(headers, &format!("__streams.errors.{name}")).map(text);
        let (topic, cause) = (origin("topic"), why("exception"));
        if topic.is_none() && cause.is_none() {
            return None;
        }
        let number = |name: &str| origin(name).unwrap_or_default();
        Some(Self {
            origin: topic.map(|topic| {
                let numbers = (
                    number("partition").parse().ok(),
                    number("offset").parse().ok(),
                );
                (topic, numbers.0, numbers.1)
            }),
            cause: cause.unwrap_or_default(),
            message: why("message").unwrap_or_default(),
            ..Self::of(Dialect::Streams)
        })
    }

    fn of(dialect: Dialect) -> Self {
        Self {
            dialect,
            origin: None,
            timestamp_ms: None,
            group: String::new(),
            plugin: String::new(),
            digest: String::new(),
            cause: String::new(),
            code: String::new(),
            message: String::new(),
            signature: String::new(),
            attempts: None,
            failed_at_ms: (None, None),
            redrives: 0,
        }
    }
}

/// The headers of the event as it is put back: its own in their order, without what any system wrote of its failure;
/// where it came from at first; and how often it has now been put back.
#[must_use]
pub fn redriven(headers: &[Header], account: Option<&Account>) -> Vec<Header> {
    let origin_prefix = format!("{PREFIX}origin.");
    let is_origin = |name: &[u8]| name.starts_with(origin_prefix.as_bytes());
    let mut kept: Vec<Header> = headers
        .iter()
        .filter(|(name, _)| !is_error_header(name) || is_origin(name))
        .cloned()
        .collect();
    let has_origin = kept.iter().any(|(name, _)| is_origin(name));
    let mut add = |name: String, value: String| {
        kept.push((name.into_bytes(), Some(value.into_bytes())));
    };
    let origin = account.and_then(|account| account.origin.as_ref());
    if let (false, Some((topic, partition, offset))) = (has_origin, origin) {
        add(format!("{origin_prefix}topic"), topic.clone());
        for (name, number) in [
            ("partition", partition.map(i64::from)),
            ("offset", *offset),
            (
                "timestamp",
                account.and_then(|account| account.timestamp_ms),
            ),
        ] {
            if let Some(number) = number {
                add(format!("{origin_prefix}{name}"), number.to_string());
            }
        }
    }
    add(
        REDRIVES.to_owned(),
        redrives(headers).saturating_add(1).to_string(),
    );
    kept
}

/// How often the event of these headers was put back.
#[must_use]
pub fn redrives(headers: &[Header]) -> u32 {
    let value = last(headers, REDRIVES).map(text);
    value.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Whether a header tells of a failure, in the dialect of any system.
#[must_use]
pub fn is_error_header(name: &[u8]) -> bool {
    let mut prefixes = ERROR_PREFIXES.iter();
    name == b"kafka_deliveryAttempt" || prefixes.any(|prefix| name.starts_with(prefix.as_bytes()))
}

fn first<'h>(headers: &'h [Header], name: &str) -> Option<&'h [u8]> {
    let mut found = headers.iter().filter(|(each, _)| each == name.as_bytes());
    found.next()?.1.as_deref()
}

fn last<'h>(headers: &'h [Header], name: &str) -> Option<&'h [u8]> {
    let mut found = headers.iter().filter(|(each, _)| each == name.as_bytes());
    found.next_back()?.1.as_deref()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::{Cause, Facts, Offset, headers};
    use super::*;

    fn letter(dialect: Dialect) -> Vec<Header> {
        let frames = ["orders::price".to_owned(), "orders::handle".to_owned()];
        let facts = Facts {
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
        headers(own(), &facts, dialect)
    }

    fn own() -> Vec<Header> {
        vec![
            (b"trace".to_vec(), Some(vec![0xff, 0])),
            (b"trace".to_vec(), None),
            (vec![0xfe], Some(Vec::new())),
        ]
    }

    /// As the other system would have written it, without the host's own.
    fn foreign(dialect: Dialect) -> Vec<Header> {
        let mut headers = letter(dialect);
        headers.retain(|(name, _)| !name.starts_with(PREFIX.as_bytes()));
        headers
    }

    fn without_host_headers(mut headers: Vec<Header>) -> Vec<Header> {
        headers.retain(|(name, _)| !name.starts_with(PREFIX.as_bytes()));
        headers
    }

    #[test]
    fn each_dialect_is_understood_and_taken_off_again() {
        for dialect in [Dialect::Spring, Dialect::Connect, Dialect::Streams] {
            let headers = foreign(dialect);
            let account = Account::read(&headers).unwrap();
            assert_eq!(account.dialect, dialect);
            let origin = ("orders".to_owned(), Some(3), Some(77));
            assert_eq!(account.origin, Some(origin), "{dialect:?}");
            assert_eq!(account.cause, "millrace.trap");
            assert_eq!(account.message, "wasm `unreachable` instruction executed");
            let redriven = redriven(&headers, Some(&account));
            assert_eq!(fact(&redriven, "origin.topic").as_deref(), Some("orders"));
            assert_eq!(fact(&redriven, "origin.offset").as_deref(), Some("77"));
            assert_eq!(fact(&redriven, "redrives").as_deref(), Some("1"));
            assert_eq!(without_host_headers(redriven), own(), "{dialect:?}");
        }
    }

    #[test]
    fn a_letter_of_the_host_tells_everything_in_each_dialect() {
        for dialect in [Dialect::Millrace, Dialect::Spring, Dialect::Connect] {
            let headers = letter(dialect);
            let account = Account::read(&headers).unwrap();
            assert_eq!(account.cause, "trap");
            assert_eq!(account.frames(), "orders::price<orders::handle");
            assert_eq!(account.attempts, Some(5));
            let redriven = redriven(&headers, Some(&account));
            assert_eq!(fact(&redriven, "cause"), None);
            assert_eq!(fact(&redriven, "origin.partition").as_deref(), Some("3"));
            assert_eq!(without_host_headers(redriven), own());
        }
    }

    #[test]
    fn each_redrive_counts_one_more_and_the_next_failure_keeps_the_count() {
        let once = redriven(&letter(Dialect::Millrace), None);
        let facts = Facts {
            origin: ("orders", 3, Offset(99)),
            timestamp_ms: None,
            group: "billing",
            plugin: "prices",
            version: "1.4.0",
            digest: "d",
            cause: Cause::Reject,
            code: "c",
            message: "m",
            frames: &[],
            attempts: 1,
            failed_at_ms: (0, 0),
            transcript: None,
        };
        let again = headers(once, &facts, Dialect::Millrace);
        let account = Account::read(&again).unwrap();
        assert_eq!(account.redrives, 1);
        let origin = account.origin.clone().unwrap();
        assert_eq!(origin.2, Some(77), "the first origin stays");
        assert_eq!(redrives(&redriven(&again, Some(&account))), 2);
    }

    #[test]
    fn a_record_that_nobody_gave_up_has_no_account() {
        assert_eq!(Account::read(&own()), None);
        assert_eq!(
            Account::read(&redriven(&letter(Dialect::Millrace), None)),
            None,
            "an event that was put back is no dead letter any more"
        );
    }
}
