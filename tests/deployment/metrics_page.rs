//! The page that lists each metric: it names all that the source registers and nothing else, and says of each what a
//! running host says too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{files_below, top};

/// What the page says of a metric, or what a host does.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metric {
    kind: String,
    labels: BTreeSet<String>,
}

#[test]
fn every_metric_of_the_source_is_listed_with_its_unit_and_nothing_else_is() {
    let listed: BTreeSet<String> = listed().into_keys().collect();
    let registered = registered();
    let missing: Vec<_> = registered.difference(&listed).collect();
    assert!(
        missing.is_empty(),
        "docs/metrics.md does not list {missing:?}"
    );
    let surplus = listed.difference(&registered);
    // What Prometheus' own library tells of the process.
    let surplus: Vec<_> = surplus
        .filter(|name| !name.starts_with("process_"))
        .collect();
    assert!(surplus.is_empty(), "nothing exports {surplus:?}");
}

#[test]
fn metrics_are_named_by_prometheus_conventions() {
    for (name, metric) in listed() {
        let total = name.ends_with("_total");
        assert_eq!(
            total,
            metric.kind == "counter",
            "{name} is a {}",
            metric.kind
        );
        for unit in [
            "_ms", "_us", "_millis", "_kb", "_mb", "_percent", "_minutes",
        ] {
            assert!(
                !name.ends_with(unit),
                "{name}: base units are seconds, bytes and ratios"
            );
        }
    }
}

/// The metrics of the page by name: rows of tables whose first cell is one name.
pub(super) fn listed() -> BTreeMap<String, Metric> {
    let page = fs::read_to_string(top().join("docs/metrics.md")).expect("it is there");
    let mut listed = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, unit, labels, meaning] = cells[..] else {
            continue;
        };
        let words = |text: &str| -> Vec<String> {
            let words = text.split('`').skip(1).step_by(2);
            words.map(str::to_owned).collect()
        };
        let name = words(name).remove(0);
        assert!(!unit.is_empty() && !meaning.is_empty(), "{name}: {row}");
        let metric = Metric {
            kind: kind.to_owned(),
            labels: words(labels).into_iter().collect(),
        };
        assert!(listed.insert(name, metric).is_none(), "twice: {row}");
    }
    assert!(listed.len() > 30, "only {listed:?}");
    listed
}

/// Checks that a host exports nothing that the page does not list, with the very type and labels.
#[track_caller]
pub(super) fn assert_listed(scrape: &str, plugins: &[&str]) {
    let listed = listed();
    let of_plugins = |name: &str| plugins.iter().any(|plugin| name.starts_with(plugin));
    let exported = exported(scrape);
    assert!(exported.len() > 30, "only {exported:?}");
    for (name, metric) in exported {
        if !of_plugins(&name) {
            assert_eq!(listed.get(&name), Some(&metric), "{name}: listed, exported");
        }
    }
}

/// The families of a scrape by name.
fn exported(scrape: &str) -> BTreeMap<String, Metric> {
    let mut families: BTreeMap<String, Metric> = BTreeMap::new();
    let mut last = String::new();
    for line in scrape.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').expect("a name and a type");
            last = name.to_owned();
            let metric = Metric {
                kind: kind.to_owned(),
                labels: BTreeSet::new(),
            };
            families.insert(last.clone(), metric);
        } else if let (Some((_, labels)), false) = (line.split_once('{'), line.starts_with('#')) {
            let labels = labels.split("=\"").filter_map(|text| {
                let name = text.rsplit([',', '"', '{']).next()?;
                (!name.is_empty() && !name.contains('}')).then(|| name.to_owned())
            });
            let labels = labels.filter(|label| label != "le");
            families
                .get_mut(&last)
                .expect("its type stands first")
                .labels
                .extend(labels);
        }
    }
    families
}

/// The names that the source registers.
fn registered() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files_below("host/telemetry/metrics", &["rs"]) {
        names.extend(literals(&fs::read_to_string(&file).expect("it is text")));
    }
    let top_file = fs::read_to_string(top().join("host/telemetry/metrics.rs"));
    names.extend(literals(&top_file.expect("it is text")));
    names
}

/// Strings of a source file, tests apart, that are names of metrics.
fn literals(source: &str) -> Vec<String> {
    let (code, _tests) = source.split_once("#[cfg(test)]").unwrap_or((source, ""));
    let strings = code.split('"').skip(1).step_by(2);
    let is_name = |text: &&str| {
        (text.starts_with("millrace_") || text.starts_with("kafka_consumergroup_"))
            && text
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || char == '_')
    };
    strings.filter(is_name).map(str::to_owned).collect()
}
