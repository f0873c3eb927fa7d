//! Options that the commands about dead letters share.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{bail, ensure};
use clap::Args;

use crate::cli::topics::Connection;
use crate::config::{self, Config};
use crate::dead_letters::{DeadLetters, Filter, LetterId, moment};

/// Where the dead letters are.
#[derive(Debug, Clone, Args)]
pub(super) struct Place {
    /// Takes the cluster from this configuration instead of --brokers, and the topic where its groups have one.
    #[arg(short, long, value_name = "FILE", conflicts_with = "brokers")]
    config: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

impl Place {
    /// How to reach the cluster, and the configuration where there is one.
    pub(super) fn load(&self) -> anyhow::Result<(config::Kafka, Option<Config>)> {
        let Some(path) = &self.config else {
            return Ok((self.connection.kafka(), None));
        };
        let config = config::load(path, config::process_environment(), &[])?;
        Ok((config.kafka.clone(), Some(config)))
    }

    /// The dead letters of the topic that is named, or of the only one that the configuration has.
    pub(super) fn letters(
        &self,
        topic: Option<&str>,
    ) -> anyhow::Result<(DeadLetters, Option<Config>)> {
        let (kafka, config) = self.load()?;
        let topic = match topic {
            Some(topic) => topic.to_owned(),
            None => only_topic(config.as_ref())?,
        };
        Ok((DeadLetters::of(&kafka, topic)?, config))
    }
}

fn only_topic(config: Option<&Config>) -> anyhow::Result<String> {
    let Some(config) = config else {
        bail!("name the topic of dead letters, or the configuration with -c FILE");
    };
    let groups = config.groups.iter();
    let topics: BTreeSet<&str> = groups.map(|it| it.dead_letter.topic.as_str()).collect();
    let mut found = topics.iter();
    match (found.next(), found.next()) {
        (Some(topic), None) => Ok((*topic).to_owned()),
        (None, _) => bail!("no group of the configuration has dead letters: name the topic"),
        _ => {
            let topics: Vec<&str> = topics.into_iter().collect();
            bail!(
                "the groups of the configuration have several topics of dead letters; name one of {}",
                topics.join(", ")
            )
        }
    }
}

/// Which dead letters.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct FilterArgs {
    /// Those of this cause, such as trap. May be repeated.
    #[arg(long = "cause", value_name = "CAUSE")]
    causes: Vec<String>,
    /// Those that this plugin gave up.
    #[arg(long)]
    pub(super) plugin: Option<String>,
    /// Those that this group gave up.
    #[arg(long)]
    group: Option<String>,
    /// Those that came from this topic.
    #[arg(long, value_name = "TOPIC")]
    source: Option<String>,
    /// Those that came from this partition of it.
    #[arg(long, value_name = "PARTITION", value_parser = clap::value_parser!(i32).range(0..))]
    source_partition: Option<i32>,
    /// Those with this key.
    #[arg(long)]
    key: Option<String>,
    /// Those given up since then: a time such as 2026-11-29T12:30:00Z, or 2h for two hours ago.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<i64>,
    /// Those given up before then.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<i64>,
    /// Those with this text in their message, in whatever case.
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Those of this signature, as `clusters` shows it.
    #[arg(long, value_name = "SIGNATURE")]
    signature: Option<String>,
}

impl FilterArgs {
    pub(super) fn filter(&self) -> Filter {
        Filter {
            ids: BTreeSet::new(),
            causes: self.causes.clone(),
            plugin: self.plugin.clone(),
            group: self.group.clone(),
            source: self.source.clone(),
            source_partition: self.source_partition,
            key: self.key.clone().map(String::into_bytes),
            since_ms: self.since,
            until_ms: self.until,
            message: self.message.clone(),
            signature: self.signature.clone(),
        }
    }
}

/// A topic, or letters of one topic by their ids.
pub(super) fn topic_and_ids(
    what: &[String],
) -> anyhow::Result<(Option<String>, BTreeSet<LetterId>)> {
    if let [topic] = what
        && !topic.contains('/')
    {
        return Ok((Some(topic.clone()), BTreeSet::new()));
    }
    let ids = what.iter().map(|word| word.parse::<LetterId>());
    let ids: BTreeSet<LetterId> = ids.collect::<Result<_, _>>()?;
    let topics: BTreeSet<&str> = ids.iter().map(|id| id.topic.as_str()).collect();
    ensure!(
        topics.len() <= 1,
        "the ids are of several topics: do one topic after the other"
    );
    Ok((topics.first().map(|topic| (*topic).to_owned()), ids))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_is_a_topic_or_ids_of_one() {
        let words = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let (topic, ids) = topic_and_ids(&words(&["orders.dlq"])).unwrap();
        assert_eq!((topic.as_deref(), ids.len()), (Some("orders.dlq"), 0));
        let (topic, ids) = topic_and_ids(&words(&["a/0/1", "a/0/2"])).unwrap();
        assert_eq!((topic.as_deref(), ids.len()), (Some("a"), 2));
        topic_and_ids(&words(&["a/0/1", "b/0/2"])).unwrap_err();
        topic_and_ids(&words(&["a", "b"])).unwrap_err();
    }
}
