//! The events of a request, taken from its body one after the other.
//!
//! What can be is borrowed from the body, so a line costs no allocation unless it has escapes. It must not know what
//! becomes of an event.

use std::borrow::Cow;

use axum::http::HeaderMap;
use serde::de::IgnoredAny;

use super::cloudevent::{self, from_headers, to_record};
use super::envelope;
use super::request::{Content, Stated};
use crate::cloudevents;
use crate::config::CloudEventsIngest;

/// Name and value of a header of a record.
pub(super) type Header<'a> = (Cow<'a, str>, Option<Cow<'a, [u8]>>);

/// One event on its way in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Incoming<'a> {
    pub(super) key: Option<Cow<'a, [u8]>>,
    pub(super) value: Option<Cow<'a, [u8]>>,
    pub(super) headers: Vec<Header<'a>>,
    pub(super) partition: Option<i32>,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) idempotency_key: Option<Cow<'a, str>>,
}

/// The events of one request in their order; each is an event, or why it is none.
pub(super) struct Events<'a> {
    source: Source<'a>,
    left: usize,
    stated: &'a Stated<'a>,
    cloudevents: &'a CloudEventsIngest,
}

enum Source<'a> {
    /// An event of a request of one.
    One(Result<Incoming<'a>, String>),
    Lines {
        rest: &'a [u8],
        enveloped: bool,
    },
    Batch(std::vec::IntoIter<&'a [u8]>),
    Nothing,
}

impl<'a> Events<'a> {
    /// Makes a body ready to be taken apart.
    ///
    /// # Errors
    /// It is no list of events at all, and why.
    pub(super) fn read(
        content: Content,
        stated: &'a Stated<'a>,
        headers: &'a HeaderMap,
        body: &'a [u8],
        cloudevents: &'a CloudEventsIngest,
    ) -> Result<Self, String> {
        let (source, left) = match content {
            Content::Value { is_json } => (Source::One(value(is_json, body)), 1),
            Content::CloudEvent => {
                let event = from_headers(headers, body);
                let incoming = event.map(|event| to_record(event, None, cloudevents));
                (Source::One(incoming), 1)
            }
            Content::Structured => (Source::One(cloudevent::structured(body, cloudevents)), 1),
            Content::Lines { enveloped } => (
                Source::Lines {
                    rest: body,
                    enveloped,
                },
                lines(body),
            ),
            Content::Batch => {
                let events = cloudevents::read_batch(body).map_err(|error| error.to_string())?;
                let count = events.len();
                (Source::Batch(events.into_iter()), count)
            }
        };
        Ok(Self {
            source,
            left,
            stated,
            cloudevents,
        })
    }

    /// Fills in what the request says for all of its events.
    fn complete(&self, mut event: Incoming<'a>) -> Incoming<'a> {
        let stated = self.stated;
        // The key of an envelope is its own; one that was taken from an attribute stands in for a missing one.
        let is_own = event.key.is_some() && matches!(self.source, Source::Lines { .. });
        if stated.key.is_some() && !is_own {
            event.key.clone_from(&stated.key);
        }
        event.partition = event.partition.or(stated.partition);
        event.timestamp_ms = event.timestamp_ms.or(stated.timestamp_ms);
        if event.idempotency_key.is_none() {
            event.idempotency_key = stated.idempotency_key.map(Cow::Borrowed);
        }
        let named = stated.headers.iter();
        event
            .headers
            .extend(named.map(|(name, value)| (Cow::Borrowed(*name), Some(Cow::Borrowed(*value)))));
        event
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<Incoming<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = match &mut self.source {
            Source::One(_) => match std::mem::replace(&mut self.source, Source::Nothing) {
                Source::One(event) => event,
                _ => return None,
            },
            Source::Lines { rest, enveloped } => {
                let line = next_line(rest)?;
                if *enveloped {
                    envelope::read(line)
                } else {
                    value(true, line)
                }
            }
            Source::Batch(events) => cloudevent::structured(events.next()?, self.cloudevents),
            Source::Nothing => return None,
        };
        self.left = self.left.saturating_sub(1);
        Some(event.map(|event| self.complete(event)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Events<'_> {}

/// Cuts the next line off that is not blank.
fn next_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest[..end].trim_ascii();
        *rest = rest.get(end + 1..).unwrap_or_default();
        if !line.is_empty() {
            return Some(line);
        }
    }
    None
}

/// How many lines are not blank.
fn lines(mut body: &[u8]) -> usize {
    std::iter::from_fn(|| next_line(&mut body)).count()
}

fn value(is_json: bool, bytes: &[u8]) -> Result<Incoming<'_>, String> {
    if is_json {
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| {
            format!(
                "the value is no JSON: {error}; mend it, or send bytes with `Content-Type: application/octet-stream`"
            )
        })?;
    }
    Ok(Incoming {
        value: Some(Cow::Borrowed(bytes)),
        ..Incoming::default()
    })
}

#[cfg(test)]
mod tests;
