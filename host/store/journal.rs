//! A journal file: appended, synced, rotated, and cut back to what the settle store vouches for.
//!
//! Segments are numbered. The file under the configured name is the current segment; a finished one is
//! renamed to `NAME.SEGMENT`.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// How far a journal is vouched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalPosition {
    /// Number of the current segment.
    pub segment: u64,
    /// Its length in bytes.
    pub len_bytes: u64,
}

/// The journal cannot be used. The operator must act.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum JournalError {
    #[error("the journal {} is in use by another process", path.display())]
    InUse { path: PathBuf },
    #[error("the journal {}: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// An open journal, locked by this process.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    position: JournalPosition,
    rotate_bytes: u64,
    dirty: bool,
    /// Whether more may stand in the file than the position says.
    torn: bool,
    /// Lines that could not be written yet.
    unwritten: Vec<u8>,
}

impl Journal {
    /// Opens a journal and cuts it back to the recorded position: what lies beyond was written and never
    /// settled, and its events run again. Where no position is recorded, an existing file is kept whole.
    ///
    /// # Errors
    /// The file is in use or cannot be written.
    pub fn open(
        path: &Path,
        rotate_bytes: u64,
        recorded: Option<JournalPosition>,
    ) -> Result<Self, JournalError> {
        let io = |source| JournalError::Io {
            path: path.to_owned(),
            source,
        };
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        if let Some(recorded) = recorded {
            undo_rotation(path, recorded.segment).map_err(io)?;
        }
        let mut file = open_locked(path)?;
        let len_bytes = file.metadata().map_err(io)?.len();
        let position = match recorded {
            Some(recorded) if recorded.len_bytes <= len_bytes => recorded,
            Some(recorded) => {
                tracing::error!(
                    journal = %path.display(), recorded = recorded.len_bytes, found = len_bytes,
                    "the journal is shorter than what was settled; lines were lost outside of this host"
                );
                JournalPosition {
                    len_bytes,
                    ..recorded
                }
            }
            // Without a record, finished segments of an earlier store must not be written over.
            None => JournalPosition {
                segment: next_segment(path).map_err(io)?,
                len_bytes,
            },
        };
        file.set_len(position.len_bytes).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            position,
            rotate_bytes,
            dirty: false,
            torn: false,
            unwritten: Vec::new(),
        })
    }

    /// Appends whole lines. They count once [`Self::sync`] and the settle after it have happened. Lines that
    /// the disk has no room for wait in memory, and the next sync says why: its caller then takes in no more.
    pub fn append(&mut self, lines: &[u8]) {
        self.dirty = true;
        if !self.unwritten.is_empty() || self.write(lines).is_err() {
            self.unwritten.extend_from_slice(lines);
        }
    }

    fn write(&mut self, lines: &[u8]) -> std::io::Result<()> {
        self.cut_torn()?;
        self.torn = true;
        if let Err(error) = self.file.write_all(lines) {
            // A torn line must not stay. Where cutting fails too, the next write tries again.
            let _cut = self.cut_torn();
            return Err(error);
        }
        self.torn = false;
        self.position.len_bytes += lines.len() as u64;
        Ok(())
    }

    /// Cuts off what a write that failed may have written.
    fn cut_torn(&mut self) -> std::io::Result<()> {
        if self.torn {
            self.file.set_len(self.position.len_bytes)?;
            self.file.seek(SeekFrom::End(0))?;
            self.torn = false;
        }
        Ok(())
    }

    /// How far it reaches.
    #[must_use]
    pub fn position(&self) -> JournalPosition {
        self.position
    }

    /// Makes what was appended durable, and begins a new segment when this one is large enough. Returns
    /// the position to settle; none when nothing changed.
    ///
    /// # Errors
    /// The file cannot be written, synced or renamed. Nothing is lost; the next call tries again.
    pub fn sync(&mut self) -> Result<Option<JournalPosition>, JournalError> {
        if !self.dirty {
            return Ok(None);
        }
        let path = self.path.clone();
        let io = |source| JournalError::Io {
            path: path.clone(),
            source,
        };
        if !self.unwritten.is_empty() {
            let lines = std::mem::take(&mut self.unwritten);
            if let Err(error) = self.write(&lines) {
                self.unwritten = lines;
                return Err(io(error));
            }
        }
        self.file.sync_data().map_err(io)?;
        if self.position.len_bytes >= self.rotate_bytes {
            let finished = segment_path(&self.path, self.position.segment);
            match std::fs::rename(&self.path, &finished) {
                // An earlier try got this far and could not open the next segment.
                Err(error) if error.kind() == ErrorKind::NotFound && finished.exists() => {}
                renamed => renamed.map_err(io)?,
            }
            self.file = open_locked(&self.path)?;
            sync_folder(&self.path).map_err(io)?;
            self.position = JournalPosition {
                segment: self.position.segment + 1,
                len_bytes: 0,
            };
        }
        self.dirty = false;
        Ok(Some(self.position))
    }
}

/// A crash between a rotation and its settle leaves the recorded segment under its finished name.
fn undo_rotation(path: &Path, segment: u64) -> std::io::Result<()> {
    let finished = segment_path(path, segment);
    if finished.exists() {
        std::fs::rename(finished, path)?;
        sync_folder(path)?;
    }
    Ok(())
}

/// One more than the highest finished segment that lies beside the journal.
fn next_segment(path: &Path) -> std::io::Result<u64> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let start = format!(
        "{}.",
        path.file_name().unwrap_or_default().to_string_lossy()
    );
    let mut next = 0;
    for entry in std::fs::read_dir(folder.unwrap_or(Path::new(".")))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let number = name
            .strip_prefix(&start)
            .and_then(|number| number.parse::<u64>().ok());
        next = number.map_or(next, |number| next.max(number + 1));
    }
    Ok(next)
}

fn segment_path(path: &Path, segment: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{segment}"));
    PathBuf::from(name)
}

fn open_locked(path: &Path) -> Result<File, JournalError> {
    let io = |source| JournalError::Io {
        path: path.to_owned(),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path);
    let file = file.map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn lines_beyond_the_settled_position_are_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let mut journal = Journal::open(&path, 1_000, None).unwrap();
        journal.append(b"one\n");
        let settled = journal.sync().unwrap().unwrap();
        journal.append(b"two, never settled\n");
        journal.sync().unwrap();
        drop(journal);
        let mut journal = Journal::open(&path, 1_000, Some(settled)).unwrap();
        journal.append(b"three\n");
        assert_eq!(text(&path), "one\nthree\n");
    }

    #[test]
    fn a_full_segment_is_rotated_at_a_sync() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let mut journal = Journal::open(&path, 4, None).unwrap();
        journal.append(b"one\n");
        let position = journal.sync().unwrap().unwrap();
        assert_eq!(
            position,
            JournalPosition {
                segment: 1,
                len_bytes: 0
            }
        );
        journal.append(b"two\n");
        assert_eq!(text(&folder.path().join("j.0")), "one\n");
        assert_eq!(text(&path), "two\n");
    }

    #[test]
    fn a_rotation_that_was_never_settled_is_undone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let mut journal = Journal::open(&path, 8, None).unwrap();
        journal.append(b"one\n");
        let settled = journal.sync().unwrap().unwrap();
        journal.append(b"two\n");
        journal.sync().unwrap();
        journal.append(b"lost");
        drop(journal);
        drop(Journal::open(&path, 8, Some(settled)).unwrap());
        assert_eq!(text(&path), "one\n");
        assert!(!folder.path().join("j.0").exists());
    }

    #[test]
    fn a_journal_in_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let _first = Journal::open(&path, 8, None).unwrap();
        assert!(matches!(
            Journal::open(&path, 8, None),
            Err(JournalError::InUse { .. })
        ));
    }

    #[test]
    fn without_a_record_finished_segments_are_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        std::fs::write(folder.path().join("j.4"), "old\n").unwrap();
        let mut journal = Journal::open(&path, 4, None).unwrap();
        journal.append(b"new\n");
        journal.sync().unwrap();
        assert_eq!(text(&folder.path().join("j.4")), "old\n");
        assert_eq!(text(&folder.path().join("j.5")), "new\n");
    }
}
