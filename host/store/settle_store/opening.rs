//! Opening the settle store: locked by this process, checked whole, and set aside where it cannot be believed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock};

use redb::{Database, DatabaseError, ReadableDatabase, StorageError, TableError};

use super::usage::Usages;
use super::{JOURNALS, META, OUTBOX, PARTITIONS, STATE, SUMS, SettleStore, StoreError};
use crate::since_1970;

/// Version of the layout of the rows. A file of another version is set aside.
const LAYOUT: u64 = 1;

/// The name of the file in its folder.
pub(crate) const STORE_FILE: &str = "settle.redb";

/// A file of this name beside it says that it is about to be exchanged for another store. Whoever opened it then might
/// go on with the wrong one of the two.
pub(crate) const SWAP_PENDING: &str = "swap-pending.json";

/// Memory for pages of the store, in bytes. It holds offsets and sums, and whatever state plugins keep.
const CACHE_BYTES: usize = 64 << 20;

impl SettleStore {
    /// Opens the store in this folder, or makes it. A file that is damaged or of another layout is set
    /// aside beside it. The whole file is read for that: its pages carry checksums, and a page that was
    /// damaged while nobody looked would otherwise be believed.
    ///
    /// # Errors
    /// The store is in use, or the folder cannot be written.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(STORE_FILE);
        if folder.join(SWAP_PENDING).exists() {
            return Err(StoreError::SwapUnfinished { path });
        }
        let io = |message: String| StoreError::Io {
            path: path.clone(),
            message,
        };
        std::fs::create_dir_all(folder).map_err(|error| io(error.to_string()))?;
        let opened = match path.metadata().map(|file| file.len()) {
            // A store is never empty; the database would make a new one of it without a word.
            Ok(0) => Err(OpenFailure::Unbelievable("it is empty".to_owned())),
            Ok(_) => open_checked(&path),
            Err(_) => create(&path).map_err(OpenFailure::of),
        };
        let database = match opened {
            Ok(database) => database,
            Err(OpenFailure::InUse) => return Err(StoreError::InUse { path }),
            Err(OpenFailure::Io(message)) => return Err(io(message)),
            Err(OpenFailure::Unbelievable(reason)) => {
                let aside = set_aside_name(&path);
                std::fs::rename(&path, &aside).map_err(|error| io(error.to_string()))?;
                tracing::error!(
                    store = %path.display(), set_aside = %aside.display(), %reason,
                    "the settle store cannot be believed and was set aside; sums and state in it are \
                     lost to this host, and events since the last commit run again"
                );
                create(&path).map_err(|error| io(error.to_string()))?
            }
        };
        Self::opened(database, path)
    }

    /// Opens the store in this folder where there is one, whatever is about to become of it. A file that cannot be
    /// believed stays where it is.
    ///
    /// # Errors
    /// There is none, it is in use, or it cannot be believed.
    pub fn open_existing(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(STORE_FILE);
        if !path.exists() {
            return Err(StoreError::NotThere { path });
        }
        match open_checked(&path) {
            Ok(database) => Self::opened(database, path),
            Err(OpenFailure::InUse) => Err(StoreError::InUse { path }),
            Err(OpenFailure::Io(message) | OpenFailure::Unbelievable(message)) => {
                Err(StoreError::Io { path, message })
            }
        }
    }

    fn opened(database: Database, path: PathBuf) -> Result<Self, StoreError> {
        let io = |message: String| StoreError::Io {
            path: path.clone(),
            message,
        };
        initialise(&database).map_err(|error| io(error.to_string()))?;
        let usages = Usages::count(&database).map_err(|error| io(error.to_string()))?;
        Ok(Self {
            database: RwLock::new(Some(database)),
            usages: Mutex::new(usages),
            path,
            incarnation: fastrand::u64(..),
        })
    }
}

/// Why a file was not opened.
enum OpenFailure {
    InUse,
    Io(String),
    /// What it holds is not what a host wrote, or not what this host can read.
    Unbelievable(String),
}

impl OpenFailure {
    fn of(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            // A file that ends too early, or asks for a place that no file has, is damaged; any other
            // failure is the disk's.
            DatabaseError::Storage(StorageError::Io(error)) => match error.kind() {
                std::io::ErrorKind::InvalidData
                | std::io::ErrorKind::InvalidInput
                | std::io::ErrorKind::UnexpectedEof => Self::Unbelievable(error.to_string()),
                _ => Self::Io(error.to_string()),
            },
            error => Self::Unbelievable(error.to_string()),
        }
    }
}

/// Opens a file that is there, and reads all of it.
fn open_checked(path: &Path) -> Result<Database, OpenFailure> {
    // The database checks what it reads, and still a damaged file may break an assumption of its code.
    let checked = catch_unwind(AssertUnwindSafe(|| {
        let mut database = create(path).map_err(OpenFailure::of)?;
        if !database.check_integrity().map_err(OpenFailure::of)? {
            let reason = "parts of it were not as they were written".to_owned();
            return Err(OpenFailure::Unbelievable(reason));
        }
        match layout(&database).map_err(|error| OpenFailure::Unbelievable(error.to_string()))? {
            None | Some(LAYOUT) => Ok(database),
            Some(other) => Err(OpenFailure::Unbelievable(format!(
                "its layout has version {other}, and this host knows {LAYOUT}"
            ))),
        }
    }));
    checked.unwrap_or_else(|_| {
        let reason = "reading it made the database panic".to_owned();
        Err(OpenFailure::Unbelievable(reason))
    })
}

/// The version of the rows; none in a file that was made and not written yet.
fn layout(database: &Database) -> Result<Option<u64>, redb::Error> {
    let read = database.begin_read()?;
    match read.open_table(META) {
        Ok(meta) => Ok(meta.get("layout")?.map(|value| value.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes the tables where they are missing.
fn initialise(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(META)?.insert("layout", LAYOUT)?;
    for table in [PARTITIONS, SUMS, OUTBOX, STATE] {
        write.open_table(table)?;
    }
    write.open_table(JOURNALS)?;
    Ok(write.commit()?)
}

pub(super) fn create(path: &Path) -> Result<Database, DatabaseError> {
    Database::builder().set_cache_size(CACHE_BYTES).create(path)
}

fn set_aside_name(path: &Path) -> PathBuf {
    path.with_extension(format!("redb.set-aside-{}", since_1970::now_ms()))
}
