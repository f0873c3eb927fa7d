//! The rules of Prometheus, run by promtool: every alert fires where it should, and does not where it should not.

use std::collections::BTreeSet;
use std::fs;

use super::{parsed, texts, top};
use crate::harness::prometheus::promtool;

const RULES: &str = "deploy/prometheus/rules.yml";
const CASES: &str = "deploy/prometheus/rules-test.yml";

#[test]
fn promtool_finds_that_every_alert_fires_and_keeps_quiet_as_its_cases_say() {
    for args in [["check", "rules", RULES], ["test", "rules", CASES]] {
        let output = promtool().args(args).current_dir(top()).output();
        let output = output.expect("promtool can be started");
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "promtool {args:?}:\n{said}");
    }
}

#[test]
fn every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let (mut fires, mut quiet) = (BTreeSet::new(), BTreeSet::new());
    let cases = parsed(CASES);
    for case in cases["tests"].as_array().expect("there are cases") {
        for check in case["alert_rule_test"].as_array().into_iter().flatten() {
            let alert = check["alertname"].as_str().expect("it names an alert");
            let expected = check["exp_alerts"].as_array().expect("a list");
            let kind = if expected.is_empty() {
                &mut quiet
            } else {
                &mut fires
            };
            kind.insert(alert.to_owned());
        }
    }
    let alerts = alerts();
    assert!(alerts.len() > 15, "only {alerts:?}");
    assert_eq!(
        alerts, fires,
        "alerts, those with a case in which they fire"
    );
    assert_eq!(alerts, quiet, "alerts, those with one in which they do not");
}

#[test]
fn every_alert_says_how_urgent_it_is_what_happens_and_what_to_do() {
    for rule in rules() {
        let Some(alert) = rule["alert"].as_str() else {
            continue;
        };
        let severity = rule["labels"]["severity"].as_str();
        assert!(
            matches!(severity, Some("critical" | "warning")),
            "{alert}: {severity:?}"
        );
        for text in ["summary", "description"] {
            let text = rule["annotations"][text].as_str();
            assert!(text.is_some_and(|text| text.ends_with('.')), "{alert}");
        }
    }
    let page = fs::read_to_string(top().join("docs/metrics.md")).expect("it is there");
    for alert in alerts() {
        assert!(
            page.contains(&format!("`{alert}`")),
            "docs/metrics.md does not list the alert {alert}"
        );
    }
}

/// The names of all alerts.
fn alerts() -> BTreeSet<String> {
    let rules = rules();
    let names = rules.iter().filter_map(|rule| rule["alert"].as_str());
    names.map(str::to_owned).collect()
}

fn rules() -> Vec<serde_json::Value> {
    let file = parsed(RULES);
    let groups = file["groups"].as_array().expect("there are groups");
    assert_eq!(texts(&parsed(CASES)["rule_files"]), ["rules.yml"]);
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().into_iter().flatten())
        .cloned()
        .collect()
}
