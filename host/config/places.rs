//! Where things are found on this machine: files, folders, the environment.
//!
//! The only reader of the process environment. This must not know what the files hold.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use super::{Registry, common_names};

/// The environment variables by name.
pub(crate) type Environment = BTreeMap<String, String>;

/// There is no folder to keep state in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlaceError {
    /// Neither `XDG_STATE_HOME` nor `HOME` names a folder.
    #[error("there is no state folder: set `store`, or the variable XDG_STATE_HOME or HOME")]
    NoStateFolder,
    /// The id of the group cannot be the name of a folder.
    #[error("`{0}` cannot be the name of a folder: set `store`")]
    NotAFolderName(String),
}

/// The environment of this process. Variables that are not Unicode are left out.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Which log lines are written where no option says it: the variable `LOG_LEVEL`, or else `info`.
#[must_use]
pub fn log_level(env: impl Iterator<Item = (String, String)>) -> String {
    let env: Environment = env.collect();
    common_names::value(&env, common_names::LOG_LEVEL).map_or_else(
        || "info".to_owned(),
        // Containers write it in either case.
        str::to_lowercase,
    )
}

/// The lanes of a group that does not say how many: the cores less one, which is left to polling and
/// settling; at least 1 and at most 256.
#[must_use]
pub fn default_concurrency() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cores.saturating_sub(1).clamp(1, 256)
}

/// The store of a group that does not say where: its folder in the platform's state folder.
///
/// # Errors
/// The environment names no state folder, or the group's id is no folder name.
pub(super) fn default_store(env: &Environment, group_id: &str) -> Result<PathBuf, PlaceError> {
    if group_id.contains(['/', '\\', '\0']) || matches!(group_id, "" | "." | "..") {
        return Err(PlaceError::NotAFolderName(group_id.to_owned()));
    }
    base_folder(env, "XDG_STATE_HOME", ".local/state")
        .map(|state| state.join("millrace").join(group_id))
        .ok_or(PlaceError::NoStateFolder)
}

/// The folder of compiled components where the configuration does not say; none where the environment names
/// no folder for caches.
pub(super) fn default_compile_cache(env: &Environment) -> Option<PathBuf> {
    base_folder(env, "XDG_CACHE_HOME", ".cache").map(|cache| cache.join("millrace/compiled"))
}

/// The folder of compiled components of commands that have no configuration.
#[must_use]
pub fn own_compile_cache() -> Option<PathBuf> {
    default_compile_cache(&process_environment().collect())
}

/// Where fetched components are kept, and where docker keeps user names and passwords.
pub(super) fn default_registry(env: &Environment) -> Registry {
    let cache = base_folder(env, "XDG_CACHE_HOME", ".cache");
    let docker = env.get("DOCKER_CONFIG").map(PathBuf::from);
    let docker = docker.or_else(|| env.get("HOME").map(|home| Path::new(home).join(".docker")));
    Registry {
        cache: cache.map(|cache| cache.join("millrace/plugins")),
        credentials: docker.map(|docker| docker.join("config.json")),
    }
}

/// A base folder of the XDG specification, which says that a relative path there is to be ignored.
fn base_folder(env: &Environment, variable: &str, in_home: &str) -> Option<PathBuf> {
    let absolute = |name| {
        env.get(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(in_home)))
}

/// The path to compare by: two spellings of one place are equal. Links are not followed, because what
/// is compared may not exist yet.
pub(super) fn comparable(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut comparable = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                comparable.pop();
            }
            component => comparable.push(component),
        }
    }
    comparable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Environment {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_store_is_in_the_state_folder_of_the_platform() {
        let both = env(&[("XDG_STATE_HOME", "/state"), ("HOME", "/home/me")]);
        assert_eq!(
            default_store(&both, "g"),
            Ok(PathBuf::from("/state/millrace/g"))
        );
        let home = env(&[("XDG_STATE_HOME", "relative"), ("HOME", "/home/me")]);
        assert_eq!(
            default_store(&home, "g"),
            Ok(PathBuf::from("/home/me/.local/state/millrace/g"))
        );
    }

    #[test]
    fn without_a_state_folder_or_a_folder_name_the_store_must_be_set() {
        assert_eq!(
            default_store(&env(&[]), "g"),
            Err(PlaceError::NoStateFolder)
        );
        let home = env(&[("HOME", "/home/me")]);
        for id in ["a/b", "..", ""] {
            let error = default_store(&home, id);
            assert_eq!(error, Err(PlaceError::NotAFolderName(id.to_owned())));
        }
    }

    #[test]
    fn two_spellings_of_a_path_compare_equal() {
        assert_eq!(
            comparable(Path::new("/a/./b/../c")),
            comparable(Path::new("/a/c/"))
        );
    }

    #[test]
    fn the_variable_log_level_counts_in_either_case() {
        let level = |pairs| log_level(env(pairs).into_iter());
        assert_eq!(level(&[]), "info");
        assert_eq!(level(&[("LOG_LEVEL", "")]), "info");
        assert_eq!(level(&[("LOG_LEVEL", "DEBUG")]), "debug");
    }

    #[test]
    fn concurrency_is_at_least_one_lane() {
        assert!((1..=256).contains(&default_concurrency()));
    }
}
