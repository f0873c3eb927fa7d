//! Schemas that change under a running host.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use super::{TIMEOUT, checked, good, letters_of, write_schemas};
use crate::harness::host::Host;
use crate::harness::topic::Record;
use crate::harness::wait;
use crate::harness::witness::Witness;

/// Waits until the host has read changed schemas so often.
#[track_caller]
fn wait_for_reloads(host: &Host, outcome: &str, times: f64) {
    wait::eventually("schemas that are read again", TIMEOUT, || {
        let labels = [("rules", "orders"), ("outcome", outcome)];
        host.metrics().sum("millrace_schema_reloads_total", &labels) >= times
    });
}

/// An event of a type that has no schema at first.
fn lost(id: usize) -> Record {
    let event = json!({ "id": id, "type": "order.lost", "data": {} });
    Record::new(format!("key {id}"), event.to_string())
}

fn produce_and_wait(witness: &Witness, record: Record) {
    witness.source.produce(&[record]);
    witness.source.wait_for_no_lag(&witness.group, TIMEOUT);
}

#[test]
fn a_changed_schema_serves_and_a_broken_one_is_refused_while_the_one_before_serves_on() {
    let witness = Witness::new("schemareload", 1);
    let setup = checked(&witness, "");
    let schemas = setup.folder().join("schemas");
    let write = |name: &str, text: &str| {
        fs::write(schemas.join(name), text).expect("it can be written");
    };
    let host = setup.start();
    produce_and_wait(&witness, lost(0));
    letters_of(&witness, 1);

    write("types/order.lost.json", "{\"type\": \"object\"}");
    wait_for_reloads(&host, "taken", 1.0);
    produce_and_wait(&witness, lost(1));
    assert_eq!(letters_of(&witness, 1).len(), 1, "the second passed");

    write("money.json", "{\"type\": \"no such type\"}");
    wait_for_reloads(&host, "refused", 1.0);
    let refused = |line: &serde_json::Value| line.to_string().contains("other schemas are refused");
    let log = host.log();
    let told: Vec<_> = log.iter().filter(|line| refused(line)).collect();
    assert_eq!(told.len(), 1, "it is told once: {told:?}");
    assert!(
        told[0].to_string().contains("order.created.json"),
        "{}",
        told[0]
    );
    produce_and_wait(&witness, lost(2));
    let event = good(3, json!({})).to_string();
    produce_and_wait(&witness, Record::new("key", event));
    assert_eq!(letters_of(&witness, 1).len(), 1, "all pass as before");

    write("money.json", "{\"type\": \"array\"}");
    wait_for_reloads(&host, "taken", 2.0);
    let event = good(4, json!({})).to_string();
    produce_and_wait(&witness, Record::new("key", event));
    let letters = letters_of(&witness, 2);
    let told = letters[&4]
        .header("millrace.dlq.message")
        .unwrap_or_default();
    assert!(
        told.starts_with("/data/total: value is not of type \"array\" (money.json#"),
        "{told}"
    );
    host.sigterm().expect_code(0);
    assert_eq!(witness.places(&setup), [(0, 1), (0, 2), (0, 3)]);
}

#[test]
fn schemas_in_a_mounted_folder_that_is_exchanged_as_kubernetes_does_are_seen() {
    let witness = Witness::new("schemamount", 1);
    let setup = checked(&witness, "");
    let mounted = setup.folder().join("schemas");
    fs::remove_dir_all(&mounted).expect("it is there");
    let exchange = |name: &str, change: &dyn Fn(&Path)| {
        let folder = mounted.join(name);
        write_schemas(&folder);
        change(&folder);
        symlink(name, mounted.join("..data_tmp")).expect("a link can be made");
        fs::rename(mounted.join("..data_tmp"), mounted.join("..data")).expect("it can be moved");
    };
    exchange("..1", &|_| {});
    for name in ["envelope.json", "money.json", "types"] {
        symlink(format!("..data/{name}"), mounted.join(name)).expect("a link can be made");
    }
    let host = setup.start();
    produce_and_wait(&witness, lost(0));
    letters_of(&witness, 1);
    exchange("..2", &|folder| {
        fs::write(folder.join("types/order.lost.json"), "true").expect("it can be written");
    });
    fs::remove_dir_all(mounted.join("..1")).expect("the old one can be removed");
    wait_for_reloads(&host, "taken", 1.0);
    produce_and_wait(&witness, lost(1));
    host.sigterm().expect_code(0);
    assert_eq!(witness.places(&setup), [(0, 1)]);
    assert_eq!(letters_of(&witness, 1).len(), 1);
}
