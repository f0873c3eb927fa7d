//! Records on their way to the broker: each is kept until it is acknowledged, and sent again until it is.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::delivery::dead_letter;
use crate::kafka::producer::{Delivery, GroupProducer, OutgoingRecord, SendFailure};

/// How long a refused record waits before it is sent again. The producer has tried for its own delivery
/// time before that, so this only spaces the attempts.
const RESEND_AFTER: Duration = Duration::from_secs(1);

/// What a record is waited for by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitedForBy {
    /// The settlement with this serial of a lane.
    Settlement { lane: usize, serial: u64 },
    /// The emission with this number of an assignment.
    Emission { assignment: u64, number: u64 },
}

#[derive(Debug)]
struct OnItsWay {
    record: OutgoingRecord,
    by: WaitedForBy,
}

/// The records of a group that are on their way.
#[derive(Debug)]
pub(crate) struct Sending {
    producer: GroupProducer,
    deliveries: Receiver<Delivery>,
    on_their_way: HashMap<usize, OnItsWay>,
    resend: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Records that the producer's queue had no room for, and all after them: order is kept.
    queued: VecDeque<usize>,
    next_token: usize,
    bytes: usize,
    /// Why the last refused record was refused; none once everything flows again.
    pub(crate) trouble: Option<String>,
}

impl Sending {
    pub(crate) fn new(producer: GroupProducer, deliveries: Receiver<Delivery>) -> Self {
        Self {
            producer,
            deliveries,
            on_their_way: HashMap::new(),
            resend: BinaryHeap::new(),
            queued: VecDeque::new(),
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
        self.on_their_way.insert(token, OnItsWay { record, by });
        self.queued.push_back(token);
        self.transmit_queued();
    }

    /// Gives the producer what it has room for, in order.
    fn transmit_queued(&mut self) {
        while let Some(token) = self.queued.front().copied() {
            if !self.transmit(token) {
                return;
            }
            self.queued.pop_front();
        }
    }

    /// Takes up a delivery. Says who waited for the record, once it is acknowledged.
    pub(crate) fn delivered(&mut self, delivery: Delivery) -> Option<WaitedForBy> {
        self.transmit_queued();
        match delivery.result {
            Ok(()) => {
                let done = self.on_their_way.remove(&delivery.token)?;
                self.bytes -= done.record.bytes();
                if self.resend.is_empty() {
                    self.trouble = None;
                }
                Some(done.by)
            }
            Err(failure) => {
                self.refused(delivery.token, failure);
                None
            }
        }
    }

    /// Lets go of the records that these wait for: they are not sent again, and not at all where the producer
    /// had no room for them yet.
    pub(crate) fn forget(&mut self, forgotten: impl Fn(WaitedForBy) -> bool) {
        let bytes = &mut self.bytes;
        self.on_their_way.retain(|_, on_its_way| {
            let forgotten = forgotten(on_its_way.by);
            if forgotten {
                *bytes -= on_its_way.record.bytes();
            }
            !forgotten
        });
    }

    /// Lets go of every record, those too that the producer has and that have not left yet.
    pub(crate) fn forget_all(&mut self) {
        if self.on_their_way.is_empty() {
            return;
        }
        self.forget(|_| true);
        self.queued.clear();
        self.resend.clear();
        self.trouble = None;
        if let Err(error) = self.producer.renew() {
            tracing::error!(%error, "records of partitions that were lost may still be sent");
        }
    }

    /// Sends again what is due.
    pub(crate) fn resend_due(&mut self, now: Instant) {
        self.transmit_queued();
        while self
            .resend
            .peek()
            .is_some_and(|Reverse((due, _))| *due <= now)
        {
            if let Some(Reverse((_, token))) = self.resend.pop()
                && !self.transmit(token)
            {
                self.resend.push(Reverse((now + RESEND_AFTER, token)));
                return;
            }
        }
    }

    /// Hands one record to the producer; false when its queue is full.
    fn transmit(&mut self, token: usize) -> bool {
        let Some(on_its_way) = self.on_their_way.get(&token) else {
            return true;
        };
        match self.producer.send(token, &on_its_way.record) {
            Ok(()) => {}
            Err(SendFailure::QueueFull) => return false,
            Err(failure) => self.refused(token, failure),
        }
        true
    }

    fn refused(&mut self, token: usize, failure: SendFailure) {
        let Some(on_its_way) = self.on_their_way.get_mut(&token) else {
            return;
        };
        let record = &mut on_its_way.record;
        let reason = match failure {
            SendFailure::QueueFull => "the producer's queue is full".to_owned(),
            SendFailure::Refused(reason) => reason,
            SendFailure::TooLarge => {
                let before = record.bytes();
                if shed_largest_header(record) {
                    self.bytes -= before - record.bytes();
                    self.resend.push(Reverse((Instant::now(), token)));
                    return;
                }
                format!("the record of {before} bytes is larger than the topic takes")
            }
        };
        let reason = format!("topic {}: {reason}", record.topic);
        if self.trouble.as_deref() != Some(&reason) {
            tracing::error!(%reason, "a record is not acknowledged; it is sent again until it is, and \
                nothing is committed past its event");
            self.trouble = Some(reason);
        }
        self.resend
            .push(Reverse((Instant::now() + RESEND_AFTER, token)));
    }
}

/// A dead letter that the host's own headers made too large gives up the largest of them.
fn shed_largest_header(record: &mut OutgoingRecord) -> bool {
    let own = |name: &[u8]| {
        name.starts_with(dead_letter::PREFIX.as_bytes())
            && !name.starts_with(b"millrace.dlq.origin.")
    };
    let largest = record
        .headers
        .iter()
        .enumerate()
        .filter(|(_, (name, _))| own(name))
        .max_by_key(|(_, (name, value))| name.len() + value.as_ref().map_or(0, Vec::len));
    match largest.map(|(at, _)| at) {
        Some(at) => {
            record.headers.remove(at);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_sheds_its_added_headers_largest_first_and_keeps_its_origin() {
        let header = |name: &str, len| (name.as_bytes().to_vec(), Some(vec![b'x'; len]));
        let mut record = OutgoingRecord {
            headers: vec![
                header("own", 900),
                header("millrace.dlq.message", 500),
                header("millrace.dlq.cause", 5),
                header("millrace.dlq.origin.topic", 800),
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
        assert!(
            !shed_largest_header(&mut record),
            "origin and the record's own headers stay"
        );
        assert_eq!(record.headers.len(), 2);
    }
}
