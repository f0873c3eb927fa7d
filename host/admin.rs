//! Metrics, health and the versions of plugins over HTTP. It must not know Kafka, what a version is, or how a
//! figure is made.

pub mod plugins;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::extract::RawQuery;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

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
        health: impl Fn() -> Vec<Health> + Clone + Send + Sync + 'static,
        metrics: impl Fn() -> String + Clone + Send + Sync + 'static,
        plugins: Arc<dyn plugins::Plugins>,
        stopped: impl Future<Output = ()> + Send + 'static,
    ) {
        let ready = move |RawQuery(query): RawQuery| async move { readiness(&health(), query) };
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
        let routes = routes.merge(plugins::routes(plugins, self.address));
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

/// The state of one part of the host, as health checks see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What it is, as in `group orders`.
    pub part: String,
    /// Its state, for a person.
    pub state: String,
    /// Whether it does its work.
    pub ready: bool,
}

fn readiness(parts: &[Health], query: Option<String>) -> impl IntoResponse + use<> {
    let lines: String = parts
        .iter()
        .map(|health| format!("{}: {}\n", health.part, health.state))
        .collect();
    let ready = parts.iter().all(|health| health.ready);
    let verbose = query.is_some_and(|query| query.contains("verbose"));
    let (status, word) = match ready {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    (
        status,
        if verbose || !ready {
            format!("{lines}{word}\n")
        } else {
            format!("{word}\n")
        },
    )
}
