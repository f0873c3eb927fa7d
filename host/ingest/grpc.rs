//! The gRPC gateway: its socket, its limits, and its orderly end.
//!
//! Beside `Ingest` it serves `grpc.health.v1` and server reflection. It must not know what becomes of
//! an event; `service` does.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tonic::codec::CompressionEncoding;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::{Request, Status};
use tonic_health::ServingStatus;

use super::connections::Connections;
use super::counts::Counts;
use super::proto::DESCRIPTORS;
use super::proto::ingest_server::IngestServer;
use super::service::IngestService;
use crate::config;
use crate::kafka::publisher::{DELIVERY_TIMEOUT, LOOKUP_TIMEOUT, Publisher};

/// A connection costs a file descriptor and some 100 KiB of buffers; a publisher needs one.
const CONNECTIONS_MAX: usize = 512;

/// Calls and streams at once, over all connections. Each may hold one message that is still being
/// received, so with messages of 4 MiB this is the bound of 1 GiB on what clients can make the
/// gateway hold.
const CALLS_MAX: u32 = 256;

/// Calls and streams of one connection, so that one client cannot take every place.
const CALLS_OF_CONNECTION_MAX: u32 = 64;

/// Messages may be this large, and always hold four events of the largest size: batches of ordinary
/// events have room, and a single event that is too large gets a proper answer instead of a reset.
const MESSAGE_MIN_BYTES: usize = 4 << 20;

/// Metadata of one request. Tracing headers and tokens take 1 or 2 KiB.
const HEADERS_MAX_BYTES: u32 = 16 << 10;

/// A call may look its topic up and then wait for its delivery; what takes longer is stuck.
const CALL_TIMEOUT: Duration =
    Duration::from_secs(LOOKUP_TIMEOUT.as_secs() + DELIVERY_TIMEOUT.as_secs() + 5);

/// Pings find clients that vanished without closing, whose streams would keep their places.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams that a client opens and resets before they are served ("rapid reset"), before it is cut.
const PENDING_RESETS_MAX: usize = 20;

/// After the last answer is ready, how long connections may take to carry it out and close. Clients
/// that watch the health service would otherwise keep theirs open to the end of the drain.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

/// Why the gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address could not be listened on.
    #[error(
        "the gRPC gateway cannot listen on {address}: {source}; change ingest.grpc.listen, or stop \
         what uses that address"
    )]
    Bind {
        /// The address as configured.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Reflection could not be set up, which only a broken build can cause.
    #[error("the descriptors of the gRPC service are broken: {0}")]
    Descriptors(#[from] tonic_reflection::server::Error),
    /// The server stopped by itself.
    #[error("the gRPC gateway failed: {0}")]
    Serve(#[from] tonic::transport::Error),
}

/// A gateway that listens, and serves once it is told to.
#[derive(Debug)]
pub struct GrpcGateway {
    listener: TcpListener,
    address: SocketAddr,
    publisher: Arc<Publisher>,
    event_max_bytes: usize,
    in_flight_max: usize,
    counts: Arc<Counts>,
}

impl GrpcGateway {
    /// Takes the address, so that a port in use is known before anything else starts. Connections
    /// made from now on wait until [`Self::serve`] runs.
    ///
    /// # Errors
    /// [`GatewayError::Bind`] when the address cannot be had.
    pub fn bind(
        settings: &config::GrpcIngest,
        publisher: Arc<Publisher>,
    ) -> Result<Self, GatewayError> {
        let failed = |source| GatewayError::Bind {
            address: settings.listen,
            source,
        };
        let listener = TcpListener::bind(settings.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            publisher,
            event_max_bytes: settings.event_max_bytes,
            in_flight_max: settings.in_flight_max.clamp(1, Semaphore::MAX_PERMITS),
            counts: Arc::new(Counts::default()),
        })
    }

    /// Where it listens; the port is the real one when port 0 was configured.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Events answered so far, by status.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Serves until `shutdown` completes. Then it accepts nothing new, finishes what is in flight
    /// within `drain_timeout`, and flushes the publisher.
    ///
    /// # Errors
    /// When the server stops by itself.
    pub async fn serve(
        self,
        shutdown: impl Future<Output = ()> + Send,
        drain_timeout: Duration,
    ) -> Result<(), GatewayError> {
        let (address, publisher) = (self.address, Arc::clone(&self.publisher));
        let listener = tokio::net::TcpListener::from_std(self.listener)
            .map_err(|source| GatewayError::Bind { address, source })?;
        let calls = Arc::new(Semaphore::new(CALLS_MAX as usize));
        let (stop, stopping) = watch::channel(false);
        let message_max_bytes = MESSAGE_MIN_BYTES.max(self.event_max_bytes.saturating_mul(4));

        let service = IngestServer::new(IngestService {
            publisher: self.publisher,
            event_max_bytes: self.event_max_bytes,
            room: Arc::new(Semaphore::new(self.in_flight_max)),
            counts: self.counts,
            stopping: stopping.clone(),
        })
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(message_max_bytes)
        .max_encoding_message_size(message_max_bytes);
        let service = InterceptedService::new(service, place_taker(Arc::clone(&calls)));

        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<IngestServer<IngestService>>().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?;

        let server = limited_server()
            .add_service(health_service)
            .add_service(reflection)
            .add_service(service)
            .serve_with_incoming_shutdown(Connections::new(listener, CONNECTIONS_MAX), async {
                shutdown.await;
                health
                    .set_not_serving::<IngestServer<IngestService>>()
                    .await;
                health
                    .set_service_status("", ServingStatus::NotServing)
                    .await;
                stop.send_replace(true);
            });
        tracing::info!(%address, "gRPC gateway listens");
        let mut server = pin!(server);
        tokio::select! {
            result = &mut server => result?,
            () = drained(stopping, calls, drain_timeout) => {
                // Connections that outlive the grace hold nothing that was not answered.
                if let Ok(result) = tokio::time::timeout(CLOSE_GRACE, server).await {
                    result?;
                }
            }
        }
        flush(publisher, drain_timeout).await;
        Ok(())
    }
}

/// Gives each call a place among all calls, or refuses it before its message is received. The place
/// travels in the request's extensions.
fn place_taker(
    calls: Arc<Semaphore>,
) -> impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone {
    move |mut request| match Arc::clone(&calls).try_acquire_owned() {
        Ok(place) => {
            request.extensions_mut().insert(Arc::new(place));
            Ok(request)
        }
        Err(_) => Err(Status::resource_exhausted(
            "too many calls at once; try again later",
        )),
    }
}

fn limited_server() -> Server {
    Server::builder()
        .timeout(CALL_TIMEOUT)
        .concurrency_limit_per_connection(CALLS_OF_CONNECTION_MAX as usize)
        .load_shed(true)
        .max_concurrent_streams(CALLS_OF_CONNECTION_MAX)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_max_header_list_size(HEADERS_MAX_BYTES)
}

/// Ends when shutdown was asked for and every call has its answer, or the time for that is over.
async fn drained(mut stopping: watch::Receiver<bool>, calls: Arc<Semaphore>, within: Duration) {
    if stopping.wait_for(|stop| *stop).await.is_err() {
        // The server itself has ended; its result is what counts.
        return std::future::pending().await;
    }
    if tokio::time::timeout(within, calls.acquire_many(CALLS_MAX))
        .await
        .is_err()
    {
        tracing::warn!(
            ?within,
            "publishers were cut off: their calls did not end in time"
        );
    }
}

async fn flush(publisher: Arc<Publisher>, within: Duration) {
    match tokio::task::spawn_blocking(move || publisher.flush(within)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the gateway ended with events unacknowledged"),
        Err(error) => tracing::error!(%error, "the publisher could not be flushed"),
    }
}

#[cfg(test)]
mod tests;
