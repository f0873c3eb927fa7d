//! From the folder of a plugin to its component: the tools of its language run, a core module becomes a
//! component, and what came out is checked the way a host loads it before it takes the place of the one before.
//!
//! One file a language, which says what tools it needs and what they are told to do. This must not know how a
//! component is run.

mod adapter;
mod build_error;
mod c;
mod check;
mod componentize;
mod go;
mod javascript;
mod python;
mod rust;
mod stale;
mod tool;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use build_error::BuildError;
use componentize::Made;
pub use stale::is_stale;

use super::manifest::{Language, Manifest};
use crate::sandbox::Sandbox;

/// The folder for what lies between the sources and the component, in the plugin's folder. Toolchains that have
/// their own (`target`, `node_modules`) use those.
const BETWEEN: &str = ".build";

/// A plugin that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The component.
    pub component: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// How long building and checking took.
    pub took: Duration,
    /// Whether it differs from the component that was there before.
    pub changed: bool,
    /// The grants that it makes use of, sorted.
    pub uses: Vec<String>,
    /// What its author should know although it was built, a sentence each.
    pub notes: Vec<String>,
}

/// Builds the plugin of this manifest. `sandbox` is where the component is loaded, to see whether a host could;
/// its compile cache spares whoever runs it next that time.
///
/// # Errors
/// Says what is wrong with the tools, the sources, the manifest or the contract, and what to do. The component of
/// the last build that went well stays in its place.
pub fn build(manifest: &Manifest, sandbox: &Sandbox) -> Result<Built, BuildError> {
    let began = Instant::now();
    let folder = std::path::absolute(&manifest.folder)
        .map_err(|error| BuildError::file(&manifest.folder, error))?;
    let work = Work { manifest, folder };
    check::contract(&work)?;
    let made = match &manifest.build {
        Some(own) => work.own(own)?,
        None => work.by_language()?,
    };
    let component = componentize::component(&work, &made)?;
    let place = manifest.component_path();
    let new = place.with_extension("wasm.new");
    write(place.parent(), &new, &component)?;
    let checked = check::check(&work, &component, &new, sandbox);
    let checked = match checked {
        Ok(checked) => checked,
        Err(error) => {
            // It is not worth a second error that it stays.
            let _left = fs::remove_file(&new);
            return Err(error);
        }
    };
    let changed = fs::read(place).ok().is_none_or(|old| old != component);
    // A host that watches the file takes up all of it or nothing.
    fs::rename(&new, place).map_err(|error| BuildError::file(place, error))?;
    Ok(Built {
        component: place.to_owned(),
        bytes: component.len() as u64,
        took: began.elapsed(),
        changed,
        uses: checked.uses,
        notes: checked.notes,
    })
}

fn write(folder: Option<&Path>, file: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    if let Some(folder) = folder {
        fs::create_dir_all(folder).map_err(|error| BuildError::file(folder, error))?;
    }
    fs::write(file, bytes).map_err(|error| BuildError::file(file, error))
}

/// One build: the plugin, and what its language may do with its folder.
struct Work<'a> {
    manifest: &'a Manifest,
    /// Its folder from the root on, because tools run in it and are given paths.
    folder: PathBuf,
}

impl Work<'_> {
    fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the contract and of the plugin's own world.
    fn wit(&self) -> PathBuf {
        self.folder().join("wit")
    }

    /// The folder for what lies between, made if it is not there.
    fn between(&self) -> Result<PathBuf, BuildError> {
        let folder = self.folder().join(BETWEEN);
        fs::create_dir_all(&folder).map_err(|error| BuildError::file(&folder, error))?;
        Ok(folder)
    }

    fn by_language(&self) -> Result<Made, BuildError> {
        let language = self.manifest.language;
        match language {
            Language::Rust => rust::build(self),
            Language::JavaScript | Language::TypeScript => javascript::build(self, language),
            Language::Python => python::build(self),
            Language::Go => go::build(self),
            Language::C => c::build(self),
            Language::Other => Err(BuildError::NoBuild {
                language: language.word(),
            }),
        }
    }

    fn own(&self, own: &crate::config::OwnBuild) -> Result<Made, BuildError> {
        if let Some((program, arguments)) = own.command.split_first() {
            self.run(Path::new(program), arguments, &[])?;
        }
        Ok(Made::file(own.component.clone()))
    }
}
