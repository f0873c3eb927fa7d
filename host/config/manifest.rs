//! What the author of a plugin wrote into its `plugin.yaml`. It must not know how a plugin is built or run.

use std::path::PathBuf;

use super::Plugin;

/// The manifest of a plugin that is being written, validated.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginManifest {
    /// The plugin's name, also that of its component and of what its toolchain builds.
    pub name: String,
    /// What it is written in.
    pub language: Language,
    /// Where its events come from when they are made up; at least one.
    pub topics: Vec<String>,
    /// What goes under `plugins.NAME` of a host's configuration; its path is the component that the build writes.
    pub plugin: Plugin,
    /// A build of the author's own; none builds as the language is built.
    pub build: Option<OwnBuild>,
}

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// Rust, by the SDK.
    Rust,
    /// JavaScript, on `QuickJS`.
    JavaScript,
    /// TypeScript, on `QuickJS`.
    TypeScript,
    /// Python.
    Python,
    /// Go.
    Go,
    /// C.
    C,
    /// Another one, which brings its own build.
    Other,
}

impl Language {
    /// Every language that the host can begin and build a plugin in, with the word for it.
    pub const BUILT: [(&'static str, Self); 6] = [
        ("rust", Self::Rust),
        ("js", Self::JavaScript),
        ("ts", Self::TypeScript),
        ("python", Self::Python),
        ("go", Self::Go),
        ("c", Self::C),
    ];

    /// The word for it in `plugin.yaml` and on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        let known = Self::BUILT.iter().find(|(_, language)| *language == self);
        known.map_or("other", |(word, _)| word)
    }
}

/// A build of the author's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnBuild {
    /// The program and its arguments, run in the plugin's folder; never empty.
    pub command: Vec<String>,
    /// The file that it makes: a component, or a core module that knows its world.
    pub component: PathBuf,
}

/// What is wrong with a plugin's name; none when nothing is. It is the name of a folder, of a crate and of a
/// package too, so what is allowed is what all of these allow.
#[must_use]
pub fn plugin_name_problem(name: &str) -> Option<String> {
    let fits = (1..=64).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (!fits).then(|| {
        format!(
            "`{name}` cannot be the name of a plugin: use 1 to 64 of a-z, 0-9 and `-`, beginning with a \
             letter and not ending with `-`"
        )
    })
}
