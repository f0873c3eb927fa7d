//! Components and manifests on disk, each under its own digest. Whoever reads one checks it, so what was changed is as
//! good as absent. It must not know what they mean.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

use super::RegistryError;
use crate::sandbox::digest_of;
use crate::whole_file;

/// What all entries together may take: a hundred of the largest components that the default limits allow.
const BYTES_MAX: u64 = 4 << 30;

const ENTRY: &str = "blob";

#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where the entry of a digest is, or would be.
    pub(super) fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(digest).with_extension(ENTRY)
    }

    /// An entry that is there, in full and unchanged.
    pub(super) fn read(&self, digest: &str, bytes_max: u64) -> Option<Vec<u8>> {
        let path = self.path(digest);
        let read = || {
            let file = File::open(&path)?;
            let mut bytes = Vec::new();
            (&file).take(bytes_max + 1).read_to_end(&mut bytes)?;
            // What is used stays; an old time only brings the removal forward.
            let _touched = file.set_modified(SystemTime::now());
            io::Result::Ok(bytes)
        };
        match read() {
            Ok(bytes) if digest_of(&bytes) == digest => Some(bytes),
            Ok(_) => {
                tracing::warn!(path = %path.display(),
                    "fetched again, and replaced: what is kept has another digest than its name");
                None
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "fetched again: what is kept cannot be read");
                }
                None
            }
        }
    }

    /// Keeps what has this digest.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub(super) fn write(&self, digest: &str, bytes: &[u8]) -> Result<(), RegistryError> {
        let path = self.path(digest);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        let written = builder
            .create(&self.folder)
            .and_then(|()| whole_file::write(&path, bytes));
        written.map_err(|source| RegistryError::Cache { path, source })?;
        if let Err(error) = self.make_room(BYTES_MAX) {
            tracing::warn!(folder = %self.folder.display(), %error, "old components cannot be removed");
        }
        Ok(())
    }

    /// Removes what was not used for the longest time, until the rest fits.
    fn make_room(&self, bytes_max: u64) -> io::Result<()> {
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let path = file?.path();
            // Another host may have removed it meanwhile.
            let Ok(metadata) = path.metadata() else {
                continue;
            };
            let modified = metadata.modified()?;
            if path.extension().is_some_and(|it| it == ENTRY) {
                entries.push((modified, metadata.len(), path));
            } else if whole_file::is_left_behind(&path, &metadata)? {
                fs::remove_file(&path)?;
            }
        }
        entries.sort_unstable();
        let mut bytes: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
        // The newest is the one that was just written.
        entries.pop();
        for (_, size, path) in entries {
            if bytes <= bytes_max {
                break;
            }
            bytes -= size;
            fs::remove_file(&path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_kept_is_read_again_by_its_digest_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("plugins"));
        let digest = digest_of(b"a component");
        assert_eq!(cache.read(&digest, 100), None);
        cache.write(&digest, b"a component").unwrap();
        assert_eq!(
            cache.read(&digest, 100).as_deref(),
            Some(&b"a component"[..])
        );
        assert_eq!(
            cache.read(&digest, 5),
            None,
            "more than the limit is not read"
        );
        fs::write(cache.path(&digest), b"b component").unwrap();
        assert_eq!(cache.read(&digest, 100), None, "it was changed");
        cache.write(&digest, b"a component").unwrap();
        assert!(cache.read(&digest, 100).is_some(), "it was replaced");
    }

    #[test]
    fn the_folder_and_its_files_are_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("plugins"));
        cache.write(&digest_of(b"x"), b"x").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&cache.folder), 0o700);
        assert_eq!(mode(&cache.path(&digest_of(b"x"))), 0o600);
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_owned());
        let digests = [b"1", b"2", b"3"].map(|bytes| {
            cache.write(&digest_of(bytes), bytes).unwrap();
            digest_of(bytes)
        });
        for (age, digest) in [30, 20, 10].iter().zip(&digests) {
            let then = SystemTime::now() - Duration::from_secs(*age);
            let file = File::open(cache.path(digest)).unwrap();
            file.set_modified(then).unwrap();
        }
        assert!(cache.read(&digests[0], 10).is_some(), "it is used");
        cache.make_room(2).unwrap();
        let there = digests.map(|digest| cache.path(&digest).exists());
        assert_eq!(there, [true, false, true]);
    }
}
