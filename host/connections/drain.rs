//! The orderly end of a server: what it has begun is finished, within a time, and then its connections are closed. It
//! must not know what is served, or how it is told that all of it has ended.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// After the last answer is ready, how long connections may take to carry it out and close. Clients that watch a health
/// service would otherwise keep theirs open to the end of the drain.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

/// What is finished before connections are closed.
pub(crate) struct Drain<F> {
    /// What it is, as in `requests`.
    pub(crate) of: &'static str,
    /// Ends when all of it has its answer.
    pub(crate) all_ended: F,
    /// The time for that.
    pub(crate) within: Duration,
}

/// Lets a server, which [`super::serve`] has begun, run until `shutdown` completes. Then it is told to `stop`, and ends
/// when its clients have closed, or when what is to be finished is, or when the time for that is over.
pub(crate) async fn serve_until(
    shutdown: impl Future<Output = ()>,
    server: impl Future<Output = ()>,
    stop: watch::Sender<bool>,
    drain: Drain<impl Future<Output = ()>>,
) {
    let mut server = pin!(server);
    tokio::select! {
        () = &mut server => {}
        () = shutdown => {}
    }
    stop.send_replace(true);
    tokio::select! {
        () = &mut server => {}
        () = drain.ended() => {
            // Connections that outlive the grace hold nothing that was not answered.
            drop(timeout(CLOSE_GRACE, server).await);
        }
    }
}

impl<F: Future<Output = ()>> Drain<F> {
    async fn ended(self) {
        let (of, within) = (self.of, self.within);
        if timeout(within, self.all_ended).await.is_err() {
            tracing::warn!(
                ?within,
                "publishers were cut off: their {of} did not end in time"
            );
        }
    }
}
