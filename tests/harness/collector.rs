//! An OpenTelemetry collector that keeps what it is sent: OTLP as its own definitions have it, by gRPC and by HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use bytes::Bytes;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use self::otlp::opentelemetry::proto::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use self::otlp::opentelemetry::proto::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use self::otlp::opentelemetry::proto::common::v1::KeyValue;
use self::otlp::opentelemetry::proto::common::v1::any_value::Value;
use super::wait;

/// OpenTelemetry's own definitions, generated.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::clone_on_ref_ptr,
    reason = "generated code"
)]
mod otlp {
    include!(concat!(env!("OUT_DIR"), "/otlp.rs"));
}

/// Above what a span waits for others, and a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A span as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) kind: i32,
    /// In hexadecimal, as all ids.
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty where it has none.
    pub(crate) parent: String,
    pub(crate) failed: bool,
    pub(crate) attributes: BTreeMap<String, String>,
    /// What was said of the process.
    pub(crate) resource: BTreeMap<String, String>,
}

impl Seen {
    /// An attribute; empty where it is not there.
    pub(crate) fn said(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// The `traceparent` of what is made in it.
    pub(crate) fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.id)
    }
}

type Kept = Arc<Mutex<Vec<Seen>>>;

/// A collector that runs.
#[derive(Debug)]
pub(crate) struct Collector {
    address: SocketAddr,
    kept: Kept,
    _runtime: Runtime,
}

#[derive(Debug)]
struct Service(Kept);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        keep(&self.0, request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// One that speaks gRPC.
    pub(crate) fn grpc() -> Self {
        Self::start(|listener, kept| async move {
            let incoming = TcpListenerStream::new(listener);
            let service = TraceServiceServer::new(Service(kept));
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.ok();
        })
    }

    /// One that speaks HTTP.
    pub(crate) fn http() -> Self {
        Self::start(|listener, kept| async move {
            let take = |State(kept): State<Kept>, body: Bytes| async move {
                let Ok(request) = ExportTraceServiceRequest::decode(body) else {
                    return (StatusCode::BAD_REQUEST, Vec::new());
                };
                keep(&kept, request);
                let answer = ExportTraceServiceResponse::default();
                (StatusCode::OK, answer.encode_to_vec())
            };
            let router = axum::Router::new().route("/v1/traces", axum::routing::post(take));
            axum::serve(listener, router.with_state(kept)).await.ok();
        })
    }

    fn start<F: Future<Output = ()> + Send + 'static>(
        serve: impl FnOnce(TcpListener, Kept) -> F,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let kept = Kept::default();
        runtime.spawn(serve(listener, Arc::clone(&kept)));
        Self {
            address,
            kept,
            _runtime: runtime,
        }
    }

    /// The value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every span so far.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }

    /// Waits for so many spans of a trace, and returns them in the order in which they ended.
    #[track_caller]
    pub(crate) fn wait_for(&self, trace: &str, spans: usize) -> Vec<Seen> {
        wait::eventually_some("the spans of a trace", TIMEOUT, || {
            let mut seen = self.spans();
            seen.retain(|span| span.trace == trace);
            if seen.len() >= spans {
                Ok(seen)
            } else {
                Err(format!("{seen:#?}"))
            }
        })
    }
}

fn keep(kept: &Kept, request: ExportTraceServiceRequest) {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    for of_process in request.resource_spans {
        let resource = said(of_process.resource.unwrap_or_default().attributes);
        let spans = of_process.scope_spans.into_iter();
        for span in spans.flat_map(|scope| scope.spans) {
            assert!(
                span.start_time_unix_nano > 0
                    && span.start_time_unix_nano <= span.end_time_unix_nano,
                "{span:?}"
            );
            kept.push(Seen {
                name: span.name,
                kind: span.kind,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                // The code for an error.
                failed: span.status.is_some_and(|status| status.code == 2),
                attributes: said(span.attributes),
                resource: resource.clone(),
            });
        }
    }
}

fn said(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let attributes = attributes.into_iter();
    let told = attributes.map(|said| {
        let value = match said.value.and_then(|value| value.value) {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            Some(Value::BoolValue(holds)) => holds.to_string(),
            other => format!("{other:?}"),
        };
        (said.key, value)
    });
    told.collect()
}
