//! An event as one line of JSON, as it stands in `fixtures/*.jsonl` and as a scenario and a dead letter write it.
//! It must not know what is done with it.

mod json;
mod write;

use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use self::json::{Member, Wrong};
use crate::config::suggest;

/// What one file of events may take. They are all held in memory and run one after the other, so more was not
/// meant.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// The keys of an event, in the order in which they are written.
const KEYS: [&str; 10] = [
    "topic",
    "partition",
    "offset",
    "timestamp_ms",
    "key",
    "key_base64",
    "value",
    "value_base64",
    "headers",
    "attempt",
];

/// A name and a value, which may be null.
pub type Header = (Vec<u8>, Option<Vec<u8>>);

/// An event, with what was not said left open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fixture {
    /// Where it comes from; left open, the plugin's first topic.
    pub topic: Option<String>,
    /// Its partition; left open, 0.
    pub partition: Option<i32>,
    /// Its offset; left open, the next one of its partition.
    pub offset: Option<i64>,
    /// Its time in milliseconds since the Unix epoch; left open, the clock's.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers in their order; names may repeat.
    pub headers: Vec<Header>,
    /// Which attempt this is, from 1; left open, the first.
    pub attempt: Option<u32>,
}

/// An event that cannot be read. The column counts characters, from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct Malformed {
    /// Where in the line.
    pub column: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

/// A file of events that cannot be used. Its author must act.
#[derive(Debug, thiserror::Error)]
pub enum FixtureError {
    /// A line of it is no event.
    #[error("{name}:{line}:{}: {}", problem.column, problem.message)]
    Malformed {
        /// The file, as the user named it.
        name: String,
        /// Which line, from 1.
        line: usize,
        /// What is wrong in it.
        problem: Malformed,
    },
    /// It cannot be read.
    #[error("the events in {name} cannot be read: {source}")]
    Read {
        /// The file.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is too large.
    #[error(
        "{name} has more than {FILE_BYTES_MAX} bytes of events, which are all held in memory: give them in parts"
    )]
    TooLarge {
        /// The file.
        name: String,
    },
}

impl Fixture {
    /// An event with nothing but a value.
    #[must_use]
    pub fn of_value(value: impl Into<Vec<u8>>) -> Self {
        Self {
            value: Some(value.into()),
            ..Self::default()
        }
    }

    /// Reads one event from one line, or from any text that is one JSON object.
    ///
    /// # Errors
    /// It is no event: where, why, and what to do.
    pub fn parse(line: &str) -> Result<Self, Malformed> {
        parsed(line).map_err(|wrong| Malformed {
            column: line[..line.floor_char_boundary(wrong.at)].chars().count() + 1,
            message: wrong.message,
        })
    }

    /// Reads events, one a line; empty lines count and mean nothing. `name` stands for the file in messages.
    ///
    /// # Errors
    /// The first line that is no event, or that the file cannot be read.
    pub fn read(name: &str, from: impl Read) -> Result<Vec<Self>, FixtureError> {
        lines(name, from)?
            .split('\n')
            .zip(1..)
            .filter(|(text, _)| !text.trim().is_empty())
            .map(|(text, line)| {
                Self::parse(text).map_err(|problem| FixtureError::Malformed {
                    name: name.to_owned(),
                    line,
                    problem,
                })
            })
            .collect()
    }

    /// Reads lines of which each is the value of an event as it stands.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_values(name: &str, from: impl Read) -> Result<Vec<Self>, FixtureError> {
        let text = lines(name, from)?;
        let kept = text.lines().filter(|line| !line.is_empty());
        Ok(kept.map(Self::of_value).collect())
    }

    /// Reads a file of events.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_file(path: &Path) -> Result<Vec<Self>, FixtureError> {
        let name = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|source| FixtureError::Read {
            name: name.clone(),
            source,
        })?;
        Self::read(&name, file)
    }
}

fn lines(name: &str, from: impl Read) -> Result<String, FixtureError> {
    let mut bytes = Vec::new();
    let read = from.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|source| FixtureError::Read {
        name: name.to_owned(),
        source,
    })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(FixtureError::TooLarge {
            name: name.to_owned(),
        });
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let start = good
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        FixtureError::Malformed {
            name: name.to_owned(),
            line: good.iter().filter(|byte| **byte == b'\n').count() + 1,
            problem: Malformed {
                column: String::from_utf8_lossy(&good[start..]).chars().count() + 1,
                message: "this is not UTF-8: write bytes as `value_base64` or `key_base64`"
                    .to_owned(),
            },
        }
    })
}

fn parsed(line: &str) -> Result<Fixture, Wrong> {
    let at = line.len() - line.trim_start().len();
    if line.trim() == "[" {
        let message = "an event stands on one line, without a list around them: `jq -c '.[]' FILE` makes lines \
                       of a list";
        return Err(Wrong::new(at, message));
    }
    json::check(line)?;
    let Some(members) = json::members(line, 0) else {
        let message = "an event is a JSON object, for example {\"key\":\"a\",\"value\":{\"id\":1}}; --values takes \
                       each line as a value";
        return Err(Wrong::new(at, message));
    };
    let members = members?;
    check_keys(&members, at)?;
    let find = |key: &str| members.iter().find(|member| member.key == key);
    let bytes = |key: &str, base64: &str| match (find(key), find(base64)) {
        (Some(_), Some(other)) => {
            let message = format!("`{key}` and `{base64}` are the same thing: keep one");
            Err(Wrong::new(other.key_at, message))
        }
        (Some(plain), None) => Ok(bytes_of(plain.value)),
        (None, Some(encoded)) => decoded(encoded).map(Some),
        (None, None) => Ok(None),
    };
    Ok(Fixture {
        topic: find("topic").map(topic).transpose()?,
        partition: find("partition")
            .map(|m| number(m, 0, i32::MAX))
            .transpose()?,
        offset: find("offset").map(|m| number(m, 0, i64::MAX)).transpose()?,
        timestamp_ms: find("timestamp_ms")
            .map(|m| number(m, 0, i64::MAX))
            .transpose()?,
        key: bytes("key", "key_base64")?,
        value: bytes("value", "value_base64")?,
        headers: find("headers").map_or(Ok(Vec::new()), |m| headers(m.value, m.value_at))?,
        attempt: find("attempt")
            .map(|m| number(m, 1, u32::MAX))
            .transpose()?,
    })
}

fn check_keys(members: &[Member<'_>], at: usize) -> Result<(), Wrong> {
    let has_value = members.iter().any(|member| member.key.starts_with("value"));
    if let Some(unknown) = members.iter().find(|m| !KEYS.contains(&m.key.as_str())) {
        let key = &unknown.key;
        let advice = match suggest(key, KEYS.into_iter()) {
            Some(known) => format!("did you mean `{known}`?"),
            None if has_value => format!("the keys here are {}", KEYS.join(", ")),
            None => "what the plugin is to read stands under `value`, as in {\"value\":{...}}; --values takes each \
                     line as a value"
                .to_owned(),
        };
        let message = format!("unknown key `{key}`: {advice}");
        return Err(Wrong::new(unknown.key_at, message));
    }
    if !has_value {
        let message =
            "there is no `value`: write what the plugin is to read, or null for a tombstone";
        return Err(Wrong::new(at, message));
    }
    Ok(())
}

/// The bytes that a JSON value stands for: a string its own, null none, and anything else its text.
fn bytes_of(value: &str) -> Option<Vec<u8>> {
    match json::unquoted(value) {
        Some(text) => Some(text.into_bytes()),
        None if value == "null" => None,
        None => Some(json::compact(value).into_bytes()),
    }
}

fn decoded(member: &Member<'_>) -> Result<Vec<u8>, Wrong> {
    let wrong = |why: &str| Wrong::new(member.value_at, format!("`{}` {why}", member.key));
    let text = json::unquoted(member.value).ok_or_else(|| wrong("is a string of base64"))?;
    let bytes = STANDARD.decode(text);
    bytes.map_err(|error| wrong(&format!("is not base64: {error}")))
}

fn topic(member: &Member<'_>) -> Result<String, Wrong> {
    json::unquoted(member.value)
        .filter(|topic| !topic.is_empty())
        .ok_or_else(|| Wrong::new(member.value_at, "`topic` is the name of a topic, a string"))
}

fn number<N>(member: &Member<'_>, least: N, most: N) -> Result<N, Wrong>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let number: Option<N> = member.value.parse().ok();
    number.filter(|number| *number >= least).ok_or_else(|| {
        let message = format!("`{}` is a whole number from {least} to {most}", member.key);
        Wrong::new(member.value_at, message)
    })
}

fn headers(text: &str, at: usize) -> Result<Vec<Header>, Wrong> {
    if let Some(members) = json::members(text, at) {
        let plain = |m: Member<'_>| (m.key.into_bytes(), bytes_of(m.value));
        return Ok(members?.into_iter().map(plain).collect());
    }
    let Some(items) = json::items(text, at) else {
        let message = "`headers` is an object, as in {\"trace\":\"x\"}, or a list, as in \
                       [{\"name\":\"trace\",\"value\":\"x\"}]";
        return Err(Wrong::new(at, message));
    };
    items
        .into_iter()
        .map(|(at, item)| header(item, at))
        .collect()
}

fn header(item: &str, at: usize) -> Result<Header, Wrong> {
    let expected = "a header in a list is {\"name\":...,\"value\":...}, with null or `value_base64` for a value";
    let members = json::members(item, at).ok_or_else(|| Wrong::new(at, expected))??;
    let (mut name, mut value) = (None, None);
    for member in &members {
        match member.key.as_str() {
            "name" if name.is_none() => name = json::unquoted(member.value).map(String::into_bytes),
            "name_base64" if name.is_none() => name = Some(decoded(member)?),
            "value" if value.is_none() => value = Some(bytes_of(member.value)),
            "value_base64" if value.is_none() => value = Some(Some(decoded(member)?)),
            _ => return Err(Wrong::new(member.key_at, expected)),
        }
    }
    match (name, value) {
        (Some(name), Some(value)) => Ok((name, value)),
        _ => Err(Wrong::new(at, expected)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> (usize, String) {
        let problem = Fixture::parse(line).expect_err(line);
        (problem.column, problem.message)
    }

    #[test]
    fn a_value_is_the_bytes_of_its_own_text() {
        let value = |line: &str| Fixture::parse(line).unwrap().value;
        let json = r#"{"value": {"b": 1, "a": [ 12345678901234567890123, "x y" ]}}"#;
        assert_eq!(
            value(json).as_deref(),
            Some(&br#"{"b":1,"a":[12345678901234567890123,"x y"]}"#[..]),
            "its keys keep their order, and its numbers their digits"
        );
        assert_eq!(
            value(r#"{"value":"aé\n"}"#).as_deref(),
            Some("aé\n".as_bytes())
        );
        assert_eq!(value(r#"{"value":7}"#).as_deref(), Some(&b"7"[..]));
        assert_eq!(value(r#"{"value":null}"#), None);
        assert_eq!(value(r#"{"value":""}"#).as_deref(), Some(&b""[..]));
        assert_eq!(
            value(r#"{"value_base64":"/wA="}"#).as_deref(),
            Some(&[255, 0][..])
        );
    }

    #[test]
    fn everything_can_be_said_and_comes_back_as_it_was() {
        let line = r#"{"topic":"orders","partition":2,"offset":7,"timestamp_ms":1700000000000,"key":"a","value":{"id":1},"headers":[{"name":"t","value":"x"},{"name":"t","value":null}],"attempt":3}"#;
        let event = Fixture::parse(line).unwrap();
        assert_eq!(
            (event.topic.as_deref(), event.partition),
            (Some("orders"), Some(2))
        );
        assert_eq!((event.offset, event.attempt), (Some(7), Some(3)));
        assert_eq!(
            event.headers,
            [(b"t".to_vec(), Some(b"x".to_vec())), (b"t".to_vec(), None)]
        );
        assert_eq!(event.to_line(), line);
    }

    #[test]
    fn headers_may_be_a_plain_object() {
        let event = Fixture::parse(r#"{"value":1,"headers":{"a":"1","b":null}}"#).unwrap();
        assert_eq!(
            event.headers,
            [(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None)]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_what_to_do() {
        let (column, message) = refused(r#"{"valeu":1}"#);
        assert_eq!(
            (column, message.as_str()),
            (2, "unknown key `valeu`: did you mean `value`?")
        );
        let (column, message) = refused(r#"{"é":1,"id":7}"#);
        assert_eq!(column, 2);
        assert!(message.contains("stands under `value`"), "{message}");
        let (column, message) = refused(r#"{"key":"é","offset":-1,"value":1}"#);
        assert_eq!(column, 21);
        assert!(
            message.contains("`offset` is a whole number from 0"),
            "{message}"
        );
        assert!(refused(r#"{"key":"a"}"#).1.contains("null for a tombstone"));
        assert!(refused(r#"{"value":1,"value":2}"#).1.contains("twice"));
        assert!(
            refused(r#"{"value":1,"value_base64":"AA=="}"#)
                .1
                .contains("keep one")
        );
        assert!(refused(r#"{"value_base64":"!"}"#).1.contains("not base64"));
        assert!(refused(r#"{"value":1,"attempt":0}"#).1.contains("from 1"));
        assert!(
            refused(r#"{"value":1,"headers":7}"#)
                .1
                .contains("or a list")
        );
        assert!(
            refused(r#"{"value":1,"headers":[{"name":"a"}]}"#)
                .1
                .contains("null or")
        );
        assert!(refused("[").1.contains("jq -c"));
        assert!(refused("7").1.contains("--values"));
        let (column, message) = refused(r#"{"value":}"#);
        assert_eq!(
            (column, message.contains("not JSON: expected value")),
            (10, true),
            "{message}"
        );
    }

    #[test]
    fn the_line_of_a_mistake_is_told_and_empty_lines_count() {
        let text = "{\"value\":1}\n\n{\"value\":2}\r\n  {\"x\":2}\n";
        let error = Fixture::read("events.jsonl", text.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("events.jsonl:4:4: unknown key `x`"),
            "{error}"
        );
        let good = Fixture::read("f", &text.as_bytes()[..25]).unwrap();
        assert_eq!(good.len(), 2);
        let error = Fixture::read("f", &b"{}\n\xc3\xa9\xff"[..])
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("f:2:2: this is not UTF-8"), "{error}");
    }

    #[test]
    fn lines_can_be_values_as_they_stand() {
        let events = Fixture::read_values("f", &b"{\"id\":1}\n\nnot json\n"[..]).unwrap();
        assert_eq!(
            events,
            [
                Fixture::of_value("{\"id\":1}"),
                Fixture::of_value("not json")
            ]
        );
    }
}
