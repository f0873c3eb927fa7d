//! What an instance may be made of. It is known before any event, so going past it refuses the plugin.

use millrace::config::Limits;
use millrace::sandbox::Instance;

use super::super::load;

/// What making an instance of the guest `rogue` comes to: its error, and the limit that this one names.
fn made(change: impl FnOnce(&mut Limits)) -> Result<(), (String, Option<&'static str>)> {
    let plugin = load("rogue", change);
    let made = Instance::new(&plugin).map(drop);
    made.map_err(|error| (error.to_string(), error.limit()))
}

#[track_caller]
fn refused(limit: &str, value: &str, change: impl FnOnce(&mut Limits)) {
    let (message, named) = made(change).expect_err("it is made of more");
    assert_eq!(named, Some(limit), "{message}");
    let place = format!("(plugins.rogue.limits.{limit})");
    for part in ["plugin rogue", &place, value] {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn instances_obeyed() {
    assert_eq!(made(|limits| limits.instances = 8), Ok(()));
}

#[test]
fn instances_violated() {
    refused("instances", "more than 1 ", |limits| limits.instances = 1);
}

#[test]
fn tables_obeyed() {
    assert_eq!(made(|limits| limits.tables = 3), Ok(()));
}

#[test]
fn tables_violated() {
    refused("tables", "more than 1 ", |limits| limits.tables = 1);
}

#[test]
fn memories_obeyed() {
    assert_eq!(made(|limits| limits.memories = 1), Ok(()));
}

#[test]
fn memories_violated() {
    refused("memories", "more than 0 ", |limits| limits.memories = 0);
}

#[test]
fn table_elements_obeyed() {
    assert_eq!(made(|limits| limits.table_elements = 1_000), Ok(()));
}

#[test]
fn table_elements_violated() {
    refused("table_elements", "more than 10 table elements", |limits| {
        limits.table_elements = 10;
    });
}

#[test]
fn memory_at_the_start_obeyed() {
    assert_eq!(made(|limits| limits.memory_bytes = 2 << 20), Ok(()));
}

#[test]
fn memory_at_the_start_violated() {
    refused("memory", "65536 bytes", |limits| {
        limits.memory_bytes = 65_536
    });
}

#[test]
fn what_the_limits_can_be_given_at_most_the_pool_has() {
    let most = made(|limits| {
        limits.instances = Limits::INSTANCES_MAX;
        limits.memories = Limits::MEMORIES_MAX;
        limits.tables = Limits::TABLES_MAX;
        limits.table_elements = Limits::TABLE_ELEMENTS_MAX;
        limits.memory_bytes = 4 << 30;
    });
    assert_eq!(most, Ok(()));
}
