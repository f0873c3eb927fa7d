//! Spans of the events that a lane handles, where tracing is on: one for each attempt, and one for each record that is
//! made of it. Attempts and records of an event that is not sampled cost the reading of its trace context. It must not
//! know what becomes of an event.

use std::ops::Range;
use std::time::SystemTime;

use xxhash_rust::xxh3::Xxh3;

use super::super::batch::{Batch, EventView};
use super::{Lane, LaneSettings};
use crate::delivery::correlation::{TRACEPARENT, TRACESTATE};
use crate::delivery::dead_letter::Header;
use crate::delivery::trace_context::{TRACEPARENT_BYTES, TraceContext};
use crate::kafka::producer::OutgoingRecord;
use crate::sandbox::{Answer, Fault};
use crate::telemetry::traces::{OpenSpan, Operation, Traces};

/// What the header takes in a record at most, framing included.
const TRACEPARENT_HEADER_BYTES: usize = TRACEPARENT.len() + TRACEPARENT_BYTES + 10;

/// The spans of a lane.
#[derive(Debug)]
pub(super) struct Spans {
    traces: Traces,
    /// When the last call began and ended.
    call: (SystemTime, SystemTime),
    /// The events of the part that is being judged that are sampled, by index, and the span of their attempt.
    judged: Vec<(usize, TraceContext)>,
}

impl Spans {
    pub(super) fn new(traces: &Traces) -> Self {
        let now = SystemTime::now();
        Self {
            traces: traces.clone(),
            call: (now, now),
            judged: Vec::new(),
        }
    }

    fn attempt_of(&self, index: usize) -> Option<TraceContext> {
        let at = self.judged.binary_search_by_key(&index, |(at, _)| *at);
        at.ok().map(|at| self.judged[at].1)
    }
}

/// How an attempt ended, in a word, and where it failed, what kind of failure it was and what was said.
type Outcome<'a> = (&'static str, Option<(&'a str, &'a str)>);

fn outcome_of(answer: Option<&Answer>) -> Option<Outcome<'_>> {
    Some(match answer {
        None | Some(Answer::Processed) => ("processed", None),
        Some(Answer::Filtered) => ("filtered", None),
        Some(Answer::Retry(problem)) => ("retry", Some((&problem.code, &problem.message))),
        Some(Answer::Reject(problem)) => ("reject", Some((&problem.code, &problem.message))),
        Some(Answer::Overloaded(problem)) => {
            ("overloaded", Some((&problem.code, &problem.message)))
        }
        // It did not run.
        Some(Answer::Held) => return None,
    })
}

impl Lane {
    /// A call begins.
    pub(super) fn note_call_begins(&mut self) {
        if let Some(spans) = &mut self.spans {
            spans.call.0 = SystemTime::now();
        }
    }

    /// It has ended.
    pub(super) fn note_call_ended(&mut self) {
        if let Some(spans) = &mut self.spans {
            spans.call.1 = SystemTime::now();
        }
    }

    /// Records the attempts of a part of a batch, which this was answered for.
    pub(super) fn trace_answers(
        &mut self,
        batch: &Batch,
        part: &Range<usize>,
        answers: &[(u32, Answer)],
    ) {
        if self.spans.is_none() {
            return;
        }
        self.judge_no_more();
        let mut special = answers.iter().peekable();
        for index in part.clone() {
            let local = (index - part.start) as u32;
            let answer = special.next_if(|(at, _)| *at == local);
            if let Some(outcome) = outcome_of(answer.map(|(_, answer)| answer)) {
                self.trace_attempt(batch, index, part.len(), outcome);
            }
        }
    }

    /// Records an attempt that ended without an answer.
    pub(super) fn trace_fault(&mut self, batch: &Batch, index: usize, fault: &Fault) {
        if self.spans.is_none() {
            return;
        }
        self.judge_no_more();
        let outcome = (
            fault.kind.word(),
            Some((fault.kind.word(), &*fault.message)),
        );
        self.trace_attempt(batch, index, 1, outcome);
    }

    /// The events of the part that was judged are done with.
    pub(super) fn judge_no_more(&mut self) {
        if let Some(spans) = &mut self.spans {
            spans.judged.clear();
        }
    }

    #[cold]
    fn trace_attempt(
        &mut self,
        batch: &Batch,
        index: usize,
        events: usize,
        (outcome, failure): Outcome<'_>,
    ) {
        let Some(spans) = &mut self.spans else {
            return;
        };
        let event = batch.view(index);
        let topic = &self.settings.routing.now.topics[event.topic_index() as usize];
        let began = spans.call.0;
        let Some(mut span) = begin(
            &spans.traces,
            (event, topic),
            Operation::Process,
            topic,
            began,
        ) else {
            return;
        };
        spans.judged.push((index, span.context()));
        span.place(event.partition(), event.offset().0);
        span.text("messaging.consumer.group.name", &*self.settings.group);
        if events > 1 {
            span.number("messaging.batch.message_count", events as i64);
        }
        if event.value().is_none() {
            span.holds("messaging.kafka.message.tombstone");
        }
        if let Some(id) = event.header(self.settings.correlation.header.as_bytes()) {
            span.text(
                "messaging.message.conversation_id",
                String::from_utf8_lossy(id),
            );
        }
        let version = self.called.version();
        span.text("millrace.plugin.name", &*version.plugin);
        span.text("millrace.plugin.version", &*version.name);
        span.number("millrace.attempt", event.attempt().into());
        span.text("millrace.outcome", outcome);
        if let Some((kind, message)) = failure {
            span.fail(if kind.is_empty() { outcome } else { kind }, message);
        }
        span.end_at(spans.call.1);
    }

    /// Begins the span in which a record is sent that is made of an event, and writes it on the record, so that what
    /// is made of that comes below it. It ends when the broker has the record.
    pub(super) fn trace_record(&self, batch: &Batch, index: usize, record: &mut OutgoingRecord) {
        if let Some(spans) = &self.spans {
            trace_record(spans, &self.settings, (batch, index), record);
        }
    }

    /// The trace of an event, whoever records it.
    pub(super) fn trace_of(&self, batch: &Batch, index: usize) -> Option<u128> {
        let attempt = self
            .spans
            .as_ref()
            .and_then(|spans| spans.attempt_of(index));
        let context = attempt.or_else(|| context_of(batch.view(index)));
        context.map(|context| context.trace)
    }
}

#[cold]
fn trace_record(
    spans: &Spans,
    settings: &LaneSettings,
    (batch, index): (&Batch, usize),
    record: &mut OutgoingRecord,
) {
    let event = batch.view(index);
    let carried = context_of(event);
    let topic = &settings.routing.now.topics[event.topic_index() as usize];
    let began = SystemTime::now();
    let own = context_in(&record.headers).filter(|own| Some(*own) != carried);
    let parent = own.or_else(|| spans.attempt_of(index));
    let operation = Operation::Send;
    let span = match parent {
        Some(parent) => {
            let traces = &spans.traces;
            traces.begin(
                Some(parent),
                || parent.trace,
                operation,
                &record.topic,
                began,
            )
        }
        // What waited and is given up, or moved, is not part of an attempt.
        None => begin(
            &spans.traces,
            (event, topic),
            operation,
            &record.topic,
            began,
        ),
    };
    let Some(mut span) = span else { return };
    // A plugin that has written a context has begun a span of its own.
    if own.is_none() {
        let room = settings.message_bytes_max.saturating_sub(record.bytes());
        write_context(&mut record.headers, span.context(), room);
    }
    span.text("messaging.consumer.group.name", &*settings.group);
    record.span = Some(span);
}

/// Begins a span below what the event's trace context says. Without one it begins a trace, which is the same in each
/// attempt of the event.
fn begin(
    traces: &Traces,
    (event, event_topic): (EventView<'_>, &str),
    operation: Operation,
    topic: &str,
    began: SystemTime,
) -> Option<OpenSpan> {
    let parent = context_of(event);
    let mut span = traces.begin(
        parent,
        || trace_at(event, event_topic),
        operation,
        topic,
        began,
    )?;
    if parent.is_some()
        && let Some(state) = event.header(TRACESTATE.as_bytes())
        && let Ok(state) = std::str::from_utf8(state)
    {
        span.state(state);
    }
    Some(span)
}

fn context_of(event: EventView<'_>) -> Option<TraceContext> {
    TraceContext::parse(event.header(TRACEPARENT.as_bytes())?)
}

fn context_in(headers: &[Header]) -> Option<TraceContext> {
    let mut headers = headers.iter().rev();
    let (_, value) = headers.find(|(name, _)| name == TRACEPARENT.as_bytes())?;
    TraceContext::parse(value.as_deref()?)
}

/// The id of the trace that begins with an event: by its place, and by its time, because a topic may be made anew.
fn trace_at(event: EventView<'_>, topic: &str) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(topic.as_bytes());
    hasher.update(&event.partition().to_le_bytes());
    hasher.update(&event.offset().0.to_le_bytes());
    hasher.update(&event.timestamp_ms().unwrap_or(0).to_le_bytes());
    hasher.digest128()
}

/// Writes a trace context over the one that is there, or behind all headers where there is room for it.
fn write_context(headers: &mut Vec<Header>, context: TraceContext, room_bytes: usize) {
    let value = Some(context.to_string().into_bytes());
    let known = headers.iter_mut().rev();
    let mut known = known.filter(|(name, _)| name == TRACEPARENT.as_bytes());
    if let Some((_, own)) = known.next() {
        *own = value;
    } else if room_bytes >= TRACEPARENT_HEADER_BYTES + super::check::RECORD_OVERHEAD_BYTES {
        headers.push((TRACEPARENT.as_bytes().to_vec(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_takes_the_place_of_the_one_that_was_read_or_comes_last() {
        let context = TraceContext {
            trace: 1,
            span: 2,
            sampled: true,
        };
        let header =
            |name: &str, value: &str| (name.as_bytes().to_vec(), Some(value.as_bytes().to_vec()));
        let written = context.to_string();
        let mut headers = vec![
            header("a", "1"),
            header(TRACEPARENT, PARENT),
            header("b", "2"),
        ];
        write_context(&mut headers, context, 0);
        let expected = [
            header("a", "1"),
            header(TRACEPARENT, &written),
            header("b", "2"),
        ];
        assert_eq!(headers, expected);
        assert_eq!(context_in(&headers), Some(context));
        let mut none = vec![header("a", "1")];
        write_context(&mut none, context, 100);
        assert_eq!(none.len(), 1, "there is no room");
        write_context(&mut none, context, 1_000);
        assert_eq!(context_in(&none), Some(context));
    }
}
