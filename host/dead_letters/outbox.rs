//! Records on their way to the broker, few at a time, and each with what follows once it is there. It must not know
//! why they are sent.

use std::collections::HashMap;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::DeadLettersError;
use crate::config;
use crate::kafka::producer::{Delivery, GroupProducer, OutgoingRecord, SendFailure};

/// Records that are on their way at once. It bounds what is sent a second time when the process is killed, and is
/// enough to keep a broker busy.
const IN_FLIGHT_MAX: usize = 256;

/// A broker that does not answer at all has the producer give each record back within its delivery time; this is
/// longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A full queue empties within a round to the broker.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// A record that is on its way.
#[derive(Debug)]
struct OnItsWay {
    topic: String,
    /// Sent once it is acknowledged.
    then: Option<OutgoingRecord>,
    /// Whether it followed on another one.
    follows: bool,
}

/// Records on their way.
#[derive(Debug)]
pub struct Outbox {
    producer: GroupProducer,
    deliveries: Receiver<Delivery>,
    on_their_way: HashMap<usize, OnItsWay>,
    next_token: usize,
    acknowledged: u64,
    failure: Option<DeadLettersError>,
}

impl Outbox {
    /// Starts a producer.
    ///
    /// # Errors
    /// A property of Kafka is refused.
    pub fn new(kafka: &config::Kafka) -> Result<Self, DeadLettersError> {
        // Room for everything that can be on its way, so the producer never waits for this side.
        let (tell, deliveries) = bounded(2 * IN_FLIGHT_MAX);
        Ok(Self {
            producer: GroupProducer::start(kafka, tell)?,
            deliveries,
            on_their_way: HashMap::new(),
            next_token: 0,
            acknowledged: 0,
            failure: None,
        })
    }

    /// Sends a record, and another one once it is acknowledged. Waits while too many are on their way.
    ///
    /// # Errors
    /// An earlier record was refused: this one is not sent.
    pub fn send(
        &mut self,
        record: &OutgoingRecord,
        then: Option<OutgoingRecord>,
    ) -> Result<(), DeadLettersError> {
        self.wait_for_room()?;
        self.hand_over(record, then, false)
    }

    /// Sends records that do not count, and waits until they and everything before them are acknowledged.
    ///
    /// # Errors
    /// A record was refused.
    pub fn note(&mut self, records: &[OutgoingRecord]) -> Result<(), DeadLettersError> {
        for record in records {
            self.wait_for_room()?;
            self.hand_over(record, None, true)?;
        }
        self.finish()
    }

    /// Waits until everything is acknowledged that is on its way.
    ///
    /// # Errors
    /// A record was refused.
    pub fn finish(&mut self) -> Result<(), DeadLettersError> {
        while !self.on_their_way.is_empty() {
            self.wait();
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Records that were acknowledged, without those that followed on them.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    fn wait_for_room(&mut self) -> Result<(), DeadLettersError> {
        self.take_deliveries();
        while self.on_their_way.len() >= IN_FLIGHT_MAX && self.failure.is_none() {
            self.wait();
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    fn hand_over(
        &mut self,
        record: &OutgoingRecord,
        then: Option<OutgoingRecord>,
        follows: bool,
    ) -> Result<(), DeadLettersError> {
        let token = self.next_token;
        loop {
            match self.producer.send(token, record) {
                Ok(()) => break,
                Err(SendFailure::QueueFull) => std::thread::sleep(FULL_PAUSE),
                Err(failure) => return Err(not_taken(&record.topic, &failure)),
            }
        }
        self.next_token += 1;
        let sent = OnItsWay {
            topic: record.topic.clone(),
            then,
            follows,
        };
        self.on_their_way.insert(token, sent);
        Ok(())
    }

    fn take_deliveries(&mut self) {
        while let Ok(delivery) = self.deliveries.try_recv() {
            self.delivered(delivery);
        }
    }

    fn wait(&mut self) {
        match self.deliveries.recv_timeout(PATIENCE) {
            Ok(delivery) => self.delivered(delivery),
            Err(_) => {
                let topics = self.on_their_way.values().map(|it| it.topic.clone());
                let topic = topics.min().unwrap_or_default();
                let reason = format!("no answer within {PATIENCE:?}");
                self.on_their_way.clear();
                self.fail(DeadLettersError::NotTaken { topic, reason });
            }
        }
    }

    fn delivered(&mut self, delivery: Delivery) {
        let Some(sent) = self.on_their_way.remove(&delivery.token) else {
            return;
        };
        if let Err(failure) = delivery.result {
            self.fail(not_taken(&sent.topic, &failure));
            return;
        }
        self.acknowledged += u64::from(!sent.follows);
        // What was acknowledged is remembered even where something else was refused meanwhile.
        let followed = sent.then.map(|then| self.hand_over(&then, None, true));
        if let Some(Err(failure)) = followed {
            self.fail(failure);
        }
    }

    /// The first failure is the one that is told.
    fn fail(&mut self, failure: DeadLettersError) {
        self.failure.get_or_insert(failure);
    }
}

fn not_taken(topic: &str, failure: &SendFailure) -> DeadLettersError {
    let reason = match failure {
        SendFailure::QueueFull => "the queue of the producer is full".to_owned(),
        SendFailure::TooLarge => "it is larger than the topic takes".to_owned(),
        SendFailure::Refused(reason) => reason.clone(),
    };
    DeadLettersError::NotTaken {
        topic: topic.to_owned(),
        reason,
    }
}
