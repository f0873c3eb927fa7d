//! Which topics a group reads, which plugin gets their events, and where a retry of them waits. While the group runs
//! topics are only added, so that a place in the table means the same as long as the group lives. It must not know why
//! a topic is read, nor ask a broker anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lane::OutputPartitions;
use super::status::GroupStatus;
use crate::config;
use crate::latest::{Latest, Seen};
use crate::sandbox::encode_topics;
use crate::schema::Preparation;

/// Topics that a group reads at most, over its life. Each batch carries the names of all of them, and beside them its
/// events must fit.
pub const TOPICS_MAX: usize = 1_000;

/// What is known of topics by name: partitions of retry topics and of topics that outputs go to, and what is done with
/// the events of sources before their plugin is called.
pub type OfTopics<'a> = (
    &'a BTreeMap<String, usize>,
    &'a BTreeMap<String, Preparation>,
);

/// The table as it is at one time.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    /// Sources, and the retry topics of the group.
    pub(crate) topics: Arc<[Arc<str>]>,
    /// Their names as batches carry them.
    pub(crate) table: Arc<[u8]>,
    /// The plugin of each topic, by its place among the group's plugins.
    pub(crate) plugin_of: Vec<usize>,
    /// The source of each topic that is a retry topic.
    pub(crate) retry_of: Vec<Option<u32>>,
    /// By place of the source: its retry topic, and how many partitions that has.
    pub(crate) retry_topics: Vec<Option<(String, usize)>>,
    /// Partitions of the topics that outputs may go to.
    pub(crate) output_partitions: OutputPartitions,
    /// By place of the source: what is done with each event before the plugin is called. Empty where nothing is.
    pub(crate) preparations: Vec<Option<Preparation>>,
    /// Topics that are there to be read.
    pub(crate) subscribed: Vec<Arc<str>>,
    /// So many topics were there when the group started; the others have appeared.
    at_start: usize,
}

impl Routing {
    /// The topics of this table, and behind them what the group reads beyond those. Sources that it does not name are
    /// not read any more; their retry topics are, for what may still lie there.
    fn followed_by(
        &self,
        group: &config::Group,
        plugins: &[String],
        (partitions, preparations): OfTopics<'_>,
    ) -> Self {
        let mut topics: Vec<Arc<str>> = self.topics.to_vec();
        let (mut plugin_of, mut retry_of) = (self.plugin_of.clone(), self.retry_of.clone());
        let place = |topics: &[Arc<str>], name: &str| topics.iter().position(|it| **it == *name);
        for (topic, route) in &group.routes {
            if place(&topics, topic).is_none() {
                topics.push(topic.as_str().into());
                plugin_of.push(plugins.binary_search(&route.plugin).unwrap_or(0));
                retry_of.push(None);
            }
        }
        // A retry topic follows the sources, with the plugin of its own.
        for (source, retry) in &group.retry.topics {
            if place(&topics, retry).is_none()
                && let Some(at) = place(&topics, source)
            {
                topics.push(retry.as_str().into());
                plugin_of.push(plugin_of[at]);
                retry_of.push(Some(at as u32));
            }
        }
        let retry_topics = topics.iter().map(|source| {
            let topic = group.retry.topics.get(&**source)?;
            Some((topic.clone(), partitions.get(topic).copied().unwrap_or(1)))
        });
        // What lies in the retry topic of one that is gone is prepared as before.
        let before = |at: usize| self.preparations.get(at).cloned().flatten();
        let prepared = topics.iter().enumerate();
        let prepared =
            prepared.map(|(at, topic)| preparations.get(&**topic).cloned().or_else(|| before(at)));
        let mut prepared: Vec<_> = prepared.collect();
        if prepared.iter().all(Option::is_none) {
            prepared.clear();
        }
        let read = topics.iter().zip(&retry_of);
        let read = read
            .filter(|(topic, retry_of)| retry_of.is_some() || group.routes.contains_key(&***topic));
        Self {
            retry_topics: retry_topics.collect(),
            preparations: prepared,
            subscribed: read.map(|(topic, _)| Arc::clone(topic)).collect(),
            table: encode_topics(topics.iter().map(|topic| &**topic)).into(),
            topics: topics.into(),
            plugin_of,
            retry_of,
            output_partitions: partitions.clone(),
            at_start: self.at_start,
        }
    }

    /// Whether all that a topic holds was written while the group ran.
    pub(crate) fn has_appeared(&self, topic_index: usize) -> bool {
        topic_index >= self.at_start
    }
}

/// The table as one thread sees it.
pub(crate) type RoutingView = Seen<Routing>;

/// What a group reads, as whoever follows its topics changes it.
#[derive(Debug, Clone)]
pub struct Sources {
    routing: Arc<Latest<Routing>>,
    /// In the order of their places.
    plugins: Arc<[String]>,
    status: Arc<GroupStatus>,
}

impl Sources {
    pub(super) fn new(
        group: &config::Group,
        plugins: &[String],
        known: OfTopics<'_>,
        status: &Arc<GroupStatus>,
    ) -> Self {
        let mut first = Routing::default().followed_by(group, plugins, known);
        first.at_start = first.topics.len();
        Self {
            routing: Arc::new(Latest::new(first)),
            plugins: plugins.into(),
            status: Arc::clone(status),
        }
    }

    pub(super) fn view(&self) -> RoutingView {
        self.routing.seen()
    }

    /// The plugins that its routes lead to.
    #[must_use]
    pub fn plugins(&self) -> &[String] {
        &self.plugins
    }

    /// Whether a topic has a place in the table, whether or not it is read now.
    #[must_use]
    pub fn knows(&self, topic: &str) -> bool {
        self.routing
            .current()
            .topics
            .iter()
            .any(|known| **known == *topic)
    }

    /// How many topics the table may take beyond those that it has.
    #[must_use]
    pub fn room(&self) -> usize {
        TOPICS_MAX.saturating_sub(self.routing.current().topics.len())
    }

    /// Reads what this group reads from now on, which has the same plugins. Where topics are added or gone, the group
    /// gives its partitions up in order and takes them up again with the others.
    pub fn follow(&self, group: &config::Group, known: OfTopics<'_>) {
        self.routing.change(|current| {
            let next = current.followed_by(group, &self.plugins, known);
            let same = current.subscribed == next.subscribed
                && current.retry_topics == next.retry_topics
                && current.output_partitions == next.output_partitions;
            (!same).then_some(next)
        });
    }

    /// What a person should know about the topics of the group; none where all is well.
    pub fn note(&self, note: Option<String>) {
        self.status.set_routing_note(note);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Route;

    fn routing(of: &Routing) -> Vec<(&str, usize, Option<u32>)> {
        let topics = of.topics.iter().enumerate();
        topics
            .map(|(at, topic)| (&**topic, of.plugin_of[at], of.retry_of[at]))
            .collect()
    }

    #[test]
    fn topics_keep_their_places_when_others_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("p.wasm"), "").unwrap();
        let text = "kafka: { brokers: b }\nplugins: { p: { path: p.wasm } }\n\
             groups:\n  - { id: g, routes: { t: p }, store: s }\n";
        let parsed = config::parse(text, "m.yaml", folder.path(), std::iter::empty(), &[]);
        let mut group = parsed.unwrap().groups.remove(0);
        let by_topic = |group: &mut config::Group, topic: &str, plugin: &str| {
            group.routes.insert(topic.to_owned(), Route::to(plugin));
            let retry = format!("{topic}.retry");
            group.retry.topics.insert(topic.to_owned(), retry);
        };
        let none = BTreeMap::new();
        group.routes.clear();
        by_topic(&mut group, "b", "q");
        let plugins = ["p".to_owned(), "q".to_owned()];
        let first = Routing::default().followed_by(&group, &plugins, (&BTreeMap::new(), &none));
        by_topic(&mut group, "a", "p");
        let partitions = BTreeMap::from([("a.retry".to_owned(), 4)]);
        let second = first.followed_by(&group, &plugins, (&partitions, &none));
        let expected = [
            ("b", 1, None),
            ("b.retry", 1, Some(0)),
            ("a", 0, None),
            ("a.retry", 0, Some(2)),
        ];
        assert_eq!(routing(&second), expected);
        assert_eq!(second.retry_topics[2], Some(("a.retry".to_owned(), 4)));
        assert_eq!(second.subscribed.len(), 4);
        group.routes.remove("b");
        let third = second.followed_by(&group, &plugins, (&partitions, &none));
        assert_eq!(routing(&third), expected);
        let read: Vec<&str> = third.subscribed.iter().map(|topic| &**topic).collect();
        assert_eq!(read, ["b.retry", "a", "a.retry"]);
    }
}
