//! Where spans go and which are recorded. It must not know how a span looks or is sent.

use std::path::PathBuf;
use std::time::Duration;

use super::Secret;

/// Spans are sent to an OpenTelemetry collector.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// The collector.
    pub collector: Collector,
    /// What is said of the process with every span: names and values; `service.name` is among them.
    pub resource: Vec<(String, String)>,
    /// Which traces are recorded.
    pub sampler: Sampler,
    /// How spans wait for being sent.
    pub queue: SpanQueue,
}

/// How the collector is reached, by OTLP.
#[derive(Debug, Clone, PartialEq)]
pub struct Collector {
    /// Its dialect.
    pub protocol: OtlpProtocol,
    /// The address, with scheme and host; for HTTP the path too.
    pub endpoint: http::Uri,
    /// Authorities that its certificate is checked against (PEM); none takes those of the system.
    pub certificate: Option<PathBuf>,
    /// Sent with each request: names in lower case, and values that may be tokens.
    pub headers: Vec<(String, Secret)>,
    /// Whether requests are compressed with gzip.
    pub gzip: bool,
    /// How long a request may take.
    pub timeout: Duration,
}

/// The dialects of OTLP that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// gRPC.
    Grpc,
    /// Protobuf in the body of an HTTP/1.1 request.
    HttpProtobuf,
}

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Whether an event that is part of a trace follows what its trace context says.
    pub parent_based: bool,
    /// Otherwise, this share of all traces, 0 to 1, told by the trace's id.
    pub ratio: f64,
}

/// How spans wait for being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanQueue {
    /// Spans that may wait; those for which there is no room are dropped.
    pub spans_max: usize,
    /// Spans of a request; at most as many as may wait.
    pub batch_max: usize,
    /// The longest that a span waits for others.
    pub delay: Duration,
    /// How long one batch is tried to be sent, before it is given up.
    pub export_timeout: Duration,
}
