//! `millrace topics`: creates, lists and describes topics.
//!
//! It must not know how Kafka is spoken to; [`crate::kafka::topics`] does.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

mod describe;

use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;

use super::Output;
use crate::config;
use crate::kafka::topics::{TopicSpec, TopicSummary, Topics};

/// A cluster that is up answers in milliseconds; creating a topic with replicas takes a few seconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Create, list and describe Kafka topics.
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
    /// Show a topic: its partitions, their leaders, replicas and offsets, what is configured for it, and who reads it.
    Describe(describe::Describe),
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
    /// How long records are kept, such as 7d, or `forever`; the broker's default when left out.
    #[arg(long, value_name = "TIME", value_parser = retention_ms)]
    retention: Option<Keep>,
    /// How much of each partition is kept, such as 10GiB, or `unlimited`; the broker's default when left out.
    #[arg(long, value_name = "SIZE", value_parser = retention_bytes)]
    retention_size: Option<Keep>,
    /// What happens to old records: deleted, all but the newest of each key dropped, or both.
    #[arg(long, value_enum)]
    cleanup: Option<Cleanup>,
    /// A setting of the topic, such as min.insync.replicas=2. May be repeated.
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    settings: Vec<(String, String)>,
    /// Succeed when the topic exists already, whatever its partitions.
    #[arg(long)]
    if_not_exists: bool,
}

/// A limit as Kafka writes it: milliseconds or bytes, and -1 for none.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Keep(String);

/// `cleanup.policy` in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Cleanup {
    Delete,
    Compact,
    Both,
}

impl Cleanup {
    fn policy(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
            Self::Both => "compact,delete",
        }
    }
}

fn retention_ms(text: &str) -> Result<Keep, String> {
    if text == "forever" {
        return Ok(Keep("-1".to_owned()));
    }
    let keep = config::units::duration(text).map_err(|error| error.to_string())?;
    Ok(Keep(keep.as_millis().to_string()))
}

fn retention_bytes(text: &str) -> Result<Keep, String> {
    if text == "unlimited" {
        return Ok(Keep("-1".to_owned()));
    }
    let keep = config::units::bytes(text).map_err(|error| error.to_string())?;
    Ok(Keep(keep.to_string()))
}

impl Create {
    /// What was asked for, in Kafka's words.
    fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        let kept = |keep: &Option<Keep>| keep.as_ref().map(|keep| keep.0.clone());
        let options = [
            ("retention.ms", "--retention", kept(&self.retention)),
            (
                "retention.bytes",
                "--retention-size",
                kept(&self.retention_size),
            ),
            (
                "cleanup.policy",
                "--cleanup",
                self.cleanup.map(|it| it.policy().to_owned()),
            ),
        ];
        let mut settings = self.settings.clone();
        for (name, option, value) in options {
            let Some(value) = value else { continue };
            if settings.iter().any(|(written, _)| written == name) {
                anyhow::bail!("{option} and --config {name} say the same: keep one of the two");
            }
            settings.push((name.to_owned(), value));
        }
        Ok(settings)
    }
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
            properties: self.properties.iter().cloned().collect(),
            ..config::Kafka::at(&*self.brokers)
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
    let config = match &args.command {
        Command::Describe(describe) => describe::configuration(describe)?,
        _ => None,
    };
    let kafka = config.as_ref().map(|config| config.kafka.clone());
    let kafka = kafka.unwrap_or_else(|| args.connection.kafka());
    let topics = Topics::new(&kafka, TIMEOUT)?;
    match args.command {
        Command::Create(create) => run_create(&topics, &create, args.output),
        Command::Describe(describe) => {
            describe::run(&topics, &describe, config.as_ref(), args.output)
        }
        Command::List => {
            let listed = topics.list().context("the topics could not be listed")?;
            print_list(&listed, args.output);
            Ok(())
        }
    }
}

fn run_create(topics: &Topics, create: &Create, output: Output) -> anyhow::Result<()> {
    let settings = create.settings()?;
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
            settings,
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
            "--retention",
            "1s",
            "--cleanup",
            "both",
            "--config",
            "min.insync.replicas=1",
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
        let expected = [
            ("min.insync.replicas", "1"),
            ("retention.ms", "1000"),
            ("cleanup.policy", "compact,delete"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(create.settings().unwrap(), expected);
        let kafka = cli.topics.connection.kafka();
        assert_eq!(kafka.brokers, "kafka:9092");
        assert_eq!(kafka.properties["security.protocol"], "SSL");
    }

    #[test]
    fn a_setting_that_is_given_in_two_ways_is_refused() {
        let cli = Cli::try_parse_from([
            "millrace",
            "create",
            "events",
            "--partitions",
            "1",
            "--retention",
            "forever",
            "--config",
            "retention.ms=5",
        ]);
        let Command::Create(create) = cli.unwrap().topics.command else {
            panic!("not create")
        };
        let said = create.settings().unwrap_err().to_string();
        assert_eq!(
            said,
            "--retention and --config retention.ms say the same: keep one of the two"
        );
    }

    #[test]
    fn a_topic_without_partitions_is_refused() {
        for bad in ["0", "-1", "many"] {
            Cli::try_parse_from(["millrace", "create", "events", "--partitions", bad]).unwrap_err();
        }
    }
}
