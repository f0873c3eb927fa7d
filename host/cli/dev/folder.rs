//! The folder of `millrace dev`: stores and journals, removed at the end unless it has a name.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::since_1970;

/// A folder for as long as this value lives, or for good.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    stores: PathBuf,
    temporary: bool,
}

impl Folder {
    /// The named folder, made if it is missing and kept at the end; or a new one that is not.
    pub(super) fn open(named: Option<&Path>) -> anyhow::Result<Self> {
        let (path, temporary) = match named {
            Some(path) => (std::path::absolute(path)?, false),
            None => {
                let name = format!("millrace-dev-{:08x}", fastrand::u32(..));
                (std::env::temp_dir().join(name), true)
            }
        };
        // Events may be private, and the folder for temporary files is everybody's. One that is there
        // already under a random name was put there by someone else.
        std::fs::DirBuilder::new()
            .mode(0o700)
            .recursive(!temporary)
            .create(&path)
            .with_context(|| format!("the folder {} cannot be made", path.display()))?;
        let stores = path.join(format!("stores-{}", since_1970::now_ms()));
        Ok(Self {
            path,
            stores,
            temporary,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where stores belong: a new place in each run. What an earlier one settled was on a broker that has
    /// forgotten it, and offsets begin again.
    pub(super) fn stores(&self) -> &Path {
        &self.stores
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.temporary
    }

    /// Removes it now, if it is temporary.
    pub(super) fn remove(&self) {
        if !self.temporary {
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "the temporary folder stays");
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_goes_with_its_files_and_a_named_one_stays() {
        let folder = Folder::open(None).unwrap();
        let temporary = folder.path().to_owned();
        std::fs::write(temporary.join("file"), "x").unwrap();
        drop(folder);
        assert!(!temporary.exists());

        let above = tempfile::tempdir().unwrap();
        let named = above.path().join("a/b");
        drop(Folder::open(Some(&named)).unwrap());
        drop(Folder::open(Some(&named)).unwrap());
        assert!(named.is_dir());
    }
}
