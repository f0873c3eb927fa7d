//! Files that are there in full or not at all, and for nobody but their owner. A host that ends meanwhile leaves behind
//! what it had begun, which others find and remove. It must not know what is kept, or for how long.

use std::fs::{self, Metadata, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const MODE: u32 = 0o600;

/// The extension of what is not finished.
const UNFINISHED: &str = "new";

/// After this it never will be, because its host ended; no write takes as long.
const UNFINISHED_MAX: Duration = Duration::from_hours(1);

/// Writes a file, or puts it in the place of one.
///
/// # Errors
/// The folder is not there or cannot be written.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = write_unfinished(path, bytes)?;
    fs::rename(&unfinished, path).inspect_err(|_| drop(fs::remove_file(&unfinished)))
}

/// Writes what is to become this file beside it, for whoever gives it its name.
///
/// # Errors
/// As of [`write`].
pub(crate) fn write_unfinished(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{number}.{UNFINISHED}", std::process::id());
    let unfinished = path.with_file_name(name);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(MODE)
        .open(&unfinished)
        .and_then(|mut file| file.write_all(bytes))
        // Where a file of this name was left behind, it may have another mode.
        .and_then(|()| fs::set_permissions(&unfinished, Permissions::from_mode(MODE)));
    match written {
        Ok(()) => Ok(unfinished),
        Err(error) => {
            drop(fs::remove_file(&unfinished));
            Err(error)
        }
    }
}

/// Whether it is an unfinished file of a host that ended.
///
/// # Errors
/// The system keeps no times of files.
pub(crate) fn is_left_behind(path: &Path, metadata: &Metadata) -> io::Result<bool> {
    let is_unfinished = path.extension().is_some_and(|it| it == UNFINISHED);
    Ok(is_unfinished && metadata.modified()?.elapsed().unwrap_or_default() > UNFINISHED_MAX)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let files = fs::read_dir(folder).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_for_its_owner_alone_and_nothing_stays_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        for bytes in [&b"a long text"[..], b"short"] {
            write(&path, bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        assert_eq!(names(folder.path()), ["kept"]);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_cannot_take_its_place_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, b"x").is_err());
        assert_eq!(names(folder.path()), ["kept"]);
    }

    #[test]
    fn only_unfinished_files_that_are_old_are_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let long_ago = SystemTime::now() - UNFINISHED_MAX * 2;
        for (name, is_old, expected) in [
            ("1-1.new", true, true),
            ("1-2.new", false, false),
            ("a.blob", true, false),
        ] {
            let path = folder.path().join(name);
            let file = File::create(&path).unwrap();
            if is_old {
                file.set_modified(long_ago).unwrap();
            }
            let is = is_left_behind(&path, &path.metadata().unwrap()).unwrap();
            assert_eq!(is, expected, "{name}");
        }
    }
}
