//! A dead letter as the event that it was, so that a plugin can be tried on it again. It must not know where the
//! letter was read.

use super::fixture::Fixture;
use crate::delivery::dead_letter::{self, Header, PREFIX};

/// The event of a dead letter, where it first came from and without what the host wrote on it. A record that is no
/// dead letter is an event from where it lies.
#[must_use]
pub fn event_of(
    (topic, partition, offset): (&str, i32, i64),
    timestamp_ms: Option<i64>,
    (key, value): (Option<&[u8]>, Option<&[u8]>),
    headers: &[Header],
) -> Fixture {
    let fact = |name: &str| dead_letter::fact(headers, name);
    let number = |name: &str| fact(name).and_then(|text| text.parse::<i64>().ok());
    let origin = fact("origin.topic");
    let own = |name: &[u8]| !name.starts_with(PREFIX.as_bytes());
    Fixture {
        partition: Some(match origin {
            Some(_) => number("origin.partition").unwrap_or(0) as i32,
            None => partition,
        }),
        offset: Some(number("origin.offset").unwrap_or(offset)),
        timestamp_ms: number("origin.timestamp").or(timestamp_ms),
        topic: Some(origin.unwrap_or_else(|| topic.to_owned())),
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: headers
            .iter()
            .filter(|(name, _)| own(name))
            .cloned()
            .collect(),
        attempt: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &str) -> Header {
        (name.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))
    }

    #[test]
    fn a_dead_letter_is_the_event_that_it_was() {
        let headers = [
            header("trace", "x"),
            header("millrace.dlq.origin.topic", "orders"),
            header("millrace.dlq.origin.partition", "3"),
            header("millrace.dlq.origin.offset", "77"),
            header("millrace.dlq.origin.timestamp", "5"),
            header("millrace.dlq.cause", "reject"),
        ];
        let event = event_of(("orders.dlq", 0, 1), Some(9), (Some(b"a"), None), &headers);
        assert_eq!(
            event.to_line(),
            r#"{"topic":"orders","partition":3,"offset":77,"timestamp_ms":5,"key":"a","value":null,"headers":[{"name":"trace","value":"x"}]}"#
        );
    }

    #[test]
    fn a_record_that_is_no_dead_letter_is_an_event_from_where_it_lies() {
        let event = event_of(("t", 2, 4), None, (None, Some(b"v")), &[]);
        assert_eq!(
            (
                event.topic.as_deref(),
                event.partition,
                event.offset,
                event.timestamp_ms
            ),
            (Some("t"), Some(2), Some(4), None)
        );
    }
}
