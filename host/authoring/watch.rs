//! Watching the folder of a plugin: whether anything in it has changed that its build or its events are made of. A look
//! walks the folder, so it works on every file system and needs nothing of the system. It must not know what is built.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::subject::FIXTURES_FOLDER;

/// Folders that builds and editors write to, beside all whose names begin with a dot.
const NOT_SOURCES: [&str; 4] = ["dist", "target", "node_modules", "__pycache__"];

/// Files that builds write beside the sources.
const WRITTEN_BY_BUILDS: [&str; 3] = ["Cargo.lock", "package-lock.json", "go.sum"];

/// The same, by the end of their names. A build that wrote what is watched would follow itself for ever.
const ENDS_WRITTEN_BY_BUILDS: [&str; 5] = [".wasm", ".o", ".a", ".pyc", "~"];

/// Read of each file that has been written. Sources are shorter.
const READ_BYTES_MAX: u64 = 4 << 20;

/// A plugin has a few dozen files. Where someone keeps more in its folder, the first ones are watched.
const FILES_MAX: usize = 5_000;

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// What the plugin is built from.
    Sources,
    /// Its events only.
    Fixtures,
}

/// What tells one state of a file from another. A writer can choose the time of change, and not `ctime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        Self {
            file: (file.dev(), file.ino()),
            bytes: file.len(),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// A file as it was last read. Builds write files anew that stay the same, and editors touch them: only what is in
/// them makes a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct File {
    stamp: Stamp,
    content: u64,
}

impl File {
    /// Reads it, unless it is as it was `before`.
    fn of(path: &Path, before: Option<&Self>) -> Option<Self> {
        let stamp = Stamp::of(&std::fs::metadata(path).ok()?);
        if let Some(before) = before.filter(|before| before.stamp == stamp) {
            return Some(*before);
        }
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).ok()?;
        file.take(READ_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(Self {
            stamp,
            // What is longer has changed where its length has, or its beginning.
            content: xxh3_64(&bytes) ^ stamp.bytes,
        })
    }
}

type Files = BTreeMap<PathBuf, File>;

/// Looks after one folder.
#[derive(Debug)]
pub struct Watch {
    folder: PathBuf,
    /// As it was at the last look.
    seen: Files,
    /// As it was when it was taken last.
    taken: Files,
}

impl Watch {
    /// Watches a folder from its state of now on.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let files = files_below(folder, &Files::new());
        Self {
            folder: folder.to_owned(),
            seen: files.clone(),
            taken: files,
        }
    }

    /// What has changed since the last time that something had, once it is at rest: an editor writes several files,
    /// and some of them in steps.
    pub fn look(&mut self) -> Option<Change> {
        let now = files_below(&self.folder, &self.seen);
        self.judge(now)
    }

    fn judge(&mut self, now: Files) -> Option<Change> {
        let at_rest = now == self.seen;
        self.seen = now;
        if !at_rest || self.seen == self.taken {
            return None;
        }
        let before = std::mem::replace(&mut self.taken, self.seen.clone());
        let fixtures = self.folder.join(FIXTURES_FOLDER);
        let content = |files: &Files, path: &PathBuf| files.get(path).map(|file| file.content);
        let differs = |path: &&PathBuf| content(&before, path) != content(&self.taken, path);
        let changed = before.keys().chain(self.taken.keys()).filter(differs);
        let of_path = |path: &PathBuf| {
            if path.starts_with(&fixtures) {
                Change::Fixtures
            } else {
                Change::Sources
            }
        };
        // Sources come first, and bring the fixtures with them.
        changed.map(of_path).min()
    }
}

fn files_below(folder: &Path, before: &Files) -> Files {
    let mut open = vec![folder.to_owned()];
    let mut files = Files::new();
    while let Some(folder) = open.pop() {
        // A folder may go while it is looked at.
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let kind = entry.file_type();
            let is_folder = kind.as_ref().is_ok_and(std::fs::FileType::is_dir);
            if name.starts_with('.') || files.len() >= FILES_MAX {
                continue;
            }
            if is_folder {
                // Links are not followed, so this ends.
                if !NOT_SOURCES.contains(&&*name) {
                    open.push(entry.path());
                }
            } else if !WRITTEN_BY_BUILDS.contains(&&*name)
                && !ENDS_WRITTEN_BY_BUILDS.iter().any(|end| name.ends_with(end))
                && let Some(file) = File::of(&entry.path(), before.get(&entry.path()))
            {
                files.insert(entry.path(), file);
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_change_is_seen_once_it_is_at_rest_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, "src/lib.rs", "1");
        write(folder, "fixtures/a.jsonl", "1");
        let mut watch = Watch::new(folder);
        assert_eq!(watch.look(), None);
        write(folder, "src/lib.rs", "22");
        assert_eq!(watch.look(), None, "it may still be written");
        write(folder, "src/lib.rs", "333");
        assert_eq!(watch.look(), None, "and it was");
        assert_eq!(watch.look(), Some(Change::Sources));
        assert_eq!(watch.look(), None);
        write(folder, "fixtures/a.jsonl", "22");
        write(folder, "fixtures/b.jsonl", "1");
        let looks = [watch.look(), watch.look(), watch.look()];
        assert_eq!(looks, [None, Some(Change::Fixtures), None]);
        std::fs::remove_file(folder.join("src/lib.rs")).unwrap();
        write(folder, "fixtures/a.jsonl", "333");
        let looks = [watch.look(), watch.look()];
        assert_eq!(looks, [None, Some(Change::Sources)]);
    }

    #[test]
    fn what_builds_and_editors_write_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut watch = Watch::new(folder);
        for name in [
            "dist/orders.wasm",
            "target/release/x",
            "node_modules/a/b.js",
            ".git/index",
            ".build/y",
            ".lib.rs.swp",
            "Cargo.lock",
            "lib.rs~",
            "out.wasm",
        ] {
            write(folder, name, "1");
        }
        assert_eq!((watch.look(), watch.look()), (None, None));
        write(folder, "plugin.yaml", "1");
        assert_eq!((watch.look(), watch.look()), (None, Some(Change::Sources)));
        write(folder, "plugin.yaml", "1");
        assert_eq!(
            (watch.look(), watch.look()),
            (None, None),
            "it says the same"
        );
    }
}
