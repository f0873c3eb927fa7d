//! `/v1/dead-letters`: the dead letters of the groups that run, grouped by what went wrong. It must not know where they
//! lie: whoever can answer is behind [`Letters`].

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use serde_json::Value;

use super::plugins::{Refused, answer};

/// Whoever answers for the dead letters. None of the answers may wait for the cluster.
pub trait Letters: Send + Sync + 'static {
    /// The topics of dead letters, each with its groups.
    fn topics(&self) -> Value;

    /// What is known of the letters of one topic.
    ///
    /// # Errors
    /// No group that runs has this topic.
    fn of(&self, topic: &str) -> Result<Value, Refused>;
}

/// The routes.
pub(super) fn routes(letters: Arc<dyn Letters>) -> Router {
    let asked = Arc::clone(&letters);
    let topics = move || async move { answer(move || Ok(asked.topics())).await };
    let of =
        move |Path(topic): Path<String>| async move { answer(move || letters.of(&topic)).await };
    Router::new()
        .route("/v1/dead-letters", get(topics))
        .route("/v1/dead-letters/{topic}", get(of))
}
