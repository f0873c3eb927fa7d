//! `/v1/host`, `/v1/groups`, `/v1/partitions`, `/v1/lanes`, `/v1/configuration`: what a host shows of itself, and the
//! document that describes all of this interface. It must not know what a group is: whoever can answer is behind
//! [`Views`].

use std::sync::Arc;

use axum::extract::RawQuery;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, http::Uri};
use serde_json::json;

use super::plugins::reply;
use super::query::Query;

/// The states of a partition, from what an operator has to see first.
pub const PARTITION_STATES: [&str; 6] =
    ["stuck", "waiting", "rebuilding", "full", "working", "idle"];

/// Which partitions or lanes are asked for. What is none is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only of this group.
    pub group: Option<String>,
    /// Only of this topic.
    pub topic: Option<String>,
    /// Only of this plugin.
    pub plugin: Option<String>,
    /// Only in this state, one of [`PARTITION_STATES`].
    pub state: Option<String>,
}

/// Whoever answers what a host shows of itself. Every answer is JSON, and made of what lies ready: none of them may
/// wait for the data path.
pub trait Views: Send + Sync + 'static {
    /// The process: version, start, the health of its parts.
    fn host(&self) -> String;

    /// Every group with its sums.
    fn groups(&self) -> String;

    /// Assigned partitions.
    fn partitions(&self, wanted: &Wanted) -> String;

    /// What every setting is and where it came from, without secrets; none where the host has no configuration file.
    fn configuration(&self) -> Option<String>;

    /// Lanes.
    fn lanes(&self, wanted: &Wanted) -> String;
}

/// The routes.
pub(super) fn routes(views: Arc<dyn Views>) -> Router {
    let [host, groups, partitions, lanes, configuration] = [0; 5].map(|_| Arc::clone(&views));
    Router::new()
        .route("/v1/openapi.json", get(document))
        .route(
            "/v1/host",
            get(|query: RawQuery| async move { answer(query, &[], |_| host.host()) }),
        )
        .route(
            "/v1/groups",
            get(|query: RawQuery| async move { answer(query, &[], |_| groups.groups()) }),
        )
        .route(
            "/v1/partitions",
            get(|query: RawQuery| async move {
                let known = ["group", "topic", "plugin", "state"];
                answer(query, &known, |wanted| partitions.partitions(wanted))
            }),
        )
        .route(
            "/v1/configuration",
            get(|| async move {
                match configuration.configuration() {
                    Some(explained) => reply(StatusCode::OK, &explained),
                    None => reply(
                        StatusCode::NOT_FOUND,
                        &json!({ "error": "this host has made up its configuration itself; there is no file to tell of" }),
                    ),
                }
            }),
        )
        .route(
            "/v1/lanes",
            get(|query: RawQuery| async move {
                answer(query, &["group", "plugin"], |wanted| lanes.lanes(wanted))
            }),
        )
}

/// The document that describes the interface; of every host of one version the same.
async fn document() -> impl IntoResponse {
    const DOCUMENT: &str = include_str!("openapi.json");
    let document = DOCUMENT.replacen("VERSION", env!("CARGO_PKG_VERSION"), 1);
    ([(header::CONTENT_TYPE, "application/json")], document)
}

fn answer(
    RawQuery(query): RawQuery,
    known: &[&'static str],
    ask: impl FnOnce(&Wanted) -> String,
) -> Response {
    match wanted(query.as_deref(), known) {
        Ok(wanted) => reply(StatusCode::OK, &ask(&wanted)),
        Err(error) => reply(StatusCode::BAD_REQUEST, &json!({ "error": error })),
    }
}

pub(super) fn wanted(query: Option<&str>, known: &[&'static str]) -> Result<Wanted, String> {
    let mut query = Query::read(query, known)?;
    let wanted = Wanted {
        group: query.take("group"),
        topic: query.take("topic"),
        plugin: query.take("plugin"),
        state: query.take("state"),
    };
    if let Some(state) = &wanted.state
        && !PARTITION_STATES.contains(&state.as_str())
    {
        let states = PARTITION_STATES.join(", ");
        return Err(format!("there is no state `{state}`: {states} are there"));
    }
    Ok(wanted)
}

/// What is answered where nothing is served.
pub(super) async fn nothing_there(uri: Uri) -> Response {
    let error = format!(
        "nothing is served at {}; /v1/openapi.json says what is",
        uri.path()
    );
    reply(StatusCode::NOT_FOUND, &json!({ "error": error }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_read_and_an_unknown_state_named_with_those_that_are_there() {
        let known = ["group", "topic", "plugin", "state"];
        let read = wanted(Some("group=g&state=stuck"), &known).unwrap();
        assert_eq!(read.group.as_deref(), Some("g"));
        assert_eq!(read.state.as_deref(), Some("stuck"));
        let refused = wanted(Some("state=sad"), &known).unwrap_err();
        assert!(refused.contains("`sad`") && refused.contains("rebuilding"));
    }
}
