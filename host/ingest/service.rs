//! The three calls of the `Ingest` service.
//!
//! It checks limits, hands events to the publisher and answers once each is acknowledged. It must not
//! know sockets or how long the server runs, except that it may be told to stop reading.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::counts::Counts;
use super::proto::ingest_server::Ingest;
use super::proto::{
    Event, EventStatus, PublishBatchRequest, PublishBatchResponse, PublishRequest, PublishResponse,
    PublishStreamRequest, PublishStreamResponse,
};
use super::status;
use crate::kafka::publisher::{Done, Outcome, Outgoing, PublishError, Publisher};

/// Events of one batch. The message size bounds large events; this bounds empty ones.
pub(super) const BATCH_EVENTS_MAX: usize = 10_000;

/// Events of one stream that may be unanswered. At 10 ms to an acknowledgement this lets one stream
/// send 100 000 events a second; beyond that, open several.
const STREAM_UNANSWERED_MAX: usize = 1_024;

/// Bytes added to each header for its framing in a record, about.
const HEADER_OVERHEAD_BYTES: usize = 4;

/// The service.
pub(super) struct IngestService {
    pub(super) publisher: Arc<Publisher>,
    pub(super) event_max_bytes: usize,
    /// Room for events that wait for the broker, over all clients.
    pub(super) room: Arc<Semaphore>,
    pub(super) counts: Arc<Counts>,
    /// Turns true when the gateway shuts down.
    pub(super) stopping: watch::Receiver<bool>,
}

impl IngestService {
    /// Hands one event to the publisher. `done` is called exactly once, here or later, and with it
    /// the event's room is given back, even when the client is long gone.
    async fn hand_over(&self, event: &Event, room: OwnedSemaphorePermit, done: Done) {
        let counts = Arc::clone(&self.counts);
        let done: Done = Box::new(move |outcome: Outcome| {
            counts.add(
                outcome
                    .as_ref()
                    .err()
                    .map_or(super::proto::StatusCode::Ok, status::code),
            );
            done(outcome);
            drop(room);
        });
        let sent = match self.check(event) {
            Ok(()) => self.publisher.ensure_topic(&event.topic).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            return done(Err(error));
        }
        let headers: Vec<_> = event
            .headers
            .iter()
            .map(|h| (h.name.as_str(), h.value.as_deref()))
            .collect();
        let outgoing = Outgoing {
            topic: &event.topic,
            partition: event.partition,
            key: event.key.as_deref(),
            value: event.value.as_deref(),
            headers: &headers,
            timestamp_ms: event.timestamp_ms,
        };
        if let Err((error, done)) = self.publisher.enqueue(&outgoing, done) {
            done(Err(error));
        }
    }

    fn check(&self, event: &Event) -> Result<(), PublishError> {
        if event.topic.is_empty() {
            return Err(PublishError::Invalid("the event names no topic".to_owned()));
        }
        let headers = event.headers.iter().map(|header| {
            header.name.len() + header.value.as_ref().map_or(0, |v| v.len()) + HEADER_OVERHEAD_BYTES
        });
        let bytes = event.key.as_ref().map_or(0, |key| key.len())
            + event.value.as_ref().map_or(0, |value| value.len())
            + headers.sum::<usize>();
        if bytes > self.event_max_bytes {
            return Err(PublishError::TooLarge(format!(
                "the event has {bytes} bytes and at most {} are accepted; send it smaller, or raise \
                 ingest.grpc.event_max_bytes and the topic's limit",
                self.event_max_bytes
            )));
        }
        Ok(())
    }

    async fn start(&self, event: &Event, room: OwnedSemaphorePermit) -> oneshot::Receiver<Outcome> {
        let (tell, told) = oneshot::channel();
        self.hand_over(
            event,
            room,
            Box::new(move |outcome| drop(tell.send(outcome))),
        )
        .await;
        told
    }

    fn overloaded(&self, events: usize) -> Status {
        for _ in 0..events {
            self.counts.add(super::proto::StatusCode::Overloaded);
        }
        status::of_call(&PublishError::Overloaded)
    }
}

async fn outcome(told: oneshot::Receiver<Outcome>) -> Outcome {
    // The sender is dropped without an answer only when the producer is being torn down.
    let lost = || PublishError::Unavailable("the gateway is shutting down; send it again".into());
    told.await.unwrap_or_else(|_| Err(lost()))
}

#[tonic::async_trait]
impl Ingest for IngestService {
    async fn publish(
        &self,
        request: Request<PublishRequest>,
    ) -> Result<Response<PublishResponse>, Status> {
        // The extensions hold the call's place among all calls, until its answer is ready.
        let (_, _place, request) = request.into_parts();
        let event = request.event.unwrap_or_default();
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            return Err(self.overloaded(1));
        };
        let outcome = outcome(self.start(&event, room).await).await;
        match outcome {
            Ok(_) => {
                let status = Some(status::of_event(event.topic, &outcome));
                Ok(Response::new(PublishResponse { status }))
            }
            Err(error) => Err(status::of_call(&error)),
        }
    }

    async fn publish_batch(
        &self,
        request: Request<PublishBatchRequest>,
    ) -> Result<Response<PublishBatchResponse>, Status> {
        let (_, _place, request) = request.into_parts();
        let events = request.events;
        if events.is_empty() || events.len() > BATCH_EVENTS_MAX {
            return Err(status::of_call(&PublishError::Invalid(format!(
                "a batch has 1 to {BATCH_EVENTS_MAX} events, and this one has {}",
                events.len()
            ))));
        }
        // All or nothing: an event sent after an earlier one of its key was refused for lack of room
        // would be out of order once that one is sent again.
        let wanted = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let Ok(mut room) = Arc::clone(&self.room).try_acquire_many_owned(wanted) else {
            return Err(self.overloaded(events.len()));
        };
        let mut waiting: Vec<(String, oneshot::Receiver<Outcome>)> =
            Vec::with_capacity(events.len());
        for event in events {
            let Some(room) = room.split(1) else {
                return Err(self.overloaded(1));
            };
            let told = self.start(&event, room).await;
            waiting.push((event.topic, told));
        }
        let mut statuses: Vec<EventStatus> = Vec::with_capacity(waiting.len());
        for (topic, told) in waiting {
            statuses.push(status::of_event(topic, &outcome(told).await));
        }
        Ok(Response::new(PublishBatchResponse { statuses }))
    }

    type PublishStreamStream = ReceiverStream<Result<PublishStreamResponse, Status>>;

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let (answers, receiver) = mpsc::channel(STREAM_UNANSWERED_MAX);
        let service = Self {
            publisher: Arc::clone(&self.publisher),
            event_max_bytes: self.event_max_bytes,
            room: Arc::clone(&self.room),
            counts: Arc::clone(&self.counts),
            stopping: self.stopping.clone(),
        };
        let (_, place, requests) = request.into_parts();
        tokio::spawn(async move {
            service.serve_stream(requests, answers).await;
            // The extensions hold the call's place among all calls, until its last answer.
            drop(place);
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

type Answer = Result<PublishStreamResponse, Status>;

impl IngestService {
    async fn serve_stream(
        mut self,
        mut requests: Streaming<PublishStreamRequest>,
        answers: mpsc::Sender<Answer>,
    ) {
        let mut stopping = self.stopping.clone();
        let end = loop {
            // A slot for the answer first: a client that does not read its answers is not read from.
            let Ok(slot) = answers.clone().reserve_owned().await else {
                return;
            };
            let request = tokio::select! {
                request = requests.message() => request,
                _ = stopping.wait_for(|stop| *stop) => {
                    break Err(Status::unavailable(
                        "the gateway is shutting down; connect again and send what has no answer",
                    ));
                }
            };
            match request {
                Ok(Some(request)) => {
                    let Ok(room) = Arc::clone(&self.room).acquire_owned().await else {
                        return;
                    };
                    self.answer_later(request, room, slot).await;
                }
                Ok(None) => break Ok(()),
                Err(status) => break Err(status),
            }
        };
        // Every slot is free only when every event has its answer.
        if let Ok(mut slots) = answers.reserve_many(answers.max_capacity()).await
            && let Err(status) = end
            && let Some(slot) = slots.next()
        {
            slot.send(Err(status));
        }
    }

    async fn answer_later(
        &mut self,
        request: PublishStreamRequest,
        room: OwnedSemaphorePermit,
        slot: mpsc::OwnedPermit<Answer>,
    ) {
        let sequence = request.sequence;
        let event = request.event.unwrap_or_default();
        let topic = event.topic.clone();
        let done: Done = Box::new(move |outcome| {
            let status = Some(status::of_event(topic, &outcome));
            slot.send(Ok(PublishStreamResponse { sequence, status }));
        });
        self.hand_over(&event, room, done).await;
    }
}
