//! What was noted during the run, read from a folder: lines of JSON, scrapes and logs. Whoever ran the faults
//! wrote them; nothing in them comes from the host but its scrapes and its log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Unchecked;

/// What the broker said about an event that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ack {
    Acked,
    Failed,
    Unknown,
}

/// One event that was sent.
#[derive(Debug, Deserialize)]
pub(crate) struct Sent {
    pub(crate) id: u64,
    pub(crate) state: Ack,
}

/// The group's commits at one moment.
#[derive(Debug, Clone, Deserialize, serde::Serialize)]
pub(crate) struct Sample {
    /// When the answer had come, in milliseconds since the Unix epoch.
    pub(crate) at_ms: i64,
    /// Committed offset and end of each partition.
    pub(crate) partitions: BTreeMap<i32, (Option<i64>, i64)>,
}

/// Something that was done to the system.
#[derive(Debug, Deserialize)]
pub(crate) struct Mark {
    /// Such as `kill -9`.
    pub(crate) what: String,
    /// The host it was done to; none when it was something else.
    pub(crate) host: Option<String>,
    pub(crate) from_ms: i64,
    pub(crate) until_ms: i64,
    pub(crate) kind: Kind,
    /// How often one event may be repeated because of it.
    #[serde(default = "once")]
    pub(crate) times: u64,
}

/// How much of the usual order a fault leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Hosts are asked and have time: they close what they give up.
    Orderly,
    /// Hosts are asked and cannot finish.
    Disturbed,
    /// A host, or where none is named the broker of all, fell silent: partitions may change hands unasked.
    Fallen,
}

impl Mark {
    /// Whether it came over all hosts at once.
    pub(crate) fn is_outage(&self) -> bool {
        self.kind == Kind::Fallen && self.host.is_none()
    }
}

fn once() -> u64 {
    1
}

/// Memory of a host at one moment.
#[derive(Debug, Deserialize)]
pub(crate) struct Memory {
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) peak_bytes: u64,
}

/// How a host ended.
#[derive(Debug, Deserialize)]
pub(crate) struct End {
    pub(crate) host: String,
    /// What was expected of it.
    pub(crate) wanted: Wanted,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) took_ms: u64,
    pub(crate) within_ms: u64,
    /// What it says it has processed; none when it says nothing.
    pub(crate) processed: Option<u64>,
    /// What it said last.
    #[serde(default)]
    pub(crate) last_line: String,
}

/// How a host should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wanted {
    /// With exit code 0.
    Success,
    /// With another exit code and one line that says why.
    Refusal,
    /// By itself; where it could not finish, with a line that says so.
    InTime,
    /// By a signal that the run sent.
    Killed,
}

/// Everything that was noted.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) sent: Vec<Sent>,
    pub(crate) commits: Vec<Sample>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) memory: Vec<Memory>,
    pub(crate) ends: Vec<End>,
    /// Scrapes by file name.
    pub(crate) scrapes: Vec<(String, String)>,
    /// Logs by file name.
    pub(crate) logs: Vec<(String, String)>,
}

impl Evidence {
    /// Reads the folder. Files that are not there hold nothing.
    pub(crate) fn read(folder: &Path) -> Result<Self, Unchecked> {
        if !folder.is_dir() {
            return Err(Unchecked(format!("{} is not a folder", folder.display())));
        }
        Ok(Self {
            sent: lines(&folder.join("sent.jsonl"))?,
            commits: lines(&folder.join("commits.jsonl"))?,
            marks: lines(&folder.join("marks.jsonl"))?,
            memory: lines(&folder.join("memory.jsonl"))?,
            ends: lines(&folder.join("ends.jsonl"))?,
            scrapes: texts(&folder.join("metrics"))?,
            logs: texts(&folder.join("logs"))?,
        })
    }

    /// The events that the broker acknowledged.
    pub(crate) fn acked(&self) -> BTreeSet<u64> {
        let acked = self.sent.iter().filter(|sent| sent.state == Ack::Acked);
        acked.map(|sent| sent.id).collect()
    }

    /// The last commits known at a time.
    pub(crate) fn commits_at(&self, at_ms: i64) -> Option<&Sample> {
        let after = self.commits.partition_point(|sample| sample.at_ms <= at_ms);
        self.commits.get(after.checked_sub(1)?)
    }
}

fn lines<T: DeserializeOwned>(file: &Path) -> Result<Vec<T>, Unchecked> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Unchecked(format!("{}: {error}", file.display()))),
    };
    // A line that is being written when its writer is killed has no end.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse = |line: &str| {
        serde_json::from_str(line)
            .map_err(|error| Unchecked(format!("{}: {error} in {line}", file.display())))
    };
    whole.lines().map(parse).collect()
}

fn texts(folder: &Path) -> Result<Vec<(String, String)>, Unchecked> {
    let mut found = Vec::new();
    if !folder.is_dir() {
        return Ok(found);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        found.push((
            name,
            String::from_utf8_lossy(&fs::read(&path)?).into_owned(),
        ));
    }
    found.sort();
    Ok(found)
}
