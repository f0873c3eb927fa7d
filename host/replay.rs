//! Running events again: where a group stands and is set to, a range that is replayed beside it, what came of it
//! compared with what there was, and put in its place. It must not know the command line.

mod capture;
mod compare;
mod files;
mod position;
mod range;
mod setting;
mod side;
mod standing;
mod swap;

pub use capture::{Capture, SentTo};
pub use compare::{OutputDifferences, StoreDifferences, compare_outputs, compare_stores};
pub use position::Position;
pub(crate) use range::ends_of;
pub use range::{Range, ranges, remaining};
pub use setting::{Moved, Setting, check_nobody_is_in, set_offsets};
pub use side::{Manifest, Side, Web};
pub use standing::{Chosen, Standing, locate, standings};
pub use swap::{Stood, Swap, Wishes};

use std::path::{Path, PathBuf};

use crate::kafka::KafkaError;
use crate::store::StoreError;

/// What cannot be done, and what to do about it. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum ReplayError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("there is no group {group} in the configuration; it has {known}")]
    NoGroup { group: String, known: String },
    #[error("topic {0} does not exist; `millrace topics list` shows which there are")]
    NoTopic(String),
    #[error("the group does not read topic {topic}; it reads {read}")]
    NotRead { topic: String, read: String },
    #[error("topic {topic} has {count} partitions, and none has the number {partition}")]
    NoPartition {
        topic: String,
        partition: i32,
        count: i32,
    },
    #[error(
        "group {group} has members, and its offsets are theirs: {members}; stop every host of the group first (one that \
         was killed, or has a group.instance.id, leaves when its session is over: session.timeout.ms)"
    )]
    Live { group: String, members: String },
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{} {}", folder.display(),
        if *is_side { "holds a replay already; name another folder with --side, or begin it anew with --again" }
        else { "is not empty, and is no folder of a replay; name another one with --side" }
    )]
    SideIsThere { folder: PathBuf, is_side: bool },
    #[error("{} holds no replay; `millrace replay` makes one, and --side names its folder", .0.display())]
    NoSide(PathBuf),
    #[error("a replay cannot run into {0} itself: name another group with --into")]
    IntoItself(String),
    #[error(
        "plugin {0} may send requests to others (`https:` or `http:` grants), and a replay would send them again; say --web refuse or --web send"
    )]
    AsksOthers(String),
    #[error(transparent)]
    Store(StoreError),
    #[error("the store {} is in use; stop its host first", .0.display())]
    StoreInUse(PathBuf),
    #[error(
        "there are more different outputs for topic {0} than can be compared at once; begin later, with --outputs-from"
    )]
    TooManyOutputs(String),
    #[error("the replay is one of group {of}, and not of {group}")]
    OtherGroup { group: String, of: String },
    #[error("the replay has not come to its end; run it again, with --again")]
    Incomplete,
    #[error(
        "the replay was one of a part of what the group reads, and the state of the rest would be lost; replay all of its \
         topics and partitions, as they are now"
    )]
    NotWhole,
    #[error(
        "the replay has handled {0} offsets that the live group had not, and their outputs are in files only; replay with \
         `--to committed` once the group is stopped, or say --accept-captured"
    )]
    Captured(i64),
    #[error(
        "{0} records of the live group have not been sent yet; start its host once more and end it in order"
    )]
    Unsent(u64),
    #[error("the state of this replay serves already; --back takes the old one back")]
    SwappedAlready,
    #[error("the state of this replay does not serve, so there is nothing to take back")]
    NotSwapped,
    #[error(
        "a swap was begun and not finished; run it again {}",
        if *back { "with --back" } else { "without --back" }
    )]
    SwapOtherWay { back: bool },
    #[error("a swap with {} was begun and not finished; run it again with that as --side", .0.display())]
    SwapOtherSide(PathBuf),
    #[error(
        "{} holds the state that the live group had before it was swapped; name another folder with --side, or move it away \
         where nobody needs it any more", .0.display()
    )]
    HoldsOldState(PathBuf),
}

impl From<StoreError> for ReplayError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::InUse { path } => Self::StoreInUse(path),
            error => Self::Store(error),
        }
    }
}

impl ReplayError {
    fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
