//! `/v1/pauses`: what an operator has paused, and requests to pause and resume. It must not know what a pause does:
//! whoever can answer is behind [`Pausing`].

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use super::plugins::{Refused, answer, may_not_change, reply};
use super::query::Query;
use crate::delivery::pauses::Target;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whether it is to be paused; otherwise it is to be resumed.
    pub pause: bool,
    /// Of whom.
    pub whose: Whose,
}

/// Whose events wait, or go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Those of a group, all or some.
    Group(String, Target),
    /// Those of a plugin, in every group that has it.
    Plugin(String),
}

/// Whoever answers for the pauses.
pub trait Pausing: Send + Sync + 'static {
    /// Everything that is paused.
    fn list(&self) -> Value;

    /// Meets a request. Answers with everything that is paused after it.
    ///
    /// # Errors
    /// Why it was not met.
    fn ask(&self, asked: &Asked) -> Result<Value, Refused>;
}

/// The routes. Changes are refused where nothing says who asks, as those of plugins are.
pub(super) fn routes(pausing: Arc<dyn Pausing>, somebody_is_named: bool) -> Router {
    let listed = Arc::clone(&pausing);
    let list = move || async move { answer(move || Ok(listed.list())).await };
    let change = move |headers: HeaderMap, asked: Result<Asked, String>| async move {
        if let Some(refusal) = may_not_change(somebody_is_named, &headers) {
            return reply(StatusCode::FORBIDDEN, &json!({ "error": refusal }));
        }
        match asked {
            Ok(asked) => answer(move || pausing.ask(&asked)).await,
            Err(reason) => reply(StatusCode::BAD_REQUEST, &json!({ "error": reason })),
        }
    };
    let of_group = |pause: bool| {
        let change = change.clone();
        move |Path(group): Path<String>, RawQuery(query): RawQuery, headers: HeaderMap| async move {
            let target = target(query.as_deref());
            let whose = target.map(|target| Whose::Group(group, target));
            let done: Response = change(headers, whose.map(|whose| Asked { pause, whose })).await;
            done
        }
    };
    let of_plugin = |pause: bool| {
        let change = change.clone();
        move |Path(plugin): Path<String>, headers: HeaderMap| async move {
            let whose = Whose::Plugin(plugin);
            let done: Response = change(headers, Ok(Asked { pause, whose })).await;
            done
        }
    };
    Router::new()
        .route("/v1/pauses", get(list))
        .route("/v1/groups/{group}/pause", post(of_group(true)))
        .route("/v1/groups/{group}/resume", post(of_group(false)))
        .route("/v1/plugins/{plugin}/pause", post(of_plugin(true)))
        .route("/v1/plugins/{plugin}/resume", post(of_plugin(false)))
}

/// What of a group a query names: everything, or a plugin, a topic, one of its partitions, one of its keys.
fn target(query: Option<&str>) -> Result<Target, String> {
    let known = ["plugin", "topic", "partition", "key", "key_base64"];
    let mut query = Query::read(query, &known)?;
    let partition = query.take("partition").map(|partition| {
        let number = partition.parse::<i32>().ok().filter(|number| *number >= 0);
        number.ok_or("`partition` is a whole number from 0")
    });
    let of_bytes = query.take("key_base64").map(|key| {
        let key = BASE64_STANDARD.decode(key);
        key.map_err(|_| "`key_base64` is no base64 with padding; write + as %2B")
    });
    let key = match (query.take("key"), of_bytes.transpose()?) {
        (Some(_), Some(_)) => return Err("write `key` or `key_base64`, not both".to_owned()),
        (text, bytes) => text.map(String::into_bytes).or(bytes),
    };
    let named = (
        query.take("plugin"),
        query.take("topic"),
        partition.transpose()?,
        key,
    );
    match named {
        (None, None, None, None) => Ok(Target::Group),
        (Some(plugin), None, None, None) => Ok(Target::Plugin(plugin)),
        (None, Some(topic), None, None) => Ok(Target::Topic(topic)),
        (None, Some(topic), Some(partition), None) => Ok(Target::Partition(topic, partition)),
        (None, Some(topic), None, Some(key)) => Ok(Target::Key(topic, key)),
        _ => Err(
            "name nothing for the whole group, or `plugin`, or `topic` with at most one of `partition` and a key"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_one_thing() {
        let topic = || "a/b".to_owned();
        for (query, expected) in [
            (None, Target::Group),
            (Some("plugin=p"), Target::Plugin("p".to_owned())),
            (Some("topic=a%2Fb"), Target::Topic(topic())),
            (
                Some("partition=3&topic=a%2Fb"),
                Target::Partition(topic(), 3),
            ),
            (
                Some("topic=a%2Fb&key_base64=/w=="),
                Target::Key(topic(), b"\xff".to_vec()),
            ),
            (Some("topic=a%2Fb&key="), Target::Key(topic(), Vec::new())),
        ] {
            assert_eq!(target(query), Ok(expected), "{query:?}");
        }
        for query in [
            "partition=3",
            "key=k",
            "topic=t&partition=-1",
            "topic=t&partition=x",
            "topic=t&partition=1&key=k",
            "topic=t&key=k&key_base64=aw==",
            "topic=t&key_base64=?",
            "topic=t&topic=u",
            "topic=%ff",
            "plugin=p&topic=t",
            "offset=3",
        ] {
            assert!(target(Some(query)).is_err(), "{query}");
        }
    }
}
