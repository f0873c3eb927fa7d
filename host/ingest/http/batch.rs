//! What became of each event of a batch, gathered as the broker answers.
//!
//! One place for all of them instead of a channel for each: a batch of ten thousand costs one allocation here. It must
//! not know how events are sent.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::problem::Problem;
use crate::ingest::refusal::{Answer, Status};
use crate::kafka::publisher::PublishError;

/// Bytes that the outcome of an accepted event takes in JSON, about.
const OUTCOME_BYTES: usize = 64;

/// The answers of a batch that is under way. Each event's answer is given once.
#[derive(Debug)]
pub(super) struct Batch(Mutex<Gathering>);

#[derive(Debug)]
struct Gathering {
    answers: Vec<Option<Answer>>,
    left: usize,
    /// Whether there was no room for one of them.
    overloaded: bool,
    /// Takes the answers when the last is there.
    tell: Option<oneshot::Sender<Vec<Option<Answer>>>>,
}

/// The answers of a batch, to wait for.
#[derive(Debug)]
pub(super) struct Awaited {
    events: usize,
    told: oneshot::Receiver<Vec<Option<Answer>>>,
}

/// What became of a batch.
#[derive(Debug)]
pub(super) struct BatchOutcome {
    pub(super) accepted: usize,
    pub(super) refused: usize,
    topic: String,
    /// Of each event, as a JSON array.
    events: String,
    /// Why the first one was refused that was, and whether all were for the same kind of reason.
    first: Option<(Problem, bool)>,
}

impl Batch {
    /// For a number of events.
    pub(super) fn of(events: usize) -> (Arc<Self>, Awaited) {
        let (tell, told) = oneshot::channel();
        let mut gathering = Gathering {
            answers: Vec::new(),
            left: events,
            overloaded: false,
            tell: Some(tell),
        };
        gathering.answers.resize_with(events, || None);
        gathering.tell_if_complete();
        (
            Arc::new(Self(Mutex::new(gathering))),
            Awaited { events, told },
        )
    }

    /// Notes what became of the event at `index`. It blocks no longer than a copy takes.
    pub(super) fn answer(&self, index: usize, answer: Answer) {
        let overloaded = Status::of(&answer) == Status::Overloaded;
        let mut gathering = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gathering.overloaded |= overloaded;
        if let Some(place) = gathering.answers.get_mut(index)
            && place.replace(answer).is_none()
        {
            gathering.left -= 1;
            gathering.tell_if_complete();
        }
    }

    /// Whether there was no room for one of the events. What comes after it must not be sent: an event of the same key
    /// would stand before it once it is sent again.
    pub(super) fn is_overloaded(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .overloaded
    }
}

impl Gathering {
    fn tell_if_complete(&mut self) {
        if self.left == 0
            && let Some(tell) = self.tell.take()
        {
            // A client that went away waits for nothing.
            drop(tell.send(std::mem::take(&mut self.answers)));
        }
    }
}

impl Awaited {
    /// Waits until every event has its answer.
    pub(super) async fn wait(self, topic: &str) -> BatchOutcome {
        // The sender goes without a word only when the producer is being torn down.
        let answers = self.told.await.unwrap_or_default();
        let lost = || {
            Err(
                PublishError::Unavailable("the gateway is shutting down; send it again".into())
                    .into(),
            )
        };
        let mut answers = answers.into_iter();
        let answers = (0..self.events).map(|_| answers.next().flatten().unwrap_or_else(lost));
        BatchOutcome::of(topic, answers)
    }
}

impl BatchOutcome {
    fn of(topic: &str, answers: impl ExactSizeIterator<Item = Answer>) -> Self {
        let mut outcome = Self {
            accepted: 0,
            refused: 0,
            topic: topic.to_owned(),
            events: String::with_capacity(2 + answers.len() * OUTCOME_BYTES),
            first: None,
        };
        outcome.events.push('[');
        for answer in answers {
            outcome.add(answer);
        }
        outcome.events.push(']');
        outcome
    }

    fn add(&mut self, answer: Answer) {
        if self.events.len() > 1 {
            self.events.push(',');
        }
        // Writing into memory cannot fail.
        match answer {
            Ok(delivered) => {
                self.accepted += 1;
                let (partition, offset) = (delivered.partition, delivered.offset);
                let written = write!(
                    self.events,
                    r#"{{"status":202,"partition":{partition},"offset":{offset}}}"#
                );
                debug_assert!(written.is_ok());
            }
            Err(refusal) => {
                self.refused += 1;
                let problem = Problem::from(&refusal);
                let detail = serde_json::to_string(&problem.detail).unwrap_or_default();
                let written = write!(
                    self.events,
                    r#"{{"status":{},"code":"{}","detail":{detail}}}"#,
                    problem.kind.status().as_u16(),
                    problem.kind.code(),
                );
                debug_assert!(written.is_ok());
                match &mut self.first {
                    None => self.first = Some((problem, true)),
                    Some((first, all_same)) => *all_same &= first.kind == problem.kind,
                }
            }
        }
    }

    /// The body of an answer that is no problem.
    pub(super) fn into_json(self) -> String {
        // A topic that does not exist may have any name.
        let topic = serde_json::to_string(&self.topic).unwrap_or_default();
        format!(
            r#"{{"topic":{topic},"accepted":{},"refused":{},"events":{}}}"#,
            self.accepted, self.refused, self.events
        )
    }

    /// The one reason that no event was accepted for; none where they differ, or some were accepted.
    pub(super) fn only_reason(&self) -> Option<Problem> {
        let (first, all_same) = self.first.as_ref()?;
        if self.accepted > 0 || !all_same {
            return None;
        }
        let mut problem = first.clone();
        if self.refused > 1 {
            problem.detail = format!(
                "none of the {} events was accepted; the first: {}",
                self.refused, problem.detail
            );
        }
        Some(problem.with_events(self.events.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::http::problem::Kind;
    use crate::kafka::publisher::Delivered;

    fn accepted(offset: i64) -> Answer {
        Ok(Delivered {
            partition: 1,
            offset,
        })
    }

    fn refused(error: PublishError) -> Answer {
        Err(error.into())
    }

    fn too_large() -> Answer {
        refused(PublishError::TooLarge("too \"large\"".into()))
    }

    #[tokio::test]
    async fn a_batch_is_answered_when_its_last_event_is_in_any_order() {
        let (batch, awaited) = Batch::of(3);
        batch.answer(2, too_large());
        batch.answer(0, accepted(7));
        batch.answer(1, accepted(8));
        let outcome = awaited.wait("t").await;
        assert_eq!((outcome.accepted, outcome.refused), (2, 1));
        assert!(outcome.only_reason().is_none());
        let json: serde_json::Value = serde_json::from_str(&outcome.into_json()).unwrap();
        assert_eq!(json["topic"], "t");
        assert_eq!(json["events"][1]["offset"], 8);
        assert_eq!(json["events"][2]["code"], "TOO_LARGE");
        assert_eq!(json["events"][2]["status"], 413);
        assert_eq!(json["events"][2]["detail"], "too \"large\"");
        let (_batch, awaited) = Batch::of(0);
        assert_eq!(
            awaited.wait("t").await.accepted,
            0,
            "an empty one waits for nothing"
        );
    }

    #[tokio::test]
    async fn a_batch_that_failed_for_one_reason_is_that_problem() {
        let (batch, awaited) = Batch::of(2);
        batch.answer(0, too_large());
        batch.answer(1, too_large());
        let problem = awaited.wait("t").await.only_reason().unwrap();
        assert_eq!(problem.kind, Kind::TooLarge);
        assert!(
            problem.detail.contains("none of the 2 events"),
            "{}",
            problem.detail
        );
        let (batch, awaited) = Batch::of(2);
        batch.answer(0, too_large());
        batch.answer(1, refused(PublishError::UnknownTopic("t".into())));
        assert!(
            awaited.wait("t").await.only_reason().is_none(),
            "the reasons differ"
        );
    }

    #[tokio::test]
    async fn an_event_without_room_is_remembered() {
        let (batch, _awaited) = Batch::of(2);
        batch.answer(0, too_large());
        assert!(!batch.is_overloaded());
        batch.answer(1, refused(PublishError::Overloaded));
        assert!(batch.is_overloaded());
    }

    #[tokio::test]
    async fn events_that_are_never_answered_are_unavailable() {
        let (batch, awaited) = Batch::of(2);
        batch.answer(0, accepted(1));
        drop(batch);
        let problem = awaited.wait("t").await.only_reason().unwrap();
        assert_eq!(problem.kind, Kind::Unavailable);
    }
}
