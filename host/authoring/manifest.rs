//! The folder of a plugin, as its manifest `plugin.yaml` describes it. How the manifest is spelled is the
//! configuration's; this must not know how a plugin is built or run.

use std::path::{Path, PathBuf};

use crate::config::{self, ConfigError, PluginManifest};
pub use crate::config::{Language, OwnBuild};

/// The name of the manifest in a plugin's folder.
pub const MANIFEST_FILE: &str = "plugin.yaml";

/// A plugin that is being written: where it stands, and what its manifest says.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The plugin's folder.
    pub folder: PathBuf,
    /// The plugin's name, also that of its component.
    pub name: String,
    /// What it is written in.
    pub language: Language,
    /// Where its events come from when they are made up; at least one.
    pub topics: Vec<String>,
    /// What goes under `plugins.NAME` of a host's configuration; its path is [`Manifest::component_path`].
    pub plugin: config::Plugin,
    /// A build of the author's own; none builds as the language is built.
    pub build: Option<OwnBuild>,
}

/// A folder whose manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is none.
    #[error(
        "there is no {MANIFEST_FILE} in {}: this is no plugin's folder; begin one with `millrace plugin new NAME \
         --lang rust`, or name the folder", folder.display()
    )]
    Missing {
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// Something in it is wrong.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
}

impl Manifest {
    /// Reads the manifest of the plugin in `folder`.
    ///
    /// # Errors
    /// There is none, or everything that is wrong with it, with line and column.
    pub fn read(folder: &Path) -> Result<Self, ManifestError> {
        let path = folder.join(MANIFEST_FILE);
        if !path.exists() {
            let folder = folder.to_owned();
            return Err(ManifestError::Missing { folder });
        }
        let PluginManifest {
            name,
            language,
            topics,
            plugin,
            build,
        } = config::manifest(&path, config::process_environment())?;
        Ok(Self {
            folder: folder.to_owned(),
            name,
            language,
            topics,
            plugin,
            build,
        })
    }

    /// Where the build puts the component.
    #[must_use]
    pub fn component_path(&self) -> &Path {
        &self.plugin.path
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(text: &str) -> Result<Manifest, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(MANIFEST_FILE), text).unwrap();
        let shorter = |error: ManifestError| {
            let path = folder.path().display().to_string();
            error.to_string().replace(&format!("{path}/"), "")
        };
        Manifest::read(folder.path()).map_err(shorter)
    }

    #[test]
    fn a_manifest_says_what_a_plugin_is_and_what_it_may_do() {
        let manifest = read(
            "name: orders-2\nlanguage: ts\ntopics: [orders, returns]\n\
             plugin:\n  grants: [metrics, \"output:counts\"]\n  tick: 3s\n  config: { window: 60s }\n",
        )
        .unwrap();
        assert_eq!(manifest.name, "orders-2");
        assert_eq!(manifest.language, Language::TypeScript);
        assert_eq!(manifest.topics, ["orders", "returns"]);
        assert!(manifest.plugin.grants.metrics);
        assert_eq!(manifest.plugin.grants.output_topics, ["counts"]);
        assert_eq!(manifest.plugin.tick, Duration::from_secs(3));
        assert_eq!(manifest.plugin.settings["window"], "60s");
        assert_eq!(manifest.build, None);
        let component = manifest.folder.join("dist/orders-2.wasm");
        assert_eq!(manifest.component_path(), component);
    }

    #[test]
    fn a_plugin_that_needs_nothing_says_nothing_of_it() {
        let manifest = read("name: a\nlanguage: c\ntopics: [t]\n").unwrap();
        assert_eq!(manifest.plugin.grants, config::Grants::default());
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_and_in_its_place() {
        let error = read(
            "name: Orders\nlangauge: rust\nlanguage: rusty\ntopics: [orders, orders, a/b]\n\
             plugin:\n  path: x.wasm\n  grants: [metric]\n  tik: 3s\nbuild: { command: [] }\n",
        );
        let error = error.unwrap_err();
        for line in [
            "plugin.yaml:1:7: `name`: `Orders` cannot be the name of a plugin: use 1 to 64 of a-z, 0-9 and `-`, \
             beginning with a letter and not ending with `-`",
            "plugin.yaml:2:1: unknown key `langauge`: did you mean `language`?",
            "plugin.yaml:3:11: `language`: `rusty` is not one of rust, js, ts, python, go, c, other: did you mean \
             `rust`?",
            "plugin.yaml:4:18: `topics.1`: `orders` is named twice: keep one",
            "plugin.yaml:4:26: `topics.2`: `a/b` cannot be the name of a topic",
            "plugin.yaml:6:3: unknown key `plugin.path`: the build writes the component, to ",
            "plugin.yaml:7:12: `plugin.grants.0`: there is no grant `metric`: did you mean `metrics`?",
            "plugin.yaml:8:3: unknown key `tik` in `plugin`: did you mean `tick`?",
            "plugin.yaml:9:19: `build.command`: name the program to run, then its arguments",
            "`build.component` is missing: write for example `component: out.wasm`",
            "10 problems in the configuration",
        ] {
            assert!(error.contains(line), "{line}\nis not in\n{error}");
        }
    }

    #[test]
    fn what_every_plugin_has_must_be_there() {
        let error = read("topics: []\n").unwrap_err();
        assert_eq!(
            error,
            "plugin.yaml:1:1: `name` is missing: write for example `name: orders`\n\
             plugin.yaml:1:1: `language` is missing: write for example `language: rust`\n\
             plugin.yaml:1:9: `topics`: name at least one topic\n\
             3 problems in the configuration"
        );
    }

    #[test]
    fn another_language_brings_its_own_build() {
        let text = "name: a\nlanguage: other\ntopics: [t]\n";
        assert!(read(text).unwrap_err().contains(
            "plugin.yaml:2:11: `language`: the host does not know how to build it: write for example `build: { \
             command: [make], component: out.wasm }` too"
        ));
        let build = "build: { command: [make, all], component: out.wasm }\n";
        let manifest = read(&format!("{text}{build}")).unwrap();
        let build = manifest.build.unwrap();
        assert_eq!(build.command, ["make", "all"]);
        assert_eq!(build.component, manifest.folder.join("out.wasm"));
    }

    #[test]
    fn a_folder_without_a_manifest_is_told_how_to_begin() {
        let folder = tempfile::tempdir().unwrap();
        let error = Manifest::read(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("begin one with `millrace plugin new NAME --lang rust`"),
            "{error}"
        );
    }

    #[test]
    fn a_host_setting_in_the_environment_does_not_reach_a_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MANIFEST_FILE);
        std::fs::write(&path, "name: a\nlanguage: c\ntopics: [\"${TOPIC}\"]\n").unwrap();
        let pairs = [("MILLRACE__NAME", "b"), ("TOPIC", "from-outside")];
        let env = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let manifest = config::manifest(&path, env.into_iter()).unwrap();
        assert_eq!(manifest.name, "a");
        assert_eq!(manifest.topics, ["from-outside"]);
    }
}
