//! Whether a component is older than what it is made of, by the times of the files.

use std::path::Path;
use std::time::SystemTime;

use super::super::manifest::Manifest;

/// Folders below a plugin's that its component is not made of, or that its toolchain writes. Hidden ones are none
/// either.
const NOT_SOURCES: [&str; 6] = [
    "dist",
    "tests",
    "fixtures",
    "target",
    "node_modules",
    "__pycache__",
];

/// Files that are looked at. A plugin has a few dozen; a folder with more is something else, and is built anew.
const FILES_MAX: usize = 10_000;

/// Whether the component of a plugin has to be built: it is not there, or a file of its folder is newer.
#[must_use]
pub fn is_stale(manifest: &Manifest) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    let Some(built) = modified(manifest.component_path()) else {
        return true;
    };
    let mut files_left = FILES_MAX;
    newer_in(&manifest.folder, built, &mut files_left)
}

fn newer_in(folder: &Path, built: SystemTime, files_left: &mut usize) -> bool {
    let Ok(entries) = folder.read_dir() else {
        return true;
    };
    for entry in entries.flatten() {
        let Some(left) = files_left.checked_sub(1) else {
            return true;
        };
        *files_left = left;
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            let hidden = name.as_encoded_bytes().starts_with(b".");
            let is_source = !hidden && !NOT_SOURCES.iter().any(|other| name == *other);
            if is_source && newer_in(&path, built, files_left) {
                return true;
            }
            continue;
        }
        let modified = entry.metadata().and_then(|file| file.modified());
        if modified.map_or(true, |modified| modified > built) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_component_is_stale_once_a_source_is_newer_and_not_for_a_scenario() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, seconds: u64| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = File::create(&path).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            file.set_modified(time).unwrap();
        };
        let text = "name: a\nlanguage: c\ntopics: [t]\n";
        fs::write(folder.path().join("plugin.yaml"), text).unwrap();
        let manifest = Manifest::read(folder.path()).unwrap();
        assert!(is_stale(&manifest), "it is not there");
        at("plugin.yaml", 1);
        at("src/main.c", 1);
        at("dist/a.wasm", 2);
        at("tests/first.yaml", 3);
        at("dist/other", 3);
        at(".venv/bin/tool", 3);
        assert!(!is_stale(&manifest));
        at("src/main.c", 3);
        assert!(is_stale(&manifest));
    }
}
