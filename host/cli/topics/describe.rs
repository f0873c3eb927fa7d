//! `millrace topics describe`: one topic, with all that the cluster and a configuration say of it.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::super::Output;
use crate::config::{self, Config, Group};
use crate::kafka::KafkaError;
use crate::kafka::topics::{PartitionDetails, TopicSetting, Topics};

/// Arguments of `millrace topics describe`.
#[derive(Debug, Args)]
pub(super) struct Describe {
    /// Its name.
    name: String,
    /// Takes the cluster from this configuration, and shows which of its groups read the topic.
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// A group that reads the topic.
struct Reader {
    group: String,
    plugin: String,
    /// The route: the topic itself, or a pattern.
    route: String,
}

struct Described {
    name: String,
    partitions: Vec<PartitionDetails>,
    /// What was set for this topic, or why nobody says.
    settings: Result<Vec<TopicSetting>, KafkaError>,
    /// None where no configuration was given.
    readers: Option<Vec<Reader>>,
}

/// Runs it.
///
/// # Errors
/// There is no such topic, or the cluster does not answer.
pub(super) fn run(
    topics: &Topics,
    describe: &Describe,
    config: Option<&Config>,
    output: Output,
) -> anyhow::Result<()> {
    let name = &describe.name;
    let Some(partitions) = topics.details(name)? else {
        anyhow::bail!(
            "topic {name} does not exist; `millrace topics list` shows those that do, and `millrace topics create \
             {name} --partitions N` makes it"
        );
    };
    let own = |settings: Vec<TopicSetting>| settings.into_iter().filter(|it| it.own).collect();
    let described = Described {
        name: name.clone(),
        partitions,
        settings: topics.settings(name).map(own),
        readers: config.map(|config| readers(config, name)),
    };
    match output {
        Output::Json => println!("{}", described.json()),
        Output::Text => print!("{}", described.text()),
    }
    Ok(())
}

fn readers(config: &Config, topic: &str) -> Vec<Reader> {
    let reader = |group: &Group| {
        let route = group.route_of(topic)?;
        let by_name = group.routes.contains_key(topic);
        if !by_name && config.writes_itself(group, topic) {
            return None;
        }
        let patterns = group.patterns.iter();
        let pattern = patterns
            .filter(|by| by.pattern.matches(topic))
            .find(|by| by.route == *route);
        Some(Reader {
            group: group.id.clone(),
            plugin: route.plugin.clone(),
            route: pattern
                .filter(|_| !by_name)
                .map_or(topic, |by| by.pattern.text())
                .to_owned(),
        })
    };
    config.groups.iter().filter_map(reader).collect()
}

impl Described {
    fn json(&self) -> Value {
        let partitions = self.partitions.iter().map(|partition| {
            json!({
                "partition": partition.partition,
                "leader": partition.leader,
                "replicas": partition.replicas,
                "in_sync": partition.in_sync,
                "oldest_offset": partition.offsets.map(|(oldest, _)| oldest),
                "end_offset": partition.offsets.map(|(_, end)| end),
            })
        });
        let settings = self.settings.as_ref().ok().map(|settings| {
            let settings = settings.iter();
            let settings = settings.map(|it| (it.name.clone(), Value::from(it.value.as_str())));
            Value::Object(settings.collect())
        });
        let readers = self.readers.as_ref().map(|readers| {
            let readers = readers.iter().map(|reader| {
                json!({ "group": reader.group, "plugin": reader.plugin, "route": reader.route })
            });
            readers.collect::<Vec<_>>()
        });
        json!({
            "topic": self.name,
            "partitions": partitions.collect::<Vec<_>>(),
            "config": settings,
            "groups": readers,
        })
    }

    fn text(&self) -> String {
        let mut text = format!("{}: {} partitions\n", self.name, self.partitions.len());
        let ids = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        let rows = self.partitions.iter().map(|partition| {
            let offset =
                |offset: Option<i64>| offset.map_or_else(|| "?".to_owned(), |it| it.to_string());
            [
                partition.partition.to_string(),
                partition
                    .leader
                    .map_or_else(|| "none".to_owned(), |it| it.to_string()),
                ids(&partition.replicas),
                ids(&partition.in_sync),
                offset(partition.offsets.map(|(oldest, _)| oldest)),
                offset(partition.offsets.map(|(_, end)| end)),
            ]
        });
        let head = [
            "partition",
            "leader",
            "replicas",
            "in sync",
            "oldest",
            "end",
        ]
        .map(str::to_owned);
        let rows: Vec<[String; 6]> = std::iter::once(head).chain(rows).collect();
        let width = |at: usize| rows.iter().map(|row| row[at].len()).max().unwrap_or(0);
        for row in &rows {
            let cells = row.iter().enumerate();
            let cells = cells.map(|(at, cell)| format!("{cell:>width$}", width = width(at)));
            text.push_str(&format!("  {}\n", cells.collect::<Vec<_>>().join("  ")));
        }
        match &self.settings {
            Ok(settings) if settings.is_empty() => {
                text.push_str("configuration: the defaults of the brokers\n")
            }
            Ok(settings) => {
                text.push_str("configuration of its own:\n");
                for setting in settings {
                    text.push_str(&format!("  {}={}\n", setting.name, setting.value));
                }
            }
            Err(error) => text.push_str(&format!("configuration: {error}\n")),
        }
        match self.readers.as_deref() {
            None => {}
            Some([]) => text.push_str("groups: none of the configuration reads it\n"),
            Some(readers) => {
                text.push_str("groups that read it:\n");
                for Reader {
                    group,
                    plugin,
                    route,
                } in readers
                {
                    text.push_str(&format!("  {group}: {route} -> {plugin}\n"));
                }
            }
        }
        text
    }
}

/// Reads the configuration that was named.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn configuration(describe: &Describe) -> anyhow::Result<Option<Config>> {
    let Some(file) = &describe.config else {
        return Ok(None);
    };
    Ok(Some(config::load(
        file,
        config::process_environment(),
        &[],
    )?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_shown_with_its_partitions_and_who_reads_it() {
        let partition = |partition, leader, offsets| PartitionDetails {
            partition,
            leader,
            replicas: vec![1, 2],
            in_sync: vec![1],
            offsets,
        };
        let described = Described {
            name: "orders.eu".to_owned(),
            partitions: vec![
                partition(0, Some(1), Some((0, 120))),
                partition(1, None, None),
            ],
            settings: Ok(vec![TopicSetting {
                name: "retention.ms".to_owned(),
                value: "1000".to_owned(),
                own: true,
            }]),
            readers: Some(vec![Reader {
                group: "billing".to_owned(),
                plugin: "bill".to_owned(),
                route: "orders.*".to_owned(),
            }]),
        };
        assert_eq!(
            described.text(),
            "\
orders.eu: 2 partitions
  partition  leader  replicas  in sync  oldest  end
          0       1       1,2        1       0  120
          1    none       1,2        1       ?    ?
configuration of its own:
  retention.ms=1000
groups that read it:
  billing: orders.* -> bill
"
        );
        let json = described.json();
        assert_eq!(json["partitions"][0]["end_offset"], 120);
        assert_eq!(json["partitions"][1]["leader"], Value::Null);
        assert_eq!(json["config"]["retention.ms"], "1000");
        assert_eq!(json["groups"][0]["route"], "orders.*");
    }
}
