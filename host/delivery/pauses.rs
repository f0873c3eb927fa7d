//! What of a group an operator has paused, and whether an event is among it. It must not know who asks, nor what is done
//! with an event that is.

use std::collections::{BTreeMap, BTreeSet, HashSet};

/// One thing that can be paused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Everything of the group.
    Group,
    /// What a plugin handles.
    Plugin(String),
    /// The events of a source topic.
    Topic(String),
    /// Those of one partition.
    Partition(String, i32),
    /// Those of one key of a topic, and what keeps its order with them.
    Key(String, Vec<u8>),
}

impl Target {
    /// The word in metrics and answers.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Plugin(_) => "plugin",
            Self::Topic(_) => "topic",
            Self::Partition(..) => "partition",
            Self::Key(..) => "key",
        }
    }

    /// All words.
    pub const WORDS: [&str; 5] = ["group", "plugin", "topic", "partition", "key"];
}

/// All that is paused of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pauses {
    /// Since when, in milliseconds since the Unix epoch.
    all: BTreeMap<Target, u64>,
    group: bool,
    plugins: BTreeSet<String>,
    topics: BTreeMap<String, OfTopic>,
}

/// What is paused of one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OfTopic {
    whole: bool,
    partitions: BTreeSet<i32>,
    keys: HashSet<Vec<u8>>,
}

impl Pauses {
    /// Whether nothing is paused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Everything that is paused, and since when, in milliseconds since the Unix epoch.
    pub fn all(&self) -> impl ExactSizeIterator<Item = (&Target, u64)> {
        self.all
            .iter()
            .map(|(target, since_ms)| (target, *since_ms))
    }

    /// The same and this. What is paused already stays paused since it was.
    #[must_use]
    pub fn with(&self, target: Target, since_ms: u64) -> Self {
        let mut all = self.all.clone();
        all.entry(target).or_insert(since_ms);
        Self::of(all)
    }

    /// The same without this.
    #[must_use]
    pub fn without(&self, target: &Target) -> Self {
        let mut all = self.all.clone();
        all.remove(target);
        Self::of(all)
    }

    fn of(all: BTreeMap<Target, u64>) -> Self {
        let mut pauses = Self::default();
        let topics = &mut pauses.topics;
        for target in all.keys() {
            match target {
                Target::Group => pauses.group = true,
                Target::Plugin(plugin) => {
                    pauses.plugins.insert(plugin.clone());
                }
                Target::Topic(topic) => topics.entry(topic.clone()).or_default().whole = true,
                Target::Partition(topic, partition) => {
                    let of = topics.entry(topic.clone()).or_default();
                    of.partitions.insert(*partition);
                }
                Target::Key(topic, key) => {
                    let of = topics.entry(topic.clone()).or_default();
                    of.keys.insert(key.clone());
                }
            }
        }
        pauses.all = all;
        pauses
    }

    /// Whether a whole partition is, so that nothing more of it need be read.
    #[must_use]
    pub fn hold_partition(&self, plugin: &str, topic: &str, partition: i32) -> bool {
        self.group
            || self.plugins.contains(plugin)
            || self
                .topics
                .get(topic)
                .is_some_and(|of| of.whole || of.partitions.contains(&partition))
    }

    /// Whether an event is.
    #[must_use]
    pub fn hold(&self, plugin: &str, topic: &str, partition: i32, key: Option<&[u8]>) -> bool {
        let is_key = |key: &[u8]| {
            self.topics
                .get(topic)
                .is_some_and(|of| of.keys.contains(key))
        };
        self.hold_partition(plugin, topic, partition) || key.is_some_and(is_key)
    }

    /// Whether keys of this topic are.
    #[must_use]
    pub fn hold_keys_of(&self, topic: &str) -> bool {
        self.topics.get(topic).is_some_and(|of| !of.keys.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_held_by_any_pause_that_covers_it_until_the_last_is_gone() {
        let text = |text: &str| text.to_owned();
        let key = Some(b"k".as_slice());
        let none = Pauses::default();
        assert!(none.is_empty() && !none.hold("p", "t", 0, key));
        for (target, covers_partition) in [
            (Target::Group, true),
            (Target::Plugin(text("p")), true),
            (Target::Topic(text("t")), true),
            (Target::Partition(text("t"), 3), true),
            (Target::Key(text("t"), b"k".to_vec()), false),
        ] {
            let one = none.with(target.clone(), 1);
            assert!(one.hold("p", "t", 3, key), "{target:?}");
            assert_eq!(
                one.hold_partition("p", "t", 3),
                covers_partition,
                "{target:?}"
            );
            let others = one.hold("q", "u", 3, key);
            assert_eq!(others, target == Target::Group, "{target:?}");
            assert!(Target::WORDS.contains(&target.word()));
            assert_eq!(one.without(&target), none, "{target:?}");
        }
        let partition = none.with(Target::Partition(text("t"), 3), 1);
        assert!(!partition.hold("p", "t", 4, key));
        let one_key = none.with(Target::Key(text("t"), b"k".to_vec()), 1);
        assert!(!one_key.hold("p", "t", 3, Some(b"other")) && !one_key.hold("p", "t", 3, None));
        assert!(one_key.hold_keys_of("t") && !one_key.hold_keys_of("u"));
        let both = one_key.with(Target::Group, 2).without(&Target::Group);
        assert!(both.hold("p", "t", 3, key));
    }

    #[test]
    fn what_is_paused_twice_is_paused_since_the_first_time() {
        let pauses = Pauses::default()
            .with(Target::Group, 5)
            .with(Target::Group, 9);
        assert_eq!(pauses.all().collect::<Vec<_>>(), [(&Target::Group, 5)]);
    }
}
