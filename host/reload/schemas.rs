//! Looking after the files of schemas: when a folder has changed and is at rest, its rules are read again. It must not
//! know what a schema is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::schema::{Reloaded, Rules};
use crate::watched::{Stamp, WatchedFile};

/// Folders in folders, as many as schemas are read from.
const DEPTH_MAX: usize = 8;

/// Files of one folder; past these the folder is refused where it is read.
const FILES_MAX: usize = 4_000;

/// The folders of rules, as they were seen last.
#[derive(Debug, Default)]
pub(super) struct Folders {
    all: Vec<(Arc<Rules>, WatchedFile<FolderStamp>)>,
}

/// What tells one state of a folder from another: each file's name and state.
type FolderStamp = BTreeMap<String, Stamp>;

impl Folders {
    /// Looks at the folder of each of these once.
    pub(super) fn look(&mut self, rules: Vec<Arc<Rules>>) {
        let is = |of: &Arc<Rules>, other: &Arc<Rules>| Arc::ptr_eq(of, other);
        self.all
            .retain(|(known, _)| rules.iter().any(|rules| is(known, rules)));
        for rules in rules {
            if !self.all.iter().any(|(known, _)| is(known, &rules)) {
                self.all.push((rules, WatchedFile::default()));
            }
        }
        for (rules, watched) in &mut self.all {
            let now = stamp_of(&rules.validation().folder);
            if watched.is_due(now.clone()) {
                // A refusal has been told; the same files are not tried again.
                watched.tried = now;
                reload(rules);
            }
        }
    }
}

fn reload(rules: &Rules) {
    match rules.reload() {
        Ok(Reloaded::Unchanged) => {}
        Ok(Reloaded::Taken) => {
            let set = rules.serving();
            tracing::info!(rules = %rules.name(), files = set.files(), types = set.types().count(),
                "other schemas are taken up");
        }
        Err(error) => {
            tracing::warn!(rules = %rules.name(), reason = %error,
                "other schemas are refused; those that serve go on");
        }
    }
}

/// None while there is no such folder, which lasts a moment where it is being exchanged.
fn stamp_of(folder: &Path) -> Option<FolderStamp> {
    let mut stamp = FolderStamp::new();
    let mut open = vec![(folder.to_owned(), 0)];
    while let Some((path, depth)) = open.pop() {
        for entry in std::fs::read_dir(&path).ok()? {
            let path = entry.ok()?.path();
            let hidden = path
                .file_name()
                .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            if hidden || stamp.len() >= FILES_MAX {
                continue;
            }
            if path.is_dir() {
                if depth < DEPTH_MAX {
                    open.push((path, depth + 1));
                }
            } else if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                stamp.insert(path.display().to_string(), Stamp::of(&path)?);
            }
        }
    }
    Some(stamp)
}
