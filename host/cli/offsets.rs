//! `millrace offsets`: where a group stands, and setting it while it is stopped. It must not know how offsets are set;
//! [`crate::replay`] does.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

use std::time::Duration;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::Output;
use super::run::ConfigArgs;
use crate::config::{Config, Group};
use crate::daemon::matched_group;
use crate::delivery::offsets::Offset;
use crate::kafka::group_offsets::GroupOffsets;
use crate::replay::{
    Chosen, Moved, Position, ReplayError, Setting, Standing, check_nobody_is_in, locate,
    set_offsets, standings,
};
use crate::since_1970;

/// A cluster that is up answers in milliseconds; a coordinator that moves takes a few seconds.
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);

/// Show and set the committed offsets of a group.
#[derive(Debug, Args)]
pub struct OffsetsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show where a group stands in each partition that it reads, its retry topics included, and who is in it.
    Show(Show),
    /// Set where a stopped group goes on. Refused while the group has members; events from there on run again, whatever
    /// was settled of them before.
    Set(Set),
}

#[derive(Debug, Args)]
struct Of {
    #[command(flatten)]
    config: ConfigArgs,
    /// The group, as the configuration calls it.
    #[arg(short, long)]
    group: String,
    /// Only this topic, or these partitions of it. May be repeated.
    #[arg(long = "topic", value_name = "TOPIC[:0,2]", value_parser = Chosen::parse)]
    topics: Vec<Chosen>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    of: Of,
}

#[derive(Debug, Args)]
struct Set {
    #[command(flatten)]
    of: Of,
    /// Where to: earliest, latest, an offset, a time such as 2026-11-29T08:00:00Z, or how long ago, such as 2h.
    #[arg(long, value_name = "POSITION", value_parser = position)]
    to: Position,
    /// Also forgets what the plugins have kept of these partitions: state, sums, and emissions that have not left.
    #[arg(long)]
    forget_state: bool,
    /// Shows what would be set, and sets nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Reads a position of the command line.
pub(super) fn position(text: &str) -> Result<Position, String> {
    Position::parse(text, since_1970::now_timestamp_ms())
}

/// Runs `millrace offsets`.
///
/// # Errors
/// The configuration is wrong, the cluster does not answer, or the group has members.
pub fn run(args: &OffsetsArgs) -> anyhow::Result<()> {
    match &args.command {
        Command::Show(show) => run_show(&show.of),
        Command::Set(set) => run_set(set),
    }
}

/// The group of the configuration, with the topics that it reads now.
///
/// # Errors
/// There is no such group, or the cluster does not answer.
pub(super) fn group_of(config: &Config, id: &str) -> anyhow::Result<Group> {
    let known = || {
        let ids: Vec<&str> = config
            .groups
            .iter()
            .map(|group| group.id.as_str())
            .collect();
        ids.join(", ")
    };
    Ok(
        matched_group(config, id, TIMEOUT)?.ok_or_else(|| ReplayError::NoGroup {
            group: id.to_owned(),
            known: known(),
        })?,
    )
}

fn sources(group: &Group) -> Vec<String> {
    group.routes.keys().cloned().collect()
}

/// Retry topics that there are; one that nothing was ever moved to may not have been made.
fn retry_topics(group: &Group, offsets: &GroupOffsets) -> anyhow::Result<Vec<String>> {
    let mut there = Vec::new();
    for topic in group.retry.topics.values() {
        if offsets.partitions(topic)?.is_some() {
            there.push(topic.clone());
        }
    }
    Ok(there)
}

fn run_show(of: &Of) -> anyhow::Result<()> {
    let config = of.config.load()?;
    let group = group_of(&config, &of.group)?;
    let offsets = GroupOffsets::new(&config.kafka, &group.id, TIMEOUT)?;
    let mut topics = sources(&group);
    topics.extend(retry_topics(&group, &offsets)?);
    let standings = standings(&offsets, &topics, &of.topics)?;
    let members = offsets.members()?;
    match of.output {
        Output::Json => {
            let members = members.iter().map(
                |member| json!({ "id": member.id, "client": member.client, "host": member.host }),
            );
            let partitions = standings.iter().map(standing_in_json);
            println!(
                "{}",
                json!({
                    "group": group.id,
                    "members": members.collect::<Vec<_>>(),
                    "partitions": partitions.collect::<Vec<_>>(),
                })
            );
        }
        Output::Text => {
            println!("{}: {} members", group.id, members.len());
            let rows = standings.iter().map(|of| {
                let behind = of.newest.0 - of.committed.unwrap_or(of.oldest).0;
                let numbers = [Some(of.oldest), Some(of.newest), of.committed].map(shown);
                place(of)
                    .into_iter()
                    .chain(numbers)
                    .chain([behind.to_string()])
            });
            let head = ["topic", "partition", "oldest", "end", "committed", "behind"];
            print_table(&head, rows);
        }
    }
    Ok(())
}

fn run_set(set: &Set) -> anyhow::Result<()> {
    let config = set.of.config.load()?;
    let group = group_of(&config, &set.of.group)?;
    let offsets = GroupOffsets::new(&config.kafka, &group.id, TIMEOUT)?;
    let mut topics = sources(&group);
    let retries = retry_topics(&group, &offsets)?;
    if !set.of.topics.is_empty() {
        topics.extend(retries.iter().cloned());
    }
    let standings = standings(&offsets, &topics, &set.of.topics)?;
    let to = locate(&offsets, set.to, &standings)?;
    let moved = standings
        .into_iter()
        .zip(to)
        .map(|(from, to)| Moved { from, to });
    let setting = Setting {
        moved: moved.collect(),
        forget_state: set.forget_state,
    };
    let waiting = copies_that_wait(&offsets, &retries, &set.of.topics)?;
    if set.dry_run {
        // Nothing is refused by a look, but who is in the group should be known before the real thing.
        check_nobody_is_in(&offsets, &group.id)?;
    } else {
        set_offsets(&offsets, &group.id, &setting)?;
    }
    print_setting(set, &group.id, &setting, waiting);
    Ok(())
}

/// Events that wait in retry topics and are left there: they run beside what is read again.
fn copies_that_wait(
    offsets: &GroupOffsets,
    retries: &[String],
    chosen: &[Chosen],
) -> anyhow::Result<i64> {
    let named = |topic: &&String| chosen.iter().any(|one| one.topic == **topic);
    let left: Vec<String> = retries
        .iter()
        .filter(|topic| !named(topic))
        .cloned()
        .collect();
    let standings = standings(offsets, &left, &[])?;
    let behind = standings
        .iter()
        .map(|of| of.newest.0 - of.committed.unwrap_or(of.oldest).0);
    Ok(behind.sum())
}

fn print_setting(set: &Set, group: &str, setting: &Setting, waiting: i64) {
    if set.of.output == Output::Json {
        let partitions = setting.moved.iter().map(|moved| {
            let mut of = standing_in_json(&moved.from);
            of["before"] = of["committed"].take();
            of["after"] = Value::from(moved.to.0);
            of["again"] = Value::from(moved.again());
            of["skipped"] = Value::from(moved.skipped());
            if let Value::Object(members) = &mut of {
                members.remove("committed");
            }
            of
        });
        println!(
            "{}",
            json!({
                "group": group,
                "set": !set.dry_run,
                "forget_state": setting.forget_state,
                "retry_copies_left": waiting,
                "partitions": partitions.collect::<Vec<_>>(),
            })
        );
        return;
    }
    let done = if set.dry_run {
        "would be set; nothing was changed"
    } else {
        "set"
    };
    println!("{group}: {done}");
    let rows = setting.moved.iter().map(|moved| {
        let numbers = [moved.from.committed, Some(moved.to)].map(shown);
        let counts = [moved.again(), moved.skipped()].map(|count| count.to_string());
        place(&moved.from).into_iter().chain(numbers).chain(counts)
    });
    let head = ["topic", "partition", "before", "after", "again", "skipped"];
    print_table(&head, rows);
    if setting.forget_state {
        let are = if set.dry_run { "would be" } else { "are" };
        println!("state, sums and unsent emissions of these partitions {are} forgotten");
    }
    if waiting > 0 {
        println!(
            "{waiting} copies wait in retry topics and run as well; `--topic RETRY_TOPIC --to latest` drops them"
        );
    }
}

fn standing_in_json(of: &Standing) -> Value {
    json!({
        "topic": of.topic,
        "partition": of.partition,
        "oldest": of.oldest.0,
        "end": of.newest.0,
        "committed": of.committed.map(|offset| offset.0),
    })
}

fn place(of: &Standing) -> [String; 2] {
    [of.topic.clone(), of.partition.to_string()]
}

fn shown(offset: Option<Offset>) -> String {
    offset.map_or_else(|| "none".to_owned(), |offset| offset.0.to_string())
}

/// Columns under their names, for a person.
pub(super) fn print_table<R: IntoIterator<Item = String>>(
    head: &[&str],
    rows: impl Iterator<Item = R>,
) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    for row in rows {
        table.add_row(row.into_iter().collect::<Vec<_>>());
    }
    println!("{table}");
}
