//! Files that are whole or not there, whenever the power goes. It must not know what they hold.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// Puts these bytes in the place of a file. They are durable when this returns.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    sync_folder_of(path)
}

/// Exchanges two files in one step: whenever the power goes, each path leads to one of the two. Durable when this returns.
pub(super) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).map_err(|error| {
        let error = io::Error::from(error);
        let why = match error.kind() {
            io::ErrorKind::CrossesDevices => "they do not lie on the same file system".to_owned(),
            io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => {
                "this file system cannot exchange files".to_owned()
            }
            _ => error.to_string(),
        };
        io::Error::new(
            error.kind(),
            format!("it could not be exchanged with {}: {why}", other.display()),
        )
    })?;
    sync_folder_of(one)?;
    sync_folder_of(other)
}

/// Makes durable which files stand in the folder of this one.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
