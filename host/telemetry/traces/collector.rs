//! A collector, spoken to by OTLP over gRPC or HTTP. It must not know what spans say, nor when they are sent.

use std::error::Error as _;
use std::fmt;
use std::io::{self, Write as _};
use std::time::Duration;

use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::otlp::opentelemetry::proto::collector::trace::v1::trace_service_client::TraceServiceClient;
use super::otlp::opentelemetry::proto::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use crate::config::{self, OtlpProtocol};
use crate::tls::client as tls;
use crate::web;

/// Of an answer, in bytes: a few numbers and a sentence.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A collector cannot be spoken to as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the OpenTelemetry collector at {endpoint}: {reason}")]
pub struct CollectorError {
    endpoint: String,
    reason: String,
}

/// Why a batch was not taken.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: String,
    /// Whether another attempt may help.
    pub(super) may_pass: bool,
}

/// Where spans are sent.
pub(super) struct Collector {
    endpoint: Uri,
    spoken: Spoken,
    headers: HeaderMap,
    gzip: bool,
    timeout: Duration,
}

enum Spoken {
    Grpc(TraceServiceClient<Channel>),
    Http(Option<TlsConnector>),
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collector({})", self.shown())
    }
}

/// A connection, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Collector {
    /// Connects with the first batch. Called on the runtime that it is to run on.
    pub(super) fn new(settings: &config::Collector) -> Result<Self, CollectorError> {
        let endpoint = settings.endpoint.clone();
        let wrong = |reason: String| CollectorError {
            endpoint: shown(&endpoint),
            reason,
        };
        let grpc = settings.protocol == OtlpProtocol::Grpc;
        let trusted = settings.certificate.as_deref();
        let encrypted = (endpoint.scheme() == Some(&Scheme::HTTPS)).then(|| {
            if grpc {
                tls::connector_for_http2(trusted)
            } else {
                tls::connector_to(trusted)
            }
        });
        let tls = encrypted.transpose().map_err(wrong)?;
        let spoken = if grpc {
            let channel = channel(&endpoint, tls).map_err(|error| wrong(error.to_string()))?;
            let client = TraceServiceClient::new(channel);
            Spoken::Grpc(if settings.gzip {
                client.send_compressed(CompressionEncoding::Gzip)
            } else {
                client
            })
        } else {
            Spoken::Http(tls)
        };
        let headers = settings.headers.iter();
        let headers = headers.filter_map(|(name, value)| {
            let name = HeaderName::try_from(name).ok()?;
            let mut value = HeaderValue::try_from(value.reveal()).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        Ok(Self {
            headers: headers.collect(),
            gzip: settings.gzip,
            timeout: settings.timeout,
            endpoint,
            spoken,
        })
    }

    /// Where it is, without a query, in which some show a token.
    pub(super) fn shown(&self) -> String {
        shown(&self.endpoint)
    }

    /// Sends one batch. Returns how many of its spans the collector has rejected for good.
    pub(super) async fn send(&self, batch: &ExportTraceServiceRequest) -> Result<u64, Refused> {
        let sent = async {
            match &self.spoken {
                Spoken::Grpc(client) => self.by_grpc(client.clone(), batch).await,
                Spoken::Http(tls) => self.by_http(tls.as_ref(), batch).await,
            }
        };
        let answer = timeout(self.timeout, sent).await.unwrap_or_else(|_| {
            let within = self.timeout.as_millis();
            Err(passing(format!("no answer within {within} ms")))
        })?;
        let Some(partial) = answer.partial_success else {
            return Ok(0);
        };
        if partial.rejected_spans > 0 {
            tracing::warn!(collector = %self.shown(), spans = partial.rejected_spans,
                reason = %partial.error_message, "the collector rejected spans");
        }
        Ok(u64::try_from(partial.rejected_spans).unwrap_or(0))
    }

    async fn by_grpc(
        &self,
        mut client: TraceServiceClient<Channel>,
        batch: &ExportTraceServiceRequest,
    ) -> Result<ExportTraceServiceResponse, Refused> {
        let mut request = tonic::Request::new(batch.clone());
        *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
        let answer = client.export(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| {
            // The codes that the protocol calls retryable.
            let may_pass = matches!(
                status.code(),
                Code::Cancelled
                    | Code::DeadlineExceeded
                    | Code::ResourceExhausted
                    | Code::Aborted
                    | Code::OutOfRange
                    | Code::Unavailable
                    | Code::DataLoss
            );
            Refused {
                reason: said(&status),
                may_pass,
            }
        })
    }

    async fn by_http(
        &self,
        tls: Option<&TlsConnector>,
        batch: &ExportTraceServiceRequest,
    ) -> Result<ExportTraceServiceResponse, Refused> {
        let request = self.request(batch.encode_to_vec());
        let request = request.map_err(|error| Refused {
            reason: error.to_string(),
            may_pass: false,
        })?;
        let stream = connect(&self.endpoint, tls).await;
        let stream = stream.map_err(|error| passing(error.to_string()))?;
        let answer = web::exchange(stream, request).await;
        let answer = answer.map_err(|error| passing(self.hinted(error.to_string())))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        if status.is_success() {
            // What a collector says beside its status is a help, and nothing that a batch would be sent again for.
            return Ok(ExportTraceServiceResponse::decode(body).unwrap_or_default());
        }
        let may_pass = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        Err(Refused {
            reason: format!("it answered {status}"),
            may_pass,
        })
    }

    fn request(&self, body: Vec<u8>) -> io::Result<Request<Bytes>> {
        let body = if self.gzip { gzipped(&body)? } else { body };
        let mut request = Request::post(&self.endpoint)
            .body(Bytes::from(body))
            .map_err(io::Error::other)?;
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        if self.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(request)
    }

    /// Two ports of a collector are told apart by their number alone.
    fn hinted(&self, reason: String) -> String {
        if self.endpoint.port_u16() == Some(4317) {
            return format!(
                "{reason}; port 4317 mostly speaks gRPC: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
            );
        }
        reason
    }
}

fn shown(endpoint: &Uri) -> String {
    let authority = endpoint
        .authority()
        .map_or("", |authority| authority.as_str());
    let scheme = endpoint.scheme_str().unwrap_or_default();
    format!("{scheme}://{authority}{}", endpoint.path())
}

fn passing(reason: String) -> Refused {
    Refused {
        reason,
        may_pass: true,
    }
}

/// What a failure says, with what it came from: tonic's own words for a connection that fails are few.
fn said(status: &Status) -> String {
    let mut reason = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !reason.contains(&more) {
            reason = format!("{reason}: {more}");
        }
        source = error.source();
    }
    format!("{reason} ({:?})", status.code())
}

fn gzipped(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(body)?;
    packed.finish()
}

fn channel(endpoint: &Uri, tls: Option<TlsConnector>) -> Result<Channel, tonic::transport::Error> {
    let authority = endpoint
        .authority()
        .map_or("", |authority| authority.as_str());
    // Encryption is the connector's, so that a collector is trusted as every other server is.
    let through = Endpoint::from_shared(format!("http://{authority}"))?.origin(endpoint.clone());
    let endpoint = endpoint.clone();
    Ok(
        through.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let (endpoint, tls) = (endpoint.clone(), tls.clone());
            async move { connect(&endpoint, tls.as_ref()).await.map(TokioIo::new) }
        })),
    )
}

async fn connect(endpoint: &Uri, tls: Option<&TlsConnector>) -> io::Result<Box<dyn Stream>> {
    let stream = web::connect(endpoint).await?;
    let Some(tls) = tls else {
        return Ok(Box::new(stream));
    };
    let host = endpoint.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = tls::server_name(host).map_err(io::Error::other)?;
    Ok(Box::new(tls.connect(name, stream).await?))
}
