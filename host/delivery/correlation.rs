//! What ties records to each other: W3C's trace context and a correlation id, as headers. An output carries what the
//! event carried that made it. Where no span is recorded the host is no part of a trace, so it hands the context on
//! unchanged, as the standard asks of who takes no part.

use super::dead_letter::Header;
use super::offsets::Offset;

/// Where in a trace a record was made.
pub const TRACEPARENT: &str = "traceparent";

/// What tracing systems add to it.
pub const TRACESTATE: &str = "tracestate";

/// What applications hand on beside it.
pub const BAGGAGE: &str = "baggage";

/// What Kafka's format adds to a header, in bytes at most: two lengths.
const HEADER_OVERHEAD_BYTES: usize = 10;

/// What an output inherits from its event.
#[derive(Debug, Clone, Copy)]
pub struct Heritage<'a> {
    /// The name of the header with the correlation id.
    pub correlation_header: &'a str,
    /// Whether an output of an event without a correlation id gets one.
    pub make: bool,
    /// Topic, partition and offset that the event was read from at first.
    pub origin: (&'a str, i32, Offset),
    /// Bytes that may be added before the record is too large; what has no room is left out.
    pub room_bytes: usize,
}

impl Heritage<'_> {
    /// Adds what the event's headers say of trace and correlation and the output's own do not. A correlation id that
    /// is made is where the event was read, so that it is the same in every attempt.
    pub fn hand_on<'e>(
        mut self,
        event: impl Iterator<Item = (&'e [u8], Option<&'e [u8]>)>,
        output: &mut Vec<Header>,
    ) {
        let names = [TRACEPARENT, TRACESTATE, self.correlation_header, BAGGAGE];
        let mut found = [None; 4];
        for (name, value) in event {
            if let Some(at) = names.iter().position(|wanted| wanted.as_bytes() == name) {
                found[at] = value.or(found[at]);
            }
        }
        let has = |name: &str| output.iter().any(|(own, _)| own == name.as_bytes());
        let mut own = names.map(has);
        // The two belong together: a plugin that writes the one has begun a span.
        let own_trace = own[0] || own[1];
        (own[0], own[1]) = (own_trace, own_trace);
        let made = (self.make && found[2].is_none() && !own[2]).then(|| {
            let (topic, partition, offset) = self.origin;
            format!("{topic}/{partition}/{}", offset.0).into_bytes()
        });
        let mut traced = true;
        for (at, name) in names.into_iter().enumerate() {
            let Some(value) = found[at].filter(|_| !own[at]) else {
                continue;
            };
            // A state without its parent says nothing.
            if at == 1 && !traced {
                continue;
            }
            let added = self.add(name, value, output);
            traced &= added || at != 0;
        }
        if let Some(made) = made {
            self.add(self.correlation_header, &made, output);
        }
    }

    fn add(&mut self, name: &str, value: &[u8], output: &mut Vec<Header>) -> bool {
        let bytes = name.len() + value.len() + HEADER_OVERHEAD_BYTES;
        let Some(rest) = self.room_bytes.checked_sub(bytes) else {
            return false;
        };
        self.room_bytes = rest;
        output.push((name.as_bytes().to_vec(), Some(value.to_vec())));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORRELATION_ID: &str = "correlation-id";

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn handed_on(
        event: &[(&str, Option<&str>)],
        own: &[(&str, &str)],
        make: bool,
        room_bytes: usize,
    ) -> Vec<(String, String)> {
        let event = event
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.map(str::as_bytes)));
        let own = own.iter();
        let mut output: Vec<Header> = own
            .map(|(name, value)| (name.as_bytes().to_vec(), Some(value.as_bytes().to_vec())))
            .collect();
        let heritage = Heritage {
            correlation_header: CORRELATION_ID,
            make,
            origin: ("orders", 3, Offset(77)),
            room_bytes,
        };
        heritage.hand_on(event, &mut output);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        output
            .into_iter()
            .map(|(name, value)| (text(name), text(value.unwrap())))
            .collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        let expected = expected.iter();
        expected
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn an_output_carries_what_its_event_carried_and_nothing_else_of_it() {
        let event = [
            ("other", Some("x")),
            (BAGGAGE, Some("tenant=7")),
            (TRACESTATE, Some("v=1")),
            (CORRELATION_ID, Some("order-9")),
            (TRACEPARENT, Some(PARENT)),
        ];
        let expected = pairs(&[
            (TRACEPARENT, PARENT),
            (TRACESTATE, "v=1"),
            (CORRELATION_ID, "order-9"),
            (BAGGAGE, "tenant=7"),
        ]);
        assert_eq!(handed_on(&event, &[], true, 1_000), expected);
    }

    #[test]
    fn what_the_plugin_wrote_stays_and_its_parent_is_not_mixed_with_anothers_state() {
        let event = [
            (TRACEPARENT, Some(PARENT)),
            (TRACESTATE, Some("v=1")),
            (CORRELATION_ID, Some("order-9")),
        ];
        let own = [(TRACEPARENT, "00-own"), (CORRELATION_ID, "mine")];
        assert_eq!(handed_on(&event, &own, true, 1_000), pairs(&own));
    }

    #[test]
    fn a_correlation_id_is_made_from_where_the_event_was_read() {
        let made = pairs(&[(CORRELATION_ID, "orders/3/77")]);
        assert_eq!(handed_on(&[], &[], true, 1_000), made);
        assert_eq!(handed_on(&[(CORRELATION_ID, None)], &[], true, 1_000), made);
        assert_eq!(handed_on(&[], &[], false, 1_000), []);
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        let baggage = "b".repeat(500);
        let event = [
            (TRACEPARENT, Some(PARENT)),
            (BAGGAGE, Some(baggage.as_str())),
            (CORRELATION_ID, Some("c")),
        ];
        let kept = pairs(&[(TRACEPARENT, PARENT), (CORRELATION_ID, "c")]);
        assert_eq!(handed_on(&event, &[], true, 200), kept);
        let event = [(TRACEPARENT, Some(PARENT)), (TRACESTATE, Some("v=1"))];
        assert_eq!(handed_on(&event, &[], false, 40), []);
    }
}
