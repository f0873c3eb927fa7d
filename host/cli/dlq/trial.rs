//! Dead letters run again with another version of their plugin, out of the data path. It must not know what follows
//! from how they end.

use std::path::Path;

use anyhow::{Context as _, bail};

use crate::authoring;
use crate::authoring::fixture::Fixture;
use crate::authoring::rig::Rig;
use crate::authoring::shown::{NotShown, Shown};
use crate::authoring::subject::Subject;
use crate::config::{self, Config};
use crate::dead_letters::{DeadLettersError, Judged, Letter};
use crate::delivery::dead_letter::redriven;
use crate::sandbox::Compiler;

/// A plugin of the configuration, with another component.
#[derive(Debug)]
pub(super) struct Trial {
    plugin: String,
    shown: Shown,
    rig: Rig,
}

impl Trial {
    /// Loads the component with what the plugin may use. What it would ask others is refused: a trial has no effects.
    pub(super) fn of(
        component: &Path,
        config: &Config,
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
            shown: Shown::of(config)?,
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
        let account = letter.account.as_ref();
        let record = &letter.record;
        let event = authoring::dead_letter::event_of(
            (&record.topic, record.partition, record.offset),
            record.timestamp_ms,
            (record.key.as_deref(), record.value.as_deref()),
            &record.headers,
        );
        let origin = account.and_then(|it| it.origin.clone());
        let (topic, partition, offset) = origin.map_or((None, None, None), |origin| {
            (Some(origin.0), origin.1, origin.2)
        });
        let event = Fixture {
            // Letters of other systems say it in their own way.
            topic: topic.or(event.topic),
            partition: partition.or(event.partition),
            offset: offset.or(event.offset),
            headers: redriven(&record.headers, account),
            ..event
        };
        let group = account.map_or("", |account| &account.group);
        let event = match self.shown.event(group, event) {
            Ok(event) => event,
            Err(NotShown::Flawed(_)) => return Ok(Judged::Failing),
            Err(NotShown::NotNow(why)) => return Err(DeadLettersError::Judge(why)),
        };
        let ran = self.rig.run(&event);
        Ok(match ran.outcome.is_success() {
            true => Judged::Fixed,
            false => Judged::Failing,
        })
    }
}

fn only_plugin(config: &Config) -> anyhow::Result<String> {
    let mut names = config.plugins.keys();
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name.clone()),
        _ => bail!("say with --plugin which plugin the component is a version of"),
    }
}
