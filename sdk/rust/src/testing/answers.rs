//! What stands in for the host in native tests: state in memory, settings, and a log. Each thread, and so each
//! test, has its own.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::event::Event;

/// How grave a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For whoever looks into a failure.
    Debug,
    /// For whoever runs the plugin.
    Info,
    /// Something is off.
    Warn,
    /// Someone must act.
    Error,
}

/// Whose state it is: topic, partition and key. Tests that only name a key find it under any topic.
type Place = (String, i32, Option<Vec<u8>>);

#[derive(Default)]
struct Host {
    place: Place,
    state: BTreeMap<(Place, String), Vec<u8>>,
    /// What the running event has written; none deletes.
    written: BTreeMap<(Place, String), Option<Vec<u8>>>,
    settings: BTreeMap<String, String>,
    log: Vec<(Level, String)>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

pub(super) fn begin(event: &Event<'_>) {
    let key = event.key.map(<[u8]>::to_vec);
    let place = (event.topic.to_owned(), event.partition, key);
    HOST.with_borrow_mut(|host| host.place = place);
}

/// What a failed event wrote is forgotten.
pub(super) fn end(succeeded: bool) {
    HOST.with_borrow_mut(|host| {
        for (key, value) in std::mem::take(&mut host.written) {
            match value.filter(|_| succeeded) {
                Some(value) => drop(host.state.insert(key, value)),
                None if succeeded => drop(host.state.remove(&key)),
                None => {}
            }
        }
    });
}

pub(crate) fn state_get(name: &str) -> Option<Vec<u8>> {
    HOST.with_borrow(|host| {
        let key = (host.place.clone(), name.to_owned());
        let written = host.written.get(&key).cloned();
        written.unwrap_or_else(|| host.state.get(&key).cloned())
    })
}

/// Time does not pass in these tests; scenarios of `millrace plugin test` let it.
pub(crate) fn state_set(name: &str, value: &[u8], _ttl_ms: Option<u64>) {
    write(name, Some(value.to_vec()));
}

pub(crate) fn state_delete(name: &str) {
    write(name, None);
}

fn write(name: &str, value: Option<Vec<u8>>) {
    HOST.with_borrow_mut(|host| {
        let key = (host.place.clone(), name.to_owned());
        host.written.insert(key, value);
    });
}

pub(crate) fn log(level: Level, message: &str) {
    HOST.with_borrow_mut(|host| host.log.push((level, message.to_owned())));
}

pub(crate) fn config_get(key: &str) -> Option<String> {
    HOST.with_borrow(|host| host.settings.get(key).cloned())
}

/// Gives the plugin these settings and no others, as its `config` section would.
pub fn configure(settings: &[(&str, &str)]) {
    let settings = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    HOST.with_borrow_mut(|host| host.settings = settings);
}

/// What state holds under a name for events of a key, in whichever topic-partition has it.
#[must_use]
pub fn state_of(key: Option<&[u8]>, name: &str) -> Option<Vec<u8>> {
    HOST.with_borrow(|host| {
        let mut found = host.state.iter();
        let found = found.find(|(((_, _, of), named), _)| of.as_deref() == key && named == name);
        found.map(|(_, value)| value.clone())
    })
}

/// The lines that were logged since the last call.
#[must_use]
pub fn take_log() -> Vec<(Level, String)> {
    HOST.with_borrow_mut(|host| std::mem::take(&mut host.log))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, state, testing};

    fn counted(event: &Event<'_>) -> Result<(), Failure> {
        let seen = state::get("seen").map_or(0, |seen| seen[0]);
        state::set("seen", &[seen + 1], None);
        if event.value() == Some(b"fail") {
            return Err(Failure::retry("asked-for", "the event said so"));
        }
        Ok(())
    }

    #[test]
    fn state_belongs_to_a_key_and_forgets_what_a_failed_event_wrote() {
        let of = |key: &'static [u8], value| Event::of_value(value).with_key(Some(key));
        for event in [
            of(b"a", b"x"),
            of(b"a", b"fail"),
            of(b"a", b"x"),
            of(b"b", b"x"),
        ] {
            let _outcome = testing::run(&event, counted);
        }
        assert_eq!(state_of(Some(b"a"), "seen"), Some(vec![2]));
        assert_eq!(state_of(Some(b"b"), "seen"), Some(vec![1]));
    }

    #[test]
    fn what_is_deleted_is_gone() {
        let event = Event::of_value(b"x");
        let _set = testing::run(&event, counted);
        let (outcome, _) = testing::run(&event, |_| {
            state::delete("seen");
            assert_eq!(state::get("seen"), None);
            Ok(())
        });
        assert!(outcome.is_ok());
        assert_eq!(state_of(None, "seen"), None);
    }
}
