//! `/v1/plugins`: which versions of plugins serve, and requests to change that. It must not know what a version
//! is: whoever can answer is behind [`Plugins`].

use std::fmt::Display;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

/// What is asked for of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Try the version in its file, and let it serve.
    Reload,
    /// Let the version before serve again.
    Back,
    /// Let the version with this digest serve that waits because it asks for more.
    Approve(String),
    /// Let the candidate serve that is being tried.
    Promote,
    /// End the trial of the candidate.
    Dismiss,
}

/// Why a request was not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is no such plugin.
    Unknown(String),
    /// What was asked for cannot be done; what served goes on.
    Conflict(String),
    /// What was asked for is not understood.
    Malformed(String),
    /// Something outside does not let it be done now; asking again may help.
    NotNow(String),
}

/// Whoever answers for the plugins. Each call may block for as long as compiling takes.
pub trait Plugins: Send + Sync + 'static {
    /// Every plugin and its versions.
    fn list(&self) -> Value;

    /// Meets a request. Answers with the state of the plugin after it.
    ///
    /// # Errors
    /// Why it was not met.
    fn ask(&self, plugin: &str, request: Request) -> Result<Value, Refused>;
}

/// The routes. Changes are refused where nothing says who asks: the server listens beyond loopback, and has no token.
pub(super) fn routes(plugins: Arc<dyn Plugins>, somebody_is_named: bool) -> Router {
    let listed = Arc::clone(&plugins);
    let list = move || async move { answer(move || Ok(listed.list())).await };
    let ask = move |Path((plugin, verb)): Path<(String, String)>,
                    RawQuery(query): RawQuery,
                    headers: HeaderMap| async move {
        if let Some(refusal) = may_not_change(somebody_is_named, &headers) {
            return reply(StatusCode::FORBIDDEN, &json!({ "error": refusal }));
        }
        match request(&verb, query.as_deref()) {
            Ok(request) => answer(move || plugins.ask(&plugin, request)).await,
            Err(reason) => reply(StatusCode::BAD_REQUEST, &json!({ "error": reason })),
        }
    };
    Router::new()
        .route("/v1/plugins", get(list))
        .route("/v1/plugins/{plugin}/{verb}", post(ask))
}

/// Why nothing may be changed; none where it may.
pub(super) fn may_not_change(somebody_is_named: bool, headers: &HeaderMap) -> Option<&'static str> {
    if !somebody_is_named {
        return Some(
            "admin.listen is no loopback address, so anybody could ask for this; write admin.token, or \
             replace the file of the plugin where that is what you want",
        );
    }
    let strange = comes_from_elsewhere(headers);
    strange.then_some(
        "a web page of another site may not ask for this; use the page of this host, `millrace`, or curl",
    )
}

/// Whether a web page asks that this server did not serve. Every browser says for a page that asks for a change where
/// it comes from; nothing else does.
fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    let said = |name| headers.get(name).map(HeaderValue::as_bytes);
    said(header::ORIGIN).is_some_and(|origin| {
        let own = ["http://", "https://"].into_iter().any(|scheme| {
            let site = origin.strip_prefix(scheme.as_bytes());
            site.is_some() && site == said(header::HOST)
        });
        !own
    })
}

fn request(verb: &str, query: Option<&str>) -> Result<Request, String> {
    let digest = || {
        let mut pairs = query.unwrap_or_default().split('&');
        pairs.find_map(|pair| pair.strip_prefix("digest="))
    };
    match verb {
        "reload" => Ok(Request::Reload),
        "back" => Ok(Request::Back),
        "promote" => Ok(Request::Promote),
        "dismiss" => Ok(Request::Dismiss),
        "approve" => match digest() {
            Some(digest) => Ok(Request::Approve(digest.to_owned())),
            None => Err("say which version: approve?digest=…, all 64 digits".to_owned()),
        },
        _ => Err(format!(
            "there is no {verb}: reload, back, approve, promote and dismiss are there"
        )),
    }
}

/// Runs what may block beside the server's own threads.
pub(super) async fn answer(
    ask: impl FnOnce() -> Result<Value, Refused> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(ask).await {
        Ok(result) => answered(StatusCode::OK, result),
        Err(error) => {
            tracing::error!(%error, "a request for a plugin ended badly; please report this");
            let message = "the host met a bug of its own; its log says more";
            reply(
                StatusCode::INTERNAL_SERVER_ERROR,
                &json!({ "error": message }),
            )
        }
    }
}

/// The answer to what was met, or why it was not.
pub(super) fn answered(met: StatusCode, result: Result<Value, Refused>) -> Response {
    let (status, reason) = match result {
        Ok(state) => return reply(met, &state),
        Err(Refused::Unknown(reason)) => (StatusCode::NOT_FOUND, reason),
        Err(Refused::Conflict(reason)) => (StatusCode::CONFLICT, reason),
        Err(Refused::Malformed(reason)) => (StatusCode::BAD_REQUEST, reason),
        Err(Refused::NotNow(reason)) => (StatusCode::SERVICE_UNAVAILABLE, reason),
    };
    reply(status, &json!({ "error": reason }))
}

/// An answer in JSON.
pub(super) fn reply(status: StatusCode, body: &impl Display) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        // What is shown is of this moment.
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, format!("{body}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_changed_for_who_is_not_named_or_for_a_web_page() {
        let mut headers = HeaderMap::new();
        assert_eq!(may_not_change(true, &headers), None);
        assert!(may_not_change(false, &headers).is_some());
        headers.insert(header::ORIGIN, "https://example.com".parse().unwrap());
        headers.insert(header::HOST, "127.0.0.1:9464".parse().unwrap());
        assert!(may_not_change(true, &headers).is_some());
        headers.insert(header::ORIGIN, "http://127.0.0.1:9464".parse().unwrap());
        assert_eq!(
            may_not_change(true, &headers),
            None,
            "the page of this host"
        );
        headers.insert(header::ORIGIN, "null".parse().unwrap());
        assert!(may_not_change(true, &headers).is_some());
    }

    #[test]
    fn requests_are_read_from_path_and_query() {
        assert_eq!(request("reload", None), Ok(Request::Reload));
        assert_eq!(request("back", Some("x=y")), Ok(Request::Back));
        let approve = request("approve", Some("x=y&digest=ab"));
        assert_eq!(approve, Ok(Request::Approve("ab".to_owned())));
        assert!(request("approve", None).is_err() && request("remove", None).is_err());
    }
}
