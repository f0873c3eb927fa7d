//! The state of a replay takes the place of the live group's, which is stopped: the files of the two stores are exchanged
//! in one step of the file system, so the old one is kept where the new one was. A file beside the live store, that keeps
//! hosts from opening it meanwhile, remembers what a crash interrupted. It must not know the command line.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    Manifest, Moved, ReplayError, Setting, Side, Standing, check_nobody_is_in, files, set_offsets,
    standings,
};
use crate::delivery::offsets::Offset;
use crate::kafka::group_offsets::GroupOffsets;
use crate::store::{STORE_FILE, SWAP_PENDING, SettleStore};

/// What a swap asks for.
#[derive(Debug, Clone, Copy)]
pub struct Wishes {
    /// The old state takes its place again.
    pub back: bool,
    /// Outputs that only the replay has are never sent to their topics, and that is meant.
    pub accept_captured: bool,
    /// Nothing is changed.
    pub dry_run: bool,
}

/// Where a partition stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stood {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The committed offset; none where nothing was committed.
    pub committed: Option<i64>,
}

/// What stands in the file beside the live store while it is exchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    side: PathBuf,
    back: bool,
    /// Of the file that was the live store when it began.
    inode: u64,
    /// Where the group stood when it began.
    stood: Vec<Stood>,
}

/// The live group and its side.
#[derive(Debug)]
pub struct Swap<'a> {
    /// The id of the live group.
    pub group: &'a str,
    /// The folder of its store.
    pub live: &'a Path,
    /// The topics that it reads.
    pub topics: &'a [String],
    /// Its offsets.
    pub offsets: &'a GroupOffsets,
    /// The side.
    pub side: &'a Side,
}

impl Swap<'_> {
    /// Exchanges the stores and sets the offsets, or goes on with that where it was interrupted. Answers where the group
    /// goes on.
    ///
    /// # Errors
    /// What is missing for it; nothing was changed then. Or it was interrupted, and has to be asked for again.
    pub fn perform(&self, wishes: Wishes) -> Result<Setting, ReplayError> {
        let manifest = self.side.manifest()?;
        let standings = self.standings(&manifest)?;
        let begun = self.begun()?;
        if let Some(begun) = begun.as_ref().filter(|begun| begun.back != wishes.back) {
            return Err(ReplayError::SwapOtherWay { back: begun.back });
        }
        let stood = match &begun {
            Some(begun) => begun.stood.clone(),
            None => standings.iter().map(stood).collect(),
        };
        let setting = setting(&manifest, standings, wishes.back)?;
        check_nobody_is_in(self.offsets, self.group)?;
        if begun.is_none() {
            self.check(&manifest, &setting, wishes)?;
        }
        if wishes.dry_run {
            return Ok(setting);
        }
        let begun = match begun {
            Some(begun) => begun,
            None => self.begin(&manifest, wishes.back, stood)?,
        };
        set_offsets(self.offsets, self.group, &setting)?;
        self.exchange(&begun)?;
        let swapped = (!begun.back).then(|| begun.stood.clone());
        self.side.keep(&Manifest {
            swapped,
            ..manifest
        })?;
        let pending = self.pending();
        fs::remove_file(&pending)
            .and_then(|()| files::sync_folder_of(&pending))
            .map_err(|error| ReplayError::io(&pending, error))?;
        Ok(setting)
    }

    fn pending(&self) -> PathBuf {
        self.live.join(SWAP_PENDING)
    }

    /// Where the group stands, in just the partitions that were replayed.
    fn standings(&self, manifest: &Manifest) -> Result<Vec<Standing>, ReplayError> {
        if manifest.group != self.group {
            return Err(ReplayError::OtherGroup {
                group: self.group.to_owned(),
                of: manifest.group.clone(),
            });
        }
        if !manifest.complete {
            return Err(ReplayError::Incomplete);
        }
        let standings = standings(self.offsets, self.topics, &[])?;
        let same = |of: &Standing| {
            let mut ranges = manifest.ranges.iter();
            ranges.any(|range| range.topic == of.topic && range.partition == of.partition)
        };
        let all = standings.len() == manifest.ranges.len() && standings.iter().all(same);
        if all && manifest.whole {
            Ok(standings)
        } else {
            Err(ReplayError::NotWhole)
        }
    }

    /// A swap that was begun and not finished.
    fn begun(&self) -> Result<Option<Pending>, ReplayError> {
        let path = self.pending();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ReplayError::io(&path, error)),
        };
        let begun: Pending =
            serde_json::from_slice(&text).map_err(|error| ReplayError::io(&path, error.into()))?;
        if begun.side != absolute(self.side.folder())? {
            return Err(ReplayError::SwapOtherSide(begun.side));
        }
        Ok(Some(begun))
    }

    /// What must hold before anything is changed.
    fn check(
        &self,
        manifest: &Manifest,
        setting: &Setting,
        wishes: Wishes,
    ) -> Result<(), ReplayError> {
        match (&manifest.swapped, wishes.back) {
            (Some(_), false) => return Err(ReplayError::SwappedAlready),
            (None, true) => return Err(ReplayError::NotSwapped),
            _ => {}
        }
        let captured: i64 = setting.moved.iter().map(Moved::skipped).sum();
        if captured > 0 && !wishes.back && !wishes.accept_captured {
            return Err(ReplayError::Captured(captured));
        }
        let live = SettleStore::open_existing(self.live)?;
        let unsent = live.unsent_emissions()?;
        if unsent > 0 {
            return Err(ReplayError::Unsent(unsent));
        }
        SettleStore::open_existing(&self.side.store()).map(drop)?;
        Ok(())
    }

    /// Makes the side's store ready to serve, and keeps hosts from the live one.
    fn begin(
        &self,
        manifest: &Manifest,
        back: bool,
        stood: Vec<Stood>,
    ) -> Result<Pending, ReplayError> {
        let live = SettleStore::open_existing(self.live)?;
        let side = SettleStore::open_existing(&self.side.store())?;
        // What is no part of the replay, such as retry topics, goes on as it was.
        side.take_over(&live, |topic, partition| {
            let mut ranges = manifest.ranges.iter();
            !ranges.any(|range| range.topic == topic && range.partition == partition)
        })?;
        let store = self.live.join(STORE_FILE);
        let failed = |error| ReplayError::io(&store, error);
        let pending = Pending {
            side: absolute(self.side.folder())?,
            back,
            inode: fs::metadata(&store).map_err(failed)?.ino(),
            stood,
        };
        let text = serde_json::to_vec(&pending).map_err(|error| failed(error.into()))?;
        // Both stores are locked until here, so no host can have opened one in between.
        files::replace(&self.pending(), &text).map_err(failed)?;
        Ok(pending)
    }

    /// Exchanges the two files, unless that was done before an interruption.
    fn exchange(&self, begun: &Pending) -> Result<(), ReplayError> {
        let (live, side) = (
            self.live.join(STORE_FILE),
            self.side.store().join(STORE_FILE),
        );
        let failed = |error| ReplayError::io(&live, error);
        if fs::metadata(&live).map_err(failed)?.ino() == begun.inode {
            files::exchange(&live, &side).map_err(failed)?;
        }
        Ok(())
    }
}

fn stood(of: &Standing) -> Stood {
    Stood {
        topic: of.topic.clone(),
        partition: of.partition,
        committed: of.committed.map(|offset| offset.0),
    }
}

/// Where the group goes on: behind what the replay has handled, or where it stood before it was swapped.
fn setting(
    manifest: &Manifest,
    standings: Vec<Standing>,
    back: bool,
) -> Result<Setting, ReplayError> {
    let before = manifest.swapped.as_deref().unwrap_or_default();
    let moved = standings.into_iter().map(|of| {
        let to = if back {
            let stood = before
                .iter()
                .find(|stood| stood.topic == of.topic && stood.partition == of.partition);
            let stood = stood.ok_or(ReplayError::NotSwapped)?;
            // A group that had committed nothing began at the oldest record.
            Offset(stood.committed.unwrap_or(of.oldest.0))
        } else {
            let mut ranges = manifest.ranges.iter();
            let range =
                ranges.find(|range| range.topic == of.topic && range.partition == of.partition);
            let range = range.ok_or(ReplayError::NotWhole)?;
            let (end, until) = (range.end(), Offset(range.until));
            // Offsets without records behind the last one are nobody's to handle.
            let there = |committed: &Offset| (end..=until).contains(committed);
            of.committed.filter(there).unwrap_or(end)
        };
        Ok(Moved { from: of, to })
    });
    Ok(Setting {
        moved: moved.collect::<Result<_, ReplayError>>()?,
        forget_state: false,
    })
}

fn absolute(path: &Path) -> Result<PathBuf, ReplayError> {
    std::path::absolute(path).map_err(|error| ReplayError::io(path, error))
}
