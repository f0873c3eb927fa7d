//! `/v1/dead-letters`: the dead letters of the groups that run, grouped by what went wrong or one by one, and requests to
//! put them back or to remove them. It must not know where they lie, or how any of that is done: whoever can answer is
//! behind [`Letters`].

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::plugins::{Refused, answer, answered, may_not_change, reply};
use super::query;

/// Letters that are read at once, each with a connection of its own: people look at one.
const READ_AT_ONCE_MAX: usize = 4;

/// Whoever asks for a letter is not kept longer. The cluster has had time for each question by then.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);

/// What is done with many letters. It runs on after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// They are put back.
    Redrive,
    /// They are removed.
    Purge,
}

/// Names and values of a query, as they were asked.
pub type Words = Vec<(String, String)>;

/// Whoever answers for the dead letters. None of the answers may wait for the cluster, but for one letter's.
pub trait Letters: Send + Sync + 'static {
    /// The topics of dead letters, each with its groups.
    fn topics(&self) -> Value;

    /// What is known of the letters of one topic.
    ///
    /// # Errors
    /// No group that runs has this topic.
    fn of(&self, topic: &str) -> Result<Value, Refused>;

    /// One letter, whole. It waits for the cluster, on a thread that is there for it alone.
    ///
    /// # Errors
    /// It is not there, or the cluster does not answer.
    fn one(&self, topic: &str, place: (i32, i64)) -> Result<Value, Refused>;

    /// Begins some work with the letters of a topic, as these words say. Answers with how it stands.
    ///
    /// # Errors
    /// The words say nothing that can be done, or there is some work with this topic already.
    fn begin(&self, topic: &str, work: Work, words: &Words) -> Result<Value, Refused>;

    /// How the last work of its kind stands; null where there was none since the host started.
    ///
    /// # Errors
    /// No group that runs has this topic.
    fn stands(&self, topic: &str, work: Work) -> Result<Value, Refused>;

    /// Lets a redrive end before its next letter. Answers with how it stands.
    ///
    /// # Errors
    /// None runs.
    fn stop(&self, topic: &str) -> Result<Value, Refused>;
}

/// The routes. Changes are refused where nothing says who asks, as those of plugins are.
pub(super) fn routes(letters: Arc<dyn Letters>, somebody_is_named: bool) -> Router {
    let [topics, of, one, stop] = [0; 4].map(|_| Arc::clone(&letters));
    let room = Arc::new(Semaphore::new(READ_AT_ONCE_MAX));
    let list = move || async move { answer(move || Ok(topics.topics())).await };
    let of = move |Path(topic): Path<String>| async move { answer(move || of.of(&topic)).await };
    let one = move |Path((topic, partition, offset)): Path<(String, String, String)>| async move {
        let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse()) else {
            let why = "a letter is asked for as /v1/dead-letters/TOPIC/letters/PARTITION/OFFSET";
            return answered(StatusCode::OK, Err(Refused::Malformed(why.to_owned())));
        };
        aside(&room, move || one.one(&topic, (partition, offset))).await
    };
    let stands = |work: Work| {
        let letters = Arc::clone(&letters);
        move |Path(topic): Path<String>| async move {
            answer(move || letters.stands(&topic, work)).await
        }
    };
    let begin = |work: Work| {
        let letters = Arc::clone(&letters);
        move |Path(topic): Path<String>, RawQuery(query): RawQuery, headers: HeaderMap| async move {
            if let Some(refusal) = may_not_change(somebody_is_named, &headers) {
                return reply(StatusCode::FORBIDDEN, &json!({ "error": refusal }));
            }
            let words = query::words(query.as_deref()).map_err(Refused::Malformed);
            let begun = words.and_then(|words| letters.begin(&topic, work, &words));
            answered(StatusCode::ACCEPTED, begun)
        }
    };
    let stop = move |Path(topic): Path<String>, headers: HeaderMap| async move {
        if let Some(refusal) = may_not_change(somebody_is_named, &headers) {
            return reply(StatusCode::FORBIDDEN, &json!({ "error": refusal }));
        }
        answered(StatusCode::OK, stop.stop(&topic))
    };
    let redrive = get(stands(Work::Redrive));
    let redrive = redrive.post(begin(Work::Redrive)).delete(stop);
    let purge = get(stands(Work::Purge)).post(begin(Work::Purge));
    Router::new()
        .route("/v1/dead-letters", get(list))
        .route("/v1/dead-letters/{topic}", get(of))
        .route(
            "/v1/dead-letters/{topic}/letters/{partition}/{offset}",
            get(one),
        )
        .route("/v1/dead-letters/{topic}/redrive", redrive)
        .route("/v1/dead-letters/{topic}/purge", purge)
}

/// Runs what waits for the cluster on a thread of its own: neither the server's threads nor a host that ends wait for it.
async fn aside(
    room: &Arc<Semaphore>,
    ask: impl FnOnce() -> Result<Value, Refused> + Send + 'static,
) -> Response {
    let not_now = |why: &str| answered(StatusCode::OK, Err(Refused::NotNow(why.to_owned())));
    let Ok(place) = Arc::clone(room).try_acquire_owned() else {
        return not_now("as many letters are being read as may be at once; ask again");
    };
    let (tell, told) = oneshot::channel();
    let started = thread::Builder::new()
        .name("letter".to_owned())
        .spawn(move || {
            // Whoever asked may have gone.
            let _gone = tell.send(ask());
            drop(place);
        });
    if let Err(error) = started {
        return not_now(&error.to_string());
    }
    match timeout(ANSWER_WITHIN, told).await {
        Ok(Ok(result)) => answered(StatusCode::OK, result),
        Ok(Err(_)) => not_now("the letter could not be read; the log of the host says more"),
        Err(_) => not_now("the cluster has not answered in time; ask again"),
    }
}
