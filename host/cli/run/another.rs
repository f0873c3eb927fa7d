//! Another configuration for a running daemon, from the file to the groups that run with it. What is refused is told in
//! one message, and what served before serves on.

use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::source::Source;
use super::waiting::Waiting;
use super::{EXIT_MARGIN, exit_in_the_end};
use crate::config::Config;
use crate::daemon::{ChangeError, Daemon, DaemonError, Plan};

/// What came of it.
#[derive(Debug)]
pub(super) enum Taken {
    /// The daemon goes on, with the new configuration or with the old one.
    GoesOn,
    /// It is time to end.
    End,
    /// No way leads back, for this reason.
    Lost(String),
}

/// What a planner answers: none where the configuration is the same.
type Planned = Result<Option<Plan>, ChangeError>;

/// Reads the configuration again and takes it up.
pub(super) fn take(
    daemon: &mut Daemon,
    source: &mut Source,
    waiting: &mut Waiting,
    drain_timeout: Duration,
) -> anyhow::Result<Taken> {
    let file = source.name();
    tracing::info!(%file, "the configuration is read again");
    let (config, explained) = match source.read() {
        Ok(read) => read,
        Err(error) => {
            refuse(daemon, &file, &error.to_string());
            return Ok(Taken::GoesOn);
        }
    };
    let planned = match planned(daemon, config, waiting)? {
        Some(planned) => planned,
        None => return Ok(Taken::End),
    };
    let plan = match planned {
        Ok(Some(plan)) => plan,
        Ok(None) => {
            daemon.configuration_serves();
            daemon.configuration_is_explained(explained);
            tracing::info!(%file, "the configuration is as it was");
            return Ok(Taken::GoesOn);
        }
        Err(error) => {
            if error.may_pass() {
                source.is_tried_again();
            }
            refuse(daemon, &file, &error.to_string());
            return Ok(Taken::GoesOn);
        }
    };
    tracing::info!(%file, changes = %plan.changes(), "another configuration is taken up");
    let guard = watch_signals(daemon, drain_timeout)?;
    let taken = daemon.take_up(plan);
    guard.abort();
    match taken {
        Ok(changes) => {
            daemon.configuration_is_explained(explained);
            tracing::info!(%file, %changes, "the configuration serves");
        }
        Err(error @ DaemonError::NoWayBack { .. }) => return Ok(Taken::Lost(error.to_string())),
        Err(error) => {
            if error.may_pass() {
                source.is_tried_again();
            }
            refuse(daemon, &file, &error.to_string());
        }
    }
    Ok(Taken::GoesOn)
}

fn refuse(daemon: &Daemon, file: &str, reason: &str) {
    daemon.configuration_refused(reason);
    tracing::error!(
        file,
        reason,
        "the new configuration is refused; the one before serves on"
    );
}

/// Makes the configuration ready on a thread of its own, because plugins may have to be compiled. None where it is time
/// to end before that is done: nothing has been touched then.
fn planned(
    daemon: &Daemon,
    config: Config,
    waiting: &mut Waiting,
) -> anyhow::Result<Option<Planned>> {
    let planner = daemon.planner();
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new()
        .name("plan".to_owned())
        .spawn(move || {
            // Nobody waits any more when the daemon ends.
            drop(answer.send(planner.plan(&config)));
        })
        .context("the configuration cannot be made ready")?;
    daemon.wait(async {
        tokio::select! {
            planned = answered => planned
                .map(Some)
                .context("the configuration could not be made ready; please report this"),
            () = waiting.end() => Ok(None),
        }
    })
}

/// While groups drain and start nobody waits for signals. One is remembered and acted upon after that; but where that
/// does not end, the process does.
fn watch_signals(daemon: &Daemon, drain_timeout: Duration) -> anyhow::Result<JoinHandle<()>> {
    daemon.wait(async move {
        let mut terminate =
            signal(SignalKind::terminate()).context("signals cannot be received")?;
        Ok(tokio::spawn(async move {
            terminate.recv().await;
            // The groups that leave now, and then all others.
            exit_in_the_end(2 * drain_timeout + EXIT_MARGIN);
        }))
    })
}
