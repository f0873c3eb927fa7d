//! Watching the files of plugins. A look costs one system call a plugin and follows links, so it sees a file that
//! is written in place, one that is moved over it, and a folder that is exchanged above it, as Kubernetes does
//! with `..data`; on network file systems too, which tell nobody of changes. It must not know what a component is.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::{ReloadError, Reloader};

/// Between two looks. A file is taken when two looks in a row see the same, so a change serves after about twice
/// this; and a file that is being written is left alone while it grows faster than this.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Looks after the files until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    // The thread ends when nobody can send any more. It is not waited for, because it may be compiling.
    _stop: Sender<()>,
}

impl Watcher {
    /// Starts to watch the plugins that are to be watched.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(reloader: Arc<Reloader>) -> Result<Self, std::io::Error> {
        // Nothing is ever sent.
        let (stop, stopped) = bounded::<()>(0);
        thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || {
                let mut files = Files::default();
                while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                    files.look(&reloader);
                }
            })?;
        Ok(Self { _stop: stop })
    }
}

/// What tells one state of a file from another. A writer can choose the time of change, and not `ctime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    bytes: u64,
    changed: (i64, i64),
    written: (i64, i64),
}

impl Stamp {
    /// None while there is no such file, which lasts a moment where it is being exchanged.
    fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(Self {
            file: (file.dev(), file.ino()),
            bytes: file.len(),
            changed: (file.ctime(), file.ctime_nsec()),
            written: (file.mtime(), file.mtime_nsec()),
        })
    }
}

/// One file.
#[derive(Debug, Default)]
struct File {
    /// As it was at the last look.
    seen: Option<Stamp>,
    /// As it was when it was tried last.
    tried: Option<Stamp>,
}

impl File {
    /// Whether it is at rest, in a state that was not tried.
    fn is_due(&mut self, now: Option<Stamp>) -> bool {
        let at_rest = now.is_some() && now == self.seen;
        self.seen = now;
        at_rest && now != self.tried
    }
}

#[derive(Debug, Default)]
struct Files(BTreeMap<(String, bool), File>);

impl Files {
    fn look(&mut self, reloader: &Reloader) {
        for (name, plugin) in reloader.plugins.iter().chain(&reloader.candidates) {
            if !plugin.config.reload.watch {
                continue;
            }
            let file = self
                .0
                .entry((name.clone(), plugin.is_candidate))
                .or_default();
            let now = Stamp::of(&plugin.config.path);
            if !file.is_due(now) {
                continue;
            }
            if file.tried.is_none() && plugin.is_as_at_the_start() {
                file.tried = now;
                continue;
            }
            // A refusal has been told; the same bytes are not tried again.
            match reloader.try_version(name, plugin) {
                Err(ReloadError::Changing { .. }) => {}
                Ok(_) | Err(_) => file.tried = now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(bytes: u64) -> Option<Stamp> {
        Some(Stamp {
            file: (0, 0),
            bytes,
            changed: (0, 0),
            written: (0, 0),
        })
    }

    #[test]
    fn a_file_is_due_once_it_is_at_rest_and_only_once() {
        let mut file = File::default();
        let mut looks = |now| {
            let due = file.is_due(now);
            if due {
                file.tried = now;
            }
            due
        };
        assert!(!looks(stamp(1)), "seen for the first time");
        assert!(!looks(stamp(2)), "it grows");
        assert!(looks(stamp(2)), "it is at rest");
        assert!(!looks(stamp(2)), "it was tried");
        assert!(!looks(None), "it is gone");
        assert!(!looks(None), "it stays away");
        assert!(!looks(stamp(2)) && !looks(stamp(2)), "it is back as it was");
        assert!(!looks(stamp(3)) && looks(stamp(3)), "it is another one");
    }

    #[test]
    fn a_folder_that_is_exchanged_above_a_file_is_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["..1", "..2"] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("plugin.wasm"), version).unwrap();
        }
        let point_to = |version: &str| {
            std::os::unix::fs::symlink(version, at("..new")).unwrap();
            std::fs::rename(at("..new"), at("..data")).unwrap();
        };
        point_to("..1");
        std::os::unix::fs::symlink("..data/plugin.wasm", at("plugin.wasm")).unwrap();
        let before = Stamp::of(&at("plugin.wasm"));
        point_to("..2");
        assert_ne!(before, Stamp::of(&at("plugin.wasm")));
    }
}
