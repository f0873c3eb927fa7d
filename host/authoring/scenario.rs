//! Scenarios: events, time and trouble, and what a plugin is expected to do with them. Written in YAML, played on
//! the real data path in virtual time. It must not know how a result is shown.

mod compare;
mod expect;
mod play;
mod read;
pub mod report;
mod scrape;
mod suite;
mod text;

use std::path::Path;
use std::time::Duration;

pub use self::compare::{Difference, Mark};
pub use self::expect::{Expect, HeadersWanted, OneOutcome, OutcomeWanted, RecordWanted};
pub use self::play::{PlayError, Played, play};
pub use self::read::{SourceOfScenarios, read_file};
pub use self::scrape::Series;
pub use self::suite::{Case, Suite, SuiteError, Verdict};
pub use self::text::Wanted;
use super::fixture::Fixture;
use crate::config::{self, ConfigError};

/// The folder of scenarios in a plugin's folder.
pub const TESTS_FOLDER: &str = "tests";

/// What the wall clock shows at first where a scenario does not say: 2023-11-14T22:13:20Z, a round number of
/// milliseconds.
pub const BEGINS_AT_MS: u64 = 1_700_000_000_000;

/// One scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it shows.
    pub name: String,
    /// The line on which it begins.
    pub line: usize,
    /// What the wall clock shows at first, in milliseconds since the Unix epoch.
    pub begins_at_ms: u64,
    /// The group, reading every topic of the manifest.
    pub group: config::Group,
    /// The plugin's settings.
    pub plugin: config::Plugin,
    /// What happens.
    pub steps: Vec<Step>,
    /// What is true in the end.
    pub expect: Option<Expect>,
}

/// One thing that happens.
#[derive(Debug, Clone)]
pub struct Step {
    /// Where it is written.
    pub line: usize,
    /// What.
    pub kind: StepKind,
}

/// What happens.
#[derive(Debug, Clone)]
pub enum StepKind {
    /// Events arrive, one after the other.
    Events {
        /// The events.
        events: Vec<Fixture>,
        /// What becomes of each at once.
        expect: Option<OutcomeWanted>,
    },
    /// Time passes.
    Advance(Duration),
    /// Time passes until the plugin's next tick is done.
    Tick,
    /// The host is killed and started again.
    Crash,
    /// The host ends in order and is started again.
    Restart,
    /// Every partition is taken away and comes back.
    Rebalance,
    /// Something is true now.
    Expect(Expect),
}

/// The scenarios in a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// What is wrong, each in its place.
    #[error("{}", lines(.0))]
    Invalid(#[from] ConfigError),
}

fn lines(error: &ConfigError) -> String {
    let lines: Vec<String> = error.findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// The files of scenarios in a folder, by name.
///
/// # Errors
/// The folder cannot be read.
pub fn files_in(folder: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
