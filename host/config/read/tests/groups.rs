//! What a group reads, retries and gives up on, as it is written.

use super::*;

#[test]
fn each_source_has_its_own_retry_topic() {
    let folder = Folder::new();
    let topics = |retry: &str| {
        let text = with_key(&format!("retry: {retry}")).replace("t: p", "t: p, u: p");
        let retry = folder.read(&text, &[], &[]).unwrap().groups[0]
            .retry
            .clone();
        retry.topics
    };
    let expected = |names: [(&str, &str); 2]| -> BTreeMap<String, String> {
        let owned = names.map(|(source, retry)| (source.to_owned(), retry.to_owned()));
        owned.into()
    };
    let default = expected([("t", "t.g.retry"), ("u", "u.g.retry")]);
    assert_eq!(topics("{ mode: topic }"), default);
    let written = expected([("t", "again-g-t"), ("u", "again-g-u")]);
    assert_eq!(
        topics("{ mode: topic, topic: 'again-{group}-{topic}' }"),
        written
    );
    assert_eq!(topics("{ topic: 'again-{group}-{topic}' }"), written);
    assert_eq!(topics("{ mode: park }"), BTreeMap::new());
    assert_eq!(topics("{}"), BTreeMap::new());
}

#[test]
fn a_route_is_a_topic_or_a_pattern_and_leads_to_a_plugin_or_a_section_with_one() {
    let folder = Folder::new();
    let routes = "{ orders.*: p, 'orders.**': { plugin: p }, orders.eu: { plugin: p } }";
    let text = with_group(&format!(
        "  - {{ id: g, routes: {routes}, retry: {{ mode: topic }} }}\n"
    ));
    let group = folder.read(&text, &[], &[]).unwrap().groups.remove(0);
    assert_eq!(
        group.routes,
        [("orders.eu".to_owned(), Route::to("p"))].into()
    );
    let patterns: Vec<&str> = group.patterns.iter().map(|by| by.pattern.text()).collect();
    assert_eq!(patterns, ["orders.*", "orders.**"]);
    let all = group.with_sources(["orders.us", "users"].into_iter());
    let sources: Vec<&str> = all.routes.keys().map(String::as_str).collect();
    assert_eq!(sources, ["orders.eu", "orders.us"]);
    assert_eq!(all.retry.topics["orders.us"], "orders.us.g.retry");
}

#[test]
fn a_topic_that_is_named_has_what_is_written_and_nothing_else() {
    let folder = Folder::new();
    let read = |topic: &str| {
        let text = format!("{MINIMAL}topics:\n  orders.eu.created: {topic}\n");
        let topics = folder.read(&text, &[], &[]).unwrap().topics;
        topics["orders.eu.created"].clone()
    };
    assert_eq!(
        read("{}"),
        TopicPlan {
            create: true,
            ..TopicPlan::default()
        }
    );
    let written = read(
        "{ partitions: 6, replication: 3, retention: 7d, retention_size: unlimited, cleanup: both, \
         config: { min.insync.replicas: 2 }, create: false }",
    );
    let settings = [
        ("cleanup.policy", "compact,delete"),
        ("min.insync.replicas", "2"),
        ("retention.bytes", "-1"),
        ("retention.ms", "604800000"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(
        written,
        TopicPlan {
            partitions: Some(6),
            replication: Some(3),
            settings: settings.into(),
            create: false,
        }
    );
}

#[test]
fn the_breaker_is_on_unless_it_is_switched_off() {
    let folder = Folder::new();
    let breaker = |line: &str| {
        let config = folder.read(&with_key(line), &[], &[]).unwrap();
        config.groups[0].breaker.clone()
    };
    let default = breaker("");
    assert!(default.is_some());
    assert_eq!(breaker("breaker: { enabled: false }"), None);
    assert_eq!(breaker("breaker: { enabled: true }"), default);
    let written = breaker(
        "breaker: { threshold: 0.05, min_keys: 2, window: 1s, probe: { initial: 10ms, max: 20ms } }",
    );
    let expected = Breaker {
        threshold: 0.05,
        min_keys: 2,
        window: Duration::from_secs(1),
        probe_initial: Duration::from_millis(10),
        probe_max: Duration::from_millis(20),
    };
    assert_eq!(written, Some(expected));
}

#[test]
fn a_dead_letter_topic_has_its_own_headers_partitions_and_retention() {
    let folder = Folder::new();
    let line = "dead_letter: { topic: x, headers: spring, partitions: 3, retention: 30d }";
    let config = folder.read(&with_key(line), &[], &[]).unwrap();
    let expected = DeadLetter {
        topic: "x".to_owned(),
        dialect: Dialect::Spring,
        partitions: Some(3),
        retention: Some(Duration::from_hours(30 * 24)),
    };
    assert_eq!(config.groups[0].dead_letter, expected);
}
