//! Sends sample events straight to Kafka, from one thread.
//!
//! It must not know what the events are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::{Acknowledged, Source};
use crate::config;
use crate::kafka::publisher::{DELIVERY_TIMEOUT, Done, Outcome, Outgoing, PublishError, Publisher};

/// When the queue is full there is a batch under way to the broker, which takes a millisecond or so.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// An event has its answer at the latest when its delivery time is over; this adds some slack.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(DELIVERY_TIMEOUT.as_secs() + 5);

#[derive(Default)]
struct Answers {
    acknowledged: AtomicU64,
    failure: OnceLock<String>,
}

pub(super) fn send(
    source: &mut Source,
    topic: &str,
    kafka: &config::Kafka,
) -> anyhow::Result<Acknowledged> {
    let publisher = Publisher::new(kafka)?;
    publisher
        .ensure_topic_blocking(topic)
        .context("nothing was sent")?;
    let answers = Arc::new(Answers::default());
    loop {
        let wait = source.due_in();
        if wait > Duration::ZERO {
            thread::sleep(wait);
        }
        let Some(sample) = source.take()? else { break };
        let event = Outgoing {
            topic,
            key: Some(sample.key.as_bytes()),
            value: Some(sample.value.as_bytes()),
            ..Outgoing::default()
        };
        let mut done = answer_to(&answers);
        while let Err((error, returned)) = publisher.enqueue(&event, done) {
            done = returned;
            if error != PublishError::Overloaded {
                done(Err(error));
                break;
            }
            thread::sleep(FULL_PAUSE);
        }
    }
    // Whatever is not acknowledged by then is seen in the counts.
    let flushed = publisher.flush(FLUSH_TIMEOUT);
    let events = answers.acknowledged.load(Ordering::Acquire);
    let failure = answers
        .failure
        .get()
        .cloned()
        .or_else(|| flushed.err().map(|e| e.to_string()));
    Ok(Acknowledged { events, failure })
}

fn answer_to(answers: &Arc<Answers>) -> Done {
    let answers = Arc::clone(answers);
    Box::new(move |outcome: Outcome| match outcome {
        Ok(_) => {
            answers.acknowledged.fetch_add(1, Ordering::Release);
        }
        Err(error) => {
            answers.failure.get_or_init(|| error.to_string());
        }
    })
}
