//! Dead letters grouped by what went wrong, so that ten thousand of them are three lines.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::id::LetterId;
use super::letter::Letter;
use super::signature::normalised;

/// Clusters that are told apart. Each takes about a kilobyte; whoever has more has messages that no rule makes alike,
/// and reads none of them.
pub const CLUSTERS_MAX: usize = 10_000;

/// Failures of one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// What they share, as `--signature` takes it; empty for records that nobody gave up who is known.
    pub signature: String,
    /// The cause.
    pub cause: String,
    /// The plugin.
    pub plugin: String,
    /// The plugin's own word, or that of a limit.
    pub code: String,
    /// The message, with `#` for what differs.
    pub message: String,
    /// How many.
    pub count: u64,
    /// How many of them have been put back already.
    pub redriven: u64,
    /// When the first and the last was given up, in milliseconds since the Unix epoch.
    pub seen_ms: Option<(i64, i64)>,
    /// The newest of them.
    pub example: LetterId,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct Clusters {
    clusters: HashMap<String, Cluster>,
    /// Letters of clusters that there was no room for.
    pub others: u64,
}

impl Clusters {
    /// Counts a letter.
    pub fn add(&mut self, letter: &Letter, redriven: bool) {
        let signature = letter.signature().unwrap_or_default();
        if self.clusters.len() >= CLUSTERS_MAX && !self.clusters.contains_key(&signature) {
            self.others += 1;
            return;
        }
        let failed_at_ms = letter.failed_at_ms();
        let cluster = self
            .clusters
            .entry(signature)
            .or_insert_with_key(|signature| begun(signature, letter));
        cluster.count += 1;
        cluster.redriven += u64::from(redriven);
        let Some(at_ms) = failed_at_ms else { return };
        let (first_ms, last_ms) = cluster.seen_ms.unwrap_or((at_ms, at_ms));
        if at_ms >= last_ms {
            cluster.example = letter.id();
        }
        cluster.seen_ms = Some((first_ms.min(at_ms), last_ms.max(at_ms)));
    }

    /// The clusters, the largest first.
    #[must_use]
    pub fn sorted(self) -> Vec<Cluster> {
        let mut clusters: Vec<Cluster> = self.clusters.into_values().collect();
        clusters.sort_by(|one, other| {
            (other.count, &one.signature).cmp(&(one.count, &other.signature))
        });
        clusters
    }
}

fn begun(signature: &str, letter: &Letter) -> Cluster {
    let account = letter.account.as_ref();
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    Cluster {
        signature: signature.to_owned(),
        cause: text(account.map(|it| &it.cause)),
        plugin: text(account.map(|it| &it.plugin)),
        code: text(account.map(|it| &it.code)),
        message: account
            .map(|it| normalised(&it.message))
            .unwrap_or_default(),
        count: 0,
        redriven: 0,
        seen_ms: None,
        example: letter.id(),
    }
}

impl Cluster {
    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "signature": self.signature,
            "cause": self.cause,
            "plugin": self.plugin,
            "code": self.code,
            "message": self.message,
            "count": self.count,
            "redriven": self.redriven,
            "first_seen_ms": self.seen_ms.map(|it| it.0),
            "last_seen_ms": self.seen_ms.map(|it| it.1),
            "example": self.example.to_string(),
        })
    }
}
