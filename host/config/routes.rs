//! The routes of a group: which plugin gets the events of a topic, by its name or by a pattern, and what is done with
//! them before. It must not know which topics there are.

use std::collections::{BTreeMap, BTreeSet};

use super::read::field::is_topic;
use super::{Config, Group, Retry, SchemaFormat, TopicPattern};

/// What becomes of the events of a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The plugin that gets them; it exists.
    pub plugin: String,
    /// How a record is decoded into what the plugin is shown; none shows it as it was read.
    pub decode: Option<Decode>,
    /// The name of the rules that an event has to keep, decoded; none keeps none.
    pub validate: Option<String>,
}

impl Route {
    /// To a plugin, and nothing else.
    #[must_use]
    pub fn to(plugin: &str) -> Self {
        Self {
            plugin: plugin.to_owned(),
            decode: None,
            validate: None,
        }
    }
}

/// A route of every topic whose name matches.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternRoute {
    /// Which names.
    pub pattern: TopicPattern,
    /// What becomes of their events.
    pub route: Route,
}

/// How a record is decoded into what its plugin is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decode {
    /// As JSON, by the registered schema that the record says it was written by. Where a format is named, others are
    /// not taken.
    Registered(Option<SchemaFormat>),
    /// CloudEvents in structured mode, as they would be in binary mode.
    CloudEvents,
}

impl Group {
    /// The plugins that any route leads to.
    #[must_use]
    pub fn plugins(&self) -> BTreeSet<&str> {
        let by_pattern = self.patterns.iter().map(|by| &by.route);
        let routes = self.routes.values().chain(by_pattern);
        routes.map(|route| route.plugin.as_str()).collect()
    }

    /// The rules that any route asks for.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        let by_pattern = self.patterns.iter().map(|by| &by.route);
        let routes = self.routes.values().chain(by_pattern);
        routes.filter_map(|route| route.validate.as_deref())
    }

    /// Where a topic's events go: by its name, else by the narrowest pattern that matches it.
    #[must_use]
    pub fn route_of(&self, topic: &str) -> Option<&Route> {
        if let Some(route) = self.routes.get(topic) {
            return Some(route);
        }
        let matching = self.patterns.iter().filter(|by| by.pattern.matches(topic));
        let matching: Vec<_> = matching.collect();
        let is_narrowest = |one: &&&PatternRoute| {
            !matching
                .iter()
                .any(|other| other.pattern.is_narrower_than(&one.pattern))
        };
        let narrowest = matching.iter().find(is_narrowest);
        narrowest.map(|by| &by.route)
    }

    /// The same group with these topics written into its routes, each as its patterns say, and their retry topics.
    #[must_use]
    pub fn with_sources<'t>(&self, topics: impl Iterator<Item = &'t str>) -> Self {
        let mut group = self.clone();
        for topic in topics {
            let Some(route) = self.route_of(topic) else {
                continue;
            };
            group.routes.insert(topic.to_owned(), route.clone());
            if let Some(retry) = self.retry.topic_of(topic, &self.id) {
                group.retry.topics.insert(topic.to_owned(), retry);
            }
        }
        group
    }

    /// Whether a topic carries the group's dead letters, what is remembered of them, or retries of a topic that it reads.
    #[must_use]
    pub fn carries(&self, topic: &str) -> bool {
        if self.dead_letter.topic == topic
            || redriven_topic(&self.dead_letter.topic) == topic
            || self.retry.topics.values().any(|it| it == topic)
        {
            return true;
        }
        let Some(name) = &self.retry.topic_name else {
            return false;
        };
        // The name around that of its source.
        let name = name.replace("{group}", &self.id);
        let Some((before, after)) = name.split_once("{topic}") else {
            return false;
        };
        let source = topic.strip_prefix(before);
        let source = source.and_then(|rest| rest.strip_suffix(after));
        source.is_some_and(|source| self.route_of(source).is_some())
    }
}

/// Where it is remembered which dead letters of a topic were put back.
#[must_use]
pub fn redriven_topic(letters_topic: &str) -> String {
    format!("{letters_topic}.redriven")
}

impl Config {
    /// Whether a topic carries what a pattern of this group must not match: retries and dead letters of any group, and
    /// what plugins of this one write.
    #[must_use]
    pub fn writes_itself(&self, group: &Group, topic: &str) -> bool {
        let plugins = group.plugins();
        let mut plugins = plugins.iter().filter_map(|name| self.plugins.get(*name));
        let is_output =
            plugins.any(|plugin| plugin.grants.output_topics.iter().any(|it| it == topic));
        is_output || self.groups.iter().any(|group| group.carries(topic))
    }
}

impl Retry {
    /// The retry topic of a source; none where there is none, or none can have the name.
    #[must_use]
    pub fn topic_of(&self, source: &str, group: &str) -> Option<String> {
        let name = self.topic_name.as_ref()?;
        let name = name.replace("{topic}", source).replace("{group}", group);
        is_topic(&name).then_some(name)
    }
}

/// Two patterns that match one name and of which neither is narrower, with such a name: nothing says which route it
/// takes. Routes that are the same are no matter.
pub(super) fn undecided(
    patterns: &[PatternRoute],
) -> Option<(&PatternRoute, &PatternRoute, String)> {
    for (at, one) in patterns.iter().enumerate() {
        for other in &patterns[at + 1..] {
            let decided = one.route == other.route
                || one.pattern.is_narrower_than(&other.pattern)
                || other.pattern.is_narrower_than(&one.pattern);
            if !decided && let Some(name) = one.pattern.shared_with(&other.pattern) {
                return Some((one, other, name));
            }
        }
    }
    None
}

/// Topic to route.
pub type Routes = BTreeMap<String, Route>;

#[cfg(test)]
mod tests {
    use super::*;

    fn by(pattern: &str, plugin: &str) -> PatternRoute {
        PatternRoute {
            pattern: TopicPattern::parse(pattern).unwrap(),
            route: Route::to(plugin),
        }
    }

    #[test]
    fn patterns_that_meet_need_an_order_unless_they_lead_to_the_same() {
        let decided = [by("orders.*", "p"), by("orders.**", "q"), by("**", "r")];
        assert!(undecided(&decided).is_none());
        assert!(undecided(&[by("orders.*", "p"), by("*.created", "p")]).is_none());
        let two = [by("orders.*", "p"), by("*.created", "q")];
        let (.., name) = undecided(&two).unwrap();
        assert_eq!(name, "orders.created");
    }
}
