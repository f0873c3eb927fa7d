//! The way of an author in every language, as a transcript: a plugin is begun, its test is played, and one event runs
//! through it. The transcripts are left in the target folder, and `make transcripts` shows them.

use std::fs;
use std::path::Path;

use super::{Answer, equip, millrace};
use crate::harness::process;

/// The event that is tried in the end.
const EVENT: &str = r#"{"key":"a-7","value":{"kind":"created","amount":12}}"#;

/// What is typed and what is printed.
#[derive(Default)]
struct Transcript(String);

impl Transcript {
    #[track_caller]
    fn types(&mut self, folder: &Path, line: &str) -> Answer {
        let args: Vec<&str> = line.split(' ').collect();
        let answer = millrace(folder, &args, &[]).expect(0);
        let said = [answer.stderr.trim_end(), answer.stdout.trim_end()];
        let said = said.iter().filter(|said| !said.is_empty());
        self.0.push_str(&format!("$ millrace {line}\n"));
        said.for_each(|said| self.0.push_str(&format!("{said}\n")));
        answer
    }
}

#[track_caller]
fn goes_the_way(language: &str) {
    let parent = process::folder("transcript");
    let mut transcript = Transcript::default();
    transcript.types(&parent, &format!("plugin new orders --lang {language}"));
    let folder = parent.join("orders");
    equip(&folder);
    let tested = transcript.types(&folder, "plugin test");
    assert!(tested.stdout.contains(" 0 failed"), "{tested:#?}");
    fs::write(folder.join("fixtures/events.jsonl"), EVENT).expect("the folder is there");
    let tried = transcript.types(&folder, "plugin dev --once");
    for part in ["processed", "events_total", "created"] {
        assert!(tried.stdout.contains(part), "{part} is not in {tried:#?}");
    }
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("transcripts");
    fs::create_dir_all(&kept).expect("the target folder can be written");
    fs::write(kept.join(format!("{language}.txt")), transcript.0).expect("it can be written");
}

#[test]
fn from_nothing_to_an_event_in_rust() {
    goes_the_way("rust");
}

#[test]
fn from_nothing_to_an_event_in_javascript() {
    goes_the_way("js");
}

#[test]
fn from_nothing_to_an_event_in_typescript() {
    goes_the_way("ts");
}

#[test]
fn from_nothing_to_an_event_in_python() {
    goes_the_way("python");
}

#[test]
fn from_nothing_to_an_event_in_go() {
    goes_the_way("go");
}

#[test]
fn from_nothing_to_an_event_in_c() {
    goes_the_way("c");
}
