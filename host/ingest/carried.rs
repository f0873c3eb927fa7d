//! What a request says of its trace and its correlation, and what each of its events gets of it. It must not know which
//! gateway the request came through.

use http::HeaderMap;

use crate::config::Correlation;
use crate::delivery::correlation::{BAGGAGE, TRACEPARENT, TRACESTATE};
use crate::delivery::trace_context::TraceContext;

/// Where else clients and proxies put a correlation id, after the header that is configured.
const ALSO_CORRELATION: [&str; 2] = ["x-correlation-id", "x-request-id"];

/// An id longer than this is none.
const CORRELATION_ID_MAX_BYTES: usize = 255;

/// What the standards ask everybody to hand on at least; more is dropped as a whole, as they say.
const TRACESTATE_MAX_BYTES: usize = 512;
const BAGGAGE_MAX_BYTES: usize = 8_192;

/// Headers of an event on its way in.
pub(super) type EventHeaders<'a> = Vec<(&'a str, Option<&'a [u8]>)>;

/// What a request carries for its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    traceparent: Option<String>,
    tracestate: Option<String>,
    baggage: Option<String>,
    correlation_id: Option<String>,
}

/// What was made for one event.
#[derive(Debug, Default)]
pub(super) struct Made {
    traceparent: Option<String>,
    correlation_id: Option<String>,
}

impl Carried {
    /// Reads the headers of a request, or the metadata of a call. What the standards call invalid counts as absent.
    pub(crate) fn of(headers: &HeaderMap, correlation: &Correlation) -> Self {
        let known = |parent: &String| TraceContext::parse(parent.as_bytes()).is_some();
        let traceparent = only(headers, TRACEPARENT).filter(known);
        let tracestate = joined(headers, TRACESTATE, TRACESTATE_MAX_BYTES);
        let names = [correlation.header.as_str()]
            .into_iter()
            .chain(ALSO_CORRELATION);
        let is_id = |id: &String| (1..=CORRELATION_ID_MAX_BYTES).contains(&id.len());
        let mut ids = names.filter_map(|name| only(headers, name).filter(is_id));
        Self {
            tracestate: tracestate.filter(|_| traceparent.is_some()),
            traceparent,
            baggage: joined(headers, BAGGAGE, BAGGAGE_MAX_BYTES),
            correlation_id: ids.next(),
        }
    }

    /// Where in a trace an event with these headers is made: what it says itself wins. None in the answer where nobody
    /// says it, and no answer where what the event says is not understood: then nothing can be made below it.
    pub(super) fn context(&self, headers: &EventHeaders<'_>) -> Option<Option<TraceContext>> {
        if let Some(own) = value_of(headers, TRACEPARENT) {
            return TraceContext::parse(own.unwrap_or_default()).map(Some);
        }
        let carried = self.traceparent.as_ref();
        Some(carried.and_then(|parent| TraceContext::parse(parent.as_bytes())))
    }

    /// What tracing systems have added to it.
    pub(super) fn tracestate(&self) -> Option<&str> {
        self.tracestate.as_deref()
    }

    /// What an event with these headers lacks and nobody carries; `sent` is the span that it is sent in, where one is
    /// recorded.
    pub(super) fn make(
        &self,
        headers: &EventHeaders<'_>,
        correlation: &Correlation,
        sent: Option<TraceContext>,
    ) -> Made {
        let own_parent = value_of(headers, TRACEPARENT).map(Option::unwrap_or_default);
        let traced = own_parent.is_some() || value_of(headers, TRACESTATE).is_some();
        let make = correlation.make_at_ingest;
        let made_parent = match sent {
            // The context that an event was made in is not changed on its way.
            _ if traced => None,
            Some(sent) => Some(sent),
            None => (make && self.traceparent.is_none()).then(nobodys),
        };
        let lacks_id =
            self.correlation_id.is_none() && value_of(headers, &correlation.header).is_none();
        let made_id = (make && lacks_id).then(|| {
            let carried = self.traceparent.as_ref().map(String::as_bytes);
            let parent = match own_parent {
                Some(own) => TraceContext::parse(own),
                None => made_parent.or_else(|| TraceContext::parse(carried?)),
            };
            // The id of the trace, so that who has the one finds the other.
            let id = parent.map_or_else(|| fastrand::u128(..), |parent| parent.trace);
            format!("{id:032x}")
        });
        Made {
            traceparent: made_parent.map(|parent| parent.to_string()),
            correlation_id: made_id,
        }
    }

    /// Adds to the headers of an event what it does not say itself. `room_bytes` bounds what others chose the length of.
    pub(super) fn complete<'a>(
        &'a self,
        made: &'a Made,
        headers: &mut EventHeaders<'a>,
        correlation: &'a Correlation,
        mut room_bytes: usize,
    ) {
        let has =
            |headers: &EventHeaders<'a>, name: &str| headers.iter().any(|(own, _)| *own == name);
        let traced = has(headers, TRACEPARENT) || has(headers, TRACESTATE);
        let parent = made.traceparent.as_ref().or(self.traceparent.as_ref());
        if let Some(parent) = parent.filter(|_| !traced) {
            headers.push((TRACEPARENT, Some(parent.as_bytes())));
        }
        let id = self
            .correlation_id
            .as_ref()
            .or(made.correlation_id.as_ref());
        if let Some(id) = id.filter(|_| !has(headers, &correlation.header)) {
            headers.push((&correlation.header, Some(id.as_bytes())));
        }
        let state = self.tracestate.as_ref().filter(|_| !traced);
        let baggage = self.baggage.as_ref().filter(|_| !has(headers, BAGGAGE));
        for (name, value) in [(TRACESTATE, state), (BAGGAGE, baggage)] {
            if let Some(value) = value
                && let Some(rest) = room_bytes.checked_sub(name.len() + value.len())
            {
                room_bytes = rest;
                headers.push((name, Some(value.as_bytes())));
            }
        }
    }
}

/// A trace that begins here. Nobody records it, which its last field says.
fn nobodys() -> TraceContext {
    TraceContext {
        // All zeros mean that there is none.
        trace: fastrand::u128(1..),
        span: fastrand::u64(1..),
        sampled: false,
    }
}

/// The first value of an event's header, which may be null.
fn value_of<'h>(headers: &EventHeaders<'h>, name: &str) -> Option<Option<&'h [u8]>> {
    let own = headers.iter().find(|(own, _)| *own == name);
    own.map(|(_, value)| *value)
}

/// The value of a header that stands once and is text.
fn only(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    Some(value.to_str().ok()?.trim().to_owned())
}

/// The values of a header that may stand several times, as one.
fn joined(headers: &HeaderMap, name: &str, most_bytes: usize) -> Option<String> {
    let values = headers.get_all(name).iter();
    let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    let joined = values.join(",");
    (!joined.is_empty() && joined.len() <= most_bytes).then_some(joined)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn carried(headers: &[(&str, &str)]) -> Carried {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        Carried::of(&map, &Correlation::default())
    }

    fn completed(
        carried: &Carried,
        own: &[(&'static str, &'static str)],
        correlation: &Correlation,
        room_bytes: usize,
    ) -> Vec<(String, String)> {
        let own = own.iter();
        let mut headers: EventHeaders<'_> = own
            .map(|(name, value)| (*name, Some(value.as_bytes())))
            .collect();
        let made = carried.make(&headers, correlation, None);
        carried.complete(&made, &mut headers, correlation, room_bytes);
        let headers = headers.iter();
        let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
        headers
            .map(|(name, value)| ((*name).to_owned(), text(*value)))
            .collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        let expected = expected.iter();
        expected
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn an_event_gets_what_its_request_carries() {
        let carried = carried(&[
            ("traceparent", PARENT),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
            ("baggage", "tenant=7"),
            ("x-correlation-id", "order-9"),
        ]);
        let expected = pairs(&[
            ("traceparent", PARENT),
            ("correlation-id", "order-9"),
            ("tracestate", "a=1,b=2"),
            ("baggage", "tenant=7"),
        ]);
        let correlation = Correlation::default();
        assert_eq!(completed(&carried, &[], &correlation, 1_000), expected);
        // What has no room is left out; what the host vouches for is not.
        assert_eq!(completed(&carried, &[], &correlation, 5), expected[..2]);
    }

    #[test]
    fn what_the_event_says_itself_wins() {
        let carried = carried(&[
            ("traceparent", PARENT),
            ("tracestate", "a=1"),
            ("correlation-id", "of the request"),
        ]);
        let own = [("traceparent", "00-own"), ("correlation-id", "its own")];
        let correlation = Correlation::default();
        assert_eq!(completed(&carried, &own, &correlation, 1_000), pairs(&own));
    }

    #[test]
    fn what_nobody_says_is_made_and_the_two_lead_to_each_other() {
        let correlation = Correlation::default();
        let made = completed(&Carried::default(), &[], &correlation, 1_000);
        let [(parent, made_parent), (id, made_id)] = &made[..] else {
            panic!("{made:?}")
        };
        assert_eq!(
            (parent.as_str(), id.as_str()),
            ("traceparent", "correlation-id")
        );
        let trace = TraceContext::parse(made_parent.as_bytes()).unwrap().trace;
        assert_eq!(format!("{trace:032x}"), *made_id);
        assert!(made_parent.ends_with("-00"), "nobody recorded it");
        let known = carried(&[("traceparent", PARENT)]);
        let expected = pairs(&[("traceparent", PARENT), ("correlation-id", TRACE)]);
        assert_eq!(completed(&known, &[], &correlation, 1_000), expected);
        let off = Correlation {
            make_at_ingest: false,
            ..correlation
        };
        assert_eq!(completed(&Carried::default(), &[], &off, 1_000), []);
        assert_eq!(completed(&known, &[], &off, 1_000), expected[..1]);
    }

    #[test]
    fn an_event_is_told_the_span_that_it_is_sent_in_unless_it_says_its_own() {
        let sent = TraceContext::parse(PARENT.as_bytes()).unwrap();
        let correlation = Correlation {
            make_at_ingest: false,
            ..Correlation::default()
        };
        let carried = carried(&[("traceparent", &PARENT.replace("b7-01", "b8-01"))]);
        let of_request = carried.context(&Vec::new()).unwrap().unwrap();
        assert_eq!(of_request.trace, sent.trace);
        let made = carried.make(&Vec::new(), &correlation, Some(sent));
        let mut headers = Vec::new();
        carried.complete(&made, &mut headers, &correlation, 1_000);
        assert_eq!(headers, [("traceparent", Some(PARENT.as_bytes()))]);
        let own: EventHeaders<'_> = vec![("traceparent", Some(b"00-own"))];
        assert_eq!(carried.context(&own), None);
        let made = carried.make(&own, &correlation, Some(sent));
        assert_eq!(made.traceparent, None);
    }

    #[test]
    fn what_is_invalid_counts_as_absent() {
        let long = "x".repeat(9_000);
        for headers in [
            vec![("traceparent", "nonsense"), ("tracestate", "a=1")],
            vec![("traceparent", PARENT), ("traceparent", PARENT)],
            vec![("correlation-id", ""), ("baggage", long.as_str())],
            vec![("correlation-id", &long[..256])],
        ] {
            assert_eq!(carried(&headers), Carried::default(), "{headers:?}");
        }
        let second = carried(&[("correlation-id", ""), ("x-request-id", "r")]);
        assert_eq!(second.correlation_id.as_deref(), Some("r"));
    }
}
