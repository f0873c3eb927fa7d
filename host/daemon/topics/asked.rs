//! Asks the cluster whether it has and permits what a configuration needs. Nothing is made, joined or written.

use std::time::{Duration, Instant};

use super::Broker;
use super::needs::{self, Need};
use crate::config::Config;
use crate::daemon::online::{Check, State, Trouble};
use crate::kafka::KafkaError;
use crate::kafka::rights::Rights;
use crate::kafka::topics::{TopicSummary, Topics};

/// For all questions to a cluster together: somebody waits for the answer, and each question has a limit of its own.
const ALL_TIME: Duration = Duration::from_secs(60);

/// Adds what the cluster says. It may take `timeout` for each answer.
pub(in crate::daemon) fn ask(config: &Config, timeout: Duration, checks: &mut Vec<Check>) {
    let brokers = &config.kafka.brokers;
    let begun = Topics::new(&config.kafka, timeout);
    let begun = begun.and_then(|topics| Ok((topics.brokers()?, topics)));
    let (count, topics) = match begun {
        Ok(begun) => begun,
        Err(error) => return checks.push(away("kafka".to_owned(), &error)),
    };
    let answer = match count {
        1 => format!("1 broker at {brokers}"),
        count => format!("{count} brokers at {brokers}"),
    };
    checks.push(Check::new("kafka", State::Fine, answer));
    let listed = match topics.list() {
        Ok(listed) => listed,
        Err(error) => return checks.push(away("kafka".to_owned(), &error)),
    };
    let asking = Asking {
        broker: Broker {
            topics,
            brokers: brokers.clone(),
        },
        listed,
        deadline: Instant::now() + ALL_TIME,
    };
    asking.ask_for(config, checks);
}

/// A question that had no answer.
fn away(about: String, error: &KafkaError) -> Check {
    let trouble = match error {
        KafkaError::Unreachable { .. } => Trouble::Away,
        KafkaError::NotTrusted { .. } | KafkaError::NotLoggedIn { .. } | KafkaError::Token(_) => {
            Trouble::Refused
        }
        _ => Trouble::Wrong,
    };
    Check::new(about, State::Wrong(trouble), error.to_string())
}

struct Asking {
    broker: Broker,
    /// What the cluster shows; more may be there.
    listed: Vec<TopicSummary>,
    deadline: Instant,
}

impl Asking {
    fn ask_for(&self, config: &Config, checks: &mut Vec<Check>) {
        let names = self.listed.iter().map(|topic| topic.name.as_str());
        let groups = super::with_matched(config, names);
        let needs = needs::of(config, &groups, |topic| self.partitions(topic));
        let mut there = Vec::new();
        for (topic, need) in &needs {
            if Instant::now() > self.deadline {
                let message = format!("was not asked for: {ALL_TIME:?} are over");
                checks.push(Check::new(
                    format!("topic {topic}"),
                    State::Unknown,
                    message,
                ));
                continue;
            }
            match self.topic(topic, need) {
                None => there.push(topic.clone()),
                Some(check) => checks.push(check),
            }
        }
        self.rights_to_topics(&there, |topic| &needs[topic], checks);
        let ids: Vec<String> = groups.iter().map(|group| group.id.clone()).collect();
        self.rights_to_groups(&ids, checks);
    }

    fn partitions(&self, topic: &str) -> Option<usize> {
        let found = self.listed.iter().find(|found| found.name == topic)?;
        Some(found.partitions)
    }

    /// What there is to say of a topic; none where it is there.
    fn topic(&self, topic: &str, need: &Need) -> Option<Check> {
        if self.partitions(topic).is_some() {
            return None;
        }
        let wrong = |message: String| {
            let about = format!("topic {topic}");
            Some(Check::new(about, State::Wrong(Trouble::Wrong), message))
        };
        let uses = uses(need);
        // A cluster lists what it shows, and says of the rest whether it is hidden.
        match self.broker.topics.describe(topic) {
            Ok(Some(_)) => return None,
            Ok(None) => {}
            Err(KafkaError::Refused { reason, .. }) => {
                return wrong(format!(
                    "the cluster does not show it to this client: {reason}; {uses}: let somebody permit it, or \
                     correct the name"
                ));
            }
            Err(error) => return Some(away(format!("topic {topic}"), &error)),
        }
        let Some(spec) = &need.made else {
            let create = match need.not_made {
                true => "`topics` says `create: false`",
                false => "and the host makes no topic that it only reads",
            };
            return wrong(format!(
                "it does not exist, {create}; {uses}: run `millrace topics create {topic} --partitions N --brokers \
                 {}`, write it under `topics`, or correct the name",
                self.broker.brokers
            ));
        };
        match self.broker.topics.may_create(spec) {
            Ok(()) | Err(KafkaError::TopicExists(_)) => {
                let message = format!("it does not exist, and the host makes it; {uses}");
                Some(Check::new(format!("topic {topic}"), State::Made, message))
            }
            Err(KafkaError::Refused { reason, .. }) => wrong(format!(
                "it does not exist, and the cluster would not create it: {reason}; {uses}: let somebody who may create \
                 it run `{}`",
                self.broker.command(spec)
            )),
            Err(error) => Some(away(format!("topic {topic}"), &error)),
        }
    }

    fn rights_to_topics<'n>(
        &self,
        topics: &[String],
        need: impl Fn(&String) -> &'n Need,
        checks: &mut Vec<Check>,
    ) {
        if topics.is_empty() {
            return;
        }
        let rights = match self.broker.topics.rights_to_topics(topics) {
            Ok(rights) => rights,
            Err(error) => return checks.push(untold("topics", &error.to_string())),
        };
        for topic in topics {
            let need = need(topic);
            let uses = uses(need);
            let about = format!("topic {topic}");
            let (state, message) = match rights.get(topic).copied().flatten() {
                None => (
                    State::Unknown,
                    format!(
                        "it exists; the cluster does not say what this client may do with it; {uses}"
                    ),
                ),
                Some(Rights { read, write }) => {
                    let lacking = [
                        (!read && !need.read_by.is_empty(), "Read"),
                        (!write && !need.written.is_empty(), "Write"),
                    ];
                    let lacking = lacking.into_iter().filter(|(lacks, _)| *lacks);
                    let lacking: Vec<&str> = lacking.map(|(_, right)| right).collect();
                    match lacking.is_empty() {
                        true => (State::Fine, format!("it exists; {uses}")),
                        false => (
                            State::Wrong(Trouble::Wrong),
                            format!(
                                "this client lacks the right {} to it; {uses}: let somebody grant it",
                                lacking.join(" and ")
                            ),
                        ),
                    }
                }
            };
            checks.push(Check::new(about, state, message));
        }
    }

    fn rights_to_groups(&self, ids: &[String], checks: &mut Vec<Check>) {
        if ids.is_empty() {
            return;
        }
        let rights = match self.broker.topics.rights_to_groups(ids) {
            Ok(rights) => rights,
            Err(error) => return checks.push(untold("groups", &error.to_string())),
        };
        for id in ids {
            let (state, message) = match rights.get(id).copied().flatten() {
                None => (
                    State::Unknown,
                    "the cluster does not say whether this client may join it",
                ),
                Some(Rights { read: true, .. }) => (State::Fine, "this client may join it"),
                Some(_) => (
                    State::Wrong(Trouble::Wrong),
                    "this client lacks the right Read to it, and cannot join it or commit: let somebody grant it",
                ),
            };
            checks.push(Check::new(format!("group {id}"), state, message.to_owned()));
        }
    }
}

fn untold(what: &str, reason: &str) -> Check {
    let message = format!("it cannot be told what this client may do with {what}: {reason}");
    Check::new("kafka", State::Unknown, message)
}

/// What a topic is for, for people.
fn uses(need: &Need) -> String {
    let read = (!need.read_by.is_empty()).then(|| format!("{} reads it", need.read_by.join(", ")));
    let written =
        (!need.written.is_empty()).then(|| format!("{} go there", need.written.join(", ")));
    let uses: Vec<String> = read.into_iter().chain(written).collect();
    match uses.is_empty() {
        true => "it is written under `topics`".to_owned(),
        false => uses.join(", and "),
    }
}
