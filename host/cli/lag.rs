//! `millrace lag`: how far the groups of a running host are behind, and when they will have caught up. It must not know
//! how a lag is measured; the host does.

use std::io::Write as _;

use anyhow::bail;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::{Output, ask};

/// Arguments of `millrace lag`.
#[derive(Debug, Args)]
pub struct LagArgs {
    /// Only this group.
    #[arg(long)]
    group: Option<String>,
    /// Only this topic.
    #[arg(long)]
    topic: Option<String>,
    /// A line for each partition that this host has, rather than for each topic.
    #[arg(long)]
    partitions: bool,
    #[command(flatten)]
    server: ask::Server,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What is told of a topic or of a partition, apart from where it is.
const FIGURES: [&str; 5] = [
    "lag",
    "lag_seconds",
    "drain_seconds",
    "settled_per_second",
    "arriving_per_second",
];

/// Asks the host and prints its answer.
///
/// # Errors
/// Nobody answers, or there is no such group.
pub fn run(args: &LagArgs) -> anyhow::Result<()> {
    let groups = args.server.ask("GET", "/v1/groups")?;
    let lines = match args.partitions {
        true => {
            known(args, &groups)?;
            let partitions = args.server.ask("GET", "/v1/partitions")?;
            lines(args, &partitions, "partition")
        }
        false => {
            known(args, &groups)?;
            lines(args, &by_topic(&groups), "partitions")
        }
    };
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", Value::Array(lines))?,
        Output::Text => writeln!(out, "{}", table(args, &lines))?,
    }
    Ok(())
}

fn known(args: &LagArgs, groups: &Value) -> anyhow::Result<()> {
    let ids = groups.as_array().into_iter().flatten();
    let ids: Vec<&str> = ids.filter_map(|group| group["group"].as_str()).collect();
    match &args.group {
        Some(group) if !ids.contains(&group.as_str()) => {
            bail!("there is no group {group}: {} are there", ids.join(", "))
        }
        _ => Ok(()),
    }
}

/// The topics of all groups, each with its group.
fn by_topic(groups: &Value) -> Value {
    let mut topics = Vec::new();
    for group in groups.as_array().into_iter().flatten() {
        for topic in group["topics"].as_array().into_iter().flatten() {
            let mut topic = topic.clone();
            topic["group"] = group["group"].clone();
            topics.push(topic);
        }
    }
    Value::Array(topics)
}

/// What was asked for, with what is told of it. `place` is told besides group and topic.
fn lines(args: &LagArgs, of: &Value, place: &str) -> Vec<Value> {
    let fits = |wanted: &Option<String>, is: &Value| {
        let wanted = wanted.as_deref();
        wanted.is_none_or(|wanted| is.as_str() == Some(wanted))
    };
    let wanted = of
        .as_array()
        .into_iter()
        .flatten()
        .filter(|one| fits(&args.group, &one["group"]) && fits(&args.topic, &one["topic"]));
    let told = wanted.map(|one| {
        let mut told = json!({ "group": one["group"], "topic": one["topic"] });
        for name in [place, "state", "why"].into_iter().chain(FIGURES) {
            if let Some(value) = one.get(name) {
                told[name] = value.clone();
            }
        }
        told
    });
    told.collect()
}

fn table(args: &LagArgs, lines: &[Value]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let (place, key) = match args.partitions {
        true => ("PARTITION", "partition"),
        false => ("PARTITIONS", "partitions"),
    };
    let mut header = vec![
        "GROUP",
        "TOPIC",
        place,
        "LAG",
        "AGE",
        "DRAINED IN",
        "SETTLED/S",
        "ARRIVING/S",
    ];
    if args.partitions {
        header.push("STATE");
    }
    table.set_header(header);
    for line in lines {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| line[name].as_f64();
        let mut row = vec![
            text("group"),
            text("topic"),
            line[key].to_string(),
            number("lag").map_or_else(|| "-".to_owned(), |lag| format!("{lag:.0}")),
            seconds(number("lag_seconds")),
            drained(number("lag"), number("drain_seconds")),
            rate(number("settled_per_second")),
            rate(number("arriving_per_second")),
        ];
        if args.partitions {
            row.push(match line["why"].as_str() {
                Some(why) => format!("{}: {why}", text("state")),
                None => text("state"),
            });
        }
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(2).take(6) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn rate(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
}

fn drained(lag: Option<f64>, drains_in_s: Option<f64>) -> String {
    match (lag, drains_in_s) {
        (Some(lag), None) if lag > 0.0 => "not falling".to_owned(),
        (_, drains_in_s) => seconds(drains_in_s),
    }
}

/// A time as people read it.
pub(super) fn seconds(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(s) if s < 120.0 => format!("{s:.1} s"),
        Some(s) if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        Some(s) if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        Some(s) => format!("{:.0} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_unit_that_fits_them() {
        for (value, told) in [
            (None, "-"),
            (Some(0.0), "0.0 s"),
            (Some(12.34), "12.3 s"),
            (Some(600.0), "10 min"),
            (Some(36_000.0), "10 h"),
            (Some(864_000.0), "10 d"),
        ] {
            assert_eq!(seconds(value), told);
        }
        assert_eq!(drained(Some(5.0), None), "not falling");
        assert_eq!(drained(Some(0.0), Some(0.0)), "0.0 s");
        assert_eq!(drained(None, None), "-");
    }
}
