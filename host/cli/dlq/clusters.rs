//! `millrace dlq clusters`: what went wrong, and how often.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

use clap::Args;
use serde_json::{Value, json};

use super::options::{FilterArgs, Place};
use super::told;
use crate::cli::Output;
use crate::dead_letters::{Cluster, Clusters};
use crate::kafka::reader::Scan;

/// Arguments of `millrace dlq clusters`.
#[derive(Debug, Args)]
pub(super) struct ClustersArgs {
    /// The topic of dead letters; left out, that of the configuration.
    topic: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only those that were not put back.
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    place: Place,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(args: &ClustersArgs) -> anyhow::Result<()> {
    let (letters, _) = args.place.letters(args.topic.as_deref())?;
    let redriven = letters.redriven()?;
    let mut clusters = Clusters::default();
    letters.scan(&args.filter.filter(), |letter| {
        let put_back = redriven.has(&letter);
        if !(args.open && put_back) {
            clusters.add(&letter, put_back);
        }
        Ok(Scan::Continue)
    })?;
    let others = clusters.others;
    let clusters = clusters.sorted();
    match args.output {
        Output::Json => {
            let all: Vec<Value> = clusters.iter().map(Cluster::to_json).collect();
            println!(
                "{}",
                json!({ "topic": letters.topic(), "clusters": all, "others": others })
            );
        }
        Output::Text => print!("{}", text(&clusters, others)),
    }
    Ok(())
}

fn text(clusters: &[Cluster], others: u64) -> String {
    if clusters.is_empty() {
        return "there is no dead letter\n".to_owned();
    }
    let head = [
        "signature",
        "count",
        "put back",
        "cause",
        "plugin",
        "first seen",
        "last seen",
        "example",
        "message",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(clusters.iter().map(row));
    let mut text = told::columns(&rows);
    if others > 0 {
        text.push_str(&format!(
            "{others} more are of clusters that there was no room for; narrow them down, as with --plugin\n"
        ));
    }
    text
}

fn row(cluster: &Cluster) -> Vec<String> {
    let what = match cluster.message.is_empty() {
        true => told::cell(&cluster.code),
        false => told::cell(&cluster.message),
    };
    vec![
        told::cell(&cluster.signature),
        cluster.count.to_string(),
        cluster.redriven.to_string(),
        told::cell(&cluster.cause),
        told::cell(&cluster.plugin),
        told::time(cluster.seen_ms.map(|it| it.0)),
        told::time(cluster.seen_ms.map(|it| it.1)),
        cluster.example.to_string(),
        what,
    ]
}
