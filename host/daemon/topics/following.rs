//! While the host runs: topics that appear and match, sources and retry topics that grow. What is found is told to the
//! groups. It must not know how a group takes it up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::Broker;
use super::matching::{outputs, with_matched};
use crate::config::{Config, Group};
use crate::kafka::KafkaError;
use crate::pipeline::{PauseDesk, Sources, TOPICS_MAX};
use crate::schema::Preparation;

/// Topics with their partitions.
type Partitions = BTreeMap<String, usize>;

/// What is done with the events of the sources of a group before their plugin is called.
pub(in super::super) type Prepare = Box<dyn Fn(&Group) -> BTreeMap<String, Preparation> + Send>;

/// The thread that looks after the topics. Dropped, it ends before its next look; nobody waits for it, because a look
/// may wait for a broker that is away.
#[derive(Debug)]
pub(in super::super) struct Following {
    _stop: Sender<()>,
}

impl Following {
    /// Starts looking every `interval`, with what is known of topics that are written to. `groups` are their sources and pauses, in their order.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(in super::super) fn start(
        broker: Broker,
        (config, partitions): (&Config, &Partitions),
        groups: Vec<(Sources, Arc<PauseDesk>)>,
        prepare: Prepare,
        interval: Duration,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let (sources, pauses): (Vec<_>, Vec<_>) = groups.into_iter().unzip();
        let mut looked = Looked {
            broker,
            config: config.clone(),
            said: vec![None; sources.len()],
            sources,
            pauses,
            partitions: partitions.clone(),
            prepare,
            last: None,
        };
        let thread = thread::Builder::new().name("topics".to_owned());
        thread.spawn(move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                looked.look();
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

/// What has been found so far.
struct Looked {
    broker: Broker,
    config: Config,
    sources: Vec<Sources>,
    pauses: Vec<Arc<PauseDesk>>,
    /// Of topics that are written to.
    partitions: Partitions,
    prepare: Prepare,
    /// What there was at the last look.
    last: Option<Partitions>,
    /// What each group was told last.
    said: Vec<Option<String>>,
}

impl Looked {
    fn look(&mut self) {
        for pauses in &self.pauses {
            let topics = &self.broker.topics;
            pauses.note_ends(|topic, partition| topics.end(topic, partition).ok());
        }
        let now = match self.there_is() {
            Ok(now) => now,
            Err(error) => {
                // The groups say by themselves that the cluster is away, and the next look asks again.
                tracing::debug!(%error, "the topics could not be looked at");
                return;
            }
        };
        // A cluster that has just elected may show less than it has: a topic is gone when two looks miss it.
        let mut there = self.last.replace(now.clone()).unwrap_or_default();
        there.extend(now);
        let groups = with_matched(&self.config, there.keys().map(String::as_str));
        for (at, mut group) in groups.into_iter().enumerate() {
            let note = self.get_ready(at, &mut group, &there);
            let preparations = (self.prepare)(&group);
            self.sources[at].follow(&group, (&self.partitions, &preparations));
            if note != self.said[at] {
                if let Some(note) = &note {
                    tracing::warn!(group = %group.id, "{note}");
                }
                self.sources[at].note(note.clone());
                self.said[at] = note;
            }
        }
    }

    /// Every topic where a pattern may match any, else those that matter.
    fn there_is(&self) -> Result<Partitions, KafkaError> {
        let groups = &self.config.groups;
        if groups.iter().any(|group| !group.patterns.is_empty()) {
            let listed = self.broker.topics.list()?;
            let listed = listed.into_iter();
            return Ok(listed.map(|topic| (topic.name, topic.partitions)).collect());
        }
        let mut found = Partitions::new();
        for group in groups {
            let outputs = outputs(&self.config, group).into_iter();
            let retry = group.retry.topics.iter();
            let retry = retry.flat_map(|(source, retry)| [source.as_str(), retry.as_str()]);
            for topic in outputs.chain(retry) {
                if !found.contains_key(topic)
                    && let Some(summary) = self.broker.topics.describe(topic)?
                {
                    found.insert(topic.to_owned(), summary.partitions);
                }
            }
        }
        Ok(found)
    }

    /// Gets the retry topics of the group ready, and leaves out new sources that cannot be read yet. Says what a person
    /// has to do.
    fn get_ready(&mut self, at: usize, group: &mut Group, there: &Partitions) -> Option<String> {
        let sources = self.sources[at].clone();
        for topic in outputs(&self.config, group) {
            if let Some(partitions) = there.get(topic) {
                self.partitions.insert(topic.to_owned(), *partitions);
            }
        }
        let mut room = sources.room();
        let mut notes = Vec::new();
        for source in group.routes.clone().into_keys() {
            let is_new = !sources.knows(&source);
            let places = 1 + usize::from(group.retry.topics.contains_key(&source));
            if is_new && room < places {
                group.routes.remove(&source);
                notes.push(format!(
                    "topic {source} is not read: the group has as many topics as it can have, {TOPICS_MAX}; write \
                     narrower patterns, or a second group"
                ));
                continue;
            }
            let Some(&partitions) = there.get(&source) else {
                continue;
            };
            match self.prepare_retry(group, (&source, partitions), there) {
                Ok(()) if is_new => {
                    room -= places;
                    tracing::info!(group = %group.id, topic = %source, partitions, "a topic appeared and is read");
                }
                Ok(()) => {}
                Err(why) if is_new => {
                    group.routes.remove(&source);
                    group.retry.topics.remove(&source);
                    notes.push(format!("topic {source} is not read: {why}"));
                }
                // Its copies go to fewer partitions meanwhile.
                Err(why) => notes.push(why),
            }
        }
        // One is enough to act on, and a hundred would be read by nobody.
        let more = notes.len().saturating_sub(1);
        let first = notes.into_iter().next()?;
        Some(match more {
            0 => first,
            more => format!("{first} (and {more} more)"),
        })
    }

    fn prepare_retry(
        &mut self,
        group: &Group,
        (source, partitions): (&str, usize),
        there: &Partitions,
    ) -> Result<(), String> {
        let Some(retry) = group.retry.topics.get(source) else {
            return match group.retry.topic_name {
                Some(_) => Err("its retry topic would have a name that is too long; write a shorter `retry.topic`".to_owned()),
                None => Ok(()),
            };
        };
        if there.get(retry).is_some_and(|found| *found >= partitions) {
            self.partitions.insert(retry.clone(), there[retry]);
            return Ok(());
        }
        match self.broker.create_retry(group, (source, partitions), retry) {
            Ok(found) => {
                self.partitions.insert(retry.clone(), found);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}
