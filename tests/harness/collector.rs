//! An OpenTelemetry collector that keeps what it is sent: OTLP as its own definitions have it, by gRPC and by HTTP, on
//! one port. It must not know what spans say.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::Bytes;
use flate2::read::GzDecoder;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use self::otlp::opentelemetry::proto::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use self::otlp::opentelemetry::proto::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use self::otlp::opentelemetry::proto::common::v1::KeyValue;
use self::otlp::opentelemetry::proto::common::v1::any_value::Value;
use super::certificates::Authority;
use super::{process, wait};

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
    certificate: Option<PathBuf>,
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
    /// One without encryption.
    pub(crate) fn start() -> Self {
        Self::serving(None)
    }

    /// One that takes encrypted connections only, with a certificate that `OTEL_EXPORTER_OTLP_CERTIFICATE` has to name.
    pub(crate) fn start_encrypted() -> Self {
        let (authority, folder) = (Authority::new(), process::folder("collector"));
        let signed = authority.server(Ipv4Addr::LOCALHOST.into());
        let certificate = authority.write(&folder.join("ca.crt"));
        Self::serving(Some((signed.acceptor(&["h2", "http/1.1"]), certificate)))
    }

    fn serving(tls: Option<(TlsAcceptor, PathBuf)>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let kept = Kept::default();
        let service = TraceServiceServer::new(Service(Arc::clone(&kept)));
        let router = Routes::new(service.accept_compressed(CompressionEncoding::Gzip))
            .into_axum_router()
            .route("/v1/traces", axum::routing::post(taken))
            .layer(Extension(Arc::clone(&kept)));
        let (acceptor, certificate) = tls.unzip();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (router, acceptor) = (router.clone(), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, router).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, router).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            certificate,
            kept,
            _runtime: runtime,
        }
    }

    /// The value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn endpoint(&self) -> String {
        let scheme = self.certificate.as_ref().map_or("http", |_| "https");
        format!("{scheme}://{}", self.address)
    }

    /// The value of `OTEL_EXPORTER_OTLP_CERTIFICATE`; none where nothing is encrypted.
    pub(crate) fn certificate(&self) -> Option<&str> {
        self.certificate.as_ref()?.to_str()
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

async fn taken(Extension(kept): Extension<Kept>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let packed = headers.get("content-encoding");
    let mut plain = Vec::new();
    let read = match packed.map(HeaderValue::as_bytes) {
        Some(b"gzip") => GzDecoder::new(&*body).read_to_end(&mut plain),
        None => (&*body).read_to_end(&mut plain),
        Some(_) => return StatusCode::UNSUPPORTED_MEDIA_TYPE,
    };
    match ExportTraceServiceRequest::decode(&*plain) {
        Ok(request) if read.is_ok() => keep(&kept, request),
        _ => return StatusCode::BAD_REQUEST,
    }
    StatusCode::OK
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: axum::Router) {
    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let service = TowerToHyperService::new(router);
    let served = server.serve_connection(TokioIo::new(stream), service).await;
    // A host that ends closes its connections as it likes.
    served.ok();
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
