//! Topics that the configuration names: made where they are missing and may be made, and held against what is written
//! where they are there. Nothing of a topic that exists is changed.

use super::super::DaemonError;
use super::Broker;
use crate::config::{Config, TopicPlan};
use crate::kafka::KafkaError;
use crate::kafka::topics::{TopicSetting, TopicSpec, TopicSummary};

impl Broker {
    /// Makes the topics of the section `topics` that are missing. What is there and differs is reported.
    ///
    /// # Errors
    /// One is missing and may not be made, or the broker does not answer.
    pub(super) fn prepare_declared(&self, config: &Config) -> Result<(), DaemonError> {
        for (name, plan) in &config.topics {
            self.prepare_one(name, plan)?;
        }
        Ok(())
    }

    fn prepare_one(&self, name: &str, plan: &TopicPlan) -> Result<(), DaemonError> {
        let spec = plan.spec(name);
        let topic = name.to_owned();
        match self.topics.describe(name) {
            Ok(Some(found)) => {
                self.report(plan, &found);
                return Ok(());
            }
            Ok(None) => {}
            Err(KafkaError::Refused { reason, .. }) => {
                let command = self.command(&spec);
                return Err(DaemonError::DeclaredNotShown {
                    topic,
                    reason,
                    command,
                });
            }
            Err(error) => return Err(error.into()),
        }
        if !plan.create {
            let command = self.command(&spec);
            return Err(DaemonError::DeclaredMissing { topic, command });
        }
        match self.topics.create(&spec) {
            Ok(()) => {
                tracing::info!(topic = %name, partitions = spec.partitions, "topic created");
                Ok(())
            }
            // Another host has just done it.
            Err(KafkaError::TopicExists(_)) => Ok(()),
            Err(KafkaError::Refused { reason, .. }) => Err(DaemonError::DeclaredNotCreated {
                topic,
                reason,
                command: self.command(&spec),
            }),
            Err(error) => Err(error.into()),
        }
    }

    fn report(&self, plan: &TopicPlan, found: &TopicSummary) {
        let topic = &found.name;
        let settings = match self.topics.settings(topic) {
            _ if plan.settings.is_empty() => Vec::new(),
            Ok(settings) => settings,
            Err(error) => {
                tracing::warn!(%topic, %error, "it cannot be seen whether the topic is configured as it is written");
                Vec::new()
            }
        };
        for difference in differences(plan, found, &settings) {
            tracing::warn!(%topic, "the topic is not what the configuration says, and is left as it is: {difference}");
        }
    }
}

impl TopicPlan {
    pub(super) fn spec(&self, name: &str) -> TopicSpec {
        TopicSpec {
            name: name.to_owned(),
            partitions: self.partitions.unwrap_or(1),
            replication: self.replication,
            settings: self.settings.clone().into_iter().collect(),
        }
    }
}

/// What a topic is otherwise than it is written. Settings that nobody could see are not compared.
pub(in super::super) fn differences(
    plan: &TopicPlan,
    found: &TopicSummary,
    settings: &[TopicSetting],
) -> Vec<String> {
    let mut differences = Vec::new();
    let mut count = |what: &str, is: usize, written: Option<u16>| {
        if let Some(written) = written.map(usize::from).filter(|written| *written != is) {
            differences.push(format!("it has {is} {what}, and {written} are written"));
        }
    };
    count("partitions", found.partitions, plan.partitions);
    count("replicas", found.replication, plan.replication);
    for (name, written) in &plan.settings {
        let is = settings.iter().find(|setting| setting.name == *name);
        match is {
            Some(is) if !same(&is.value, written) => {
                differences.push(format!("{name} is {}, and {written} is written", is.value));
            }
            None if !settings.is_empty() => {
                differences.push(format!("the cluster knows no setting {name}"));
            }
            _ => {}
        }
    }
    differences
}

/// A list means the same in any order.
fn same(one: &str, other: &str) -> bool {
    let parts = |text: &str| {
        let mut parts: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
        parts.sort();
        parts
    };
    parts(one) == parts(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_said_and_what_was_not_written_is_no_difference() {
        let plan = TopicPlan {
            partitions: Some(6),
            replication: None,
            settings: [
                ("retention.ms".to_owned(), "1000".to_owned()),
                ("cleanup.policy".to_owned(), "compact,delete".to_owned()),
                ("retension.ms".to_owned(), "1".to_owned()),
            ]
            .into(),
            create: true,
        };
        let found = TopicSummary {
            name: "t".to_owned(),
            partitions: 3,
            replication: 1,
        };
        let setting = |name: &str, value: &str| TopicSetting {
            name: name.to_owned(),
            value: value.to_owned(),
            own: true,
        };
        let settings = [
            setting("retention.ms", "604800000"),
            setting("cleanup.policy", "delete,compact"),
        ];
        assert_eq!(
            differences(&plan, &found, &settings),
            [
                "it has 3 partitions, and 6 are written",
                "the cluster knows no setting retension.ms",
                "retention.ms is 604800000, and 1000 is written",
            ]
        );
        assert_eq!(differences(&plan, &found, &[]).len(), 1);
    }
}
