//! Takes events in, whichever gateway they come through.
//!
//! A gateway finds out who asks ([`Reception::who`]), gets room for what it has received ([`Reception::room_for`], or
//! [`Reception::wait_for_room`] where it can hold its client back), and hands each event over
//! ([`Reception::take_in`], or [`Reception::start`] for one that waits). Here an event is checked, completed with the
//! headers that the gateway owes it, given to the publisher and counted. The answer is in the words of
//! [`Refusal`](super::refusal::Refusal); the gateway translates it. This must not know gRPC or HTTP.
//!
//! What every event has to pass stands in `Reception::admit`; what every event is given in `complete`.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, oneshot};

use super::carried::Carried;
use super::clients::{Client, Clients};
use super::counts::Counts;
use super::refusal::{Answer, Refusal, Status};
use super::rules::TopicRules;
use crate::config;
use crate::delivery::correlation::TRACESTATE;
use crate::delivery::trace_context::TraceContext;
use crate::kafka::publisher::{
    Done, Outcome, Outgoing, PublishError, Publisher, Receipt, Receipts,
};
use crate::since_1970;
use crate::telemetry::traces::{OpenSpan, Operation, Traces};

/// Bytes added to each header for its framing in a record, about.
const HEADER_OVERHEAD_BYTES: usize = 4;

/// The header that holds an event's idempotency key; `dedup: { id: "header:millrace.idempotency-key" }` goes by it.
pub(crate) const IDEMPOTENCY_KEY: &str = "millrace.idempotency-key";

/// What topics take unless they are told otherwise (`message.timestamp.after.max.ms`).
const TIMESTAMP_AHEAD_MAX: Duration = Duration::from_hours(1);

/// A key is an identifier, such as a UUID or a hash.
const IDEMPOTENCY_KEY_MAX_BYTES: usize = 255;

/// What the gateways of a host share.
#[derive(Debug)]
pub struct Shared {
    pub(super) publisher: Arc<Publisher>,
    pub(super) clients: Clients,
    rules: TopicRules,
    /// Certificates; each gateway offers its own protocols with them.
    pub(super) tls: Option<config::ServerTls>,
    pub(super) connections: config::Connections,
    pub(super) correlation: config::Correlation,
    traces: Option<Traces>,
}

impl Shared {
    /// What the configuration says for all gateways.
    #[must_use]
    pub fn new(
        ingest: &config::Ingest,
        correlation: &config::Correlation,
        publisher: Arc<Publisher>,
    ) -> Self {
        Self {
            publisher,
            clients: Clients::new(&ingest.clients),
            rules: TopicRules::default(),
            tls: ingest.tls.clone(),
            connections: ingest.connections.clone(),
            correlation: correlation.clone(),
            traces: None,
        }
    }

    /// With rules that events have to keep.
    #[must_use]
    pub fn with_rules(mut self, rules: TopicRules) -> Self {
        self.rules = rules;
        self
    }

    /// With spans of what is sent.
    #[must_use]
    pub fn with_traces(mut self, traces: Option<Traces>) -> Self {
        self.traces = traces;
        self
    }
}

/// The limits of one gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Largest event accepted: key, value and headers together.
    pub(crate) event_max_bytes: usize,
    /// Events that may wait for the broker at once, over all clients of the gateway.
    pub(crate) in_flight_max: usize,
    /// The configuration key of `event_max_bytes`, for messages.
    pub(crate) event_max_key: &'static str,
}

/// Where one gateway hands its events in.
#[derive(Debug)]
pub(crate) struct Reception {
    shared: Arc<Shared>,
    limits: Limits,
    room: Arc<Semaphore>,
    counts: Arc<Counts>,
}

/// Who makes a request, and until when the answer is of use.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Who asks.
    pub(crate) client: Client,
    /// An event that cannot be queued before this is not sent.
    pub(crate) deadline: Option<Instant>,
    /// What each of its events gets of the request.
    pub(crate) carried: Carried,
}

/// An event as a gateway received it. Nothing of it is checked yet.
#[derive(Debug, Default)]
pub(crate) struct Received<'a> {
    pub(crate) topic: &'a str,
    /// None lets the key decide.
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<&'a [u8]>,
    /// None is a tombstone.
    pub(crate) value: Option<&'a [u8]>,
    /// In order.
    pub(crate) headers: Vec<(&'a str, Option<&'a [u8]>)>,
    /// None is the time of arrival.
    pub(crate) timestamp_ms: Option<i64>,
    /// What the client calls this event in each attempt to send it.
    pub(crate) idempotency_key: Option<&'a str>,
}

/// Room for events that wait for the broker. It is given back as they are answered.
#[derive(Debug)]
pub(crate) struct Room(OwnedSemaphorePermit);

impl Room {
    /// The room of one of its events; none when it has been handed out.
    pub(crate) fn split_one(&mut self) -> Option<Self> {
        self.0.split(1).map(Self)
    }
}

/// An answer that is on its way.
#[derive(Debug)]
pub(crate) struct Told(oneshot::Receiver<Answer>);

impl Told {
    /// Waits for it.
    pub(crate) async fn answer(self) -> Answer {
        // The sender is dropped without an answer only when the producer is being torn down.
        let lost =
            || PublishError::Unavailable("the gateway is shutting down; send it again".into());
        self.0.await.unwrap_or_else(|_| Err(lost().into()))
    }
}

impl Reception {
    /// One for each gateway.
    pub(crate) fn new(shared: Arc<Shared>, limits: Limits) -> Self {
        let room = limits.in_flight_max.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            shared,
            limits,
            room: Arc::new(Semaphore::new(room)),
            counts: Arc::default(),
        }
    }

    /// Events answered so far, by status.
    pub(crate) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// How long an event may wait for its acknowledgement.
    pub(crate) fn delivery_timeout(&self) -> Duration {
        self.shared.publisher.delivery_timeout()
    }

    /// Finds out who makes a request by its header `authorization`, before anything else of it is read.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`], which is counted as one event.
    pub(crate) fn who(&self, authorization: Option<&[u8]>) -> Result<Client, Refusal> {
        let client = self.shared.clients.who(authorization);
        client.inspect_err(|refusal| self.counts.add(refusal.status(), 1))
    }

    /// What a request carries for each of its events, by its headers.
    pub(crate) fn carried(&self, headers: &http::HeaderMap) -> Carried {
        Carried::of(headers, &self.shared.correlation)
    }

    /// Room for all of some events, or for none: an event that is sent after an earlier one of its key was refused
    /// would be out of order once that one is sent again.
    ///
    /// # Errors
    /// Too many events wait for the broker; all of these are counted.
    pub(crate) fn room_for(&self, events: usize) -> Result<Room, Refusal> {
        let wanted = u32::try_from(events).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(wanted);
        room.map(Room).map_err(|_| {
            self.counts.add(Status::Overloaded, events as u64);
            PublishError::Overloaded.into()
        })
    }

    /// Room for one event, as soon as there is some, for gateways whose client waits meanwhile; [`Self::settle`] or
    /// [`Self::give_back`] gives it back. False only when the host is being torn down.
    pub(crate) async fn wait_for_room(&self) -> bool {
        let room = self.room.acquire().await;
        room.map(SemaphorePermit::forget).is_ok()
    }

    /// Gives the room of so many events back.
    pub(crate) fn give_back(&self, events: usize) {
        self.room.add_permits(events);
    }

    /// Takes one event in. `done` is called exactly once, here or later on a thread that it must not block, and with it
    /// the event's room is given back, even when the client is long gone.
    pub(crate) async fn take_in(
        &self,
        caller: &Caller,
        event: Received<'_>,
        room: Room,
        done: impl FnOnce(Answer) + Send + Sync + 'static,
    ) {
        let counts = Arc::clone(&self.counts);
        let done = move |answer: Answer| {
            counts.add(Status::of(&answer), 1);
            done(answer);
            drop(room);
        };
        if let Err(refusal) = self.admit(caller, &event).await {
            return done(Err(refusal));
        }
        let publisher = &self.shared.publisher;
        let span = self.span_of(caller, &event);
        let sent = span.as_ref().map(OpenSpan::context);
        let done: Done = Box::new(move |outcome: Outcome| {
            ended(span, &outcome);
            done(outcome.map_err(Refusal::from));
        });
        let taken = self.complete(caller, (event, sent), |outgoing| {
            publisher.enqueue(outgoing, done)
        });
        if let Err((error, done)) = taken {
            done(Err(error));
        }
    }

    /// [`Self::take_in`] for one of many events whose answers gather, with room that was waited for. An event that is
    /// refused here is not among them, has its room still, and is not counted.
    pub(crate) async fn take_in_for(
        &self,
        caller: &Caller,
        event: Received<'_>,
        (receipts, number, label): (&Arc<Receipts>, u64, u32),
    ) -> Result<(), Refusal> {
        self.admit(caller, &event).await?;
        let publisher = &self.shared.publisher;
        let span = self.span_of(caller, &event);
        let sent = span.as_ref().map(OpenSpan::context);
        let taken = self.complete(caller, (event, sent), |outgoing| {
            if span.is_none() {
                return publisher.enqueue_for(outgoing, receipts, (number, label));
            }
            // Only an event that is traced pays for an answer of its own.
            let receipts = Arc::clone(receipts);
            let done: Done = Box::new(move |outcome| {
                ended(span, &outcome);
                receipts.add(Receipt {
                    number,
                    label,
                    outcome,
                });
            });
            let taken = publisher.enqueue(outgoing, done);
            taken.map_err(|(error, _unanswered)| error)
        });
        taken.map_err(Refusal::from)
    }

    /// The span in which an event is sent, where one is recorded.
    fn span_of(&self, caller: &Caller, event: &Received<'_>) -> Option<OpenSpan> {
        let traces = self.shared.traces.as_ref()?;
        let parent = caller.carried.context(&event.headers)?;
        let new_trace = || fastrand::u128(..);
        let began = SystemTime::now();
        let mut span = traces.begin(parent, new_trace, Operation::Send, event.topic, began)?;
        let mut headers = event.headers.iter();
        let own = headers.find(|(name, _)| *name == TRACESTATE);
        let own = own.and_then(|(_, value)| std::str::from_utf8((*value)?).ok());
        if let Some(state) = own.or_else(|| caller.carried.tracestate()) {
            span.state(state);
        }
        if event.value.is_none() {
            span.holds("messaging.kafka.message.tombstone");
        }
        Some(span)
    }

    /// Counts answers that have gathered, and gives the room of their events back.
    pub(crate) fn settle(&self, told: &[Receipt]) {
        let mut acknowledged = 0;
        for receipt in told {
            match &receipt.outcome {
                Ok(_) => acknowledged += 1,
                Err(error) => self.count_refusal(&Refusal::from(error.clone())),
            }
        }
        self.counts.add(Status::Ok, acknowledged);
        self.give_back(told.len());
    }

    /// Counts one event that was refused.
    pub(crate) fn count_refusal(&self, refusal: &Refusal) {
        self.counts.add(refusal.status(), 1);
    }

    /// Gives an event the headers that it lacks, and hands it on.
    fn complete<R>(
        &self,
        caller: &Caller,
        (event, sent): (Received<'_>, Option<TraceContext>),
        hand_on: impl FnOnce(&Outgoing<'_>) -> R,
    ) -> R {
        let correlation = &self.shared.correlation;
        let made = caller.carried.make(&event.headers, correlation, sent);
        let room_bytes = self.limits.event_max_bytes.saturating_sub(bytes_of(&event));
        // It holds what was made, which does not live as long as what was received.
        let mut event: Received<'_> = event;
        complete(&mut event);
        let headers = &mut event.headers;
        caller
            .carried
            .complete(&made, headers, correlation, room_bytes);
        hand_on(&Outgoing {
            topic: event.topic,
            partition: event.partition,
            key: event.key,
            value: event.value,
            headers: &event.headers,
            timestamp_ms: event.timestamp_ms,
        })
    }

    /// [`Self::take_in`], with the answer to wait for.
    pub(crate) async fn start(&self, caller: &Caller, event: Received<'_>, room: Room) -> Told {
        let (tell, told) = oneshot::channel();
        let done = move |answer| drop(tell.send(answer));
        self.take_in(caller, event, room, done).await;
        Told(told)
    }

    /// Waits until everything that was taken in is acknowledged or given up on. For the end of a gateway.
    pub(crate) async fn flush(&self, within: Duration) {
        let publisher = Arc::clone(&self.shared.publisher);
        match tokio::task::spawn_blocking(move || publisher.flush(within)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a gateway ended with events unacknowledged"),
            Err(error) => tracing::error!(%error, "the publisher could not be flushed"),
        }
    }

    /// What every event has to pass, the cheapest and the most telling first.
    async fn admit(&self, caller: &Caller, event: &Received<'_>) -> Result<(), Refusal> {
        if event.topic.is_empty() {
            return Err(invalid("the event names no topic"));
        }
        // Before anything that would tell whether the topic exists.
        caller.client.may_publish_to(event.topic)?;
        self.check_size(event)?;
        check_idempotency_key(event)?;
        check_timestamp(event)?;
        self.shared.rules.check(event)?;
        self.shared.publisher.ensure_topic(event.topic).await?;
        // Last, because the lookup may have taken its time.
        match caller.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Refusal::TooLate),
            _ => Ok(()),
        }
    }

    fn check_size(&self, event: &Received<'_>) -> Result<(), Refusal> {
        let bytes = bytes_of(event);
        if bytes > self.limits.event_max_bytes {
            return Err(Refusal::Publish(PublishError::TooLarge(format!(
                "the event has {bytes} bytes and at most {} are accepted; send it smaller, or raise {} and the \
                 topic's limit",
                self.limits.event_max_bytes, self.limits.event_max_key
            ))));
        }
        Ok(())
    }
}

/// Ends the span of an event with what became of it.
fn ended(span: Option<OpenSpan>, outcome: &Outcome) {
    let Some(mut span) = span else { return };
    match outcome {
        Ok(delivered) => span.place(delivered.partition, delivered.offset),
        Err(error) => span.fail(error.cause(), &error.to_string()),
    }
    span.end();
}

fn bytes_of(event: &Received<'_>) -> usize {
    let headers = event
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len) + HEADER_OVERHEAD_BYTES);
    event.key.map_or(0, <[u8]>::len) + event.value.map_or(0, <[u8]>::len) + headers.sum::<usize>()
}

/// Adds the headers that the gateway owes an event; their bytes are within what the configuration leaves free.
fn complete(event: &mut Received<'_>) {
    if let Some(key) = event.idempotency_key {
        event.headers.push((IDEMPOTENCY_KEY, Some(key.as_bytes())));
    }
}

/// A broker that refuses one time refuses the whole record batch that the event was put into, with events of others.
fn check_timestamp(event: &Received<'_>) -> Result<(), Refusal> {
    let Some(timestamp_ms) = event.timestamp_ms else {
        return Ok(());
    };
    let ahead_ms = timestamp_ms.saturating_sub(since_1970::now_timestamp_ms());
    if u128::try_from(ahead_ms).is_ok_and(|ahead_ms| ahead_ms > TIMESTAMP_AHEAD_MAX.as_millis()) {
        return Err(invalid(
            "timestamp_ms lies more than an hour ahead, which brokers refuse; it is milliseconds since 1970, and now \
             when it is left out",
        ));
    }
    Ok(())
}

fn check_idempotency_key(event: &Received<'_>) -> Result<(), Refusal> {
    let Some(key) = event.idempotency_key else {
        return Ok(());
    };
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_MAX_BYTES {
        return Err(invalid(
            "an idempotency key has 1 to 255 bytes; leave it out where there is none",
        ));
    }
    if event
        .headers
        .iter()
        .any(|(name, _)| *name == IDEMPOTENCY_KEY)
    {
        return Err(invalid(
            "the event has an idempotency key and the header millrace.idempotency-key too; send one of them",
        ));
    }
    Ok(())
}

fn invalid(message: &str) -> Refusal {
    PublishError::Invalid(message.to_owned()).into()
}
