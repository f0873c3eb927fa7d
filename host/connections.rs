//! Accepts connections and serves HTTP over them, within limits that no client can stretch.
//!
//! The gateways and the admin server share it: a limit of connections, TLS with a limit of time, a limit of time to
//! the first request, and an orderly end. It must not know what is asked for.

mod drain;
mod places;
mod unread;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub(crate) use self::drain::{Drain, serve_until};
pub(crate) use self::places::Peer;
use self::places::Places;
use self::unread::RequestBody;
use crate::config::Connections as Limits;
use crate::tls::server::ServerTls;

/// After a failed accept, usually for lack of file descriptors: trying again at once would keep a core
/// busy with failing.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Pings find clients that vanished without closing, and those that trickle the head of a request, because nothing
/// may come in between its frames.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams that a client opens and resets before they are served ("rapid reset"), before it is cut.
const PENDING_RESETS_MAX: usize = 20;

/// Streams that were reset because the client broke a rule, before it is cut.
const ERROR_RESETS_MAX: usize = 64;

/// The head of one request over HTTP/2. Tracing headers and tokens take 1 or 2 KiB.
const HEAD_MAX_BYTES: u32 = 16 << 10;

/// What is read ahead of one HTTP/1.1 connection, and thereby the head of a request there.
const READ_AHEAD_MAX_BYTES: usize = 64 << 10;

/// What a client may send ahead in one request: what a call or a stream can make the host hold while it is not read.
const REQUEST_WINDOW_BYTES: u32 = 256 << 10;

/// The same for a whole connection. Half of it is what the library lets the framing of small frames take up that are
/// not read yet, 256 bytes each at most, before it takes them for a flood: enough for a request window full of the
/// smallest events, whose stream is held back for a while.
const CONNECTION_WINDOW_BYTES: u32 = 12 << 20;

/// Answers of one connection that wait for a client that does not read.
const UNREAD_ANSWERS_MAX_BYTES: usize = 64 << 10;

/// What is spoken over the connections of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/2 alone, as gRPC needs it.
    Http2,
    /// HTTP/1.1, and HTTP/2 for clients that begin with it.
    Http,
}

/// How a server treats its connections.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    /// What is spoken.
    pub(crate) protocol: Protocol,
    /// Connections at once, and the time that they have.
    pub(crate) limits: Limits,
    /// Requests of one HTTP/2 connection at once.
    pub(crate) requests_of_connection_max: u32,
    /// Encrypts; none speaks in the clear.
    pub(crate) tls: Option<ServerTls>,
}

/// Serves `router` until `stop` turns true. Then it accepts nothing new, lets each connection finish the requests that
/// it has, and returns when the last is closed. Dropping the future closes what is left.
///
/// Each request carries a [`Peer`] in its extensions: whoever answers for it says [`Peer::is_known`] once the request
/// has shown to be honest, because strangers lose their place first when places are scarce.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    serving: Serving,
    mut stop: watch::Receiver<bool>,
) {
    let places = Places::new(serving.limits.max);
    let (builder, serving) = (Arc::new(builder(&serving)), Arc::new(serving));
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Frees what the ended ones leave behind.
            Some(_) = open.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some((peer, cut)) = places.take(address) else {
            tracing::debug!(peer = %address, "connection closed: the server has its most");
            continue;
        };
        let (builder, serving) = (Arc::clone(&builder), Arc::clone(&serving));
        let (router, stop) = (router.clone(), stop.clone());
        open.spawn(async move {
            tokio::select! {
                () = one(stream, router, peer, &builder, &serving, stop) => {}
                Ok(()) = cut => {
                    tracing::debug!(peer = %address, "a stranger's connection closed: another needs its place");
                }
            }
        });
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn one(
    stream: TcpStream,
    router: Router,
    peer: Peer,
    builder: &Builder<TokioExecutor>,
    serving: &Serving,
    stop: watch::Receiver<bool>,
) {
    let address = peer.address();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(peer = %address, %error, "TCP_NODELAY could not be set");
    }
    let first_request = serving.limits.header_timeout;
    let Some(tls) = &serving.tls else {
        return speak(stream, router, peer, builder, first_request, stop).await;
    };
    match timeout(serving.limits.handshake_timeout, tls.accept(stream)).await {
        Ok(Ok(stream)) => speak(stream, router, peer, builder, first_request, stop).await,
        Ok(Err(error)) => tracing::debug!(peer = %address, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(peer = %address, "TLS handshake took too long"),
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    peer: Peer,
    builder: &Builder<TokioExecutor>,
    first_request: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let address = peer.address();
    let asking = peer.clone();
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        asking.asks();
        request.extensions_mut().insert(asking.clone());
        router.call(request.map(RequestBody::new))
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut first_request = pin!(sleep(first_request));
    let (mut is_new, mut is_stopping) = (true, false);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(peer = %address, %error, "connection ended");
                }
                return;
            }
            () = &mut first_request, if is_new => {
                if !peer.has_asked() {
                    tracing::debug!(peer = %address, "connection closed: no request came in time");
                    return;
                }
                is_new = false;
            }
            _ = stop.wait_for(|stop| *stop), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

fn builder(serving: &Serving) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(serving.limits.header_timeout)
        .max_buf_size(READ_AHEAD_MAX_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_stream_window_size(REQUEST_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(serving.requests_of_connection_max)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(ERROR_RESETS_MAX)
        .max_header_list_size(HEAD_MAX_BYTES)
        .max_send_buf_size(UNREAD_ANSWERS_MAX_BYTES);
    match serving.protocol {
        Protocol::Http2 => builder.http2_only(),
        Protocol::Http => builder,
    }
}

/// Takes an address, so that a port in use is known before anything else starts. Connections made from now on wait in
/// the system until they are served.
///
/// # Errors
/// The address cannot be had.
pub(crate) fn listen(address: SocketAddr) -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
