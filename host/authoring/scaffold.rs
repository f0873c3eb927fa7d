//! The folder of a new plugin, written from the files that the host carries in itself: no network, no repository of
//! templates. It must not know how a plugin is built.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::contract::{self, Difference, Files};
use super::manifest::{Language, Manifest};
use crate::config::plugin_name_problem;

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}

/// A plugin that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Its folder.
    pub folder: PathBuf,
    /// Its files by their paths in the folder, sorted.
    pub files: Vec<PathBuf>,
    /// The commands to go on with, one after the other.
    pub next: Vec<String>,
}

/// Why a plugin was not begun, or its contract not written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum ScaffoldError {
    #[error("{0}")]
    Name(String),
    #[error("{} is there already, and is left as it is: choose another name, or remove it", folder.display())]
    Exists { folder: PathBuf },
    #[error("there is no template for `{language}`: there are {}", words().join(", "))]
    NoTemplate { language: &'static str },
    #[error("{} cannot be written: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// The words of the languages that a plugin can be begun in.
#[must_use]
pub fn words() -> Vec<&'static str> {
    let begun = Language::BUILT
        .into_iter()
        .filter(|(_, language)| template(*language).is_some());
    begun.map(|(word, _)| word).collect()
}

/// What a language has of its own.
struct Template {
    /// The folder of a new plugin, together with what all languages share.
    files: Files,
    /// What the plugin is built against, and the folder that it is written to.
    sdk: Option<(&'static str, Files)>,
    /// The folder of the contract. A plugin's own world stands in `wit/` or is made from the source.
    contract: &'static str,
    /// What has to be typed once before the first build.
    first: Option<&'static str>,
}

/// Where a plugin's own world stands, with the contract as a package that it depends on.
const WIT: &str = "wit";

/// The contract's place there.
const PACKAGE: &str = "deps/millrace-plugin";

/// What installs the tools that a template's requirements.txt names.
const FROM_PYPI: &str = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt";

fn template(language: Language) -> Option<Template> {
    let template = match language {
        Language::Rust => Template {
            files: embedded::RUST,
            sdk: Some(("vendor/millrace-sdk", embedded::RUST_SDK)),
            contract: "vendor/millrace-sdk/wit",
            first: None,
        },
        Language::JavaScript => Template {
            files: embedded::JS,
            sdk: Some(("vendor/millrace", embedded::JS_SDK)),
            contract: WIT,
            first: Some("npm install"),
        },
        Language::TypeScript => Template {
            files: embedded::TS,
            sdk: Some(("vendor/millrace", embedded::JS_SDK)),
            contract: WIT,
            first: Some("npm install"),
        },
        Language::Python => Template {
            files: embedded::PYTHON,
            sdk: Some(("vendor/millrace", embedded::PYTHON_SDK)),
            contract: WIT,
            first: Some(FROM_PYPI),
        },
        Language::Go => Template {
            files: embedded::GO,
            // `vendor` is a word of Go's own.
            sdk: Some(("millrace", embedded::GO_SDK)),
            contract: WIT,
            first: None,
        },
        Language::C => Template {
            files: embedded::C,
            sdk: Some(("vendor/millrace", embedded::C_SDK)),
            contract: WIT,
            first: Some(FROM_PYPI),
        },
        Language::Other => return None,
    };
    Some(template)
}

/// Writes the folder of a new plugin below `parent`.
///
/// # Errors
/// The name cannot be one, the folder is there already, or it cannot be written. Nothing is left behind then.
pub fn new(parent: &Path, name: &str, language: Language) -> Result<Begun, ScaffoldError> {
    if let Some(problem) = plugin_name_problem(name) {
        return Err(ScaffoldError::Name(problem));
    }
    let template = template(language).ok_or_else(|| ScaffoldError::NoTemplate {
        language: language.word(),
    })?;
    let folder = parent.join(name);
    // A link that leads nowhere is something too.
    if folder.symlink_metadata().is_ok() {
        return Err(ScaffoldError::Exists { folder });
    }
    let mut files: BTreeMap<PathBuf, String> = fixed(&template).into_iter().collect();
    let own_world = template.contract == WIT;
    let own = |path: &str| template.files.iter().any(|(own, _)| *own == path);
    let shared = embedded::COMMON
        .iter()
        .filter(|(path, _)| (own_world || !path.starts_with(WIT)) && !own(path));
    for (path, text) in shared.chain(template.files) {
        let text = text
            .replace("{{name}}", name)
            .replace("{{language}}", language.word());
        // What a language has of its own takes the place of what all share.
        files.insert(PathBuf::from(path), text);
    }
    let files: Vec<(PathBuf, String)> = files.into_iter().collect();
    // Written beside its place and then moved, so that there is a whole folder or none.
    let incoming = parent.join(format!(".{name}.new"));
    let written = write(&incoming, &files).and_then(|()| {
        fs::rename(&incoming, &folder).map_err(|source| ScaffoldError::File {
            path: folder.clone(),
            source,
        })
    });
    if let Err(error) = written {
        // What cannot be removed was not this error's fault.
        let _left = fs::remove_dir_all(&incoming);
        return Err(error);
    }
    let mut next = vec![format!("cd {name}")];
    next.extend(template.first.map(str::to_owned));
    next.push("millrace plugin dev".to_owned());
    Ok(Begun {
        folder,
        files: files.into_iter().map(|(path, _)| path).collect(),
        next,
    })
}

/// Writes this host's contract and SDK into the folder of a plugin, over those that are there. What its author wrote
/// stays. Returns what differs afterwards.
///
/// # Errors
/// The folder cannot be written, or its language has neither.
pub fn refresh(manifest: &Manifest) -> Result<Vec<PathBuf>, ScaffoldError> {
    let template = template(manifest.language).ok_or_else(|| ScaffoldError::NoTemplate {
        language: manifest.language.word(),
    })?;
    let mut files = fixed(&template);
    files.retain(|(path, text)| {
        fs::read_to_string(manifest.folder.join(path)).ok().as_ref() != Some(text)
    });
    write(&manifest.folder, &files)?;
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// The version of this host's contract.
pub(super) fn contract_version() -> &'static str {
    contract::version(embedded::WIT)
}

/// How the contract in a plugin's folder differs from this host's; none where it does not, or where the folder has
/// none.
pub(super) fn contract_difference(manifest: &Manifest) -> Option<Difference> {
    let own = template(manifest.language).map_or(WIT, |template| template.contract);
    let folder = manifest.folder.join(own);
    let package = if own == WIT {
        folder.join(PACKAGE)
    } else {
        folder
    };
    contract::difference(&package, embedded::WIT)
}

/// The contract and the SDK, as this host has them.
fn fixed(template: &Template) -> Vec<(PathBuf, String)> {
    let contract = embedded::WIT.iter().map(|(path, text)| {
        let path = if template.contract == WIT && !path.starts_with("deps/") {
            format!("{PACKAGE}/{path}")
        } else {
            (*path).to_owned()
        };
        (Path::new(template.contract).join(path), (*text).to_owned())
    });
    let sdk = template.sdk.iter().flat_map(|(folder, files)| {
        files.iter().map(|(path, text)| {
            let text = if *path == "Cargo.toml" {
                alone(text)
            } else {
                (*text).to_owned()
            };
            (Path::new(folder).join(path), text)
        })
    });
    contract.chain(sdk).collect()
}

/// The manifest of the SDK's crate without the workspace that it stands in here.
fn alone(manifest: &str) -> String {
    // The longer name first: it holds the shorter one.
    let workspace = [
        ("rust-version", env!("CARGO_PKG_RUST_VERSION")),
        ("version", env!("CARGO_PKG_VERSION")),
        ("edition", "2024"),
        ("license", env!("CARGO_PKG_LICENSE")),
    ];
    let alone = manifest.replace("\n[lints]\nworkspace = true\n", "");
    workspace.iter().fold(alone, |text, (key, value)| {
        text.replace(
            &format!("{key}.workspace = true"),
            &format!("{key} = \"{value}\""),
        )
    })
}

fn write(folder: &Path, files: &[(PathBuf, String)]) -> Result<(), ScaffoldError> {
    for (path, text) in files {
        let path = folder.join(path);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, text))
            .map_err(|source| ScaffoldError::File { path, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_rust_plugin_has_less_than_15_lines_of_its_authors_own() {
        let (_, text) = embedded::RUST
            .iter()
            .find(|(path, _)| *path == "src/lib.rs")
            .unwrap();
        let own = text.split("#[cfg(test)]").next().unwrap();
        let lines: Vec<&str> = own.lines().filter(|line| !line.trim().is_empty()).collect();
        assert!(
            own.contains("counter_add(\"events_total\""),
            "it counts events"
        );
        assert!(lines.len() < 15, "{} lines:\n{own}", lines.len());
    }

    #[test]
    fn an_sdk_that_stands_in_a_plugins_folder_needs_no_workspace() {
        let (_, text) = embedded::RUST_SDK
            .iter()
            .find(|(path, _)| *path == "Cargo.toml")
            .unwrap();
        let alone = alone(text);
        assert!(!alone.contains("workspace"), "{alone}");
        assert!(alone.contains("rust-version = \"1."), "{alone}");
    }

    #[test]
    fn a_name_that_cannot_be_one_begins_nothing() {
        let parent = tempfile::tempdir().unwrap();
        for name in [
            "",
            "Orders",
            "1st",
            "a_b",
            "a/b",
            "..",
            "a-",
            &"a".repeat(65),
        ] {
            let error = new(parent.path(), name, Language::Rust)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("cannot be the name of a plugin: use 1 to 64 of a-z"),
                "{error}"
            );
        }
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_there_is_left_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("orders");
        fs::create_dir(&folder).unwrap();
        let error = new(parent.path(), "orders", Language::Rust).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("is there already, and is left as it is"),
            "{error}"
        );
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}
