//! Running events again: where a group stands and is set to, a range that is replayed beside it, what came of it
//! compared with what there was, and put in its place. It must not know the command line.

mod capture;
mod files;
mod position;
mod range;
mod setting;
mod side;
mod standing;

pub use capture::{Capture, SentTo};
pub use position::Position;
pub(crate) use range::ends_of;
pub use range::{Range, ranges, remaining};
pub use setting::{Moved, Setting, check_nobody_is_in, set_offsets};
pub use side::{Manifest, Side, Web};
pub use standing::{Chosen, Standing, locate, standings};

use std::path::{Path, PathBuf};

use crate::kafka::KafkaError;

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
        "plugin {0} may send requests to others (`https:` or `http:` grants), and a replay would send them again; say --web          refuse or --web send"
    )]
    AsksOthers(String),
}

impl ReplayError {
    fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
