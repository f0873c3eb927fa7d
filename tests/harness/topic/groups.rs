//! What consumer groups have done with a topic, and what a test does to a group from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::super::wait;
use super::{REQUEST_TIMEOUT, Topic};

impl Topic {
    /// What the group has committed; partitions without a commit are absent.
    pub(crate) fn committed(&self, group: &str) -> BTreeMap<i32, i64> {
        let mut partitions = TopicPartitionList::new();
        for partition in self.partitions().expect("the topic exists") {
            partitions.add_partition(&self.name, partition);
        }
        self.reader(group)
            .committed_offsets(partitions, REQUEST_TIMEOUT)
            .expect("the coordinator answers")
            .elements()
            .iter()
            .filter_map(|element| Some((element.partition(), element.offset().to_raw()?)))
            .filter(|(_, offset)| *offset >= 0)
            .collect()
    }

    /// The metadata of the group's commit in one partition; none without a commit.
    pub(crate) fn commit_metadata(&self, group: &str, partition: i32) -> Option<String> {
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition(&self.name, partition);
        let committed = self
            .reader(group)
            .committed_offsets(partitions, REQUEST_TIMEOUT)
            .expect("the coordinator answers");
        let elements = committed.elements();
        let element = elements.first().expect("one was asked for");
        (element.offset().to_raw()? >= 0).then(|| element.metadata().to_owned())
    }

    /// Commits for a group without members, as an operator's tool does; waits until the last has gone.
    #[track_caller]
    pub(crate) fn commit_as_a_tool(&self, group: &str, at: (i32, i64), metadata: &str) {
        let mut offsets = TopicPartitionList::new();
        let mut element = offsets.add_partition(&self.name, at.0);
        element
            .set_offset(Offset::Offset(at.1))
            .expect("the offset is valid");
        element.set_metadata(metadata);
        let tool = self.reader(group);
        wait::eventually_some("a group without members", REQUEST_TIMEOUT, || {
            tool.commit(&offsets, CommitMode::Sync)
        });
    }

    /// Records that the group has not committed yet, over all partitions.
    pub(crate) fn lag(&self, group: &str) -> i64 {
        let committed = self.committed(group);
        let behind = |(partition, end)| end - committed.get(&partition).copied().unwrap_or(0);
        self.end_offsets().into_iter().map(behind).sum()
    }

    /// Waits until the group has committed everything that is in the topic.
    #[track_caller]
    pub(crate) fn wait_for_no_lag(&self, group: &str, timeout: Duration) {
        let what = format!("group {group} at the end of {}", self.name);
        wait::eventually_some(&what, timeout, || match self.lag(group) {
            0 => Ok(()),
            lag => Err(format!("it was {lag} records behind")),
        });
    }

    /// Joins the group as a member that reads nothing, and leaves again when it has partitions.
    pub(crate) fn join_and_leave(&self, group: &str) {
        let member = self.reader(group);
        member.subscribe(&[&self.name]).expect("it is a topic");
        wait::eventually("partitions for the guest", REQUEST_TIMEOUT, || {
            // What it may read meanwhile is dropped: nothing of it is committed.
            drop(member.poll(Duration::from_millis(50)));
            member
                .assignment()
                .is_ok_and(|assigned| assigned.count() > 0)
        });
    }
}
