//! The configuration file of a running daemon: when it is read again. It must not know what is in it.

use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::ConfigArgs;
use crate::config::{Config, ConfigError};
use crate::watched::{Stamp, WatchedFile};

/// A configuration that was refused because somebody did not answer is tried again after this: a broker that restarts is
/// back by then, and one that stays away costs two lines of the log a minute.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// Where the configuration is read from.
#[derive(Debug)]
pub(super) struct Source {
    args: ConfigArgs,
    file: WatchedFile,
    again_at: Option<Instant>,
}

impl Source {
    /// Made before the file is read for the first time, so that no change of it is missed.
    pub(super) fn new(args: &ConfigArgs) -> Self {
        Self {
            file: WatchedFile::taken(Stamp::of(&args.config)),
            args: args.clone(),
            again_at: None,
        }
    }

    /// Whether the file has changed and is at rest, or what was refused may be taken up by now.
    pub(super) fn is_due(&mut self) -> bool {
        let now = Stamp::of(&self.args.config);
        let due = self.file.is_due(now);
        let again = self.again_at.is_some_and(|at| Instant::now() >= at);
        if due || again {
            self.is_read_now();
        }
        due || again
    }

    /// Somebody asked for it, or it is due: what the file holds now is not read by itself again.
    pub(super) fn is_read_now(&mut self) {
        self.file.tried = Stamp::of(&self.args.config);
        self.again_at = None;
    }

    /// It was refused for a reason that may pass.
    pub(super) fn is_tried_again(&mut self) {
        self.again_at = Some(Instant::now() + TRY_AGAIN);
    }

    /// Reads it, with what else it is made of: the environment and the arguments. Beside it stands what every setting is
    /// and where it came from.
    ///
    /// # Errors
    /// Every problem of it, at once.
    pub(super) fn read(&self) -> Result<(Config, Json), ConfigError> {
        self.args.load_explained()
    }

    /// Its name, for people.
    pub(super) fn name(&self) -> String {
        self.args.config.display().to_string()
    }
}
