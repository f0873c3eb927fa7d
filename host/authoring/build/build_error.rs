//! Why a plugin was not built, and what to do about it. It must not know how building works.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sandbox::LoadError;

/// Why a plugin was not built. Its author must act.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum BuildError {
    #[error("{} cannot be written or read: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(
        "there is no build for the language `{language}`: write `build:` with a command of your own"
    )]
    NoBuild { language: &'static str },
    #[error("{tool} is missing: install it with\n  {install}")]
    ToolMissing { tool: String, install: String },
    #[error(
        "{tool} is too old: version {found} is installed and {least} is the oldest that works; install it with\n  \
         {install}"
    )]
    ToolOld {
        tool: String,
        found: String,
        least: String,
        install: String,
    },
    #[error("`{command}` cannot be run: {source}")]
    NotRun { command: String, source: io::Error },
    /// The message comes first, so that it is not lost above what the tool said.
    #[error("the build failed: `{command}` ended with {ended}, and said\n\n{said}")]
    Failed {
        command: String,
        ended: String,
        said: String,
    },
    #[error("the build was ended: `{command}` took longer than {} s, and said\n\n{said}", limit.as_secs())]
    TooLong {
        command: String,
        limit: Duration,
        said: String,
    },
    #[error("the build made no {}: {advice}", path.display())]
    NothingMade { path: PathBuf, advice: String },
    /// What the world says and what was built do not fit.
    #[error("{} is no component yet, and cannot become one: {message}\n  {advice}", path.display())]
    NotComponent {
        path: PathBuf,
        message: String,
        advice: String,
    },
    #[error("{} cannot be read as WIT: {message}\n  {advice}", path.display())]
    Wit {
        path: PathBuf,
        message: String,
        advice: String,
    },
    /// A defect of the host, which its tests look for.
    #[error("the host's own adapter for core modules cannot be used: {message}")]
    Adapter { message: String },
    #[error(
        "the source uses {}, which the plugin's world does not have: write into the world of wit/plugin.wit\n  {}",
        missing.join(", "), lines.join("\n  ")
    )]
    NotInWorld {
        missing: Vec<String>,
        lines: Vec<String>,
    },
    #[error(
        "the plugin was written for millrace:plugin@{found}, and this host has millrace:plugin@{host}; {advice}"
    )]
    StaleContract {
        found: String,
        host: &'static str,
        advice: String,
    },
    #[error("the component is no plugin: {message}\n  {advice}")]
    WrongWorld { message: String, advice: String },
    #[error(
        "the component uses what plugin.yaml does not grant: if it may, add to the list `grants` under `plugin`\n  {}",
        missing.iter().map(|grant| format!("- \"{grant}\"")).collect::<Vec<_>>().join("\n  ")
    )]
    NotGranted { missing: Vec<String> },
    #[error("a host would not load the component: {source}{}", below(differences))]
    Refused {
        source: LoadError,
        /// How the contract that it was built against differs from this host's.
        differences: Vec<String>,
    },
}

fn below(differences: &[String]) -> String {
    if differences.is_empty() {
        return String::new();
    }
    format!(
        "\n  the contract that it was built against is not this host's; `millrace plugin wit` writes the host's:\n  - {}",
        differences.join("\n  - ")
    )
}

impl BuildError {
    pub(super) fn file(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::File { path, source }
    }
}
