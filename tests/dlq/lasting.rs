//! Dead letters that are written out and back, and those that are removed.

use std::fs;

use serde_json::json;

use super::{Graveyard, ask, refused};
use crate::harness::process;
use crate::harness::topic::{Record, Stored, Topic, recent_ms};

#[test]
fn what_was_exported_is_imported_byte_for_byte() {
    let yard = Graveyard::new("exported", 3).with_rejected(5);
    yard.letters.produce(&[
        Record::tombstone("gone").header("bytes", [0xff, 0]),
        Record::keyless([0, 1, 0xff]).header("text", "\"quoted\"\n"),
        Record::new("", "").timestamp_ms(recent_ms()),
    ]);
    let file = process::folder("exported").join("letters.jsonl");
    let file = file.to_str().expect("the path is text");
    assert_eq!(
        ask(&["export", yard.name(), "--to", file]),
        json!({ "written": 8 })
    );
    let copy = Topic::create(yard.letters.brokers(), "imported", 2);
    let text = fs::read_to_string(file).expect("it was written");
    fs::write(file, text.replace(yard.name(), copy.name())).expect("it can be written");
    assert_eq!(ask(&["import", file]), json!({ "written": 8 }));
    let unlocated = |topic: &Topic| {
        let mut records = topic.read_all();
        records.iter_mut().for_each(|record| record.offset = 0);
        records
    };
    assert_eq!(unlocated(&copy), unlocated(&yard.letters));
    let said = refused(&["export", yard.name(), "--to", file]);
    assert!(said.contains("cannot be written"), "{said}");
    let causes = ask(&[
        "export",
        yard.name(),
        "--cause",
        "trap",
        "--to",
        &format!("{file}.2"),
    ]);
    assert_eq!(causes, json!({ "written": 0 }));
}

#[test]
fn only_what_was_put_back_is_purged_and_only_when_that_is_confirmed() {
    let yard = Graveyard::new("purged", 3).with_rejected(20);
    let until = yard.letters.read_all()[4].clone();
    assert_eq!(until.partition, 0);
    let of_first = yard
        .letters
        .read_all()
        .iter()
        .filter(|letter| letter.partition == 0)
        .count();
    assert_eq!(
        ask(&["redrive", yard.name(), "--key", "key-999", "--all"])["redriven"],
        0
    );
    let ids: Vec<String> = (0..4).map(|at| format!("{}/0/{at}", yard.name())).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(ask(&[&["redrive"], &ids[..]].concat())["redriven"], 4);

    let said = refused(&["purge", yard.name(), "--redriven"]);
    assert!(said.contains("--yes"), "{said}");
    assert_eq!(yard.letters.read_all().len(), 20, "nothing was removed");
    let purged = ask(&["purge", yard.name(), "--redriven", "--yes"]);
    assert_eq!(purged["letters"], 4);
    assert_eq!(purged["not_redriven"], 0);
    assert_eq!(purged["partitions"][0]["before_offset"], 4);
    assert_eq!(yard.letters.read_all().len(), 16);
    let listed = ask(&["list", yard.name(), "--open"]);
    assert_eq!(listed["matched"], 16);

    let marks = Topic::named(yard.letters.brokers(), &format!("{}.redriven", yard.name()));
    assert_eq!(marks.setting("cleanup.policy").as_deref(), Some("compact"));
    let is_forgotten = |mark: &&Stored| {
        let key = mark.key.as_deref().unwrap_or_default();
        key.starts_with(b"0/") && mark.value.is_none()
    };
    let forgotten = marks.read_all().iter().filter(is_forgotten).count();
    assert_eq!(forgotten, 4, "what is gone need not be remembered");

    let end = of_first.to_string();
    let all = [
        "purge",
        yard.name(),
        "--partition",
        "0",
        "--before-offset",
        &end,
        "--yes",
    ];
    let purged = ask(&all);
    assert_eq!(purged["not_redriven"], of_first - 4);
    let left = yard.letters.read_all();
    assert!(left.iter().all(|letter| letter.partition == 1), "{left:?}");
}
