//! Sends sample events straight to Kafka, from one thread.
//!
//! It must not know what the events are.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::{Acknowledged, Mode, Source};
use crate::kafka::publisher::{Done, Outcome, Outgoing, PublishError, Publisher};

/// When the queue is full there is a batch under way to the broker, which takes a millisecond or so.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// An event has its answer at the latest when its delivery time is over; this adds some slack.
const FLUSH_MARGIN: Duration = Duration::from_secs(5);

pub(super) fn send(
    source: &mut Source,
    topic: &str,
    publisher: &Publisher,
    mode: Mode,
) -> anyhow::Result<Acknowledged> {
    publisher
        .ensure_topic_blocking(topic)
        .context("nothing was sent")?;
    let patience = publisher.delivery_timeout() + FLUSH_MARGIN;
    let answers = Arc::new(Mutex::new(Acknowledged::default()));
    // One event is on its way at a time, so one answer is all there can be.
    let (tell, told) = mpsc::sync_channel(1);
    let tell = (mode == Mode::Sync).then_some(tell);
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
        let mut done = answer_to(&answers, tell.clone());
        while let Err((error, returned)) = publisher.enqueue(&event, done) {
            done = returned;
            if error != PublishError::Overloaded {
                done(Err(error));
                break;
            }
            thread::sleep(FULL_PAUSE);
        }
        if mode == Mode::Sync && told.recv_timeout(patience).is_err() {
            break;
        }
    }
    // Whatever is not acknowledged by then is seen in the counts.
    let flushed = publisher.flush(patience);
    let mut answers = std::mem::take(&mut *answers.lock().unwrap_or_else(PoisonError::into_inner));
    if let Err(error) = flushed {
        answers.failure.get_or_insert_with(|| error.to_string());
    }
    Ok(answers)
}

fn answer_to(answers: &Arc<Mutex<Acknowledged>>, tell: Option<mpsc::SyncSender<()>>) -> Done {
    let answers = Arc::clone(answers);
    Box::new(move |outcome: Outcome| {
        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(_) => answers.events += 1,
            Err(error) => answers.failed(error.cause(), || error.to_string()),
        }
        drop(answers);
        // Nobody waits any more once the time is over.
        let _gone = tell.map(|tell| tell.try_send(()));
    })
}
