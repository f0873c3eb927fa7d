//! The plugin that a command is about: its component, and what it may use, from its `plugin.yaml` and from options.
//! It must not know what is done with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fixture::{Fixture, FixtureError};
use super::manifest::{MANIFEST_FILE, Manifest, ManifestError};
use super::rig::FUEL_UNBOUNDED;
use crate::config;
use crate::sandbox::{ComponentFacts, LoadError, LoadedPlugin, NotAComponent, Sandbox};

/// The folder of events in a plugin's folder.
pub const FIXTURES_FOLDER: &str = "fixtures";

/// Where events come from where neither they nor a manifest say.
const TOPIC: &str = "events";

/// What was asked for on the command line, beyond the manifest.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes<'a> {
    /// The component; none is that of the plugin in the folder.
    pub component: Option<&'a Path>,
    /// The plugin's folder where no component is named; none is where the command runs.
    pub folder: Option<&'a Path>,
    /// Grants, as a configuration writes them.
    pub grants: &'a [String],
    /// Settings of the plugin, by name.
    pub settings: &'a [(String, String)],
    /// Where events come from that do not say.
    pub topic: Option<&'a str>,
    /// Whether to count fuel where no limit does.
    pub fuel: bool,
}

/// A component with what it may use.
#[derive(Debug)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// Where its events come from that do not say.
    pub topic: String,
    /// Its grants, limits and settings.
    pub plugin: config::Plugin,
    /// Its manifest, where one was found.
    pub manifest: Option<Manifest>,
}

/// A plugin that cannot be run. Its author must act.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// Its manifest is missing or wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A word that is no grant.
    #[error("--grant {word}: {message}")]
    Grant {
        /// The word.
        word: String,
        /// Why it is none.
        message: String,
    },
    /// It has not been built.
    #[error("there is no {}: build it with `millrace plugin build`", path.display())]
    NotBuilt {
        /// The component that the build would write.
        path: PathBuf,
    },
    /// It imports what it may not have.
    #[error(
        "plugin {name} imports what it is not granted: {}. If it may have that, {}",
        missing.join(", "), advice_on(missing, manifest.as_deref())
    )]
    NotGranted {
        /// The plugin.
        name: String,
        /// The words that are missing.
        missing: Vec<String>,
        /// Its manifest, where it has one.
        manifest: Option<PathBuf>,
    },
    /// What was named is no component.
    #[error(transparent)]
    NotAComponent(#[from] NotAComponent),
    /// The component cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
}

fn advice_on(missing: &[String], manifest: Option<&Path>) -> String {
    match manifest {
        Some(manifest) => format!(
            "write `grants: [{}]` under `plugin` in {}",
            missing.join(", "),
            manifest.display()
        ),
        None => {
            let options: Vec<String> = missing
                .iter()
                .map(|word| format!("--grant {word}"))
                .collect();
            format!(
                "run it with {}, or keep a {MANIFEST_FILE} beside it that grants it",
                options.join(" ")
            )
        }
    }
}

impl Subject {
    /// Finds the plugin and what it may use. A `plugin.yaml` beside the component or in the folder above counts;
    /// what was wished for comes on top of it.
    ///
    /// # Errors
    /// The manifest is wrong, or missing where nothing else names the component; or a grant is none.
    pub fn find(wishes: &Wishes<'_>) -> Result<Self, SubjectError> {
        let manifest = match wishes.component {
            None => Some(Manifest::read(wishes.folder.unwrap_or(Path::new(".")))?),
            Some(component) => folders_of(component)
                .find(|folder| folder.join(MANIFEST_FILE).exists())
                .map(|folder| Manifest::read(&folder))
                .transpose()?,
        };
        let mut plugin = match &manifest {
            Some(manifest) => manifest.plugin.clone(),
            None => config::Plugin::of_component(PathBuf::new()),
        };
        if let Some(component) = wishes.component {
            component.clone_into(&mut plugin.path);
        }
        for word in wishes.grants {
            let granted = config::add_grant(&mut plugin.grants, word);
            granted.map_err(|message| SubjectError::Grant {
                word: word.clone(),
                message,
            })?;
        }
        plugin.settings.extend(wishes.settings.iter().cloned());
        // Events are run as fast as they can be, and their author wants to read every line.
        plugin.limits.log_lines = u32::MAX;
        if wishes.fuel {
            plugin.limits.fuel.get_or_insert(FUEL_UNBOUNDED);
        }
        let stem = || {
            plugin
                .path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
        };
        let topic = manifest
            .as_ref()
            .and_then(|manifest| manifest.topics.first());
        Ok(Self {
            name: manifest
                .as_ref()
                .map_or_else(|| stem().into_owned(), |m| m.name.clone()),
            topic: wishes
                .topic
                .or(topic.map(String::as_str))
                .unwrap_or(TOPIC)
                .to_owned(),
            plugin,
            manifest,
        })
    }

    /// Loads the component.
    ///
    /// # Errors
    /// It is missing, is no component, or wants what it is not granted: everything that is, at once.
    pub fn load(&self, sandbox: &Sandbox) -> Result<Arc<LoadedPlugin>, SubjectError> {
        let path = &self.plugin.path;
        if self
            .manifest
            .as_ref()
            .is_some_and(|m| m.component_path() == path)
            && !path.exists()
        {
            return Err(SubjectError::NotBuilt { path: path.clone() });
        }
        self.check_grants()?;
        Ok(Arc::new(LoadedPlugin::load(
            sandbox,
            &self.name,
            &self.plugin,
        )?))
    }

    /// Loading names one missing grant, and here all of them can be told.
    fn check_grants(&self) -> Result<(), SubjectError> {
        let (facts, _) = ComponentFacts::of_file(&self.plugin.path)?;
        let mut missing = facts.grants;
        missing.retain(|word| !self.plugin.grants.has(word));
        if missing.is_empty() {
            return Ok(());
        }
        Err(SubjectError::NotGranted {
            name: self.name.clone(),
            missing,
            manifest: self.manifest.as_ref().map(|m| m.folder.join(MANIFEST_FILE)),
        })
    }

    /// The events in the plugin's folder, file by file in the order of their names; none where it has no manifest.
    ///
    /// # Errors
    /// A file of them cannot be read or holds what is no event.
    pub fn fixtures(&self) -> Result<Vec<Fixture>, FixtureError> {
        let Some(manifest) = &self.manifest else {
            return Ok(Vec::new());
        };
        let mut events = Vec::new();
        for file in fixture_files(&manifest.folder)? {
            events.extend(Fixture::read_file(&file)?);
        }
        Ok(events)
    }
}

/// The files of events in a plugin's folder, by name.
fn fixture_files(folder: &Path) -> Result<Vec<PathBuf>, FixtureError> {
    let folder = folder.join(FIXTURES_FOLDER);
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect::<Result<Vec<_>, _>>),
    };
    let entries = entries.map_err(|source| FixtureError::Read {
        name: folder.display().to_string(),
        source,
    })?;
    let mut files: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "jsonl")
    });
    files.sort_unstable();
    Ok(files)
}

/// Where a component's manifest may be: beside it, or above the `dist` that it lies in.
fn folders_of(component: &Path) -> impl Iterator<Item = PathBuf> {
    let absolute = std::path::absolute(component).unwrap_or_else(|_| component.to_owned());
    let folders: Vec<PathBuf> = absolute
        .ancestors()
        .skip(1)
        .take(2)
        .map(Path::to_owned)
        .collect();
    folders.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        std::fs::write(folder.join(name), text).unwrap();
    }

    const MANIFEST: &str = "name: orders\nlanguage: rust\ntopics: [orders, more]\nplugin:\n  grants: [metrics]\n  \
                            config: { a: file, b: file }\n";

    #[test]
    fn a_manifest_above_the_component_counts_and_options_come_on_top() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), "plugin.yaml", MANIFEST);
        let component = folder.path().join("dist/other.wasm");
        let subject = Subject::find(&Wishes {
            component: Some(&component),
            grants: &["state".to_owned(), "output:out".to_owned()],
            settings: &[("a".to_owned(), "option".to_owned())],
            ..Wishes::default()
        })
        .unwrap();
        assert_eq!(
            (subject.name.as_str(), subject.topic.as_str()),
            ("orders", "orders")
        );
        let grants = &subject.plugin.grants;
        assert!(grants.metrics && grants.state && !grants.tally);
        assert_eq!(grants.output_topics, ["out"]);
        assert_eq!(subject.plugin.path, component);
        assert_eq!(subject.plugin.settings["a"], "option");
        assert_eq!(subject.plugin.settings["b"], "file");
    }

    #[test]
    fn a_component_alone_is_granted_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let component = folder.path().join("a/b/c/orders.wasm");
        written(folder.path(), "plugin.yaml", "wrong");
        let subject = Subject::find(&Wishes {
            component: Some(&component),
            fuel: true,
            ..Wishes::default()
        })
        .unwrap();
        assert_eq!(
            (subject.name.as_str(), subject.topic.as_str()),
            ("orders", TOPIC)
        );
        assert_eq!(subject.plugin.grants, config::Grants::default());
        assert_eq!(subject.plugin.limits.fuel, Some(FUEL_UNBOUNDED));
    }

    #[test]
    fn a_grant_that_is_none_is_told_with_what_may_be_meant() {
        let error = Subject::find(&Wishes {
            component: Some(Path::new("orders.wasm")),
            grants: &["metric".to_owned()],
            ..Wishes::default()
        });
        let told = error.unwrap_err().to_string();
        assert!(told.contains("did you mean `metrics`?"), "{told}");
    }

    #[test]
    fn fixtures_come_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), "plugin.yaml", MANIFEST);
        for (name, value) in [("b.jsonl", 2), ("a.jsonl", 1), ("c.json", 3)] {
            written(
                folder.path(),
                &format!("fixtures/{name}"),
                &format!("{{\"value\":{value}}}\n"),
            );
        }
        let component = folder.path().join("orders.wasm");
        let subject = Subject::find(&Wishes {
            component: Some(&component),
            ..Wishes::default()
        })
        .unwrap();
        assert_eq!(
            subject.fixtures().unwrap(),
            [Fixture::of_value("1"), Fixture::of_value("2")]
        );
    }
}
