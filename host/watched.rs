//! Whether a file has changed. A look costs one system call and follows links, so it sees a file that is written in
//! place, one that is moved over it, and a folder that is exchanged above it, as Kubernetes does with `..data`; on
//! network file systems too, which tell nobody of changes. It must not know what is in the file.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Between two looks. A file is taken when two looks in a row see the same, so a change serves after about twice
/// this; and a file that is being written is left alone while it grows faster than this.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What tells one state of a file from another. A writer can choose the time of change, and not `ctime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    file: (u64, u64),
    bytes: u64,
    changed: (i64, i64),
    written: (i64, i64),
}

impl Stamp {
    /// None while there is no such file, which lasts a moment where it is being exchanged.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(Self {
            file: (file.dev(), file.ino()),
            bytes: file.len(),
            changed: (file.ctime(), file.ctime_nsec()),
            written: (file.mtime(), file.mtime_nsec()),
        })
    }
}

/// One file, or one folder.
#[derive(Debug)]
pub(crate) struct WatchedFile<S = Stamp> {
    /// As it was at the last look.
    seen: Option<S>,
    /// As it was when it was tried last.
    pub(crate) tried: Option<S>,
}

impl<S> Default for WatchedFile<S> {
    fn default() -> Self {
        Self {
            seen: None,
            tried: None,
        }
    }
}

impl<S: PartialEq> WatchedFile<S> {
    /// Whether it is at rest, in a state that was not tried.
    pub(crate) fn is_due(&mut self, now: Option<S>) -> bool {
        let at_rest = now.is_some() && now == self.seen;
        let is_new = now != self.tried;
        self.seen = now;
        at_rest && is_new
    }
}

impl<S: Clone> WatchedFile<S> {
    /// One whose state `now` has been taken already.
    pub(crate) fn taken(now: Option<S>) -> Self {
        Self {
            seen: now.clone(),
            tried: now,
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
        let mut file = WatchedFile::default();
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
