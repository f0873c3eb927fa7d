//! The gRPC gateway: its socket, its limits, and its orderly end.
//!
//! Beside `Ingest` it serves `grpc.health.v1` and server reflection. It must not know what becomes of
//! an event; the reception does.

mod answers;
mod calls;
mod service;
mod status;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use tokio::sync::watch;
use tonic::codec::CompressionEncoding::{Gzip, Zstd};
use tonic::service::Routes;
use tonic_health::ServingStatus;

use self::calls::Calls;
use self::service::IngestService;
use super::GatewayError;
use super::counts::Counts;
use super::proto::DESCRIPTORS;
use super::proto::ingest_server::IngestServer;
use super::reception::{Limits, Reception, Shared};
use crate::config;
use crate::connections::{self, Drain, Protocol, Serving, listen};
use crate::tls::server::{HTTP2, ServerTls};

/// Messages may be this large, and always hold four events of the largest size: batches of ordinary
/// events have room, and a single event that is too large gets a proper answer instead of a reset.
const MESSAGE_MIN_BYTES: usize = 4 << 20;

/// A gateway that listens, and serves once it is told to.
#[derive(Debug)]
pub struct GrpcGateway {
    listener: TcpListener,
    address: SocketAddr,
    reception: Arc<Reception>,
    calls: Arc<Calls>,
    serving: Serving,
    message_max_bytes: usize,
}

impl GrpcGateway {
    /// Takes the address and reads the certificates, so that what cannot work is known before anything else
    /// starts. Connections made from now on wait until [`Self::serve`] runs.
    ///
    /// # Errors
    /// The address cannot be had, or the certificates cannot be used.
    pub fn bind(settings: &config::GrpcIngest, shared: Arc<Shared>) -> Result<Self, GatewayError> {
        let bound = listen(settings.listen);
        let (listener, address) = bound.map_err(cannot_listen(settings.listen))?;
        let tls = shared.tls.as_ref();
        let tls = tls.map(|tls| ServerTls::start(tls, &[HTTP2])).transpose()?;
        let serving = Serving {
            protocol: Protocol::Http2,
            limits: shared.connections.clone(),
            requests_of_connection_max: u32::try_from(settings.calls_of_connection_max)
                .unwrap_or(u32::MAX),
            tls,
        };
        let limits = Limits {
            event_max_bytes: settings.event_max_bytes,
            in_flight_max: settings.in_flight_max,
            event_max_key: "ingest.grpc.event_max",
        };
        let message_max_bytes = MESSAGE_MIN_BYTES.max(settings.event_max_bytes.saturating_mul(4));
        let reception = Arc::new(Reception::new(shared, limits));
        let calls = Calls::new(
            Arc::clone(&reception),
            settings.calls_max,
            message_max_bytes,
        );
        Ok(Self {
            listener,
            address,
            reception,
            calls: Arc::new(calls),
            serving,
            message_max_bytes,
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
        self.reception.counts()
    }

    /// Serves until `shutdown` completes. Then it accepts nothing new, finishes what is in flight
    /// within `drain_timeout`, and flushes the publisher.
    ///
    /// # Errors
    /// When it cannot begin.
    pub async fn serve(
        self,
        shutdown: impl Future<Output = ()> + Send,
        drain_timeout: Duration,
    ) -> Result<(), GatewayError> {
        let address = self.address;
        let listener = tokio::net::TcpListener::from_std(self.listener);
        let listener = listener.map_err(cannot_listen(address))?;
        let (stop, stopping) = watch::channel(false);
        let service = IngestServer::new(IngestService {
            reception: Arc::clone(&self.reception),
            stopping: stopping.clone(),
            message_max_bytes: self.message_max_bytes,
        });
        let service = [Gzip, Zstd].into_iter().fold(service, |service, encoding| {
            service
                .accept_compressed(encoding)
                .send_compressed(encoding)
        });
        let service = service
            .max_decoding_message_size(self.message_max_bytes)
            .max_encoding_message_size(self.message_max_bytes);

        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<IngestServer<IngestService>>().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?;
        let router = Routes::new(health_service)
            .add_service(reflection)
            .add_service(service)
            .into_axum_router()
            .layer(from_fn_with_state(Arc::clone(&self.calls), calls::pass));

        let server = connections::serve(listener, router, self.serving, stopping);
        tracing::info!(%address, "gRPC gateway listens");
        let shutdown = async {
            shutdown.await;
            health
                .set_not_serving::<IngestServer<IngestService>>()
                .await;
            health
                .set_service_status("", ServingStatus::NotServing)
                .await;
        };
        let drain = Drain {
            of: "calls",
            all_ended: self.calls.all_ended(),
            within: drain_timeout,
        };
        connections::serve_until(shutdown, server, stop, drain).await;
        self.reception.flush(drain_timeout).await;
        Ok(())
    }
}

fn cannot_listen(address: SocketAddr) -> impl FnOnce(std::io::Error) -> GatewayError {
    move |source| GatewayError::Bind {
        gateway: "gRPC",
        key: "ingest.grpc.listen",
        address,
        source,
    }
}

#[cfg(test)]
mod tests;
