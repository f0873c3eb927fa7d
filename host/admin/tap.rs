//! `/v1/tap`: events as they are handled, one JSON object a line, for as long as whoever asked listens. It must not know
//! what an event is: whoever can show them is behind [`Tapping`].

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::RawQuery;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;

use super::plugins::reply;
use super::views::{Wanted, wanted};

/// How often what was seen is sent.
const SEND_EVERY: Duration = Duration::from_millis(100);

/// Sends without anything seen, after which an empty line says that the host is still there: every five seconds.
const SILENT_SENDS_MAX: u32 = 50;

/// Sends that wait for a client that does not read. It then gets nothing more until it does, and the count.
const UNREAD_SENDS_MAX: usize = 4;

/// Who may look at once: people, at most.
const TAPS_MAX: usize = 8;

/// Whoever shows events as they are handled.
pub trait Tapping: Send + Sync + 'static {
    /// Begins to look at the events that are wanted.
    ///
    /// # Errors
    /// There is no such group, topic or plugin, in words.
    fn begin(&self, wanted: &Wanted) -> Result<Box<dyn Tapped>, String>;
}

/// A look at events that has begun; dropping it ends it.
pub trait Tapped: Send + 'static {
    /// The events since the last time, as lines of JSON, and how many there were that are not among them.
    fn take(&mut self) -> (String, u64);
}

/// The routes.
pub(super) fn routes(tapping: Arc<dyn Tapping>) -> Router {
    let places = Arc::new(AtomicUsize::new(0));
    let tap = move |RawQuery(query): RawQuery| async move {
        let begun = wanted(query.as_deref(), &["group", "topic", "plugin"])
            .map_err(|error| (StatusCode::BAD_REQUEST, error))
            .and_then(|wanted| {
                let place = Place::take(&places).ok_or_else(busy)?;
                let begun = tapping.begin(&wanted);
                let tapped = begun.map_err(|error| (StatusCode::NOT_FOUND, error))?;
                Ok((tapped, place))
            });
        match begun {
            Ok((tapped, place)) => {
                let (send, sent) = mpsc::channel(UNREAD_SENDS_MAX);
                tokio::spawn(send_on(tapped, place, send));
                let headers = [
                    (header::CONTENT_TYPE, "application/x-ndjson"),
                    (header::CACHE_CONTROL, "no-store"),
                ];
                (headers, Body::from_stream(ReceiverStream::new(sent))).into_response()
            }
            Err((status, error)) => reply(status, &json!({ "error": error })),
        }
    };
    Router::new().route("/v1/tap", get(tap))
}

fn busy() -> (StatusCode, String) {
    let error = format!("{TAPS_MAX} look at events already; end one of them, or ask again later");
    (StatusCode::TOO_MANY_REQUESTS, error)
}

/// Ends when nobody listens any more.
async fn send_on(
    mut tapped: Box<dyn Tapped>,
    _place: Place,
    send: mpsc::Sender<Result<Bytes, Infallible>>,
) {
    let mut every = interval(SEND_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The head of the answer goes out with the first bytes.
    let mut silent = SILENT_SENDS_MAX;
    loop {
        tokio::select! {
            () = send.closed() => return,
            _ = every.tick() => {}
        }
        let (mut lines, dropped) = tapped.take();
        if dropped > 0 {
            lines.push_str(&format!("{}\n", json!({ "dropped": dropped })));
        }
        silent += 1;
        if lines.is_empty() && silent >= SILENT_SENDS_MAX {
            lines.push('\n');
        }
        if lines.is_empty() {
            continue;
        }
        silent = 0;
        if send.send(Ok(lines.into())).await.is_err() {
            return;
        }
    }
}

/// A place among those who look.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(places: &Arc<AtomicUsize>) -> Option<Self> {
        let one_more = |taken| (taken < TAPS_MAX).then_some(taken + 1);
        let taken = places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.is_ok().then(|| Self(Arc::clone(places)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let places = Arc::new(AtomicUsize::new(0));
        let taken: Vec<_> = std::iter::from_fn(|| Place::take(&places)).collect();
        assert_eq!(taken.len(), TAPS_MAX);
        drop(taken);
        assert!(Place::take(&places).is_some());
    }
}
