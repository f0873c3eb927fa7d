//! What a request says of its trace and its correlation, and what each of its events gets of it. It must not know which
//! gateway the request came through.

use http::HeaderMap;

use crate::config::Correlation;
use crate::delivery::correlation::{BAGGAGE, TRACEPARENT, TRACESTATE, new_traceparent, trace_id};

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
        let traceparent = only(headers, TRACEPARENT).filter(|parent| trace_id(parent).is_some());
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

    /// What an event with these headers lacks and nobody carries.
    pub(super) fn make(&self, headers: &EventHeaders<'_>, correlation: &Correlation) -> Made {
        if !correlation.make_at_ingest {
            return Made::default();
        }
        let own = |name: &str| headers.iter().find(|(own, _)| *own == name);
        let own_parent = own(TRACEPARENT).map(|(_, value)| value.unwrap_or_default());
        let made_parent =
            (self.traceparent.is_none() && own_parent.is_none() && own(TRACESTATE).is_none())
                .then(|| new_traceparent(fastrand::u128(..), fastrand::u64(..)));
        let made_id =
            (self.correlation_id.is_none() && own(&correlation.header).is_none()).then(|| {
                let parent = match own_parent {
                    Some(own) => std::str::from_utf8(own).ok(),
                    None => made_parent.as_deref().or(self.traceparent.as_deref()),
                };
                // The id of the trace, so that who has the one finds the other.
                let of_trace = parent.and_then(trace_id).map(str::to_owned);
                of_trace.unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)))
            });
        Made {
            traceparent: made_parent,
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
        let parent = self.traceparent.as_ref().or(made.traceparent.as_ref());
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
        let made = carried.make(&headers, correlation);
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
        assert_eq!(trace_id(made_parent), Some(made_id.as_str()));
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
