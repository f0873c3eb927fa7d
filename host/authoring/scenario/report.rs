//! What came of scenarios: for people, for programs, and as JUnit's XML for what shows the tests of a project.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::suite::{Case, Verdict};
use super::{Difference, Mark};
use crate::authoring::rig::Line;
use crate::config::units::show_duration;

/// Lines of one difference that are shown to people; the JSON has all of them.
const LINES_MAX: usize = 200;

/// One scenario, for a person.
#[must_use]
pub fn told(case: &Case) -> String {
    let word = if case.passed() { "ok    " } else { "FAILED" };
    let passed = case.virtual_ms.filter(|ms| *ms >= 1_000);
    let passed = passed.map_or_else(String::new, |ms| {
        // What is left over is the time until everything had settled.
        let unit_ms = if ms >= 3_600_000 { 60_000 } else { 1_000 };
        let time = Duration::from_millis(ms / unit_ms * unit_ms);
        format!(", {} of its own time", show_duration(time))
    });
    let mut told = format!(
        "{word}  {}  ({} ms{passed})\n",
        case.name,
        case.took.as_millis()
    );
    // Writing to a String cannot fail.
    match &case.verdict {
        Verdict::Passed => {}
        Verdict::Broken(why) => {
            let place = place(&case.file, case.line);
            let _written = writeln!(told, "    {place}: {why}");
        }
        Verdict::Failed(differences) => {
            for difference in differences {
                let place = place(&case.file, difference.line);
                let _written = writeln!(told, "    {place}: {}", difference.what);
                for (mark, line) in difference.lines.iter().take(LINES_MAX) {
                    let _written = writeln!(told, "      {} {line}", mark.sign());
                }
                let more = difference.lines.len().saturating_sub(LINES_MAX);
                if more > 0 {
                    let _written =
                        writeln!(told, "      ({more} more lines; --output json has all)");
                }
            }
            for line in case.log.iter().take(LINES_MAX) {
                let _written = writeln!(told, "    {}: {}", line.level, line.text);
            }
        }
    }
    told
}

fn place(file: &Path, line: usize) -> String {
    format!("{}:{line}", file.display())
}

/// The last line.
#[must_use]
pub fn told_in_all(cases: &[Case]) -> String {
    let failed = cases.iter().filter(|case| !case.passed()).count();
    let took: Duration = cases.iter().map(|case| case.took).sum();
    format!(
        "{} scenarios: {} ok, {failed} failed, in {} ms",
        cases.len(),
        cases.len() - failed,
        took.as_millis()
    )
}

/// All of them, for programs.
#[must_use]
pub fn in_json(cases: &[Case]) -> Value {
    let line = |(mark, line): &(Mark, String)| format!("{} {line}", mark.sign());
    let difference = |difference: &Difference| {
        json!({
            "line": difference.line,
            "what": difference.what,
            "lines": difference.lines.iter().map(line).collect::<Vec<_>>(),
        })
    };
    let logged = |line: &Line| json!({ "level": line.level, "text": line.text });
    let scenario = |case: &Case| {
        let mut scenario = json!({
            "file": case.file.display().to_string(),
            "line": case.line,
            "name": case.name,
            "ok": case.passed(),
            "took_ms": case.took.as_secs_f64() * 1_000.0,
            "virtual_ms": case.virtual_ms,
            "log": case.log.iter().map(logged).collect::<Vec<_>>(),
        });
        match &case.verdict {
            Verdict::Passed => {}
            Verdict::Failed(differences) => {
                scenario["differences"] = differences.iter().map(difference).collect();
            }
            Verdict::Broken(why) => scenario["error"] = json!(why),
        }
        scenario
    };
    let failed = cases.iter().filter(|case| !case.passed()).count();
    json!({
        "passed": cases.len() - failed,
        "failed": failed,
        "scenarios": cases.iter().map(scenario).collect::<Vec<_>>(),
    })
}

/// All of them as JUnit's XML: a suite for each file.
#[must_use]
pub fn in_junit(plugin: &str, cases: &[Case]) -> String {
    let mut files: BTreeMap<&Path, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        files.entry(&case.file).or_default().push(case);
    }
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for (file, cases) in files {
        let failed = cases
            .iter()
            .filter(|case| matches!(case.verdict, Verdict::Failed(_)));
        let broken = cases
            .iter()
            .filter(|case| matches!(case.verdict, Verdict::Broken(_)));
        let seconds: f64 = cases.iter().map(|case| case.took.as_secs_f64()).sum();
        let name = escaped(&file.display().to_string());
        // Writing to a String cannot fail.
        let _written = writeln!(
            xml,
            "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{seconds:.3}\">",
            cases.len(),
            failed.count(),
            broken.count(),
        );
        for case in cases {
            let _written = write!(
                xml,
                "    <testcase classname=\"{}\" name=\"{}\" file=\"{name}\" line=\"{}\" time=\"{:.3}\"",
                escaped(plugin),
                escaped(&case.name),
                case.line,
                case.took.as_secs_f64(),
            );
            let (tag, message) = match &case.verdict {
                Verdict::Passed => {
                    xml.push_str("/>\n");
                    continue;
                }
                Verdict::Failed(differences) => {
                    let what = differences.first().map_or("", |first| first.what.as_str());
                    ("failure", what)
                }
                Verdict::Broken(why) => ("error", why.as_str()),
            };
            let _written = writeln!(
                xml,
                ">\n      <{tag} message=\"{}\">{}</{tag}>\n    </testcase>",
                escaped(message),
                escaped(&told(case)),
            );
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// Text for XML, which has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(letter),
            letter if letter.is_control() => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, verdict: Verdict) -> Case {
        Case {
            file: "tests/a.yaml".into(),
            line: 3,
            name: name.to_owned(),
            verdict,
            took: Duration::from_millis(4),
            virtual_ms: Some(86_400_000),
            log: vec![Line {
                level: "info",
                text: "hello".to_owned(),
            }],
        }
    }

    fn failed() -> Case {
        let lines = vec![
            (Mark::Missing, "\"<a>\"".to_owned()),
            (Mark::Unexpected, "b\u{7}".to_owned()),
        ];
        let difference = Difference {
            line: 9,
            what: "outputs to out".to_owned(),
            lines,
        };
        case("a & b", Verdict::Failed(vec![difference]))
    }

    #[test]
    fn a_difference_is_told_with_its_place_and_line_by_line() {
        assert_eq!(
            told(&failed()),
            "FAILED  a & b  (4 ms, 1d of its own time)\n    tests/a.yaml:9: outputs to out\n      \
             - \"<a>\"\n      + b\u{7}\n    info: hello\n"
        );
    }

    #[test]
    fn junit_holds_every_text_so_that_it_stays_xml() {
        let cases = [case("fine", Verdict::Passed), failed()];
        let xml = in_junit("orders", &cases);
        assert!(
            xml.contains("tests=\"2\" failures=\"1\" errors=\"0\""),
            "{xml}"
        );
        assert!(xml.contains("name=\"a &amp; b\""), "{xml}");
        assert!(
            xml.contains("- &quot;&lt;a&gt;&quot;") && xml.contains("+ b\u{fffd}"),
            "{xml}"
        );
    }

    #[test]
    fn programs_get_everything() {
        let cases = [failed(), case("x", Verdict::Broken("no".to_owned()))];
        let json = in_json(&cases);
        assert_eq!(json["failed"], 2);
        assert_eq!(
            json["scenarios"][0]["differences"][0]["lines"][0],
            "- \"<a>\""
        );
        assert_eq!(json["scenarios"][1]["error"], "no");
    }
}
