//! Setting the offsets of a group that is stopped. Each commit carries a mark, by which whichever host takes the
//! partition up next knows that what its store remembers beyond the offset is of before. It must not know who asks.

use super::{ReplayError, Standing};
use crate::delivery::offset_mark::OffsetMark;
use crate::delivery::offsets::Offset;
use crate::kafka::consumer::Commit;
use crate::kafka::group_offsets::GroupOffsets;

/// Where a group is set to in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Where it stands.
    pub from: Standing,
    /// Where it goes on from.
    pub to: Offset,
}

impl Moved {
    /// Offsets that are read again.
    #[must_use]
    pub fn again(&self) -> i64 {
        let from = self.from.committed.unwrap_or(self.to);
        (from.0 - self.to.0).max(0)
    }

    /// Offsets that are never read. A group without a commit skips what the broker still has below.
    #[must_use]
    pub fn skipped(&self) -> i64 {
        let from = self.from.committed.unwrap_or(self.from.oldest);
        (self.to.0 - from.0).max(0)
    }
}

/// A setting of offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Where to, by partition.
    pub moved: Vec<Moved>,
    /// Whether state, sums and unsent emissions of these partitions are forgotten.
    pub forget_state: bool,
}

/// Says no where the group has members. The coordinator would refuse too, with less to say.
///
/// # Errors
/// [`ReplayError::Live`] names them.
pub fn check_nobody_is_in(offsets: &GroupOffsets, group: &str) -> Result<(), ReplayError> {
    let members = match offsets.members() {
        Ok(members) => members,
        Err(error) => {
            // Every broker is asked for its groups, and one may be down that this has nothing to do with.
            tracing::debug!(%error, "who is in the group is left to its coordinator to find out");
            return Ok(());
        }
    };
    if members.is_empty() {
        return Ok(());
    }
    let told = |member: &crate::kafka::group_offsets::GroupMember| {
        format!("{} at {}", member.id, member.host)
    };
    Err(ReplayError::Live {
        group: group.to_owned(),
        members: members.iter().map(told).collect::<Vec<_>>().join(", "),
    })
}

/// Sets the offsets of a group without members.
///
/// # Errors
/// It has members, or the cluster refuses.
pub fn set_offsets(
    offsets: &GroupOffsets,
    group: &str,
    setting: &Setting,
) -> Result<(), ReplayError> {
    check_nobody_is_in(offsets, group)?;
    let mark = OffsetMark {
        id: fastrand::u64(1..),
        forget_state: setting.forget_state,
    };
    let commits = setting.moved.iter().map(|moved| Commit {
        topic: moved.from.topic.clone(),
        partition: moved.from.partition,
        offset: moved.to,
        metadata: mark.encode(moved.to),
    });
    Ok(offsets.set(&commits.collect::<Vec<_>>())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_again_and_what_is_skipped_is_counted() {
        let moved = |committed: Option<i64>, to| {
            let from = Standing {
                topic: "t".to_owned(),
                partition: 0,
                oldest: Offset(10),
                newest: Offset(100),
                committed: committed.map(Offset),
            };
            let moved = Moved {
                from,
                to: Offset(to),
            };
            (moved.again(), moved.skipped())
        };
        assert_eq!(moved(Some(50), 20), (30, 0));
        assert_eq!(moved(Some(50), 100), (0, 50));
        assert_eq!(moved(Some(50), 50), (0, 0));
        assert_eq!(moved(None, 10), (0, 0));
        assert_eq!(moved(None, 30), (0, 20));
    }
}
