//! What each call passes before its message is received: who asks, whether there is a place for it, and until when
//! it has to be answered.
//!
//! It must not know what is asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;
use tonic::{Code, Status};

use super::status;
use crate::connections::Peer;
use crate::ingest::reception::{Caller, Reception};
use crate::ingest::refusal::Refusal;
use crate::kafka::publisher::LOOKUP_TIMEOUT;

/// Calls of this service need a token and a place; health and reflection do not.
const GUARDED: &str = "/millrace.ingest.v1.Ingest/";

/// The one call that lasts.
const STREAM: &str = "/millrace.ingest.v1.Ingest/PublishStream";

/// A call may look its topic up and then wait for its delivery, in any case within the time for both and this; what takes
/// longer is stuck.
const CALL_MARGIN: Duration = Duration::from_secs(5);

/// The calls of a gateway.
#[derive(Debug)]
pub(super) struct Calls {
    reception: Arc<Reception>,
    places: Arc<Semaphore>,
    places_max: u32,
    message_max_bytes: usize,
}

/// A call that may go on. It travels in the request's extensions, and with its last copy its place is given back.
#[derive(Debug, Clone)]
pub(super) struct Admitted {
    pub(super) caller: Caller,
    _place: Arc<OwnedSemaphorePermit>,
}

impl Calls {
    pub(super) fn new(
        reception: Arc<Reception>,
        places_max: usize,
        message_max_bytes: usize,
    ) -> Self {
        let places_max = u32::try_from(places_max).unwrap_or(u32::MAX);
        Self {
            reception,
            places: Arc::new(Semaphore::new(places_max as usize)),
            places_max,
            message_max_bytes,
        }
    }

    /// Ends when no call has a place any more.
    pub(super) async fn all_ended(&self) {
        // It is never closed.
        drop(self.places.acquire_many(self.places_max).await);
    }

    fn admit(&self, request: &Request) -> Result<Admitted, Refusal> {
        let authorization = request.headers().get(http::header::AUTHORIZATION);
        let client = self
            .reception
            .who(authorization.map(http::HeaderValue::as_bytes))?;
        if let Some(peer) = request.extensions().get::<Peer>() {
            peer.is_known();
        }
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Refusal::Busy("too many calls at once"))?;
        let time = request.headers().get("grpc-timeout");
        let time = time.and_then(|time| timeout_of(time.to_str().ok()?));
        let deadline = time.and_then(|time| Instant::now().checked_add(time));
        Ok(Admitted {
            caller: Caller {
                client,
                deadline,
                carried: self.reception.carried(request.headers()),
            },
            _place: Arc::new(place),
        })
    }
}

/// Lets a call through, or refuses it.
pub(super) async fn pass(
    State(calls): State<Arc<Calls>>,
    mut request: Request,
    next: Next,
) -> Response {
    if !request.uri().path().starts_with(GUARDED) {
        return next.run(request).await;
    }
    let admitted = match calls.admit(&request) {
        Ok(admitted) => admitted,
        Err(refusal) => return status::of_call(&refusal).into_http(),
    };
    let lasts = request.uri().path() == STREAM;
    let deadline = admitted.caller.deadline;
    request.extensions_mut().insert(admitted);
    if lasts {
        // Each answer is a message of a few bytes of its own, which compression would only make more.
        request.headers_mut().remove("grpc-accept-encoding");
        return next.run(request).await;
    }
    let call_timeout = LOOKUP_TIMEOUT + calls.reception.delivery_timeout() + CALL_MARGIN;
    let longest = Instant::now() + call_timeout;
    let until = deadline.map_or(longest, |deadline| deadline.min(longest));
    match timeout_at(until.into(), next.run(request)).await {
        Ok(answer) if refuses_the_size(&answer) => {
            status::too_large(calls.message_max_bytes).into_http()
        }
        Ok(answer) => answer,
        Err(_) => status::of_call(&Refusal::Unanswered).into_http(),
    }
}

fn refuses_the_size(answer: &Response) -> bool {
    Status::from_header_map(answer.headers()).is_some_and(|s| s.code() == Code::OutOfRange)
}

/// The time of a `grpc-timeout`: up to 8 digits and a unit. One that is not understood counts as none.
fn timeout_of(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_hours(number),
        'M' => Duration::from_mins(number),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        for (text, time) in [
            ("1H", Some(Duration::from_hours(1))),
            ("2M", Some(Duration::from_mins(2))),
            ("30S", Some(Duration::from_secs(30))),
            ("250m", Some(Duration::from_millis(250))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0S", Some(Duration::ZERO)),
            ("123456789S", None),
            ("-1S", None),
            ("1", None),
            ("S", None),
            ("1é", None),
            ("", None),
        ] {
            assert_eq!(timeout_of(text), time, "{text}");
        }
    }
}
