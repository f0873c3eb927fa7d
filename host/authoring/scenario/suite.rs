//! The scenarios of a plugin, file by file: reads all of them before any is played, and says what came of each.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Difference, Scenario, ScenarioError, SourceOfScenarios, play, read_file};
use crate::authoring::rig::Line;
use crate::config;
use crate::sandbox::{LoadError, LoadedPlugin, Sandbox};

/// What came of a scenario.
#[derive(Debug)]
pub enum Verdict {
    /// Everything is as expected.
    Passed,
    /// Something is not.
    Failed(Vec<Difference>),
    /// It could not be played to its end.
    Broken(String),
}

/// A scenario that was played.
#[derive(Debug)]
pub struct Case {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line on which it begins.
    pub line: usize,
    /// What it shows.
    pub name: String,
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
    /// How much time passed in it, in milliseconds; none where it was broken.
    pub virtual_ms: Option<u64>,
    /// What was logged.
    pub log: Vec<Line>,
}

impl Case {
    /// Whether everything is as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        matches!(self.verdict, Verdict::Passed)
    }
}

/// Scenarios that cannot be begun. Their author must act.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// Files that cannot be read, each with everything that is wrong with it.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Scenarios(Vec<ScenarioError>),
    /// The plugin cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// There is no room for what a scenario keeps.
    #[error("no folder could be made for a scenario: {0}")]
    Folder(#[from] std::io::Error),
}

/// The scenarios of some files.
#[derive(Debug)]
pub struct Suite {
    scenarios: Vec<(PathBuf, Scenario)>,
}

impl Suite {
    /// Reads the files.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn read(files: &[PathBuf], source: &SourceOfScenarios<'_>) -> Result<Self, SuiteError> {
        let mut scenarios = Vec::new();
        let mut wrong = Vec::new();
        for file in files {
            match read_file(file, source) {
                Ok(read) => scenarios.extend(read.into_iter().map(|it| (file.clone(), it))),
                Err(error) => wrong.push(error),
            }
        }
        if wrong.is_empty() {
            Ok(Self { scenarios })
        } else {
            Err(SuiteError::Scenarios(wrong))
        }
    }

    /// Keeps only those whose name holds this text.
    pub fn retain(&mut self, part: &str) {
        self.scenarios
            .retain(|(_, scenario)| scenario.name.contains(part));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scenarios.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scenarios.is_empty()
    }

    /// Plays all of them, one after the other, and shows each when it is done.
    ///
    /// # Errors
    /// The plugin cannot be loaded, or nothing can be kept.
    pub fn play(
        &self,
        source: &SourceOfScenarios<'_>,
        sandbox: &Sandbox,
        mut done: impl FnMut(&Case),
    ) -> Result<Vec<Case>, SuiteError> {
        let mut cases = Vec::new();
        let mut last: Option<(config::Plugin, Arc<LoadedPlugin>)> = None;
        for (file, scenario) in &self.scenarios {
            let began = Instant::now();
            let loaded = match &last {
                Some((settings, loaded)) if *settings == scenario.plugin => Arc::clone(loaded),
                _ => LoadedPlugin::prepare(sandbox, source.name, &scenario.plugin)?,
            };
            last = Some((scenario.plugin.clone(), Arc::clone(&loaded)));
            let folder = Folder::make()?;
            let played = play(scenario, source.topics, &loaded, folder.0.clone());
            let (verdict, virtual_ms, log) = match played {
                Ok(played) => {
                    let verdict = if played.differences.is_empty() {
                        Verdict::Passed
                    } else {
                        Verdict::Failed(played.differences)
                    };
                    (verdict, Some(played.virtual_ms), played.log)
                }
                Err(error) => (Verdict::Broken(error.to_string()), None, Vec::new()),
            };
            let case = Case {
                file: file.clone(),
                line: scenario.line,
                name: scenario.name.clone(),
                verdict,
                took: began.elapsed(),
                virtual_ms,
                log,
            };
            done(&case);
            cases.push(case);
        }
        Ok(cases)
    }
}

/// A folder for one scenario, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn make() -> std::io::Result<Self> {
        let name = format!(
            "millrace-scenario-{}-{:016x}",
            std::process::id(),
            fastrand::u64(..)
        );
        let path: &Path = &std::env::temp_dir().join(name);
        std::fs::create_dir(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is in the folder for what may go at any time.
        let _left = std::fs::remove_dir_all(&self.0);
    }
}
