//! The two sides of one `PublishStream`: events are handed over on the one, and answered in bulk on the other.
//!
//! librdkafka tells what became of thousands of events in one go, and so they are answered: there is no channel, no task
//! and no wake-up for each. It must not know how an event is checked and sent.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_stream::Stream;
use tonic::Status;

use super::service::received;
use super::status;
use crate::ingest::proto::{PublishStreamRequest, PublishStreamResponse};
use crate::ingest::reception::{Caller, Reception};
use crate::ingest::refusal::Refusal;
use crate::kafka::publisher::{PublishError, Receipt, Receipts};

/// An answer to one event, or the end of the stream.
pub(super) type Answered = Result<PublishStreamResponse, Status>;

/// Events of one stream that may be unanswered. At 20 ms to an acknowledgement under load this lets one stream
/// send 400 000 events a second; each costs some 100 bytes here.
const UNANSWERED_MAX: u32 = 8_192;

/// Topics that one stream may name. Their names are kept, because each answer repeats one.
const TOPICS_MAX: usize = 10_000;

/// How long answers may wait for a client that takes none, beyond the time that any event waits for the broker: an event
/// that is still unanswered is not taken for an answer that is not read.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);

/// When the queue to the broker is full there is a batch under way, which takes a millisecond or so.
const FULL_PAUSE: Duration = Duration::from_millis(2);

/// What both sides of a stream share.
#[derive(Debug)]
pub(super) struct Exchange {
    reception: Arc<Reception>,
    receipts: Arc<Receipts>,
    /// A permit for each event that may be read before others are answered. Closed when the answers are gone.
    window: Semaphore,
    /// Events that the publisher was given and of which nobody has taken what became, so that their room in the gateway is
    /// not given back.
    untaken: AtomicUsize,
    /// Answers that the client was sent.
    answered: AtomicU64,
    /// The client does not read its answers, and gets none any more.
    cut: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The topics named so far; an event carries the place of its topic here.
    topics: Vec<Arc<str>>,
    /// Events that were refused before the publisher had them.
    refused: Vec<(u64, u32, Refusal)>,
    /// Set when nothing more is read: how the stream ends once everything is answered.
    end: Option<Result<(), Status>>,
}

/// Both sides of a stream to this gateway.
pub(super) fn exchange(reception: &Arc<Reception>) -> (Reading, Answers) {
    let exchange = Arc::new(Exchange {
        reception: Arc::clone(reception),
        receipts: Arc::default(),
        window: Semaphore::new(UNANSWERED_MAX as usize),
        untaken: AtomicUsize::new(0),
        answered: AtomicU64::new(0),
        cut: AtomicBool::new(false),
        state: Mutex::default(),
    });
    let reading = Reading {
        exchange: Arc::clone(&exchange),
        labels: HashMap::new(),
        last: None,
    };
    let answers = Answers {
        exchange,
        told: Vec::new(),
        refused: Vec::new(),
        topics: Vec::new(),
        unslotted: 0,
    };
    (reading, answers)
}

impl Exchange {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what the publisher has told, and gives the room of those events back.
    fn settle(&self, told: &[Receipt]) {
        self.reception.settle(told);
        self.untaken.fetch_sub(told.len(), Ordering::AcqRel);
    }

    /// Ends when the client has not taken any answer for too long while some waited.
    pub(super) async fn unread(&self) {
        self.unread_for(self.reception.delivery_timeout() + UNREAD_TIMEOUT)
            .await;
    }

    async fn unread_for(&self, within: Duration) {
        let mut before = None;
        loop {
            tokio::time::sleep(within).await;
            // One slot is held for the event that is read next.
            let some_wait = self.window.available_permits() + 1 < UNANSWERED_MAX as usize;
            let now = self.answered.load(Ordering::Relaxed);
            if some_wait && before == Some(now) {
                return;
            }
            before = some_wait.then_some(now);
        }
    }

    /// Waits until every event has its answer, or nobody takes answers any more; then for what the publisher still has.
    pub(super) async fn over(&self) {
        // One slot is held for an event that never came.
        if self.window.acquire_many(UNANSWERED_MAX - 1).await.is_ok() {
            return;
        }
        let mut told = Vec::new();
        while self.untaken.load(Ordering::Acquire) > 0 {
            self.receipts.take(&mut told).await;
            self.settle(&told);
            told.clear();
        }
    }

    /// Sends no more answers.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.window.close();
        self.receipts.wake();
    }
}

/// The side that reads.
#[derive(Debug)]
pub(super) struct Reading {
    exchange: Arc<Exchange>,
    labels: HashMap<Arc<str>, u32>,
    /// The topic of the event before, which mostly is that of the next.
    last: Option<(Arc<str>, u32)>,
}

impl Reading {
    /// What is shared with the other side.
    pub(super) fn exchange(&self) -> Arc<Exchange> {
        Arc::clone(&self.exchange)
    }

    /// Waits until one more event may be unanswered; false when nobody takes the answers any more.
    pub(super) async fn slot(&self) -> bool {
        let slot = self.exchange.window.acquire().await;
        slot.map(SemaphorePermit::forget).is_ok()
    }

    /// Hands one event over, in the slot that was waited for; false when the host is being torn down.
    pub(super) async fn hand_over(
        &mut self,
        caller: &Caller,
        request: PublishStreamRequest,
    ) -> bool {
        let (sequence, event) = (request.sequence, request.event.unwrap_or_default());
        let Some(label) = self.label(&event.topic) else {
            let message =
                format!("a stream may name {TOPICS_MAX} topics, and this one has: open another");
            self.refuse((sequence, 0, PublishError::Invalid(message).into()));
            return true;
        };
        let exchange = &self.exchange;
        if !exchange.reception.wait_for_room().await {
            return false;
        }
        exchange.untaken.fetch_add(1, Ordering::AcqRel);
        let taken = loop {
            let entry = (&exchange.receipts, sequence, label);
            let taken = exchange
                .reception
                .take_in_for(caller, received(&event), entry)
                .await;
            // The queue to the broker is full. What comes after this event must not overtake it, so nothing is read
            // until there is room: an acknowledgement makes some, or the end of an event's time.
            if !matches!(taken, Err(Refusal::Publish(PublishError::Overloaded))) {
                break taken;
            }
            tokio::time::sleep(FULL_PAUSE).await;
        };
        if let Err(refusal) = taken {
            exchange.reception.give_back(1);
            exchange.untaken.fetch_sub(1, Ordering::AcqRel);
            self.refuse((sequence, label, refusal));
        }
        true
    }

    fn refuse(&self, refused: (u64, u32, Refusal)) {
        self.exchange.reception.count_refusal(&refused.2);
        self.exchange.state().refused.push(refused);
        self.exchange.receipts.wake();
    }

    fn label(&mut self, topic: &str) -> Option<u32> {
        if let Some((last, label)) = &self.last
            && **last == *topic
        {
            return Some(*label);
        }
        let (name, label) = match self.labels.get_key_value(topic) {
            Some((name, label)) => (Arc::clone(name), *label),
            None if self.labels.len() >= TOPICS_MAX => return None,
            None => {
                let name: Arc<str> = Arc::from(topic);
                let label = u32::try_from(self.labels.len()).ok()?;
                self.labels.insert(Arc::clone(&name), label);
                self.exchange.state().topics.push(Arc::clone(&name));
                (name, label)
            }
        };
        self.last = Some((name, label));
        Some(label)
    }

    /// Nothing more is read. The stream ends so when everything is answered.
    pub(super) fn end(&self, how: Result<(), Status>) {
        self.exchange.state().end = Some(how);
        self.exchange.receipts.wake();
    }
}

/// The side that answers.
#[derive(Debug)]
pub(super) struct Answers {
    exchange: Arc<Exchange>,
    /// What the publisher told, not yet answered; the next answer stands last.
    told: Vec<Receipt>,
    refused: Vec<(u64, u32, Refusal)>,
    /// A copy of the topics, as far as answers have needed it.
    topics: Vec<Arc<str>>,
    /// Answers whose slots have not been given back.
    unslotted: usize,
}

impl Answers {
    fn topic(&mut self, label: u32) -> String {
        let label = label as usize;
        if label >= self.topics.len() {
            self.topics.clone_from(&self.exchange.state().topics);
        }
        let topic = self.topics.get(label);
        topic.map(|topic| (**topic).to_owned()).unwrap_or_default()
    }

    fn next_answer(&mut self) -> Option<PublishStreamResponse> {
        let (sequence, label, answer) = match self.told.pop() {
            Some(receipt) => {
                let answer = receipt.outcome.map_err(Refusal::from);
                (receipt.number, receipt.label, answer)
            }
            None => {
                let (sequence, label, refusal) = self.refused.pop()?;
                (sequence, label, Err(refusal))
            }
        };
        self.unslotted += 1;
        let status = Some(status::of_event(self.topic(label), &answer));
        Some(PublishStreamResponse { sequence, status })
    }

    /// Everything that was taken has been answered: as many events may be read again.
    fn give_back_slots(&mut self) {
        let answered = std::mem::take(&mut self.unslotted);
        if answered > 0 {
            self.exchange
                .answered
                .fetch_add(answered as u64, Ordering::Relaxed);
            self.exchange.window.add_permits(answered);
        }
    }

    /// Takes what has gathered; whether there was anything.
    fn take(&mut self, context: &mut Context<'_>) -> bool {
        if self
            .exchange
            .receipts
            .poll_take(&mut self.told, context)
            .is_ready()
        {
            self.exchange.settle(&self.told);
            self.told.reverse();
            return true;
        }
        // The waker stands, so whatever comes after this look wakes.
        self.refused.append(&mut self.exchange.state().refused);
        !self.refused.is_empty()
    }
}

impl Stream for Answers {
    type Item = Answered;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Answered>> {
        loop {
            if self.exchange.cut.load(Ordering::Acquire) {
                return Poll::Ready(None);
            }
            if let Some(answer) = self.next_answer() {
                return Poll::Ready(Some(Ok(answer)));
            }
            self.give_back_slots();
            if self.take(context) {
                continue;
            }
            if self.exchange.untaken.load(Ordering::Acquire) > 0 {
                return Poll::Pending;
            }
            let mut state = self.exchange.state();
            return match state.end.as_mut() {
                None => Poll::Pending,
                Some(end) => match std::mem::replace(end, Ok(())) {
                    Err(status) => Poll::Ready(Some(Err(status))),
                    Ok(()) => Poll::Ready(None),
                },
            };
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.exchange.window.close();
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt as _;

    use super::*;
    use crate::config;
    use crate::ingest::reception::{Limits, Shared};
    use crate::kafka::publisher::{Delivered, Publisher};

    const WITHIN: Duration = Duration::from_millis(50);

    fn sides() -> (Reading, Answers) {
        // Nothing is sent, so nobody has to be there.
        let publisher = Publisher::new(&config::Kafka::at("127.0.0.1:1")).unwrap();
        let shared = Shared::new(
            &config::Ingest::default(),
            &config::Correlation::default(),
            Arc::new(publisher),
        );
        let limits = Limits {
            event_max_bytes: 1_000,
            in_flight_max: 100,
            event_max_key: "",
        };
        exchange(&Arc::new(Reception::new(Arc::new(shared), limits)))
    }

    /// As if the publisher had been given an event and now told what became of it.
    async fn told(reading: &mut Reading, number: u64) {
        assert!(reading.slot().await);
        let label = reading.label("events").unwrap();
        let exchange = &reading.exchange;
        assert!(exchange.reception.wait_for_room().await);
        exchange.untaken.fetch_add(1, Ordering::AcqRel);
        exchange.receipts.add(Receipt {
            number,
            label,
            outcome: Ok(Delivered {
                partition: 1,
                offset: 2,
            }),
        });
    }

    #[tokio::test]
    async fn a_stream_whose_answers_are_taken_goes_on_and_one_whose_are_not_ends() {
        let (mut reading, mut answers) = sides();
        let exchange = reading.exchange();
        let mut unread = std::pin::pin!(exchange.unread_for(WITHIN));
        for number in 0..4 {
            told(&mut reading, number).await;
            let waited = tokio::time::timeout(WITHIN, &mut unread).await;
            assert!(waited.is_err(), "its client takes what is there");
            let answer = answers.next().await.unwrap().unwrap();
            assert_eq!(
                (answer.sequence, answer.status.unwrap().topic.as_str()),
                (number, "events")
            );
            // The next look finds nothing, and gives the slot back.
            assert!(
                tokio::time::timeout(WITHIN / 10, answers.next())
                    .await
                    .is_err()
            );
        }
        let idle = tokio::time::timeout(WITHIN * 4, &mut unread).await;
        assert!(idle.is_err(), "nothing waits");
        told(&mut reading, 4).await;
        assert!(reading.slot().await);
        unread.await;
    }

    #[tokio::test]
    async fn a_stream_ends_as_it_was_told_to_once_everything_is_answered() {
        let (mut reading, mut answers) = sides();
        let exchange = reading.exchange();
        told(&mut reading, 7).await;
        assert!(reading.slot().await);
        reading.end(Err(Status::unavailable("stopping")));
        assert_eq!(answers.next().await.unwrap().unwrap().sequence, 7);
        assert_eq!(
            answers.next().await.unwrap().unwrap_err().message(),
            "stopping"
        );
        assert!(answers.next().await.is_none());
        exchange.over().await;
    }

    #[tokio::test]
    async fn answers_that_nobody_takes_give_their_room_back() {
        let (mut reading, answers) = sides();
        let exchange = reading.exchange();
        told(&mut reading, 1).await;
        told(&mut reading, 2).await;
        drop(answers);
        assert!(!reading.slot().await, "nothing more is read");
        exchange.over().await;
        assert_eq!(exchange.untaken.load(Ordering::Acquire), 0);
    }
}
