//! Lets only those in who show the token. It must not know what they ask for.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Request as HttpRequest, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::page::is_page;
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
    let path = request.uri().path();
    let open = OPEN.contains(&path) || is_page(path);
    if token.is_none() && path.starts_with("/v1/") && !names_this_machine(&request) {
        let body = "{\"error\":\"without admin.token this is answered under an address or `localhost` only, \
                    because any web page could have a name of its own lead here; ask there, or write admin.token\"}\n";
        let headers = [(header::CONTENT_TYPE, "application/json")];
        return (StatusCode::FORBIDDEN, headers, body).into_response();
    }
    // HTTP/2 says elsewhere what HTTP/1.1 says in this header.
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
    if !sees && !open {
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

/// Whether the request is for an address, or for `localhost`: no page of another site can be there. What names nothing
/// is no browser's.
fn names_this_machine<B>(request: &HttpRequest<B>) -> bool {
    let said = request.headers().get(header::HOST);
    let said = said.map(|host| host.to_str().unwrap_or("?"));
    let authority = request.uri().authority().map(|named| named.as_str());
    let Some(named) = authority.or(said) else {
        return true;
    };
    let without_port = match named.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => named,
    };
    let address = without_port.trim_start_matches('[').trim_end_matches(']');
    let name = without_port.to_ascii_lowercase();
    address.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

fn shows(headers: &HeaderMap, token: &Secret) -> bool {
    let shown = headers.get(header::AUTHORIZATION);
    shown
        .and_then(|shown| Digested::bearer(shown.as_bytes()))
        .is_some_and(|shown| token.is(&shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_this_machine_for_sure() {
        for (host, this_machine) in [
            ("127.0.0.1:9464", true),
            ("127.0.0.1", true),
            ("[::1]:9464", true),
            ("[::1]", true),
            ("localhost:9464", true),
            ("LOCALHOST", true),
            ("a.localhost:1", true),
            ("rebound.example:9464", false),
            ("127.0.0.1.example", false),
            ("localhost.example", false),
            ("", false),
        ] {
            let request = HttpRequest::builder().header(header::HOST, host).body(());
            let found = names_this_machine(&request.unwrap());
            assert_eq!(found, this_machine, "{host}");
        }
        assert!(names_this_machine(&HttpRequest::new(())), "no browser");
        let over_http2 = HttpRequest::builder().uri("https://rebound.example/v1/groups");
        assert!(!names_this_machine(&over_http2.body(()).unwrap()));
    }
}
