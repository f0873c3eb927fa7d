//! Lets only those in who show the token. It must not know what they ask for.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::config::{Digested, Secret};
use crate::connections::Peer;

/// Probes have no secrets, and learn none.
const OPEN: [&str; 3] = ["/livez", "/readyz", "/healthz"];

/// Whether whoever asks may see more than whether the host is well.
#[derive(Debug, Clone, Copy)]
pub(super) struct MaySee(pub(super) bool);

/// Refuses a request that needs the token and does not show it.
pub(super) async fn guard(
    State(token): State<Option<Arc<Secret>>>,
    mut request: Request,
    next: Next,
) -> Response {
    let sees = token
        .as_deref()
        .is_none_or(|token| shows(request.headers(), token));
    if !sees && !OPEN.contains(&request.uri().path()) {
        let headers = [
            (header::CONTENT_TYPE, "application/json"),
            (header::WWW_AUTHENTICATE, "Bearer"),
        ];
        let body = "{\"error\":\"this needs the token of admin.token: send `authorization: Bearer TOKEN`; \
                    `millrace plugin` takes it from MILLRACE__ADMIN__TOKEN or from --config\"}\n";
        return (StatusCode::UNAUTHORIZED, headers, body).into_response();
    }
    if sees && let Some(peer) = request.extensions().get::<Peer>() {
        peer.is_known();
    }
    request.extensions_mut().insert(MaySee(sees));
    next.run(request).await
}

fn shows(headers: &HeaderMap, token: &Secret) -> bool {
    let shown = headers.get(header::AUTHORIZATION);
    shown
        .and_then(|shown| Digested::bearer(shown.as_bytes()))
        .is_some_and(|shown| token.is(&shown))
}
