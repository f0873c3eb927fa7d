//! Running events again: where a group stands and is set to, a range that is replayed beside it, what came of it
//! compared with what there was, and put in its place. It must not know the command line.

mod position;
mod setting;
mod standing;

pub use position::Position;
pub use setting::{Moved, Setting, check_nobody_is_in, set_offsets};
pub use standing::{Chosen, Standing, locate, standings};

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
}
