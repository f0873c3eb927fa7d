//! The life of an instance: when it is worn, and that a mistake of the host costs no more than it.

use std::sync::Arc;

use millrace::config::{Limits, Recycle};
use millrace::sandbox::{FaultKind, LoadedPlugin, StateSource, Worn};

use super::{Event, everything_granted, guest, instance, load, run, sandbox};

fn rogue(recycle: Recycle) -> Arc<LoadedPlugin> {
    let mut config = everything_granted(guest("rogue"));
    config.recycle = recycle;
    let prepared = LoadedPlugin::prepare(sandbox(), "rogue", &config);
    prepared.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn an_instance_is_worn_after_the_events_that_it_may_handle() {
    let plugin = rogue(Recycle {
        events: Some(5),
        memory_bytes: None,
    });
    let mut instance = instance(&plugin);
    for (events, worn) in [(2, None), (2, None), (3, Some(Worn::Events))] {
        run(&mut instance, &vec![Event::of_value("{}"); events]).expect("they are handled");
        assert_eq!(instance.worn(), worn);
    }
}

#[test]
fn an_instance_is_worn_once_its_memory_has_grown() {
    let plugin = rogue(Recycle {
        events: None,
        memory_bytes: Some(4 << 20),
    });
    let mut instance = instance(&plugin);
    let mut handle = |value: &str| {
        run(&mut instance, &[Event::of_value(value)]).expect("it is handled");
        instance.worn()
    };
    assert_eq!(handle("{}"), None);
    let large = r#"{"do":"huge-output","n":3000000}"#;
    assert_eq!(handle(large), Some(Worn::Memory));
}

#[test]
fn an_instance_that_begins_with_more_than_that_is_not_worn_by_it() {
    let plugin = rogue(Recycle {
        events: None,
        memory_bytes: Some(1 << 16),
    });
    let mut instance = instance(&plugin);
    run(&mut instance, &[Event::of_value("{}")]).expect("it is handled");
    assert_eq!(instance.worn(), None);
}

#[test]
fn nothing_is_worn_by_default() {
    let plugin = rogue(Recycle::default());
    let mut instance = instance(&plugin);
    for _ in 0..50 {
        run(&mut instance, &vec![Event::of_value("{}"); 100]).expect("they are handled");
    }
    assert_eq!(instance.worn(), None);
}

/// State that makes the host panic, as a mistake in a host function would.
#[derive(Debug)]
struct Panics;

impl StateSource for Panics {
    fn key(&self, _event_index: u32, _name: &str) -> Vec<u8> {
        panic!("a mistake in the host");
    }

    fn now_ms(&self) -> u64 {
        0
    }

    fn get(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }

    fn room_for(&self, _key: &[u8], _value_bytes: usize) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn a_panic_of_the_host_ends_the_call_and_not_the_thread() {
    let plugin = load("counter-state", |_: &mut Limits| {});
    let event = Event::of_value("{}").with_key("a");
    let mut spent = instance(&plugin);
    spent.set_state_source(Some(Box::new(Panics)));
    let fault = run(&mut spent, std::slice::from_ref(&event)).expect_err("the host panics");
    assert_eq!(
        (fault.kind, fault.code.as_str()),
        (FaultKind::Trap, "host-panic")
    );
    assert!(fault.message.contains("a mistake in the host"), "{fault:?}");
    drop(spent);
    // The next instance, on the same thread, is as well as any other.
    run(&mut instance(&plugin), &[event]).expect("it is handled");
}
