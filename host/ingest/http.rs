//! The HTTP gateway: its socket, its limits, what it serves, and its orderly end.
//!
//! It must not know what becomes of an event; the reception does.

mod batch;
mod body;
mod cloudevent;
mod envelope;
mod events;
mod problem;
mod publish;
mod request;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tokio::sync::{Semaphore, watch};

use self::body::Bodies;
use self::problem::{Kind, Problem};
use super::GatewayError;
use super::counts::Counts;
use super::reception::{Limits, Reception, Shared};
use crate::config;
use crate::connections::{self, Drain, Protocol, Serving, listen};
use crate::tls::server::{HTTP1, HTTP2, ServerTls};

/// Where events are published.
const EVENTS: &str = "/v1/topics/{topic}/events";

/// Where the document is that describes the interface.
const OPENAPI: &str = "/v1/openapi.json";

/// Requests of one HTTP/2 connection at once, so that one client cannot take every place.
const REQUESTS_OF_CONNECTION_MAX: u32 = 64;

/// The bodies of all requests together may hold this much, and always four of the largest.
const BODIES_MIN_BYTES: usize = 256 << 20;

/// A gateway that listens, and serves once it is told to.
#[derive(Debug)]
pub struct HttpGateway {
    listener: TcpListener,
    address: SocketAddr,
    desk: Arc<Desk>,
    serving: Serving,
}

/// What requests are answered with.
#[derive(Debug)]
struct Desk {
    reception: Reception,
    bodies: Bodies,
    places: Arc<Semaphore>,
    places_max: u32,
    batch_max: usize,
    cloudevents: config::CloudEventsIngest,
}

impl HttpGateway {
    /// Takes the address and reads the certificates, so that what cannot work is known before anything else
    /// starts. Connections made from now on wait until [`Self::serve`] runs.
    ///
    /// # Errors
    /// The address cannot be had, or the certificates cannot be used.
    pub fn bind(settings: &config::HttpIngest, shared: Arc<Shared>) -> Result<Self, GatewayError> {
        let bound = listen(settings.listen);
        let (listener, address) = bound.map_err(cannot_listen(settings.listen))?;
        let tls = shared.tls.as_ref();
        let tls = tls
            .map(|tls| ServerTls::start(tls, &[HTTP2, HTTP1]))
            .transpose()?;
        let serving = Serving {
            protocol: Protocol::Http,
            limits: shared.connections.clone(),
            requests_of_connection_max: REQUESTS_OF_CONNECTION_MAX,
            tls,
        };
        let limits = Limits {
            event_max_bytes: settings.event_max_bytes,
            in_flight_max: settings.in_flight_max,
            event_max_key: "ingest.http.event_max",
        };
        let bodies_bytes = BODIES_MIN_BYTES.max(settings.request_max_bytes.saturating_mul(4));
        let places_max = u32::try_from(settings.requests_max).unwrap_or(u32::MAX);
        let desk = Desk {
            reception: Reception::new(shared, limits),
            bodies: Bodies::new(
                settings.request_max_bytes,
                settings.body_timeout,
                bodies_bytes,
            ),
            places: Arc::new(Semaphore::new(places_max as usize)),
            places_max,
            // What can never have room is refused for its size, not with the advice to come again.
            batch_max: settings.batch_max.min(settings.in_flight_max),
            cloudevents: settings.cloudevents.clone(),
        };
        Ok(Self {
            listener,
            address,
            desk: Arc::new(desk),
            serving,
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
        self.desk.reception.counts()
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
        let router = router(Arc::clone(&self.desk));
        let server = connections::serve(listener, router, self.serving, stopping);
        tracing::info!(%address, "HTTP gateway listens");
        let drain = Drain {
            of: "requests",
            all_ended: self.desk.all_ended(),
            within: drain_timeout,
        };
        connections::serve_until(shutdown, server, stop, drain).await;
        self.desk.reception.flush(drain_timeout).await;
        Ok(())
    }
}

fn cannot_listen(address: SocketAddr) -> impl FnOnce(std::io::Error) -> GatewayError {
    move |source| GatewayError::Bind {
        gateway: "HTTP",
        key: "ingest.http.listen",
        address,
        source,
    }
}

impl Desk {
    /// Ends when no request has a place any more.
    async fn all_ended(&self) {
        // It is never closed.
        drop(self.places.acquire_many(self.places_max).await);
    }
}

fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route(
            EVENTS,
            post(publish::publish).fallback(|| wrong_method("POST")),
        )
        .route(
            OPENAPI,
            get(document).fallback(|| wrong_method("GET, HEAD")),
        )
        .fallback(nothing_there)
        .with_state(desk)
}

/// The document that describes the interface; of every host of one version the same.
async fn document() -> impl IntoResponse {
    const DOCUMENT: &str = include_str!("http/openapi.json");
    let document = DOCUMENT.replacen("VERSION", env!("CARGO_PKG_VERSION"), 1);
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, "application/json")],
        document,
    )
}

async fn wrong_method(allowed: &'static str) -> Problem {
    let detail = format!("send {allowed} there");
    Problem::new(Kind::MethodNotAllowed, detail).with(header::ALLOW, allowed)
}

async fn nothing_there(uri: Uri) -> Problem {
    let detail = format!(
        "nothing is served at {}; events are published by POST to /v1/topics/TOPIC/events, and {OPENAPI} describes it",
        uri.path()
    );
    Problem::new(Kind::NotFound, detail)
}

#[cfg(test)]
mod tests;
