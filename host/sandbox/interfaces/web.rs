//! `wasi:http/outgoing-handler`: requests to granted hosts, within limits of time and size.
//!
//! A request leaves at once, whatever becomes of its event: it is no buffered effect. It never outlives the
//! deadline of the call that made it.

mod allowed;
mod body;
mod send;
mod taped;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use http::uri::Scheme;
use tokio::runtime::{Builder, Runtime};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::{LinkOptions, http as bindings, sync};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

use self::allowed::Allowed;
use super::super::fault::{FaultKind, Violation};
use super::super::host_state::HostState;
use super::super::stdio::PluginLog;
use super::super::tape::Tape;
use crate::config::{Grants, Limits};
use crate::tls;

/// The version that this wasmtime links; a guest's older 0.2 finds it by its compatible track.
const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

/// Headers of one request, as they lie in memory, in bytes. Servers rarely take more than 16 KiB on the wire.
const HEADER_BYTES_MAX: usize = 32 << 10;

/// What a guest may write at once to the body of a request; two such pieces wait in the host for each body.
const WRITE_BYTES_MAX: usize = 16 << 10;

/// Names that may be looked up at once. The system's resolver blocks a thread for each, for many seconds
/// where no server answers; further ones wait their turn within their own time.
const LOOKUPS_MAX: usize = 16;

/// Where connections are driven and names looked up; made at the first request. One thread, because it only
/// moves bytes.
static RUNTIME: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(LOOKUPS_MAX)
        .thread_name("http")
        .enable_all()
        .build()
        .ok()
});

/// What requests of one plugin may do and how; the same for all of its instances.
pub(in crate::sandbox) struct WebAccess {
    allowed: Allowed,
    tls: Option<tokio_rustls::TlsConnector>,
}

impl WebAccess {
    /// Readies what the grants need; none where they let nothing out.
    ///
    /// # Errors
    /// There is no root certificate to check servers against.
    pub(in crate::sandbox) fn new(grants: &Grants) -> Result<Option<Arc<Self>>, String> {
        if grants.web.is_empty() {
            return Ok(None);
        }
        let encrypted = grants.web.iter().any(|target| target.tls);
        Ok(Some(Arc::new(Self {
            allowed: Allowed::new(grants),
            tls: encrypted.then(tls::client::connector).transpose()?,
        })))
    }
}

/// How many requests there were since it was last asked. One that is under way when its call ends is not yet
/// among the failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WebCounts {
    /// All that were asked for.
    pub requests: u64,
    /// Of these, the ones whose host or address is not granted.
    pub denied: u64,
    /// Of these, the ones without an answer.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    denied: AtomicU64,
    failed: AtomicU64,
}

/// The part of an instance's state that requests need.
pub(in crate::sandbox) struct WebState {
    context: WasiHttpCtx,
    outgoing: Outgoing,
}

/// The hooks of `wasi:http`.
struct Outgoing {
    access: Option<Arc<WebAccess>>,
    limits: Limits,
    log: Arc<PluginLog>,
    counters: Arc<Counters>,
    /// Where answers are noted or come from, where they do.
    tape: Option<Tape>,
    deadline: Instant,
    requests_left: u32,
}

impl WebState {
    pub(in crate::sandbox) fn new(
        access: Option<Arc<WebAccess>>,
        limits: &Limits,
        log: Arc<PluginLog>,
        tape: Option<Tape>,
    ) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(HEADER_BYTES_MAX);
        Self {
            context,
            outgoing: Outgoing {
                access,
                limits: limits.clone(),
                log,
                counters: Arc::default(),
                tape,
                deadline: Instant::now(),
                requests_left: 0,
            },
        }
    }

    /// Readies it for a call over so many events.
    pub(in crate::sandbox) fn begin_call(&mut self, deadline: Instant, events: u32) {
        let outgoing = &mut self.outgoing;
        outgoing.deadline = deadline;
        outgoing.requests_left = outgoing.limits.http_requests.saturating_mul(events);
    }

    /// What requests came to since this was last asked.
    pub(in crate::sandbox) fn take_counts(&self) -> WebCounts {
        let counters = &self.outgoing.counters;
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        WebCounts {
            requests: take(&counters.requests),
            denied: take(&counters.denied),
            failed: take(&counters.failed),
        }
    }

    fn count_request(&mut self) -> wasmtime::Result<()> {
        let outgoing = &mut self.outgoing;
        match outgoing.requests_left.checked_sub(1) {
            Some(left) => {
                outgoing.requests_left = left;
                Ok(())
            }
            None => Err(Violation::of_limit(
                FaultKind::Fuel,
                "http-requests",
                "http_requests",
                format!(
                    "more than {} HTTP requests for one event",
                    outgoing.limits.http_requests
                ),
            )),
        }
    }
}

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (web, table) = self.web();
        WasiHttpCtxView {
            ctx: &mut web.context,
            hooks: &mut web.outgoing,
            table,
        }
    }
}

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let options = LinkOptions::default();
    let options = (&options).into();
    sync::http::types::add_to_linker::<_, WasiHttp>(linker, &options, HostState::http)?;
    type Request = (
        Resource<HostOutgoingRequest>,
        Option<Resource<RequestOptions>>,
    );
    linker.instance(OUTGOING_HANDLER)?.func_wrap(
        "handle",
        |mut store: StoreContextMut<'_, HostState>, (request, options): Request| {
            let state = store.data_mut();
            state.count_call()?;
            state.web().0.count_request()?;
            let runtime = RUNTIME.as_ref().ok_or_else(|| {
                Violation::error(FaultKind::Host, "http", "no thread for HTTP can be started")
            })?;
            let _entered = runtime.enter();
            Ok((handle(&mut state.http(), request, options)?,))
        },
    )
}

fn handle(
    view: &mut WasiHttpCtxView<'_>,
    request: Resource<HostOutgoingRequest>,
    options: Option<Resource<RequestOptions>>,
) -> wasmtime::Result<Result<Resource<HostFutureIncomingResponse>, bindings::types::ErrorCode>> {
    use bindings::outgoing_handler::Host as _;
    match view.handle(request, options) {
        Ok(response) => Ok(Ok(response)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

type Connection = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answered = Result<(http::Response<WasiBody>, Connection), Error>;

impl WasiHttpHooks for Outgoing {
    fn default_scheme(&mut self) -> Option<Scheme> {
        // A guest that forgot it must not send in the clear.
        Some(Scheme::HTTPS)
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Connection,
    ) -> Box<dyn Future<Output = Answered> + Send> {
        if let Some(answer) = self.tape.as_ref().and_then(Tape::next_http) {
            return Box::new(async { taped::again(answer) });
        }
        let counters = Arc::clone(&self.counters);
        counters.requests.fetch_add(1, Ordering::Relaxed);
        let tape = self.tape.clone();
        let denied = |error: Error| -> Box<dyn Future<Output = Answered> + Send> {
            counters.denied.fetch_add(1, Ordering::Relaxed);
            let denied = Err(error);
            let denied = match &tape {
                Some(tape) => taped::noted(tape, denied),
                None => denied,
            };
            Box::new(async { denied })
        };
        let Some(access) = self.access.clone() else {
            return denied(Error::HttpRequestDenied);
        };
        let target = match access.allowed.target(&request) {
            Ok(target) => target,
            Err(refusal) => {
                self.log.line(tracing::Level::WARN, &refusal.to_string());
                return denied(Error::HttpRequestDenied);
            }
        };
        let limits = send::Bounds::new(&self.limits, self.deadline, options);
        let (log, counters) = (Arc::clone(&self.log), Arc::clone(&self.counters));
        let tape = self.tape.clone();
        Box::new(async move {
            let answered = send::send(&access, &target, request, &limits).await;
            match &answered {
                Ok(_) => {}
                Err(Error::DestinationIpProhibited) => {
                    let message = format!(
                        "a request to {} was refused: its address is not public; add \
                         `network:ADDRESS/BITS` to the grants of the plugin if it may have it",
                        target.name
                    );
                    log.line(tracing::Level::WARN, &message);
                    counters.denied.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => {
                    counters.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            match &tape {
                Some(tape) => taped::noted(tape, answered),
                None => answered,
            }
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        WRITE_BYTES_MAX
    }

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> bindings::types::ErrorCode {
        use bindings::types::ErrorCode;
        if error.is_parse_too_large() {
            ErrorCode::HttpResponseHeaderSectionSize(None)
        } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            ErrorCode::ConnectionTerminated
        } else {
            ErrorCode::HttpProtocolError
        }
    }

    fn p2_error_from_connect(&mut self, error: &std::io::Error) -> bindings::types::ErrorCode {
        use bindings::types::ErrorCode;
        match error.kind() {
            std::io::ErrorKind::ConnectionRefused => ErrorCode::ConnectionRefused,
            std::io::ErrorKind::TimedOut => ErrorCode::ConnectionTimeout,
            _ => ErrorCode::DestinationUnavailable,
        }
    }

    fn p2_error_from_tls(&mut self, error: &std::io::Error) -> bindings::types::ErrorCode {
        use bindings::types::ErrorCode;
        if tls::client::is_about_certificate(error) {
            ErrorCode::TlsCertificateError
        } else {
            ErrorCode::TlsProtocolError
        }
    }
}
