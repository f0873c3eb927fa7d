//! Metrics and health over HTTP. It must not know Kafka, plugins or how a figure is made.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::extract::RawQuery;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::pipeline::GroupStatus;

/// The admin server cannot start. The operator must act.
#[derive(Debug, thiserror::Error)]
#[error(
    "admin cannot listen on {address} ({source}); stop what has that port, or choose another with \
     admin.listen"
)]
pub struct AdminError {
    /// The configured address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: std::io::Error,
}

/// A bound server that does not answer yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
}

type Statuses = Vec<(String, Arc<GroupStatus>)>;

impl AdminServer {
    /// Takes the port.
    ///
    /// # Errors
    /// The port is taken, or may not be.
    pub fn bind(address: SocketAddr) -> Result<Self, AdminError> {
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bind().map_err(|source| AdminError { address, source })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stopped`.
    pub async fn serve(
        self,
        statuses: Statuses,
        metrics: impl Fn() -> String + Clone + Send + Sync + 'static,
        stopped: impl Future<Output = ()> + Send + 'static,
    ) {
        let ready = move |RawQuery(query): RawQuery| async move { readiness(&statuses, query) };
        let routes = Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(ready.clone()))
            .route("/healthz", get(ready))
            .route(
                "/metrics",
                get(move || async move {
                    (
                        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
                        metrics(),
                    )
                }),
            );
        let served = match tokio::net::TcpListener::from_std(self.listener) {
            Ok(listener) => {
                axum::serve(listener, routes)
                    .with_graceful_shutdown(stopped)
                    .await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            tracing::error!(%error, "the admin server ended");
        }
    }
}

/// Ready means that every group has joined and none has stopped. A broker that is away later does not
/// change that: restarting the host would not bring it back.
fn readiness(statuses: &Statuses, query: Option<String>) -> impl IntoResponse + use<> {
    let mut lines = String::new();
    let mut ready = true;
    for (group, status) in statuses {
        let state = match (status.failure(), status.joined(), status.trouble()) {
            (Some(failure), _, _) => {
                ready = false;
                format!("stopped: {failure}")
            }
            (None, false, _) => {
                ready = false;
                "joining".to_owned()
            }
            (None, true, Some(trouble)) => format!("joined, waiting: {trouble}"),
            (None, true, None) => "joined".to_owned(),
        };
        // Writing to a String cannot fail.
        let _written = writeln!(lines, "group {group}: {state}");
    }
    let verbose = query.is_some_and(|query| query.contains("verbose"));
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let word = if ready { "ready" } else { "not ready" };
    (
        status,
        if verbose || !ready {
            format!("{lines}{word}\n")
        } else {
            format!("{word}\n")
        },
    )
}
