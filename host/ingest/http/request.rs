//! What a request says beside its body: how the body is to be read, and what holds for each of its events.
//!
//! It must not know what becomes of an event.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, header};
use percent_encoding::percent_decode_str;

use super::problem::{Kind, Problem};
use crate::cloudevents::{self, Form};

/// Request header with the key of the record, where the query does not give it.
const KEY: HeaderName = HeaderName::from_static("kafka-key");
/// Request header with the partition.
const PARTITION: HeaderName = HeaderName::from_static("kafka-partition");
/// Request header with the time of the record in milliseconds since 1970.
const TIMESTAMP: HeaderName = HeaderName::from_static("kafka-timestamp");
/// Request header with what tells this event from others when it is sent again.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Request headers that begin so become headers of the record, under what follows.
const HEADER_PREFIX: &str = "kafka-header-";

/// Attributes of a CloudEvent in binary mode.
const CLOUDEVENT_PREFIX: &str = "ce-";

/// Media types of one JSON value a line.
const LINES: [&str; 3] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
];

/// What is accepted, for whoever sent something else.
pub(super) const ACCEPTED: &str = "application/json, application/x-ndjson, \
     application/cloudevents+json, application/cloudevents-batch+json, application/octet-stream, text/*";

/// What the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// The value of one event.
    Value {
        /// Whether it was announced as JSON.
        is_json: bool,
    },
    /// A JSON value a line: the value of an event, or an envelope around it.
    Lines {
        /// Whether each line is an envelope.
        enveloped: bool,
    },
    /// The data of a CloudEvent whose attributes are request headers.
    CloudEvent,
    /// A CloudEvent as JSON.
    Structured,
    /// A list of CloudEvents as JSON.
    Batch,
}

impl Content {
    /// Whether it may hold several events.
    pub(super) fn is_batch(self) -> bool {
        matches!(self, Self::Lines { .. } | Self::Batch)
    }
}

/// What holds for each event of a request that does not say otherwise itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stated<'a> {
    pub(super) key: Option<Cow<'a, [u8]>>,
    pub(super) partition: Option<i32>,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) idempotency_key: Option<&'a str>,
    /// Headers of the record.
    pub(super) headers: Vec<(&'a str, &'a [u8])>,
    /// Whether the lines of the body are envelopes.
    enveloped: bool,
}

impl<'a> Stated<'a> {
    /// Reads the query and the headers.
    ///
    /// # Errors
    /// Something is not understood, or said twice.
    pub(super) fn read(query: Option<&'a str>, headers: &'a HeaderMap) -> Result<Self, Problem> {
        let mut stated = Self::default();
        let [mut partition, mut timestamp, mut envelope] = [const { None }; 3];
        for part in query
            .unwrap_or_default()
            .split('&')
            .filter(|part| !part.is_empty())
        {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let place = match name {
                "key" => &mut stated.key,
                "partition" => &mut partition,
                "timestamp_ms" => &mut timestamp,
                "envelope" => &mut envelope,
                _ => return Err(unknown_parameter(name)),
            };
            if place.replace(decoded(value)).is_some() {
                return Err(Problem::invalid(format!(
                    "the query has `{name}` twice; leave one out"
                )));
            }
        }
        for (name, place, header) in [
            ("key", &mut stated.key, KEY),
            ("partition", &mut partition, PARTITION),
            ("timestamp_ms", &mut timestamp, TIMESTAMP),
        ] {
            let Some(value) = single(headers, &header)? else {
                continue;
            };
            if place.replace(Cow::Borrowed(value)).is_some() {
                return Err(Problem::invalid(format!(
                    "the query has `{name}` and the headers have `{header}`; leave one out"
                )));
            }
        }
        stated.partition = number(partition, "partition", "a number from 0")?;
        stated.timestamp_ms = number(timestamp, "timestamp_ms", "milliseconds since 1970")?;
        stated.enveloped = match envelope.as_deref() {
            None | Some(b"false") => false,
            Some(b"true") => true,
            Some(_) => return Err(Problem::invalid("`envelope` is `true` or `false`")),
        };
        let idempotency_key = single(headers, &IDEMPOTENCY_KEY)?.map(std::str::from_utf8);
        let idempotency_key = idempotency_key.transpose();
        stated.idempotency_key =
            idempotency_key.map_err(|_| Problem::invalid("`Idempotency-Key` is no UTF-8"))?;
        let named = headers.iter().filter_map(|(name, value)| {
            Some((name.as_str().strip_prefix(HEADER_PREFIX)?, value.as_bytes()))
        });
        stated.headers.extend(named);
        Ok(stated)
    }

    /// How the body is to be read.
    ///
    /// # Errors
    /// It cannot be, or not together with what else is said.
    pub(super) fn content(&self, headers: &HeaderMap) -> Result<Content, Problem> {
        let content = self.announced(headers)?;
        if self.enveloped && !matches!(content, Content::Lines { .. }) {
            return Err(Problem::invalid(format!(
                "`envelope=true` is for lines of JSON; send them with `Content-Type: {}`",
                LINES[0]
            )));
        }
        if self.idempotency_key.is_some() && content.is_batch() {
            return Err(Problem::invalid(
                "`Idempotency-Key` would be the same for every event of the batch; give each its own in its \
                 envelope, or send events one by one",
            ));
        }
        Ok(content)
    }

    fn announced(&self, headers: &HeaderMap) -> Result<Content, Problem> {
        let content_type = single(headers, &header::CONTENT_TYPE)?.unwrap_or_default();
        match cloudevents::form(content_type) {
            Some(Form::Structured) => return Ok(Content::Structured),
            Some(Form::Batch) => return Ok(Content::Batch),
            Some(Form::Foreign) => return Err(unsupported(content_type)),
            None => {}
        }
        if attributes(headers).next().is_some() {
            return Ok(Content::CloudEvent);
        }
        let text = String::from_utf8_lossy(content_type);
        let essence = text
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if LINES.contains(&&*essence) {
            return Ok(Content::Lines {
                enveloped: self.enveloped,
            });
        }
        // Parts and their borders are never what a record should hold.
        if essence.starts_with("multipart/") {
            return Err(unsupported(content_type));
        }
        Ok(Content::Value {
            is_json: cloudevents::is_json(&text),
        })
    }
}

/// The attributes of a CloudEvent among the headers, without their prefix.
pub(super) fn attributes(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().filter_map(|(name, value)| {
        Some((
            name.as_str().strip_prefix(CLOUDEVENT_PREFIX)?,
            value.as_bytes(),
        ))
    })
}

/// A header that is there once at most.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Problem> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|value| value.as_bytes());
    if values.next().is_some() {
        return Err(Problem::invalid(format!(
            "the header `{name}` is there twice; leave one out"
        )));
    }
    Ok(first)
}

/// A part of a query: `+` stands for a space there.
fn decoded(value: &str) -> Cow<'_, [u8]> {
    if value.contains('+') {
        let spaced = value.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).collect());
    }
    percent_decode_str(value).into()
}

fn number<T: std::str::FromStr>(
    text: Option<Cow<'_, [u8]>>,
    name: &str,
    what: &str,
) -> Result<Option<T>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let parsed = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.parse().ok());
    match parsed {
        Some(number) => Ok(Some(number)),
        None => Err(Problem::invalid(format!(
            "`{name}` is {what}; leave it out for the usual"
        ))),
    }
}

fn unknown_parameter(name: &str) -> Problem {
    Problem::invalid(format!(
        "the query has `{name}`, and only `key`, `partition`, `timestamp_ms` and `envelope` are understood"
    ))
}

fn unsupported(content_type: &[u8]) -> Problem {
    let shown = String::from_utf8_lossy(content_type);
    let detail = format!("`{shown}` is not read here; send one of: {ACCEPTED}");
    Problem::new(Kind::UnsupportedMediaType, detail)
        .with(HeaderName::from_static("accept-post"), ACCEPTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn what_holds_for_an_event_is_read_from_the_query_or_the_headers() {
        let none = HeaderMap::new();
        let query = "key=user%201%2f%ff+x&partition=3&timestamp_ms=1700000000000";
        let stated = Stated::read(Some(query), &none).unwrap();
        assert_eq!(stated.key.as_deref(), Some(&b"user 1/\xff x"[..]));
        assert_eq!(
            (stated.partition, stated.timestamp_ms),
            (Some(3), Some(1_700_000_000_000))
        );
        let headers = headers(&[
            ("kafka-key", "user-1"),
            ("kafka-partition", "0"),
            ("kafka-timestamp", "7"),
            ("kafka-header-trace", "a"),
            ("kafka-header-trace", "b"),
            ("idempotency-key", "once"),
        ]);
        let stated = Stated::read(None, &headers).unwrap();
        assert_eq!(stated.key.as_deref(), Some(&b"user-1"[..]));
        assert_eq!((stated.partition, stated.timestamp_ms), (Some(0), Some(7)));
        assert_eq!(stated.headers, [("trace", &b"a"[..]), ("trace", b"b")]);
        assert_eq!(stated.idempotency_key, Some("once"));
        let empty = Stated::read(Some("key="), &none).unwrap();
        assert_eq!(
            empty.key.as_deref(),
            Some(&b""[..]),
            "an empty key is a key"
        );
    }

    #[test]
    fn what_is_not_understood_or_said_twice_is_refused() {
        let twice = headers(&[("kafka-key", "a"), ("kafka-key", "b")]);
        let key = headers(&[("kafka-key", "a")]);
        let none = HeaderMap::new();
        for (query, headers, named) in [
            ("kee=1", &none, "`kee`"),
            ("key=1&key=2", &none, "`key` twice"),
            ("key=1", &key, "`kafka-key`"),
            ("", &twice, "`kafka-key` is there twice"),
            ("partition=x", &none, "`partition`"),
            ("partition=99999999999", &none, "`partition`"),
            ("timestamp_ms=", &none, "`timestamp_ms`"),
            ("envelope=1", &none, "`envelope`"),
        ] {
            let problem = Stated::read(Some(query), headers).unwrap_err();
            assert_eq!(problem.kind, Kind::Invalid);
            assert!(
                problem.detail.contains(named),
                "{query}: {}",
                problem.detail
            );
        }
    }

    #[test]
    fn the_content_type_says_how_the_body_is_read() {
        let content = |query: &str, pairs: &[(&'static str, &'static str)]| {
            let headers = headers(pairs);
            let stated = Stated::read(Some(query), &headers)?;
            stated.content(&headers)
        };
        let value = |is_json| Ok(Content::Value { is_json });
        assert_eq!(content("", &[]), value(false));
        assert_eq!(
            content("", &[("content-type", "application/json; charset=utf-8")]),
            value(true)
        );
        assert_eq!(content("", &[("content-type", "image/png")]), value(false));
        let lines = [("content-type", "application/x-ndjson")];
        assert_eq!(content("", &lines), Ok(Content::Lines { enveloped: false }));
        assert_eq!(
            content("envelope=true", &lines),
            Ok(Content::Lines { enveloped: true })
        );
        let event = [("content-type", "application/json"), ("ce-id", "1")];
        assert_eq!(content("", &event), Ok(Content::CloudEvent));
        let structured = [(
            "content-type",
            "application/cloudevents+json; charset=UTF-8",
        )];
        assert_eq!(content("", &structured), Ok(Content::Structured));
        let batch = [("content-type", "application/cloudevents-batch+json")];
        assert_eq!(content("", &batch), Ok(Content::Batch));

        let kind = |result: Result<Content, Problem>| result.unwrap_err().kind;
        for foreign in [
            "application/cloudevents+avro",
            "multipart/form-data; boundary=x",
        ] {
            assert_eq!(
                kind(content("", &[("content-type", foreign)])),
                Kind::UnsupportedMediaType
            );
        }
        assert_eq!(kind(content("envelope=true", &[])), Kind::Invalid);
        let once = [
            ("content-type", "application/x-ndjson"),
            ("idempotency-key", "1"),
        ];
        assert_eq!(kind(content("", &once)), Kind::Invalid);
    }
}
