//! Which topics of the cluster the patterns in the routes match. It must not ask the cluster, nor change anything.

use std::collections::BTreeSet;

use crate::config::{Config, Group};

/// The groups, each with the topics that its patterns match among those that there are. What a group writes itself is
/// matched by none of its patterns, and what carries retries or dead letters by nobody's: such topics are read where
/// a route names them.
pub(super) fn with_matched<'t>(
    config: &Config,
    topics: impl Iterator<Item = &'t str> + Clone,
) -> Vec<Group> {
    if config.groups.iter().all(|group| group.patterns.is_empty()) {
        return config.groups.clone();
    }
    let matched = |group: &Group| {
        let free = topics.clone().filter(|topic| {
            !group.routes.contains_key(*topic) && !config.writes_itself(group, topic)
        });
        group.with_sources(free)
    };
    config.groups.iter().map(matched).collect()
}

/// Topics that the plugins of a group may write to.
pub(in crate::daemon) fn outputs<'c>(config: &'c Config, group: &Group) -> BTreeSet<&'c str> {
    let plugins = group.plugins();
    let plugins = plugins.iter().filter_map(|name| config.plugins.get(*name));
    plugins
        .flat_map(|plugin| plugin.grants.output_topics.iter().map(String::as_str))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn patterns_match_what_others_write_and_never_what_the_group_or_a_retry_writes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("p.wasm"), "").unwrap();
        let text = "kafka: { brokers: b }\n\
             plugins:\n  p: { path: p.wasm, grants: [\"output:orders.out\"] }\n  q: { path: p.wasm }\n\
             groups:\n\
             \x20 - { id: a, routes: { orders.**: p, orders.eu: q }, retry: { mode: topic }, store: a }\n\
             \x20 - { id: b, routes: { orders.**: q, a.dlq: q }, store: b }\n";
        let parsed = config::parse(text, "m.yaml", folder.path(), std::iter::empty(), &[]);
        let topics = [
            "__consumer_offsets",
            "a.dlq",
            "b.dlq",
            "orders.eu",
            "orders.eu.a.retry",
            "orders.out",
            "orders.us.created",
            "orders.us.created.a.retry",
            "users",
        ];
        let groups = with_matched(&parsed.unwrap(), topics.into_iter());
        let routes = |at: usize| -> Vec<(&str, &str)> {
            let routes = groups[at].routes.iter();
            routes
                .map(|(topic, route)| (topic.as_str(), route.plugin.as_str()))
                .collect()
        };
        assert_eq!(routes(0), [("orders.eu", "q"), ("orders.us.created", "p")]);
        assert_eq!(
            groups[0].retry.topics["orders.us.created"],
            "orders.us.created.a.retry"
        );
        let others = [
            ("a.dlq", "q"),
            ("orders.eu", "q"),
            ("orders.out", "q"),
            ("orders.us.created", "q"),
        ];
        assert_eq!(routes(1), others);
    }
}
