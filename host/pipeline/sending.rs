//! Records on their way to the broker: each is kept until it is acknowledged, and sent again until it is.
//!
//! Records of one topic leave in the order in which they came, also those that are sent again.

mod route;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use self::route::Route;
use super::clock::Clock;
use super::outside::Producer;
use crate::delivery::dead_letter;
use crate::kafka::producer::{Delivery, OutgoingRecord, SendFailure};
use crate::telemetry::metrics::GroupMetrics;

/// How long a refused record waits before it is sent again. The producer has tried for its own delivery
/// time before that, so this only spaces the attempts.
const RESEND_AFTER: Duration = Duration::from_secs(1);

/// What a record is waited for by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitedForBy {
    /// The settlement with this serial of a lane, for an event of this assignment.
    Settlement {
        lane: usize,
        serial: u64,
        assignment: u64,
    },
    /// The emission with this number of an assignment.
    Emission { assignment: u64, number: u64 },
}

impl WaitedForBy {
    fn assignment(self) -> u64 {
        match self {
            Self::Settlement { assignment, .. } | Self::Emission { assignment, .. } => assignment,
        }
    }
}

#[derive(Debug)]
struct OnItsWay {
    record: OutgoingRecord,
    /// None once nobody waits for it any more.
    by: Option<WaitedForBy>,
    /// Place of its topic's route.
    route: usize,
    /// Whether it shared no batch with another record when it was last sent.
    alone: bool,
    /// Whether it was refused before.
    refused: bool,
}

/// The records of a group that are on their way.
#[derive(Debug)]
pub(crate) struct Sending {
    producer: Box<dyn Producer>,
    clock: Clock,
    deliveries: Receiver<Delivery>,
    metrics: GroupMetrics,
    on_their_way: HashMap<usize, OnItsWay>,
    /// One a topic; a group writes to a handful of them.
    routes: Vec<Route>,
    next_token: usize,
    bytes: usize,
    /// Why the last refused record was refused; none once everything flows again.
    pub(crate) trouble: Option<String>,
}

impl Sending {
    pub(crate) fn new(
        (producer, clock): (Box<dyn Producer>, Clock),
        deliveries: Receiver<Delivery>,
        metrics: GroupMetrics,
    ) -> Self {
        Self {
            producer,
            clock,
            deliveries,
            metrics,
            on_their_way: HashMap::new(),
            routes: Vec::new(),
            next_token: 0,
            bytes: 0,
            trouble: None,
        }
    }

    pub(crate) fn deliveries(&self) -> &Receiver<Delivery> {
        &self.deliveries
    }

    /// Bytes that wait for an acknowledgement.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn send(&mut self, record: OutgoingRecord, by: WaitedForBy) {
        let token = self.next_token;
        self.next_token += 1;
        self.bytes += record.bytes();
        let route = self.route_of(&record.topic);
        self.routes[route].push(token, framed_bytes(&record));
        let on_its_way = OnItsWay {
            record,
            by: Some(by),
            route,
            alone: false,
            refused: false,
        };
        self.on_their_way.insert(token, on_its_way);
        self.transmit_waiting(route, self.clock.instant());
    }

    /// Takes up a delivery. Says who waited for the record, once it is acknowledged.
    pub(crate) fn delivered(&mut self, delivery: Delivery) -> Option<WaitedForBy> {
        let now = self.clock.instant();
        let on_its_way = self.on_their_way.get(&delivery.token)?;
        let (route, alone) = (on_its_way.route, on_its_way.alone);
        self.routes[route].returned(framed_bytes(&on_its_way.record));
        let acknowledged = match delivery.result {
            Ok(()) => self.finished(delivery.token),
            Err(failure) => {
                self.refused(delivery.token, failure, alone, now);
                None
            }
        };
        self.transmit_waiting(route, now);
        acknowledged
    }

    /// Sends again what is due, and what the producer had no room for.
    pub(crate) fn resend_due(&mut self, now: Instant) {
        if self.producer.given_up() {
            self.replace_producer();
        }
        for route in 0..self.routes.len() {
            self.transmit_waiting(route, now);
        }
    }

    /// Lets go of the records of these assignments: they are not sent again, and not at all where they have
    /// not left yet. Returns who waited for them.
    pub(crate) fn forget(&mut self, given_up: impl Fn(u64) -> bool) -> Vec<WaitedForBy> {
        let forgotten = |by: &mut WaitedForBy| given_up(by.assignment());
        self.on_their_way
            .values_mut()
            .filter_map(|on_its_way| on_its_way.by.take_if(forgotten))
            .collect()
    }

    /// Lets go of every record, those too that the producer has and that have not left yet.
    pub(crate) fn forget_all(&mut self) {
        if self.on_their_way.is_empty() {
            return;
        }
        self.on_their_way.clear();
        self.bytes = 0;
        for route in self.routes.drain(..) {
            self.metrics.refused_records(&route.topic, 0);
        }
        self.trouble = None;
        // What the old producer still answers is known to nobody any more.
        if let Err(error) = self.producer.replace() {
            tracing::error!(%error, "records of partitions that were lost may still be sent");
        }
    }

    fn route_of(&mut self, topic: &str) -> usize {
        let known = self.routes.iter().position(|route| *route.topic == *topic);
        known.unwrap_or_else(|| {
            self.routes.push(Route::new(topic));
            self.routes.len() - 1
        })
    }

    /// Gives the producer what it has room for and what the topic's route lets through, in order.
    fn transmit_waiting(&mut self, route: usize, now: Instant) {
        // What a producer that was given up takes, it only hands back.
        while !self.producer.given_up()
            && let Some((token, alone)) = self.routes[route].next(now)
        {
            let on_its_way = self.on_their_way.get_mut(&token);
            let Some(on_its_way) = on_its_way.filter(|on_its_way| on_its_way.by.is_some()) else {
                self.routes[route].drop_next();
                self.finished(token);
                continue;
            };
            on_its_way.alone = alone;
            match self.producer.send(token, &on_its_way.record) {
                Ok(()) => self.routes[route].sent_next(),
                Err(SendFailure::QueueFull) => return,
                // The client itself refused it, so no other record had a part in it.
                Err(failure) => {
                    self.routes[route].drop_next();
                    self.refused(token, failure, true, now);
                }
            }
        }
    }

    /// A record is acknowledged, or nobody waits for it any more.
    fn finished(&mut self, token: usize) -> Option<WaitedForBy> {
        let mut done = self.on_their_way.remove(&token)?;
        self.bytes -= done.record.bytes();
        if let Some(span) = done.record.span.take_if(|_| done.by.is_some()) {
            span.end();
        }
        if done.refused {
            let route = &mut self.routes[done.route];
            route.refused -= 1;
            self.metrics.refused_records(&route.topic, route.refused);
            if self.routes.iter().all(|route| route.refused == 0) {
                self.trouble = None;
            }
        }
        done.by
    }

    /// Puts a record that was not acknowledged back into its place.
    fn refused(&mut self, token: usize, failure: SendFailure, alone: bool, now: Instant) {
        let on_its_way = self.on_their_way.get_mut(&token);
        let Some(on_its_way) = on_its_way.filter(|on_its_way| on_its_way.by.is_some()) else {
            self.finished(token);
            return;
        };
        let record = &mut on_its_way.record;
        let route = &mut self.routes[on_its_way.route];
        let reason = match failure {
            SendFailure::TooLarge if !alone => {
                // The broker refuses whole batches; any of its records may be the one to blame.
                route.narrow();
                route.push(token, framed_bytes(record));
                return;
            }
            SendFailure::TooLarge => {
                let before = record.bytes();
                if shed_largest_header(record) {
                    self.bytes -= before - record.bytes();
                    route.push(token, framed_bytes(record));
                    return;
                }
                route.put_aside(token, framed_bytes(record), now + RESEND_AFTER);
                format!("the record of {before} bytes is larger than the topic takes")
            }
            failure => {
                route.push(token, framed_bytes(record));
                route.wait_until(now + RESEND_AFTER);
                match failure {
                    SendFailure::Refused(reason) => reason,
                    _ => "the producer's queue is full".to_owned(),
                }
            }
        };
        if !std::mem::replace(&mut on_its_way.refused, true) {
            route.refused += 1;
            self.metrics.refused_records(&route.topic, route.refused);
        }
        let reason = format!("topic {}: {reason}", route.topic);
        if self.trouble.as_deref() != Some(&reason) {
            tracing::error!(%reason, "a record is not acknowledged; it is sent again until it is, and \
                nothing is committed past its event");
            self.trouble = Some(reason);
        }
    }

    /// A producer that was given up first hands back what it holds, so that no record is sent by two.
    fn replace_producer(&mut self) {
        self.producer.hand_back();
        if self.routes.iter().any(Route::is_busy) {
            return;
        }
        match self.producer.replace() {
            Ok(()) => tracing::warn!("the producer failed for good and was replaced"),
            Err(error) => tracing::error!(%error, "the producer could not be replaced"),
        }
    }
}

/// What a record takes in a batch: its bytes, and the most that Kafka's format adds to a record.
fn framed_bytes(record: &OutgoingRecord) -> usize {
    const RECORD_FRAME_BYTES: usize = 32;
    // Two lengths of five bytes each.
    const HEADER_FRAME_BYTES: usize = 10;
    record.bytes() + RECORD_FRAME_BYTES + record.all_headers().count() * HEADER_FRAME_BYTES
}

/// A dead letter that the host's own headers made too large gives up the largest of them. Where it comes from
/// goes last: the record itself is worth more.
fn shed_largest_header(record: &mut OutgoingRecord) -> bool {
    let is_origin = |name: &[u8]| name.starts_with(b"millrace.dlq.origin.");
    let headers = record.headers.iter().enumerate();
    let largest = headers
        .filter_map(|(at, (name, value))| {
            let size = name.len() + value.as_ref().map_or(0, Vec::len);
            let rank = dead_letter::shedding_rank(name);
            (rank.is_some() || is_origin(name)).then_some((rank, size, at))
        })
        .max();
    let Some((_, _, at)) = largest else {
        return false;
    };
    let (name, value) = record.headers.remove(at);
    if is_origin(&name) {
        tracing::warn!(topic = %record.topic, name = %String::from_utf8_lossy(&name),
            value = %String::from_utf8_lossy(&value.unwrap_or_default()),
            "a dead letter is as large as its topic takes, and does not say where it comes from");
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_sheds_its_added_headers_largest_first_and_its_origin_last() {
        let header = |name: &str, len| (name.as_bytes().to_vec(), Some(vec![b'x'; len]));
        let mut record = OutgoingRecord {
            headers: vec![
                header("own", 900),
                header("millrace.dlq.message", 500),
                header("millrace.dlq.cause", 5),
                header("millrace.dlq.origin.topic", 800),
                header("kafka_dlt-exception-stacktrace", 700),
                header("kafka_dlt-original-topic", 700),
            ],
            ..OutgoingRecord::default()
        };
        assert!(shed_largest_header(&mut record));
        assert!(
            !record
                .headers
                .iter()
                .any(|(name, _)| name == b"millrace.dlq.message")
        );
        assert!(shed_largest_header(&mut record));
        let has = |record: &OutgoingRecord, name: &[u8]| {
            let mut names = record.headers.iter().map(|(name, _)| name);
            names.any(|each| each == name)
        };
        let explanation = b"kafka_dlt-exception-stacktrace";
        assert!(
            has(&record, explanation),
            "the host's own go before another system's"
        );
        assert!(shed_largest_header(&mut record));
        assert!(!has(&record, explanation));
        assert!(has(&record, b"millrace.dlq.origin.topic"));
        assert!(shed_largest_header(&mut record));
        assert!(
            !has(&record, b"millrace.dlq.origin.topic"),
            "the origin goes last"
        );
        assert!(!shed_largest_header(&mut record), "the record's own stay");
        assert_eq!(record.headers.len(), 2);
    }
}
