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
    /// When its first lines were synced, in milliseconds since the Unix epoch; 0 while it has none.
    pub began_ms: u64,
}

/// When a new segment begins, and what becomes of the finished ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// A segment is finished when it has this many bytes.
    pub bytes: u64,
    /// Or when its first lines are this old.
    pub age_ms: Option<u64>,
    /// So many finished segments stay, at least 1; none keeps all.
    pub keep: Option<u64>,
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
    rotation: Rotation,
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
        rotation: Rotation,
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
                began_ms: 0,
            },
        };
        file.set_len(position.len_bytes).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            position,
            rotation,
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

    /// Makes what was appended durable, and begins a new segment when this one is large or old enough.
    /// Returns the position to settle; none when nothing changed.
    ///
    /// # Errors
    /// The file cannot be written, synced or renamed. Nothing is lost; the next call tries again.
    pub fn sync(&mut self, now_ms: u64) -> Result<Option<JournalPosition>, JournalError> {
        if !self.dirty && !self.is_old(now_ms) {
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
        if self.position.began_ms == 0 && self.position.len_bytes > 0 {
            self.position.began_ms = now_ms;
        }
        if self.position.len_bytes >= self.rotation.bytes || self.is_old(now_ms) {
            self.rotate()?;
        }
        self.dirty = false;
        Ok(Some(self.position))
    }

    fn is_old(&self, now_ms: u64) -> bool {
        let began_ms = self.position.began_ms;
        let old = |age_ms| began_ms > 0 && now_ms.saturating_sub(began_ms) >= age_ms;
        self.rotation.age_ms.is_some_and(old)
    }

    fn rotate(&mut self) -> Result<(), JournalError> {
        let io = |source| JournalError::Io {
            path: self.path.clone(),
            source,
        };
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
            began_ms: 0,
        };
        if let Err(error) = self.remove_old_segments() {
            tracing::warn!(journal = %self.path.display(), %error,
                "an old segment of the journal could not be removed; the next rotation tries again");
        }
        Ok(())
    }

    /// The segment that was finished last always stays: a crash before the next settle goes back to it.
    fn remove_old_segments(&self) -> std::io::Result<()> {
        let Some(keep) = self.rotation.keep else {
            return Ok(());
        };
        let oldest_kept = self.position.segment.saturating_sub(keep.max(1));
        for segment in finished_segments(&self.path)? {
            if segment < oldest_kept {
                std::fs::remove_file(segment_path(&self.path, segment))?;
            }
        }
        Ok(())
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
    let highest = finished_segments(path)?.into_iter().max();
    Ok(highest.map_or(0, |highest| highest.saturating_add(1)))
}

/// Numbers of the finished segments that lie beside the journal.
fn finished_segments(path: &Path) -> std::io::Result<Vec<u64>> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let start = format!(
        "{}.",
        path.file_name().unwrap_or_default().to_string_lossy()
    );
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(folder.unwrap_or(Path::new(".")))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix(&start);
        segments.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    Ok(segments)
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

    const NOW_MS: u64 = 1_000;

    fn at(bytes: u64) -> Rotation {
        Rotation {
            bytes,
            age_ms: None,
            keep: None,
        }
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn lines_beyond_the_settled_position_are_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let mut journal = Journal::open(&path, at(1_000), None).unwrap();
        journal.append(b"one\n");
        let settled = journal.sync(NOW_MS).unwrap().unwrap();
        journal.append(b"two, never settled\n");
        journal.sync(NOW_MS).unwrap();
        drop(journal);
        let mut journal = Journal::open(&path, at(1_000), Some(settled)).unwrap();
        journal.append(b"three\n");
        assert_eq!(text(&path), "one\nthree\n");
    }

    #[test]
    fn a_full_segment_is_rotated_at_a_sync() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let mut journal = Journal::open(&path, at(4), None).unwrap();
        journal.append(b"one\n");
        let position = journal.sync(NOW_MS).unwrap().unwrap();
        assert_eq!(
            position,
            JournalPosition {
                segment: 1,
                len_bytes: 0,
                began_ms: 0
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
        let mut journal = Journal::open(&path, at(8), None).unwrap();
        journal.append(b"one\n");
        let settled = journal.sync(NOW_MS).unwrap().unwrap();
        journal.append(b"two\n");
        journal.sync(NOW_MS).unwrap();
        journal.append(b"lost");
        drop(journal);
        drop(Journal::open(&path, at(8), Some(settled)).unwrap());
        assert_eq!(text(&path), "one\n");
        assert!(!folder.path().join("j.0").exists());
    }

    #[test]
    fn a_journal_in_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let _first = Journal::open(&path, at(8), None).unwrap();
        assert!(matches!(
            Journal::open(&path, at(8), None),
            Err(JournalError::InUse { .. })
        ));
    }

    #[test]
    fn without_a_record_finished_segments_are_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        std::fs::write(folder.path().join("j.4"), "old\n").unwrap();
        let mut journal = Journal::open(&path, at(4), None).unwrap();
        journal.append(b"new\n");
        journal.sync(NOW_MS).unwrap();
        assert_eq!(text(&folder.path().join("j.4")), "old\n");
        assert_eq!(text(&folder.path().join("j.5")), "new\n");
    }

    #[test]
    fn a_segment_is_rotated_by_its_age_whether_or_not_more_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let daily = Rotation {
            age_ms: Some(500),
            ..at(1_000)
        };
        let mut journal = Journal::open(&path, daily, None).unwrap();
        assert_eq!(journal.sync(NOW_MS).unwrap(), None);
        assert_eq!(
            journal.sync(NOW_MS + 9_000).unwrap(),
            None,
            "it has no lines"
        );
        journal.append(b"one\n");
        let began = journal.sync(NOW_MS).unwrap().unwrap();
        assert_eq!(began.began_ms, NOW_MS);
        assert_eq!(journal.sync(NOW_MS + 499).unwrap(), None);
        drop(journal);
        let mut journal = Journal::open(&path, daily, Some(began)).unwrap();
        assert_eq!(
            journal.sync(NOW_MS + 499).unwrap(),
            None,
            "it knows its age"
        );
        let rotated = journal.sync(NOW_MS + 500).unwrap().unwrap();
        assert_eq!((rotated.segment, rotated.len_bytes), (1, 0));
        assert_eq!(text(&folder.path().join("j.0")), "one\n");
        assert_eq!(
            journal.sync(NOW_MS + 9_000).unwrap(),
            None,
            "the new one has no lines"
        );
    }

    #[test]
    fn so_many_finished_segments_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let rotation = Rotation {
            keep: Some(2),
            ..at(4)
        };
        std::fs::write(folder.path().join("j.notes"), "not a segment\n").unwrap();
        let mut journal = Journal::open(&path, rotation, None).unwrap();
        for line in ["zero", "one", "two", "three", "four"] {
            journal.append(format!("{line}\n").as_bytes());
            journal.sync(NOW_MS).unwrap();
        }
        let mut kept = finished_segments(&path).unwrap();
        kept.sort_unstable();
        assert_eq!(kept, [3, 4]);
        assert_eq!(text(&folder.path().join("j.3")), "three\n");
        assert!(folder.path().join("j.notes").exists());
    }
}
