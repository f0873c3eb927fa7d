//! Prometheus' text format, read back into samples that a test can ask.

use std::collections::{BTreeMap, BTreeSet};

/// One scrape.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    samples: Vec<Sample>,
}

/// One line of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Metrics {
    /// # Panics
    /// When a line is not of the text format.
    pub(crate) fn parse(text: &str) -> Self {
        let is_sample = |line: &&str| !line.is_empty() && !line.starts_with('#');
        let parse = |line| sample(line).unwrap_or_else(|| panic!("not a sample: {line}"));
        Self {
            samples: text
                .lines()
                .map(str::trim)
                .filter(is_sample)
                .map(parse)
                .collect(),
        }
    }

    /// The samples of this name that carry all these labels.
    pub(crate) fn select(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let carries = |sample: &Sample| {
            labels
                .iter()
                .all(|(label, value)| sample.labels.get(*label).map(String::as_str) == Some(*value))
        };
        self.samples
            .iter()
            .filter(|sample| sample.name == name && carries(sample))
            .collect()
    }

    /// Their sum, 0 where there is none: a counter may come into being with its first event.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.select(name, labels)
            .iter()
            .map(|sample| sample.value)
            .sum()
    }

    /// Whether there is a sample of this name at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|sample| sample.name == name)
    }

    /// Events of a group by outcome, over all its partitions.
    pub(crate) fn outcomes(&self, group: &str) -> BTreeMap<String, f64> {
        let mut outcomes = BTreeMap::new();
        for sample in self.select("millrace_events_total", &[("group", group)]) {
            let outcome = sample.labels.get("outcome").cloned().unwrap_or_default();
            *outcomes.entry(outcome).or_default() += sample.value;
        }
        outcomes
    }

    /// Checks for each partition of the group that every event polled is accounted for: settled by
    /// some outcome, parked or in flight.
    ///
    /// # Panics
    /// When one is not, or when the group has polled nothing.
    #[track_caller]
    pub(crate) fn assert_ledger_balanced(&self, group: &str) {
        let partitions: BTreeSet<(&str, &str)> = self
            .select("millrace_events_polled_total", &[("group", group)])
            .iter()
            .filter_map(|sample| {
                Some((
                    sample.labels.get("topic")?.as_str(),
                    sample.labels.get("partition")?.as_str(),
                ))
            })
            .collect();
        assert!(!partitions.is_empty(), "group {group} has polled nothing");
        for (topic, partition) in partitions {
            let labels = [("group", group), ("topic", topic), ("partition", partition)];
            let polled = self.sum("millrace_events_polled_total", &labels);
            let accounted = self.sum("millrace_events_total", &labels)
                + self.sum("millrace_events_in_flight", &labels)
                + self.sum("millrace_events_parked", &labels);
            // Counts are whole numbers, far below what a float holds exactly.
            assert!(
                (polled - accounted).abs() < 0.5,
                "{group} {topic}[{partition}]: {polled} polled, {accounted} accounted for"
            );
        }
        let holes = self.sum("millrace_ledger_holes_total", &[("group", group)]);
        assert!(
            holes == 0.0,
            "the host itself counted {holes} holes in the ledger of {group}"
        );
    }
}

/// `name{label="value",...} 1.5`, with an optional time at the end.
fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(label.trim().to_owned(), value);
            rest = after;
        }
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// The text up to the closing quote, unescaped, and what follows the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[test]
fn a_scrape_is_read_with_escapes_and_without() {
    let scrape = Metrics::parse(
        "# HELP a_total Says what.\n# TYPE a_total counter\n\
         a_total{group=\"g\",topic=\"t}\\\"\\\\\\n,x\"} 3\n\
         a_total{group=\"g\",topic=\"u\"} 4 1700000000000\n\
         b_seconds_bucket{le=\"+Inf\"} 1e3\nc 0.5\n",
    );
    assert_eq!(scrape.sum("a_total", &[("group", "g")]), 7.0);
    assert_eq!(scrape.sum("a_total", &[("topic", "t}\"\\\n,x")]), 3.0);
    assert_eq!(scrape.sum("b_seconds_bucket", &[("le", "+Inf")]), 1000.0);
    assert_eq!(scrape.sum("c", &[]), 0.5);
    assert!(!scrape.has("d"));
}
