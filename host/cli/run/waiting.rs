//! What a running daemon waits for: a signal, the end of its time, the failure of a group, another configuration. It must
//! not know what is done then.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::source::Source;
use crate::daemon::Daemon;
use crate::watched::LOOK_EVERY;

/// Why the wait is over.
#[derive(Debug)]
pub(super) enum Next {
    /// It is time to end.
    End,
    /// No group works any more, for this reason.
    Failed(String),
    /// The configuration is to be read again.
    ReadAgain,
}

/// Signals, received from the start on, and the time.
#[derive(Debug)]
pub(super) struct Waiting {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    end: Option<Instant>,
}

impl Waiting {
    /// Begins to receive. Must be called on a runtime.
    pub(super) fn begin(run_for: Option<Duration>) -> anyhow::Result<Self> {
        let receive = |kind| signal(kind).context("signals cannot be received");
        Ok(Self {
            terminate: receive(SignalKind::terminate())?,
            interrupt: receive(SignalKind::interrupt())?,
            hangup: receive(SignalKind::hangup())?,
            end: run_for.and_then(|time| Instant::now().checked_add(time)),
        })
    }

    /// Waits until something has to be done.
    pub(super) async fn next(&mut self, daemon: &Daemon, source: &mut Source) -> Next {
        loop {
            tokio::select! {
                () = ended(&mut self.terminate, &mut self.interrupt, self.end) => return Next::End,
                _ = self.hangup.recv() => {
                    source.is_read_now();
                    return Next::ReadAgain;
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if let Some(failure) = daemon.failure() {
                return Next::Failed(failure);
            }
            if source.is_due() {
                return Next::ReadAgain;
            }
        }
    }

    /// Waits until it is time to end.
    pub(super) async fn end(&mut self) {
        ended(&mut self.terminate, &mut self.interrupt, self.end).await;
    }
}

async fn ended(terminate: &mut Signal, interrupt: &mut Signal, end: Option<Instant>) {
    let time_over = async {
        match end {
            Some(end) => tokio::time::sleep_until(end.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = time_over => {}
    }
}
