//! The three calls of the `Ingest` service.
//!
//! It unpacks messages, hands their events to the reception and answers once each is acknowledged. It must not
//! know sockets or how long the server runs, except that it may be told to stop reading.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tonic::{Code, Request, Response, Status, Streaming};

use super::answers::{Answers, Reading, exchange};
use super::calls::Admitted;
use super::status;
use crate::ingest::proto::ingest_server::Ingest;
use crate::ingest::proto::{
    Event, EventStatus, PublishBatchRequest, PublishBatchResponse, PublishRequest, PublishResponse,
    PublishStreamRequest,
};
use crate::ingest::reception::{Caller, Received, Reception, Told};
use crate::ingest::refusal::Refusal;
use crate::kafka::publisher::PublishError;

/// Events of one batch. The message size bounds large events; this bounds empty ones.
pub(super) const BATCH_EVENTS_MAX: usize = 10_000;

/// The service.
#[derive(Debug, Clone)]
pub(super) struct IngestService {
    pub(super) reception: Arc<Reception>,
    /// Turns true when the gateway shuts down.
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) message_max_bytes: usize,
}

pub(super) fn received(event: &Event) -> Received<'_> {
    let headers = event.headers.iter();
    Received {
        topic: &event.topic,
        partition: event.partition,
        key: event.key.as_deref(),
        value: event.value.as_deref(),
        headers: headers
            .map(|h| (h.name.as_str(), h.value.as_deref()))
            .collect(),
        timestamp_ms: event.timestamp_ms,
        idempotency_key: event.idempotency_key.as_deref(),
    }
}

/// Splits a request into what admitted it, which holds its place until it is dropped, and its message.
fn admitted<T>(request: Request<T>) -> Result<(Admitted, T), Status> {
    let (_, mut extensions, message) = request.into_parts();
    match extensions.remove::<Admitted>() {
        Some(admitted) => Ok((admitted, message)),
        None => Err(Status::internal(
            "the call was not admitted; please report this",
        )),
    }
}

#[tonic::async_trait]
impl Ingest for IngestService {
    async fn publish(
        &self,
        request: Request<PublishRequest>,
    ) -> Result<Response<PublishResponse>, Status> {
        let (admitted, request) = admitted(request)?;
        let event = request.event.unwrap_or_default();
        let refused = |refusal: Refusal| status::of_call(&refusal);
        let room = self.reception.room_for(1).map_err(refused)?;
        let told = self
            .reception
            .start(&admitted.caller, received(&event), room)
            .await;
        let answer = told.answer().await;
        let status = Some(status::of_event(event.topic, &answer));
        answer.map_err(refused)?;
        let mut response = Response::new(PublishResponse { status });
        // A few bytes, which compression would only make more.
        response.disable_compression();
        Ok(response)
    }

    async fn publish_batch(
        &self,
        request: Request<PublishBatchRequest>,
    ) -> Result<Response<PublishBatchResponse>, Status> {
        let (admitted, request) = admitted(request)?;
        let events = request.events;
        if events.is_empty() || events.len() > BATCH_EVENTS_MAX {
            let refusal = PublishError::Invalid(format!(
                "a batch has 1 to {BATCH_EVENTS_MAX} events, and this one has {}",
                events.len()
            ));
            return Err(status::of_call(&refusal.into()));
        }
        let room = self.reception.room_for(events.len());
        let mut room = room.map_err(|refusal| status::of_call(&refusal))?;
        let mut waiting: Vec<(String, Told)> = Vec::with_capacity(events.len());
        for event in events {
            // There is room for each, so this never ends early.
            let Some(room) = room.split_one() else { break };
            let told = self
                .reception
                .start(&admitted.caller, received(&event), room)
                .await;
            waiting.push((event.topic, told));
        }
        let mut statuses: Vec<EventStatus> = Vec::with_capacity(waiting.len());
        for (topic, told) in waiting {
            statuses.push(status::of_event(topic, &told.answer().await));
        }
        Ok(Response::new(PublishBatchResponse { statuses }))
    }

    type PublishStreamStream = Answers;

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let (reading, answers) = exchange(&self.reception);
        let (admitted, requests) = admitted(request)?;
        let service = self.clone();
        tokio::spawn(async move {
            let exchange = reading.exchange();
            tokio::select! {
                () = service.serve_stream(&admitted.caller, requests, reading) => {}
                () = exchange.unread() => {
                    tracing::debug!("a stream was cut: its client does not read its answers");
                    exchange.cut();
                }
            }
            exchange.over().await;
            drop(admitted);
        });
        Ok(Response::new(answers))
    }
}

impl IngestService {
    async fn serve_stream(
        self,
        caller: &Caller,
        mut requests: Streaming<PublishStreamRequest>,
        mut reading: Reading,
    ) {
        let stopped = || {
            Err(Status::unavailable(
                "the gateway is shutting down; connect again and send what has no answer",
            ))
        };
        let mut stopping = self.stopping.clone();
        let mut over = std::pin::pin!(deadline(caller.deadline));
        let end = loop {
            // A slot for the answer first: a client that does not read its answers is not read from.
            if !reading.slot().await {
                break Ok(());
            }
            // A message that is there is taken first, so that the rest is not asked for each event of a flood.
            if *stopping.borrow() {
                break stopped();
            }
            let request = tokio::select! {
                biased;
                request = requests.message() => request,
                () = &mut over => break Err(status::of_call(&Refusal::Unanswered)),
                _ = stopping.wait_for(|stop| *stop) => break stopped(),
            };
            match request {
                Ok(Some(request)) => {
                    if !reading.hand_over(caller, request).await {
                        break stopped();
                    }
                }
                Ok(None) => break Ok(()),
                Err(status) if status.code() == Code::OutOfRange => {
                    break Err(status::too_large(self.message_max_bytes));
                }
                Err(status) => break Err(status),
            }
        };
        reading.end(end);
    }
}

async fn deadline(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
