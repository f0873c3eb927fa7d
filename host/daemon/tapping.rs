//! Shows events to whoever looks at them through the admin server. It translates, and decides nothing.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::shown::Shown;
use crate::admin::tap::{Tapped, Tapping};
use crate::admin::views::Wanted;
use crate::pipeline::{self, Beginning, Tap, TapFilter};
use crate::reload::Reloader;

/// The groups of this host, as who looks at events sees them.
pub(super) struct HostTaps {
    shown: Arc<Shown>,
    /// Who knows which plugins there are.
    reloader: Arc<Reloader>,
}

impl HostTaps {
    pub(super) fn new(shown: Arc<Shown>, reloader: Arc<Reloader>) -> Self {
        Self { shown, reloader }
    }

    /// A topic is not looked up: one that a pattern matches may come yet.
    fn known(&self, wanted: &Wanted) -> Result<(), String> {
        let groups = self.shown.running();
        let groups = groups.into_iter().map(|(id, _)| id);
        let plugins = self.reloader.versions();
        let plugins = plugins.iter().map(|versions| versions.plugin().to_owned());
        for (what, name, known) in [
            ("group", &wanted.group, groups.collect::<Vec<_>>()),
            ("plugin", &wanted.plugin, plugins.collect()),
        ] {
            if let Some(name) = name
                && !known.contains(name)
            {
                let known = known.join(", ");
                return Err(format!("there is no {what} {name}: {known} are there"));
            }
        }
        Ok(())
    }
}

impl Tapping for HostTaps {
    fn begin(&self, wanted: &Wanted) -> Result<Box<dyn Tapped>, String> {
        self.known(wanted)?;
        let filter = TapFilter {
            topic: wanted.topic.clone(),
            plugin: wanted.plugin.clone(),
        };
        let mut looking = Looking {
            shown: Arc::clone(&self.shown),
            group: wanted.group.clone(),
            tap: Tap::new(filter),
        };
        looking.follow();
        Ok(Box::new(looking))
    }
}

struct Looking {
    shown: Arc<Shown>,
    /// The only group that is looked at; all where it is none.
    group: Option<String>,
    tap: Tap,
}

impl Looking {
    /// Looks at the groups that run now: another configuration may have let some begin anew.
    fn follow(&mut self) {
        let groups = self.shown.running().into_iter();
        let groups = groups.filter(|(id, _)| self.group.as_ref().is_none_or(|group| group == id));
        let taps = groups.map(|(_, status)| Arc::clone(status.taps()));
        self.tap.follow(taps.collect());
    }
}

impl Tapped for Looking {
    fn take(&mut self) -> (String, u64) {
        self.follow();
        let (events, dropped) = self.tap.take();
        let mut lines = String::new();
        for event in &events {
            lines.push_str(&told(event).to_string());
            lines.push('\n');
        }
        (lines, dropped)
    }
}

fn told(event: &pipeline::Tapped) -> Value {
    let mut told = json!({
        "at_ms": event.at_ms,
        "group": &*event.group,
        "topic": &*event.topic,
        "partition": event.partition,
        "offset": event.offset,
        "timestamp_ms": event.timestamp_ms,
        "plugin": &*event.plugin,
        "version": event.version,
        "attempt": event.attempt,
        "outcome": event.outcome,
        "code": event.problem.as_ref().map(|(code, _)| code),
        "message": event.problem.as_ref().map(|(_, message)| message),
    });
    if let Some(told) = told.as_object_mut() {
        add(told, "key", event.key.as_ref());
        add(told, "value", event.value.as_ref());
    }
    told
}

/// Text where it is text, else base64 under a name of its own; and how long it is where that is not all of it.
fn add(told: &mut Map<String, Value>, name: &str, beginning: Option<&Beginning>) {
    let Some(Beginning { bytes, len }) = beginning else {
        told.insert(name.to_owned(), Value::Null);
        return;
    };
    // What was cut may have been cut within a character.
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if bytes.len() < *len && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    match text {
        Some(text) => told.insert(name.to_owned(), text.into()),
        None => told.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
    if bytes.len() < *len {
        told.insert(format!("{name}_bytes"), (*len).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8], len: usize) -> Value {
        let mut told = Map::new();
        let beginning = Beginning {
            bytes: bytes.into(),
            len,
        };
        add(&mut told, "value", Some(&beginning));
        told.into()
    }

    #[test]
    fn text_is_text_and_other_bytes_are_base64_and_what_is_cut_says_how_long_it_is() {
        assert_eq!(shown(b"{}", 2), json!({ "value": "{}" }));
        assert_eq!(shown(&[0xff, 0], 2), json!({ "value_base64": "/wA=" }));
        assert_eq!(shown("aé".as_bytes(), 3), json!({ "value": "aé" }));
        let cut = json!({ "value": "a", "value_bytes": 9 });
        assert_eq!(shown(&"aé".as_bytes()[..2], 9), cut);
        assert_eq!(
            shown(&[b'a', 0xff, b'b'], 9),
            json!({ "value_base64": "Yf9i", "value_bytes": 9 })
        );
    }
}
