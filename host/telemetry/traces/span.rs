//! One span: what OpenTelemetry's conventions for messaging call its parts. It must not know how it is sent.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Traces;
use super::otlp::opentelemetry::proto::common::v1::any_value::Value;
use super::otlp::opentelemetry::proto::common::v1::{AnyValue, KeyValue};
use super::otlp::opentelemetry::proto::resource::v1::Resource;
use super::otlp::opentelemetry::proto::trace::v1::span::SpanKind;
use super::otlp::opentelemetry::proto::trace::v1::status::StatusCode;
use super::otlp::opentelemetry::proto::trace::v1::{Span, Status};
use crate::delivery::trace_context::TraceContext;

/// A text of a span, in bytes at most: plugins and records write some of them.
const TEXT_BYTES_MAX: usize = 1 << 10;

/// The sampled flag of a span.
const SAMPLED: u32 = 1;

/// What is done with a record, in the words of OpenTelemetry's conventions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is given to the broker.
    Send,
    /// It is handled.
    Process,
}

impl Operation {
    fn word(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Process => "process",
        }
    }

    fn kind(self) -> SpanKind {
        match self {
            Self::Send => SpanKind::Producer,
            Self::Process => SpanKind::Consumer,
        }
    }
}

/// A span that has begun. Only one that is ended is sent.
#[derive(Debug, Clone)]
pub struct OpenSpan {
    context: TraceContext,
    span: Box<Span>,
    traces: Traces,
}

/// A span is the same as itself alone.
impl PartialEq for OpenSpan {
    fn eq(&self, other: &Self) -> bool {
        self.context == other.context
    }
}

impl Eq for OpenSpan {}

impl OpenSpan {
    pub(super) fn new(context: TraceContext, span: Span, traces: Traces) -> Self {
        Self {
            context,
            span: Box::new(span),
            traces,
        }
    }

    /// Its place, which what is made in it names as its parent.
    #[must_use]
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// Adds a text.
    pub fn text(&mut self, name: &str, value: impl Into<String>) {
        self.span.attributes.push(text(name, value.into()));
    }

    /// Adds a number.
    pub fn number(&mut self, name: &str, value: i64) {
        self.span
            .attributes
            .push(attribute(name, Value::IntValue(value)));
    }

    /// Adds that something holds.
    pub fn holds(&mut self, name: &str) {
        self.span
            .attributes
            .push(attribute(name, Value::BoolValue(true)));
    }

    /// What tracing systems have added to the trace context.
    pub fn state(&mut self, tracestate: &str) {
        tracestate.clone_into(&mut self.span.trace_state);
    }

    /// The record's place in its topic.
    pub fn place(&mut self, partition: i32, offset: i64) {
        self.text("messaging.destination.partition.id", partition.to_string());
        self.number("messaging.kafka.offset", offset);
    }

    /// It has failed: a word for what kind of failure, and what was said of it.
    pub fn fail(&mut self, kind: &str, message: &str) {
        self.text("error.type", kind);
        self.span.status = Some(Status {
            message: shortened(message.to_owned()),
            code: StatusCode::Error.into(),
        });
    }

    /// It ends now.
    pub fn end(self) {
        self.end_at(SystemTime::now());
    }

    /// It ended then.
    pub fn end_at(mut self, at: SystemTime) {
        // A clock that was set back must not make a span that ends before it begins.
        self.span.end_time_unix_nano = nanos(at).max(self.span.start_time_unix_nano);
        self.traces.take(*self.span);
    }
}

/// A span of this operation on a record of this topic.
pub(super) fn begun(
    context: TraceContext,
    parent: Option<u64>,
    (operation, topic): (Operation, &str),
    began: SystemTime,
) -> Span {
    let word = operation.word();
    Span {
        trace_id: context.trace.to_be_bytes().to_vec(),
        span_id: context.span.to_be_bytes().to_vec(),
        parent_span_id: parent.map_or_else(Vec::new, |parent| parent.to_be_bytes().to_vec()),
        flags: SAMPLED,
        name: format!("{word} {topic}"),
        kind: operation.kind().into(),
        start_time_unix_nano: nanos(began),
        attributes: vec![
            text("messaging.system", "kafka".to_owned()),
            text("messaging.operation.name", word.to_owned()),
            text("messaging.operation.type", word.to_owned()),
            text("messaging.destination.name", topic.to_owned()),
        ],
        ..Span::default()
    }
}

/// What is said of the process with every span.
pub(super) fn resource(said: &[(String, String)]) -> Resource {
    let said = said.iter();
    let mut attributes: Vec<_> = said
        .map(|(name, value)| text(name, value.clone()))
        .collect();
    attributes.push(text(
        "telemetry.sdk.name",
        env!("CARGO_PKG_NAME").to_owned(),
    ));
    attributes.push(text("telemetry.sdk.language", "rust".to_owned()));
    attributes.push(text(
        "telemetry.sdk.version",
        env!("CARGO_PKG_VERSION").to_owned(),
    ));
    attributes.push(attribute(
        "process.pid",
        Value::IntValue(std::process::id().into()),
    ));
    Resource {
        attributes,
        ..Resource::default()
    }
}

fn text(name: &str, value: String) -> KeyValue {
    attribute(name, Value::StringValue(shortened(value)))
}

fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

fn attribute(name: &str, value: Value) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
