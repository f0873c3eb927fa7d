//! Dead letters run again with another version of their plugin, out of the data path. It must not know what follows
//! from how they end.

use std::path::Path;

use anyhow::{Context as _, bail};

use crate::authoring;
use crate::authoring::fixture::Fixture;
use crate::authoring::rig::Rig;
use crate::authoring::subject::Subject;
use crate::config::{self, Config, Decode};
use crate::dead_letters::{DeadLettersError, Judged, Letter};
use crate::delivery::dead_letter::{Cause, redriven};
use crate::sandbox::Compiler;

/// Causes that no version of a plugin has a part in, because it was not called.
const BEFORE_THE_CALL: [Cause; 3] = [Cause::Decode, Cause::Schema, Cause::UnknownType];

/// A plugin of the configuration, with another component.
#[derive(Debug)]
pub(super) struct Trial<'c> {
    config: &'c Config,
    plugin: String,
    rig: Rig,
}

impl<'c> Trial<'c> {
    /// Loads the component with what the plugin may use. What it would ask others is refused: a trial has no effects.
    pub(super) fn of(
        component: &Path,
        config: &'c Config,
        plugin: Option<&str>,
    ) -> anyhow::Result<Self> {
        let name = match plugin {
            Some(name) => name.to_owned(),
            None => only_plugin(config)?,
        };
        let plugin = config
            .plugins
            .get(&name)
            .with_context(|| format!("the configuration has no plugin {name}"))?;
        let subject = Subject {
            name: name.clone(),
            topic: String::new(),
            plugin: config::Plugin {
                path: component.to_owned(),
                origin: config::Origin::default(),
                trial: None,
                only_watches: true,
                ..plugin.clone()
            },
            manifest: None,
        };
        let loaded = subject.load(&authoring::sandbox(Compiler::own_child()?)?)?;
        Ok(Self {
            config,
            plugin: name,
            rig: Rig::new(loaded, String::new())?,
        })
    }

    /// Whose letters can be tried.
    pub(super) fn plugin(&self) -> &str {
        &self.plugin
    }

    /// Runs a letter as the event that it would be once it is put back.
    pub(super) fn judge(&mut self, letter: &Letter) -> Result<Judged, DeadLettersError> {
        if !self.can_be_tried(letter) {
            return Ok(Judged::Unknown);
        }
        let record = &letter.record;
        let mut event = authoring::dead_letter::event_of(
            (&record.topic, record.partition, record.offset),
            record.timestamp_ms,
            (record.key.as_deref(), record.value.as_deref()),
            &record.headers,
        );
        event = Fixture {
            headers: redriven(&record.headers, letter.account.as_ref()),
            ..event
        };
        let ran = self.rig.run(&event);
        Ok(match ran.outcome.is_success() {
            true => Judged::Fixed,
            false => Judged::Failing,
        })
    }

    /// Whether the plugin was called with what lies in the letter.
    fn can_be_tried(&self, letter: &Letter) -> bool {
        let Some(account) = &letter.account else {
            return false;
        };
        let before_the_call = BEFORE_THE_CALL.map(Cause::word);
        let group = self.config.groups.iter().find(|it| it.id == account.group);
        let origin = account.origin.as_ref();
        let route = group
            .zip(origin)
            .and_then(|(group, origin)| group.route_of(&origin.0));
        let is_decoded = |decode: Option<Decode>| decode.is_some();
        !before_the_call.contains(&account.cause.as_str())
            && !route.is_some_and(|route| is_decoded(route.decode))
    }
}

fn only_plugin(config: &Config) -> anyhow::Result<String> {
    let mut names = config.plugins.keys();
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name.clone()),
        _ => bail!("say with --plugin which plugin the component is a version of"),
    }
}
