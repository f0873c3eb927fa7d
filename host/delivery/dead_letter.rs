//! What a dead letter says of itself: the headers added to the untouched record.

mod account;
mod dialects;

pub use account::{Account, REDRIVE_OF, REDRIVES, is_error_header, redriven, redrives};

use super::offsets::Offset;
use crate::config::Dialect;

/// Common start of every header name that the host adds to a dead letter.
pub const PREFIX: &str = "millrace.dlq.";

/// The header with what the host answered in the last attempt.
pub const TRANSCRIPT: &str = "millrace.dlq.transcript";

/// Longest value of an added header, in bytes. A message tells its story in a line or two; whole stack
/// traces have made records too large for their topic in other systems.
pub const VALUE_BYTES_MAX: usize = 1024;

/// Why an event was given up on. Part of the format: words may be added, never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The plugin said that no further attempt can help.
    Reject,
    /// The plugin asked for one retry more than are configured.
    Exhausted,
    /// It was older than `retry.max_age` when it failed again.
    Expired,
    /// It held its key and the commit too long or too much, and there is no retry topic for it.
    Evicted,
    /// The plugin trapped.
    Trap,
    /// The call ran past its deadline.
    Deadline,
    /// The instance asked for more memory than its limit.
    Memory,
    /// The call passed more bytes to and from the host than its limit.
    Fuel,
    /// The plugin used what it was not granted.
    Capability,
    /// An output was invalid, too large or too many.
    Output,
    /// The record could not be decoded into what its route shows the plugin.
    Decode,
    /// It broke the rules of its route.
    Schema,
    /// The rules of its route know no event of its type.
    UnknownType,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 13] = [
        Self::Reject,
        Self::Exhausted,
        Self::Expired,
        Self::Evicted,
        Self::Trap,
        Self::Deadline,
        Self::Memory,
        Self::Fuel,
        Self::Capability,
        Self::Output,
        Self::Decode,
        Self::Schema,
        Self::UnknownType,
    ];

    /// The word in the header, in metrics and in the summary.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Fuel => "fuel",
            Self::Capability => "capability",
            Self::Output => "output",
            Self::Decode => "decode",
            Self::Schema => "schema",
            Self::UnknownType => "unknown-type",
        }
    }

    /// Whether another attempt could end differently.
    #[must_use]
    pub fn retriable(self) -> bool {
        !matches!(
            self,
            Self::Reject
                | Self::Exhausted
                | Self::Expired
                | Self::Evicted
                | Self::Capability
                | Self::Decode
                | Self::Schema
                | Self::UnknownType
        )
    }
}

/// The facts of one dead letter.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Topic, partition and offset that the event was read from.
    pub origin: (&'a str, i32, Offset),
    /// Record time of the origin in milliseconds.
    pub timestamp_ms: Option<i64>,
    /// Consumer group.
    pub group: &'a str,
    /// Plugin name.
    pub plugin: &'a str,
    /// What the plugin's author calls the version, or the first digits of its digest.
    pub version: &'a str,
    /// SHA-256 of the component.
    pub digest: &'a str,
    /// Why.
    pub cause: Cause,
    /// The plugin's own word, or the name of the limit.
    pub code: &'a str,
    /// For a person.
    pub message: &'a str,
    /// Functions of the plugin that it trapped in, innermost first; empty where that is not known.
    pub frames: &'a [String],
    /// Counted attempts.
    pub attempts: u32,
    /// Wall-clock times of the first and the last failure, in milliseconds since the Unix epoch.
    pub failed_at_ms: (u64, u64),
    /// What the host answered in the last attempt, where that was recorded.
    pub transcript: Option<&'a [u8]>,
}

/// A header: name, and value unless it is null. Names are bytes, because Kafka does not promise UTF-8.
pub type Header = (Vec<u8>, Option<Vec<u8>>);

/// The headers of the dead letter: those of the record as they were, then the host's own, then those of
/// another system's dialect. On a second failure the host's are replaced, except the origin, which stays
/// the first one; a dialect follows the rules of its system.
#[must_use]
pub fn headers(original: Vec<Header>, facts: &Facts<'_>, dialect: Dialect) -> Vec<Header> {
    let origin_prefix = format!("{PREFIX}origin.");
    let has_origin = original
        .iter()
        .any(|(name, _)| name.starts_with(origin_prefix.as_bytes()));
    let mut headers: Vec<Header> = original
        .into_iter()
        .filter(|(name, _)| {
            !name.starts_with(PREFIX.as_bytes())
                || name.starts_with(origin_prefix.as_bytes())
                || name == REDRIVES.as_bytes()
        })
        .collect();
    let mut add = |name: &str, value: &str| {
        headers.push((
            format!("{PREFIX}{name}").into_bytes(),
            Some(capped(value).as_bytes().to_vec()),
        ));
    };
    add("version", "1");
    if !has_origin {
        let (topic, partition, offset) = facts.origin;
        add("origin.topic", topic);
        add("origin.partition", &partition.to_string());
        add("origin.offset", &offset.to_string());
        if let Some(timestamp_ms) = facts.timestamp_ms {
            add("origin.timestamp", &timestamp_ms.to_string());
        }
    }
    add("group", facts.group);
    add("plugin", facts.plugin);
    add("plugin.version", facts.version);
    add("plugin.digest", facts.digest);
    add("cause", facts.cause.word());
    add("code", facts.code);
    add("message", facts.message);
    add("signature", &signature(facts));
    add("attempts", &facts.attempts.to_string());
    add("first-failed-at", &facts.failed_at_ms.0.to_string());
    add("last-failed-at", &facts.failed_at_ms.1.to_string());
    if let Some(transcript) = facts.transcript {
        headers.push((TRANSCRIPT.into(), Some(transcript.to_vec())));
    }
    dialects::add(&mut headers, facts, dialect);
    headers
}

/// What a dead letter says under this name, without the prefix; none where it does not.
#[must_use]
pub fn fact(headers: &[Header], name: &str) -> Option<String> {
    let is_it = |found: &[u8]| found.strip_prefix(PREFIX.as_bytes()) == Some(name.as_bytes());
    let (_, value) = headers.iter().find(|(found, _)| is_it(found))?;
    Some(String::from_utf8_lossy(value.as_deref()?).into_owned())
}

/// Which of two headers of a dead letter that is too large goes first: the rank of a header that only
/// explains the failure, or none for one that must stay. A higher rank goes first.
#[must_use]
pub fn shedding_rank(name: &[u8]) -> Option<u8> {
    match name.strip_prefix(PREFIX.as_bytes()) {
        Some(own) if own.starts_with(b"origin.") => None,
        // By far the largest, and the others explain more.
        Some(b"transcript") => Some(2),
        Some(_) => Some(1),
        // After the host's own, because a record may have come with these.
        None => dialects::explains(name).then_some(0),
    }
}

/// Groups failures that have one reason: the version of the plugin, the cause, the code, and where the
/// plugin was when it trapped.
fn signature(facts: &Facts<'_>) -> String {
    // Twelve digits tell versions apart as well as all of them would.
    let version = facts.digest.get(..12).unwrap_or(facts.digest);
    let mut signature = format!("{version}:{}:{}", facts.cause.word(), facts.code);
    for (depth, frame) in facts.frames.iter().enumerate() {
        signature.push(if depth == 0 { ':' } else { '<' });
        signature.push_str(frame);
    }
    signature
}

/// Cuts a text to [`VALUE_BYTES_MAX`] at a character boundary.
fn capped(text: &str) -> &str {
    &text[..text.floor_char_boundary(VALUE_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(original: Vec<Header>, facts: &Facts<'_>) -> Vec<Header> {
        super::headers(original, facts, Dialect::Millrace)
    }

    fn facts(message: &str) -> Facts<'_> {
        Facts {
            origin: ("orders", 3, Offset(77)),
            timestamp_ms: Some(5),
            group: "g",
            plugin: "p",
            version: "1.4.0",
            digest: "abc",
            cause: Cause::Reject,
            code: "malformed",
            message,
            frames: &[],
            attempts: 1,
            failed_at_ms: (10, 11),
            transcript: None,
        }
    }

    fn value(headers: &[Header], name: &str) -> Vec<String> {
        let wanted = format!("{PREFIX}{name}").into_bytes();
        let found = headers.iter().filter(|(name, _)| *name == wanted);
        found
            .map(|(_, v)| String::from_utf8(v.clone().unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn the_records_own_headers_stay_as_they_were() {
        let own: Vec<Header> = vec![
            (b"trace".to_vec(), Some(vec![0xff, 0])),
            (b"trace".to_vec(), None),
            (vec![0xfe], Some(vec![])),
        ];
        assert_eq!(headers(own.clone(), &facts("m"))[..3], own);
    }

    #[test]
    fn a_dead_letter_can_be_asked_for_what_it_says() {
        let letter = headers(Vec::new(), &facts("m"));
        assert_eq!(fact(&letter, "origin.offset").as_deref(), Some("77"));
        assert_eq!(fact(&letter, "cause").as_deref(), Some("reject"));
        assert_eq!(fact(&letter, "redrives"), None);
    }

    #[test]
    fn a_second_failure_replaces_the_facts_and_keeps_the_first_origin() {
        let first = headers(Vec::new(), &facts("first"));
        let second = headers(
            first,
            &Facts {
                origin: ("orders.dlq", 0, Offset(1)),
                ..facts("second")
            },
        );
        assert_eq!(value(&second, "message"), ["second"]);
        assert_eq!(value(&second, "origin.topic"), ["orders"]);
        assert_eq!(value(&second, "origin.offset"), ["77"]);
        assert_eq!(value(&second, "version"), ["1"]);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let long = "é".repeat(VALUE_BYTES_MAX);
        let cut = &value(&headers(Vec::new(), &facts(&long)), "message")[0];
        assert_eq!(cut.len(), VALUE_BYTES_MAX);
    }

    #[test]
    fn a_signature_tells_apart_where_the_same_version_trapped() {
        let signed = |frames: &[String]| {
            let facts = Facts {
                version: "1.4.0",
                digest: "0123456789abcdef",
                cause: Cause::Trap,
                code: "UnreachableCodeReached",
                frames,
                ..facts("m")
            };
            value(&headers(Vec::new(), &facts), "signature").remove(0)
        };
        let at = "0123456789ab:trap:UnreachableCodeReached";
        assert_eq!(signed(&[]), at);
        let frames = ["orders::price".to_owned(), "orders::handle".to_owned()];
        assert_eq!(
            signed(&frames),
            format!("{at}:orders::price<orders::handle")
        );
    }

    #[test]
    fn giving_up_for_its_age_or_for_its_place_is_no_reason_to_try_again() {
        assert_eq!(Cause::Expired.word(), "expired");
        assert_eq!(Cause::Evicted.word(), "evicted");
        assert!(!Cause::Expired.retriable() && !Cause::Evicted.retriable());
    }
}
