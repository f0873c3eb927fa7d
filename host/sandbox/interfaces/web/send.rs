//! One request over one connection: look up, connect, send, and hand the answer back while it arrives.
//!
//! A redirect is an answer like any other: whether to follow it is the guest's to decide, and where it leads
//! has to be granted like everything else.

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt as _, Empty};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::allowed::Target;
use super::body::{Answer, Counted};
use super::{Answered, WebAccess};
use crate::config::Limits;
use crate::tls;

/// What the head of an answer may take, in bytes, and how much of a body is read ahead.
const READ_BUFFER_BYTES: usize = 64 << 10;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// A wait of the guest ends at the deadline of its call, with a fault that says so. The request itself is over a
/// moment later, so that the guest is not told first of a connection that ended.
const AFTER_DEADLINE: Duration = Duration::from_millis(100);

/// The limits of one request: the operator's, and within them the guest's own.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    until: Instant,
    connect_until: Instant,
    first_byte: Duration,
    between_bytes: Duration,
    request_bytes_max: u64,
    response_bytes_max: u64,
}

impl Bounds {
    pub(super) fn new(
        limits: &Limits,
        deadline: std::time::Instant,
        options: Option<RequestOptions>,
    ) -> Self {
        let now = Instant::now();
        let until = (now + limits.http_timeout).min(Instant::from(deadline) + AFTER_DEADLINE);
        let options = options.unwrap_or_default();
        // A guest may ask for ages.
        let within = |asked: Option<Duration>| asked.unwrap_or(Duration::MAX).min(until - now);
        Self {
            until,
            connect_until: now + within(options.connect_timeout),
            first_byte: within(options.first_byte_timeout),
            between_bytes: within(options.between_bytes_timeout),
            request_bytes_max: limits.http_request_bytes,
            response_bytes_max: limits.http_response_bytes,
        }
    }
}

pub(super) async fn send(
    access: &WebAccess,
    target: &Target,
    request: http::Request<WasiBody>,
    bounds: &Bounds,
) -> Answered {
    if declared_bytes(&request) > bounds.request_bytes_max {
        return Err(Error::HttpRequestBodySize(Some(bounds.request_bytes_max)));
    }
    let connecting = connect(access, target, bounds.connect_until);
    let stream = timeout_at(bounds.connect_until, connecting).await;
    let stream = stream.map_err(|_| Error::ConnectionTimeout)??;
    let Some(connector) = access.tls.as_ref().filter(|_| target.tls) else {
        return exchange(stream, request, bounds).await;
    };
    let name = tls::client::server_name(&target.name).map_err(|_| Error::HttpRequestUriInvalid)?;
    let stream = timeout_at(bounds.connect_until, connector.connect(name, stream)).await;
    let stream = stream.map_err(|_| Error::ConnectionTimeout)?;
    exchange(stream.map_err(Error::Tls)?, request, bounds).await
}

/// Connects to the first address that answers. The addresses that are checked are those that are connected
/// to: a second look-up could say something else.
async fn connect(access: &WebAccess, target: &Target, until: Instant) -> Result<TcpStream, Error> {
    let found = tokio::net::lookup_host((target.name.as_str(), target.port)).await;
    let found: Vec<SocketAddr> = found
        .map_err(|_| Error::DnsError {
            rcode: None,
            info_code: None,
        })?
        .collect();
    if found.is_empty() {
        return Err(Error::DestinationNotFound);
    }
    let may_reach = |to: &SocketAddr| access.allowed.may_reach(target, to.ip());
    let mut last = Error::DestinationIpProhibited;
    let mut reachable: Vec<SocketAddr> = found.into_iter().filter(may_reach).collect();
    reachable.truncate(ADDRESSES_MAX);
    for (tried, address) in reachable.iter().enumerate() {
        // One that never answers must leave time for the others.
        let share = (until - Instant::now()) / (reachable.len() - tried) as u32;
        match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are small, and nobody waits for a second one to send with them.
                let _slower_without = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = Error::Connect(error),
            Err(_) => last = Error::ConnectionTimeout,
        }
    }
    Err(last)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut request: http::Request<WasiBody>,
    bounds: &Bounds,
) -> Answered {
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(READ_BUFFER_BYTES)
        .handshake(TokioIo::new(stream))
        .await?;
    let until = bounds.until;
    // Dropped with the request or its answer, and over in any case when the time is.
    let driver = spawn(async move { timeout_at(until, connection).await });
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(http::Uri::default, http::Uri::from);
    let (request, drained) = without_body(request, until);
    let bytes_max = bounds.request_bytes_max;
    let request = request.map(|body| Counted {
        body,
        bytes_left: bytes_max,
        bytes_max,
    });
    let first_byte_until = until.min(Instant::now() + bounds.first_byte);
    let answer = timeout_at(first_byte_until, sender.send_request(request)).await;
    let answer = match answer {
        Ok(Ok(answer)) => answer,
        // The connection ends at the same moment, and either may be seen first.
        _ if Instant::now() >= until => return Err(Error::HttpResponseTimeout),
        Ok(Err(error)) => return Err(own_error(error)),
        Err(_) => return Err(Error::ConnectionReadTimeout),
    };
    let bytes_max = bounds.response_bytes_max;
    let declared = http_body::Body::size_hint(answer.body()).lower();
    if declared > bytes_max {
        return Err(Error::HttpResponseBodySize(Some(declared)));
    }
    let between = bounds.between_bytes;
    let answer = answer.map(|body| Answer::new(body, bytes_max, until, between).boxed_unsync());
    let driven = async move {
        let ended = match driver.await {
            Ok(ended) => ended.map_err(Error::from),
            Err(_late) => Err(Error::HttpResponseTimeout),
        };
        // A server may answer and hang up before the guest has ended the body that it need not have opened.
        if let Some(drained) = drained {
            drained.await;
        }
        ended
    };
    Ok((answer, Box::new(driven)))
}

type Draining = AbortOnDropJoinHandle<()>;

/// A GET or HEAD that declares no body has none on the wire, and hyper lets go of it at once. A guest that opened
/// it all the same, only to end it, would find it closed and take that for a connection that broke.
fn without_body(
    request: http::Request<WasiBody>,
    until: Instant,
) -> (http::Request<WasiBody>, Option<Draining>) {
    let bodiless = matches!(*request.method(), Method::GET | Method::HEAD);
    if !bodiless || request.headers().contains_key(CONTENT_LENGTH) {
        return (request, None);
    }
    let (head, mut body) = request.into_parts();
    let draining = spawn(async move {
        let drain = async { while let Some(Ok(_)) = body.frame().await {} };
        // What is left then is dropped with it.
        let _in_time = timeout_at(until, drain).await;
    });
    let empty = Empty::new().map_err(Error::from).boxed_unsync();
    (http::Request::from_parts(head, empty), Some(draining))
}

/// What the head of a request says of its body; 0 where it says nothing.
fn declared_bytes<B>(request: &http::Request<B>) -> u64 {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or(0)
}

/// hyper wraps what a body of ours said.
fn own_error(error: hyper::Error) -> Error {
    let inner = std::error::Error::source(&error).and_then(|inner| inner.downcast_ref());
    match inner {
        Some(Error::HttpRequestBodySize(bytes)) => Error::HttpRequestBodySize(*bytes),
        _ => Error::Hyper(error),
    }
}
