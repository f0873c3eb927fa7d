//! The simulated broker: logs with gaps, commits that only the owner may make, and for each host a wire on
//! which records are late, out of order, lost, or written without an acknowledgement.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fastrand::Rng;

use super::plan::{Event, TOPIC};
use super::witness::Witness;
use super::{Shared, Surroundings, decoder};
use crate::delivery::offsets::Offset;
use crate::kafka::KafkaError;
use crate::kafka::producer::{Delivery, OutgoingRecord, SendFailure};
use crate::pipeline::outside::{Arrival, Producer};

/// A life of a host: its number, and how often it has been started.
pub(super) type Life = (usize, u32);

/// One partition of the topic.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The events, lowest offset first.
    pub(super) events: Vec<Event>,
    /// How many of them have been produced.
    pub(super) visible: usize,
    pub(super) committed: Option<i64>,
    /// What was committed with it.
    pub(super) metadata: Vec<u8>,
    /// Who may commit.
    pub(super) owner: Option<Life>,
}

impl Log {
    /// The offset after the newest record.
    pub(super) fn end(&self) -> i64 {
        let newest = self.visible.checked_sub(1).map(|at| &self.events[at]);
        newest.map_or(0, |event| event.offset + 1)
    }

    /// The first record from this offset on.
    pub(super) fn next(&self, from: i64) -> Option<&Event> {
        let at = self.events.partition_point(|event| event.offset < from);
        self.events[..self.visible].get(at)
    }
}

/// The key of an event as a record carries it.
pub(super) fn key_bytes(event: &Event) -> Option<[u8; 1]> {
    event.key.map(|key| [key])
}

/// A record on its way to the data path.
pub(super) struct Read<'a> {
    pub(super) event: &'a Event,
    pub(super) key: Option<[u8; 1]>,
    pub(super) value: Option<Vec<u8>>,
}

impl<'a> Read<'a> {
    pub(super) fn new(event: &'a Event, value_bytes: usize) -> Self {
        Self {
            event,
            key: key_bytes(event),
            value: value(event.id, value_bytes),
        }
    }
}

/// The value of an event with this id, as a record carries it.
pub(super) fn value(id: Option<u16>, value_bytes: usize) -> Option<Vec<u8>> {
    let mut value = id?.to_be_bytes().to_vec();
    value.resize(value_bytes, 0);
    Some(value)
}

impl Arrival for Read<'_> {
    fn topic_token(&self) -> usize {
        1
    }

    fn topic(&self) -> &str {
        TOPIC
    }

    fn partition(&self) -> i32 {
        self.event.partition
    }

    fn offset(&self) -> Offset {
        Offset(self.event.offset)
    }

    fn timestamp_ms(&self) -> Option<i64> {
        Some(self.event.offset)
    }

    fn key(&self) -> Option<&[u8]> {
        self.key.as_ref().map(|key| &key[..])
    }

    fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    fn for_each_header(&self, mut each: impl FnMut(&[u8], Option<&[u8]>)) {
        // A few events carry headers, so that they are carried through a retry as well.
        if self.event.offset % 5 == 0 {
            each(b"h", None);
            each(b"h", Some(b"1"));
        }
        each(decoder::AT, Some(&decoder::at(self.event)));
    }
}

/// Records of one life of a host that the broker has not answered.
pub(super) struct Wire {
    life: Life,
    state: Mutex<WireState>,
    witness: Shared<Witness>,
    calm: Arc<AtomicBool>,
    room: usize,
    refuse: u32,
}

struct WireState {
    random: Rng,
    under_way: Vec<(usize, OutgoingRecord)>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) fn new(
        life: Life,
        random: Rng,
        around: &Surroundings,
        room: usize,
        refuse: u32,
    ) -> Self {
        Self {
            life,
            state: Mutex::new(WireState {
                random,
                under_way: Vec::new(),
            }),
            witness: Arc::clone(&around.witness),
            calm: Arc::clone(&around.calm),
            room,
            refuse,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().unwrap().under_way.is_empty()
    }

    /// The broker's answer to one of the records; `fails` is the chance out of 1 000 that it is none.
    pub(super) fn answer(&self, fails: u32) -> Option<Delivery> {
        let mut state = self.state.lock().unwrap();
        let WireState { random, under_way } = &mut *state;
        if under_way.is_empty() {
            return None;
        }
        let at = if random.u8(0..4) == 0 {
            random.usize(0..under_way.len())
        } else {
            0
        };
        let (token, record) = under_way.remove(at);
        let failed = random.u32(0..1_000) < fails;
        if !failed || random.bool() {
            self.witness.lock().unwrap().written(&record);
        }
        let result = if failed {
            Err(SendFailure::Refused("the broker did not answer".to_owned()))
        } else {
            Ok(())
        };
        Some(Delivery { token, result })
    }

    /// The host has died: what was under way arrives, or not.
    pub(super) fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        let WireState { random, under_way } = &mut *state;
        for (_, record) in under_way.drain(..) {
            if random.bool() {
                self.witness.lock().unwrap().written(&record);
            }
        }
    }
}

impl Producer for Arc<Wire> {
    fn given_up(&self) -> bool {
        false
    }

    fn hand_back(&mut self) {}

    fn replace(&mut self) -> Result<(), KafkaError> {
        self.cut();
        Ok(())
    }

    fn send(&self, token: usize, record: &OutgoingRecord) -> Result<(), SendFailure> {
        let mut state = self.state.lock().unwrap();
        if state.under_way.len() >= self.room {
            return Err(SendFailure::QueueFull);
        }
        self.witness.lock().unwrap().enqueued(self.life, record);
        let calm = self.calm.load(Ordering::Relaxed);
        if !calm && state.random.u32(0..10_000) < self.refuse {
            return Err(SendFailure::Refused("the topic is missing".to_owned()));
        }
        state.under_way.push((token, record.clone()));
        Ok(())
    }
}
