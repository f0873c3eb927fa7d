//! Metrics, health, what a host shows of itself and the versions of plugins over HTTP, and the page for operators. It
//! must not know Kafka, what a version or a group is, or how a figure is made.

pub mod dead_letters;
mod guard;
mod page;
pub mod pausing;
pub mod plugins;
mod query;
pub mod tap;
pub mod views;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::RawQuery;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use tokio::sync::watch;

use self::guard::{MaySee, guard};
use crate::config::{self, Secret};
use crate::connections::{self, Protocol, Serving, listen};
use crate::tls::server::{HTTP1, HTTP2, ServerTls, TlsError};

/// People, probes and one or two scrapers; each needs one for a moment.
const CONNECTIONS_MAX: usize = 64;

/// Requests of one HTTP/2 connection at once.
const REQUESTS_OF_CONNECTION_MAX: u32 = 16;

/// How long a client that is in the middle of something may hold up the end.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

/// The admin server cannot start. The operator must act.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The port cannot be had.
    #[error(
        "admin cannot listen on {address} ({source}); stop what has that port, or choose another with \
         admin.listen"
    )]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Connections cannot be encrypted as configured.
    #[error("admin.tls: {0}")]
    Tls(#[from] TlsError),
}

/// Whoever answers what is asked for.
pub struct Desks {
    /// For the versions of plugins.
    pub plugins: Arc<dyn plugins::Plugins>,
    /// For what is paused.
    pub pausing: Arc<dyn pausing::Pausing>,
    /// For what the host shows of itself.
    pub views: Arc<dyn views::Views>,
    /// For events as they are handled.
    pub tapping: Arc<dyn tap::Tapping>,
    /// For dead letters.
    pub letters: Arc<dyn dead_letters::Letters>,
}

impl std::fmt::Debug for Desks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desks").finish_non_exhaustive()
    }
}

/// A bound server that does not answer yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
    token: Option<Secret>,
    serving: Serving,
}

impl AdminServer {
    /// Takes the port, and reads the certificates.
    ///
    /// # Errors
    /// The port is taken, or may not be; the certificates cannot be used.
    pub fn bind(settings: &config::Admin) -> Result<Self, AdminError> {
        let bound = listen(settings.listen);
        let (listener, address) = bound.map_err(|source| AdminError::Bind {
            address: settings.listen,
            source,
        })?;
        let tls = settings.tls.as_ref();
        let tls = tls.map(|tls| ServerTls::start(tls, &[HTTP2, HTTP1]));
        let limits = config::Connections {
            max: CONNECTIONS_MAX,
            ..config::Connections::default()
        };
        Ok(Self {
            listener,
            address,
            token: settings.token.clone(),
            serving: Serving {
                protocol: Protocol::Http,
                limits,
                requests_of_connection_max: REQUESTS_OF_CONNECTION_MAX,
                tls: tls.transpose()?,
            },
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` turns true.
    ///
    /// - `/livez`: the process runs.
    /// - `/readyz`: every group has joined and does its work; `?verbose` says which has not.
    /// - `/healthz`: the same as `/readyz`, for older probes.
    /// - `/metrics`: the figures, in Prometheus' text format.
    /// - `/v1/plugins`: the versions of plugins; see [`plugins`].
    /// - `/v1/pauses`: what is paused; see [`pausing`].
    /// - `/v1/groups`, `/v1/partitions` and others: what the host shows of itself; see [`views`].
    /// - `/v1/tap`: events as they are handled; see [`tap`].
    /// - `/`: the page, which asks for all of that.
    ///
    /// Where there is a token, everything but the first three and the files of the page needs it.
    pub async fn serve(
        self,
        health: impl Fn() -> Vec<Health> + Clone + Send + Sync + 'static,
        metrics: impl Fn() -> String + Clone + Send + Sync + 'static,
        desks: Desks,
        mut stop: watch::Receiver<bool>,
    ) {
        let ready = move |RawQuery(query): RawQuery, Extension(MaySee(sees)): Extension<MaySee>| async move {
            readiness(&health(), query, sees)
        };
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
        let somebody_is_named = self.token.is_some() || self.address.ip().is_loopback();
        let routes = routes
            .merge(plugins::routes(desks.plugins, somebody_is_named))
            .merge(pausing::routes(desks.pausing, somebody_is_named))
            .merge(views::routes(desks.views))
            .merge(tap::routes(desks.tapping))
            .merge(dead_letters::routes(desks.letters, somebody_is_named))
            .merge(page::routes())
            .fallback(views::nothing_there)
            .layer(from_fn_with_state(self.token.map(Arc::new), guard));
        let listener = match tokio::net::TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the admin server ended"),
        };
        let mut server = std::pin::pin!(connections::serve(
            listener,
            routes,
            self.serving,
            stop.clone()
        ));
        tokio::select! {
            () = &mut server => {}
            // A sender that is gone means the same.
            () = async { drop(stop.wait_for(|stop| *stop).await) } => {
                drop(tokio::time::timeout(CLOSE_GRACE, server).await);
            }
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

/// The parts are told to those only who may see more than whether the host is ready.
fn readiness(parts: &[Health], query: Option<String>, sees: bool) -> impl IntoResponse + use<> {
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
        if sees && (verbose || !ready) {
            format!("{lines}{word}\n")
        } else {
            format!("{word}\n")
        },
    )
}
