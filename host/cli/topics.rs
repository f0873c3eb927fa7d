//! `millrace topics`: creates and lists topics.
//!
//! It must not know how Kafka is spoken to; [`crate::kafka::topics`] does.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;

use super::Output;
use crate::config;
use crate::kafka::topics::{TopicSpec, TopicSummary, Topics};

/// A cluster that is up answers in milliseconds; creating a topic with replicas takes a few seconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Records up to the size that Kafka accepts by default.
const MESSAGE_MAX_BYTES: usize = 1_000_000;

/// Create and list Kafka topics.
#[derive(Debug, Args)]
pub struct TopicsArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t, global = true)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a topic.
    Create(Create),
    /// List the topics, without Kafka's internal ones.
    List,
}

#[derive(Debug, Args)]
struct Create {
    /// Its name.
    name: String,
    /// How many partitions; the most consumers of one group that can share the topic.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    partitions: u16,
    /// How many copies of each partition; the broker's default when left out.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    replication: Option<u16>,
    /// A setting of the topic, such as retention.ms=86400000. May be repeated.
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    settings: Vec<(String, String)>,
    /// Succeed when the topic exists already, whatever its partitions.
    #[arg(long)]
    if_not_exists: bool,
}

/// How to reach the cluster from the command line.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// Kafka brokers, HOST:PORT, separated by commas.
    #[arg(long, default_value = "localhost:9092", global = true)]
    brokers: String,
    /// A librdkafka property, such as security.protocol=SSL. May be repeated.
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = key_value, global = true)]
    properties: Vec<(String, String)>,
}

impl Connection {
    /// The same as the configuration file would say.
    #[must_use]
    pub fn kafka(&self) -> config::Kafka {
        config::Kafka {
            brokers: self.brokers.clone(),
            properties: self.properties.iter().cloned().collect::<BTreeMap<_, _>>(),
            message_max_bytes: MESSAGE_MAX_BYTES,
        }
    }
}

/// Reads `KEY=VALUE`.
fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

/// Runs `millrace topics`.
///
/// # Errors
/// When the cluster cannot be reached or refuses.
pub fn run(args: TopicsArgs) -> anyhow::Result<()> {
    let topics = Topics::new(&args.connection.kafka(), TIMEOUT)?;
    match args.command {
        Command::Create(create) => run_create(&topics, create, args.output),
        Command::List => {
            let listed = topics.list().context("the topics could not be listed")?;
            print_list(&listed, args.output);
            Ok(())
        }
    }
}

fn run_create(topics: &Topics, create: Create, output: Output) -> anyhow::Result<()> {
    let existing = if create.if_not_exists {
        topics.describe(&create.name)?
    } else {
        None
    };
    let created = existing.is_none();
    let partitions = existing.map_or(usize::from(create.partitions), |topic| topic.partitions);
    if created {
        topics.create(&TopicSpec {
            name: create.name.clone(),
            partitions: create.partitions,
            replication: create.replication,
            settings: create.settings,
        })?;
    }
    match output {
        Output::Json => println!(
            "{}",
            json!({ "topic": create.name, "partitions": partitions, "created": created })
        ),
        Output::Text if created => println!("created {} ({partitions} partitions)", create.name),
        Output::Text => println!("{} exists already ({partitions} partitions)", create.name),
    }
    Ok(())
}

fn print_list(topics: &[TopicSummary], output: Output) {
    match output {
        Output::Json => {
            let rows: Vec<_> = topics
                .iter()
                .map(|topic| {
                    json!({
                        "topic": topic.name,
                        "partitions": topic.partitions,
                        "replication": topic.replication,
                    })
                })
                .collect();
            println!("{}", json!(rows));
        }
        Output::Text => {
            let width = topics
                .iter()
                .map(|topic| topic.name.len())
                .max()
                .unwrap_or(0)
                .max(5);
            println!("{:width$}  partitions  replication", "topic");
            for TopicSummary {
                name,
                partitions,
                replication,
            } in topics
            {
                println!("{name:width$}  {partitions:>10}  {replication:>11}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        topics: TopicsArgs,
    }

    #[test]
    fn create_takes_its_settings_and_the_connection_after_the_subcommand() {
        let cli = Cli::try_parse_from([
            "millrace",
            "create",
            "events",
            "--partitions",
            "4",
            "--config",
            "retention.ms=1000",
            "--brokers",
            "kafka:9092",
            "--property",
            "security.protocol=SSL",
            "--output",
            "json",
        ])
        .unwrap();
        let Command::Create(create) = cli.topics.command else {
            panic!("not create")
        };
        assert_eq!((create.name.as_str(), create.partitions), ("events", 4));
        assert_eq!(
            create.settings,
            [("retention.ms".to_owned(), "1000".to_owned())]
        );
        let kafka = cli.topics.connection.kafka();
        assert_eq!(kafka.brokers, "kafka:9092");
        assert_eq!(kafka.properties["security.protocol"], "SSL");
    }

    #[test]
    fn a_topic_without_partitions_is_refused() {
        for bad in ["0", "-1", "many"] {
            Cli::try_parse_from(["millrace", "create", "events", "--partitions", bad]).unwrap_err();
        }
    }
}
