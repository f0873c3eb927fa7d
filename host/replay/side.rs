//! The side of a replay: a group of its own, and a folder with its store, its journals and what it wrote. What is the
//! live group's stays out of it. It must not know how events are run.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Range, ReplayError, Stood, files};
use crate::config::{Config, Group, Ingest, RetryMode};
use crate::store::{STORE_FILE, SWAP_PENDING, StoreError};

/// The file that says what a folder is the side of.
const MANIFEST: &str = "replay.json";

/// Where a replay keeps everything of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    folder: PathBuf,
}

/// What a replay was, kept in its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The live group.
    pub group: String,
    /// The group that it was run in.
    pub into: String,
    /// What was run.
    pub ranges: Vec<Range>,
    /// Whether every topic that the group reads was run in every partition.
    pub whole: bool,
    /// Whether it has come to its end.
    pub complete: bool,
    /// The digests of the components that ran, by plugin.
    pub plugins: std::collections::BTreeMap<String, String>,
    /// When it began, in milliseconds since the Unix epoch.
    pub began_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Where the live group stood when the state of the replay took the place of its own; none while it has not. The old
    /// state lies in this folder then.
    #[serde(default)]
    pub swapped: Option<Vec<Stood>>,
}

/// Whether plugins that are granted requests to others may send them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Web {
    /// They are refused, as for a shadow.
    Refuse,
    /// They are sent, again.
    Send,
}

impl Side {
    /// In this folder.
    #[must_use]
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Beside the store of the live group, so that one can take the place of the other.
    #[must_use]
    pub fn beside(group: &Group) -> Self {
        let mut name = group.store.file_name().unwrap_or_default().to_owned();
        name.push(".replay");
        Self::at(group.store.with_file_name(name))
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of its settle store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    /// The folder of its outputs, a file for each topic.
    #[must_use]
    pub fn outputs(&self) -> PathBuf {
        self.folder.join("outputs")
    }

    /// The file of its dead letters.
    #[must_use]
    pub fn dead_letters(&self) -> PathBuf {
        self.folder.join("dead-letters.jsonl")
    }

    /// Makes the folder. One that is there already is refused, or begun anew where that was asked for; but never one that
    /// holds the state which the store of the `live` group had before a swap.
    ///
    /// # Errors
    /// The folder is in use by something else, or cannot be written.
    pub fn begin(&self, again: bool, live: &Path) -> Result<(), ReplayError> {
        if live.join(SWAP_PENDING).exists() {
            let path = live.join(STORE_FILE);
            return Err(StoreError::SwapUnfinished { path }.into());
        }
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(ReplayError::io(&self.folder, error)),
        };
        if entries {
            let is_side = self.folder.join(MANIFEST).exists();
            if !again || !is_side {
                return Err(ReplayError::SideIsThere {
                    folder: self.folder.clone(),
                    is_side,
                });
            }
            if self.manifest()?.swapped.is_some() {
                return Err(ReplayError::HoldsOldState(self.folder.clone()));
            }
            std::fs::remove_dir_all(&self.folder)
                .map_err(|error| ReplayError::io(&self.folder, error))?;
        }
        std::fs::create_dir_all(&self.folder).map_err(|error| ReplayError::io(&self.folder, error))
    }

    /// Keeps what the replay is.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn keep(&self, manifest: &Manifest) -> Result<(), ReplayError> {
        let path = self.folder.join(MANIFEST);
        let text = serde_json::to_string_pretty(manifest).map_err(std::io::Error::from);
        text.and_then(|text| files::replace(&path, text.as_bytes()))
            .map_err(|error| ReplayError::io(&path, error))
    }

    /// What the replay was.
    ///
    /// # Errors
    /// There is none, or what stands there cannot be read.
    pub fn manifest(&self) -> Result<Manifest, ReplayError> {
        let path = self.folder.join(MANIFEST);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ReplayError::NoSide(self.folder.clone()));
            }
            Err(error) => return Err(ReplayError::io(&path, error)),
        };
        serde_json::from_slice(&text).map_err(|error| ReplayError::io(&path, error.into()))
    }

    /// What the replay is run by: the group alone, under another name, with everything that it keeps in this folder.
    ///
    /// # Errors
    /// A plugin may send requests to others, and nobody has said whether it should.
    pub fn config(
        &self,
        config: &Config,
        group: &Group,
        into: &str,
        (ranges, web): (&[Range], Option<Web>),
    ) -> Result<Config, ReplayError> {
        let mut side = config.clone();
        let mut group = group.clone();
        group.id = into.to_owned();
        group.store = self.store();
        group
            .routes
            .retain(|topic, _| ranges.iter().any(|range| range.topic == *topic));
        // No topic may appear meanwhile, and the retry topics are the live group's.
        group.patterns.clear();
        group.retry.mode = RetryMode::Park;
        group.retry.topics.clear();
        group.retry.topic_name = None;
        let used = group.plugins();
        side.plugins.retain(|name, _| used.contains(name.as_str()));
        for (name, plugin) in &mut side.plugins {
            plugin.trial = None;
            if let Some(journal) = &mut plugin.journal {
                journal.path = self.folder.join("journals").join(format!("{name}.log"));
            }
            if !plugin.grants.web.is_empty() {
                let web = web.ok_or_else(|| ReplayError::AsksOthers(name.clone()))?;
                plugin.only_watches = web == Web::Refuse;
            }
        }
        side.groups = vec![group];
        side.topics.clear();
        side.ingest = Ingest::default();
        Ok(side)
    }
}
