//! Ctrl-C and its kin while a command draws on the terminal: the first asks it to end, the second ends
//! it at once.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

/// What a shell reports for a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Signals, received from now on.
#[derive(Debug)]
pub(super) struct Signals {
    asked: Receiver<()>,
}

impl Signals {
    /// Begins to receive. `at_once` is called before the second signal ends the process.
    pub(super) fn receive(at_once: impl FnOnce() + Send + 'static) -> anyhow::Result<Self> {
        let cannot = "signals cannot be received";
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context(cannot)?;
        let (mut interrupt, mut terminate, mut hangup) = {
            let _inside = runtime.enter();
            let receive = |kind| signal(kind).context(cannot);
            (
                receive(SignalKind::interrupt())?,
                receive(SignalKind::terminate())?,
                receive(SignalKind::hangup())?,
            )
        };
        // One slot: the second signal never gets that far.
        let (tell, asked) = sync_channel(1);
        let wait = move || {
            runtime.block_on(async {
                for told in [false, true] {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        _ = hangup.recv() => {}
                    }
                    if !told {
                        // Nobody listens any more when the command is about to end by itself.
                        let _told = tell.send(());
                    }
                }
            });
            at_once();
            std::process::exit(INTERRUPTED);
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(wait)
            .context(cannot)?;
        Ok(Self { asked })
    }

    /// Waits for this long, or until a signal has come, and says whether one has.
    pub(super) fn wait(&self, time: Duration) -> bool {
        match self.asked.recv_timeout(time) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        }
    }
}
