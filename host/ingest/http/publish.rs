//! Answers a request to publish: reads it, hands its events over, and says what became of them.
//!
//! It must not know sockets, nor how an event is checked and sent.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Desk;
use super::batch::Batch;
use super::events::{Events, Incoming};
use super::problem::{Kind, Problem};
use super::request::Stated;
use crate::connections::Peer;
use crate::ingest::reception::{Caller, Received};
use crate::ingest::refusal::{Answer, Refusal};
use crate::kafka::publisher::{Delivered, PublishError};

/// Events of a batch between two chances for other requests. This many take a fraction of a millisecond.
const TURN_EVENTS: usize = 256;

/// The media type of answers that are no problems.
const JSON: &str = "application/json";

pub(super) async fn publish(
    State(desk): State<Arc<Desk>>,
    topic: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let answered = match topic {
        Ok(Path(topic)) => answer(&desk, &topic, query.as_deref(), request).await,
        Err(rejection) => Err(Problem::invalid(format!(
            "the topic in the path: {rejection}"
        ))),
    };
    answered.unwrap_or_else(Problem::into_response)
}

async fn answer(
    desk: &Arc<Desk>,
    topic: &str,
    query: Option<&str>,
    request: Request,
) -> Result<Response, Problem> {
    let authorization = request.headers().get(header::AUTHORIZATION);
    let client = desk
        .reception
        .who(authorization.map(|shown| shown.as_bytes()))?;
    client.may_publish_to(topic)?;
    if let Some(peer) = request.extensions().get::<Peer>() {
        peer.is_known();
    }
    // Held until the answer is ready.
    let _place = Arc::clone(&desk.places)
        .try_acquire_owned()
        .map_err(|_| Refusal::Busy("too many requests at once"))?;
    let caller = Caller {
        client,
        deadline: None,
        carried: desk.reception.carried(request.headers()),
    };
    let (head, body) = request.into_parts();
    let stated = Stated::read(query, &head.headers)?;
    let content = stated.content(&head.headers)?;
    let body = desk.bodies.read(&head.headers, body).await?;
    let events = Events::read(
        content,
        &stated,
        &head.headers,
        &body.bytes,
        &desk.cloudevents,
    );
    let events = events.map_err(Problem::invalid)?;
    if content.is_batch() {
        return batch(desk, topic, &caller, events).await;
    }
    single(desk, topic, &caller, events).await
}

async fn single(
    desk: &Desk,
    topic: &str,
    caller: &Caller,
    mut events: Events<'_>,
) -> Result<Response, Problem> {
    let event = events
        .next()
        .unwrap_or_else(|| Err("there is no event".to_owned()));
    let event = event.map_err(|why| refused(desk, PublishError::Invalid(why)))?;
    let room = desk.reception.room_for(1)?;
    let told = desk
        .reception
        .start(caller, received(topic, &event), room)
        .await;
    let Delivered { partition, offset } = told.answer().await?;
    // The broker knows the topic, so there is nothing in its name that JSON escapes.
    let body = format!(r#"{{"topic":"{topic}","partition":{partition},"offset":{offset}}}"#);
    Ok((StatusCode::ACCEPTED, [(header::CONTENT_TYPE, JSON)], body).into_response())
}

async fn batch(
    desk: &Desk,
    topic: &str,
    caller: &Caller,
    events: Events<'_>,
) -> Result<Response, Problem> {
    let count = events.len();
    if count > desk.batch_max {
        let detail = format!(
            "the batch has {count} events and at most {} are taken; send fewer at once",
            desk.batch_max
        );
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    let mut room = desk.reception.room_for(count)?;
    let (batch, outcome) = Batch::of(count);
    for (index, event) in events.enumerate() {
        match (event, room.split_one()) {
            (Ok(event), Some(room)) if !batch.is_overloaded() => {
                let batch = Arc::clone(&batch);
                let done = move |answer: Answer| batch.answer(index, answer);
                let event = received(topic, &event);
                desk.reception.take_in(caller, event, room, done).await;
            }
            (Ok(_), _) => batch.answer(index, Err(refused(desk, PublishError::Overloaded))),
            (Err(why), _) => batch.answer(index, Err(refused(desk, PublishError::Invalid(why)))),
        }
        if (index + 1) % TURN_EVENTS == 0 {
            tokio::task::yield_now().await;
        }
    }
    // Whatever is not answered any more shows as its end.
    drop(batch);
    let outcome = outcome.wait(topic).await;
    if let Some(problem) = outcome.only_reason() {
        return Err(problem);
    }
    let status = if outcome.refused == 0 {
        StatusCode::ACCEPTED
    } else {
        StatusCode::MULTI_STATUS
    };
    Ok((status, [(header::CONTENT_TYPE, JSON)], outcome.into_json()).into_response())
}

/// Such an event never reaches the reception, and counts all the same.
fn refused(desk: &Desk, why: PublishError) -> Refusal {
    let refusal = Refusal::from(why);
    desk.reception.counts().add(refusal.status(), 1);
    refusal
}

fn received<'a>(topic: &'a str, event: &'a Incoming<'_>) -> Received<'a> {
    let headers = event.headers.iter();
    Received {
        topic,
        partition: event.partition,
        key: event.key.as_deref(),
        value: event.value.as_deref(),
        headers: headers
            .map(|(name, value)| (name.as_ref(), value.as_deref()))
            .collect(),
        timestamp_ms: event.timestamp_ms,
        idempotency_key: event.idempotency_key.as_deref(),
    }
}
