//! `millrace replay compare`: what differs, and what was compared. It must not know how.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{Of, side_of};
use crate::cli::Output;
use crate::cli::offsets::{TIMEOUT, group_of, position};
use crate::kafka::group_offsets::GroupOffsets;
use crate::kafka::reader::Reader;
use crate::replay::{
    Manifest, OutputDifferences, Position, StoreDifferences, compare_outputs, compare_stores,
};
use crate::since_1970;
use crate::store::{RowDifferences, shown_key};

/// Arguments of `millrace replay compare`.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    #[command(flatten)]
    of: Of,
    /// Compares outputs only; the stores may be in use.
    #[arg(long)]
    outputs_only: bool,
    /// Where the records of the topics begin that the outputs are held against, such as the time of the first event.
    #[arg(long, value_name = "POSITION", value_parser = position, default_value = "earliest")]
    outputs_from: Position,
    /// So many differences of each kind are shown.
    #[arg(long, value_name = "N", default_value_t = 10,
        value_parser = clap::value_parser!(u16).range(..=10_000))]
    show: u16,
}

struct Compared {
    manifest: Manifest,
    /// None where the stores were not to be compared.
    stores: Option<StoreDifferences>,
    outputs: Vec<OutputDifferences>,
}

pub(super) fn run(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let config = args.of.config.load()?;
    let group = group_of(&config, &args.of.group)?;
    let side = side_of(&group, args.of.side.as_ref());
    let manifest = side.manifest()?;
    let most = usize::from(args.show);
    let stores = match args.outputs_only {
        true => None,
        false => Some(compare_stores(
            &group.store,
            &side,
            since_1970::now_ms(),
            most,
        )?),
    };
    let offsets = GroupOffsets::new(&config.kafka, &group.id, TIMEOUT)?;
    let reader = Reader::new(&config.kafka, TIMEOUT)?;
    let plugins = group.plugins();
    let plugins = plugins.iter().filter_map(|name| config.plugins.get(*name));
    let topics: std::collections::BTreeSet<&str> = plugins
        .flat_map(|plugin| plugin.grants.output_topics.iter().map(String::as_str))
        .collect();
    let mut outputs = Vec::new();
    for topic in topics {
        let of = (topic, args.outputs_from);
        outputs.push(compare_outputs((&offsets, &reader), &side, of, most)?);
    }
    let compared = Compared {
        manifest,
        stores,
        outputs,
    };
    match args.of.output {
        Output::Json => println!("{}", compared.json()),
        Output::Text => compared.print(),
    }
    Ok(ExitCode::from(u8::from(!compared.same())))
}

impl Compared {
    fn same(&self) -> bool {
        let rows = |stores: &StoreDifferences| stores.state.none() && stores.sums.none();
        let outputs = |of: &OutputDifferences| of.only_side + of.only_live == 0;
        self.stores.as_ref().is_none_or(rows) && self.outputs.iter().all(outputs)
    }

    fn json(&self) -> Value {
        let outputs = self.outputs.iter().map(|of| {
            let live = of.first_live.iter();
            let live = live.map(|(partition, offset)| json!([partition, offset]));
            // What was written as a line reads as a value.
            let side = of.first_side.iter();
            let side = side.map(|line| serde_json::from_str(line).unwrap_or(Value::Null));
            json!({
                "topic": of.topic,
                "same": of.same,
                "only_live": of.only_live,
                "only_side": of.only_side,
                "first_live": live.collect::<Vec<_>>(),
                "first_side": side.collect::<Vec<_>>(),
            })
        });
        json!({
            "group": self.manifest.group,
            "into": self.manifest.into,
            "complete": self.manifest.complete,
            "same": self.same(),
            "state": self.stores.as_ref().map(|stores| rows_in_json(&stores.state)),
            "sums": self.stores.as_ref().map(|stores| rows_in_json(&stores.sums)),
            "outputs": outputs.collect::<Vec<_>>(),
        })
    }

    fn print(&self) {
        let manifest = &self.manifest;
        println!("{} (live) and {} (side)", manifest.group, manifest.into);
        let later = manifest
            .ranges
            .iter()
            .filter(|range| range.from > range.oldest);
        for range in later {
            println!(
                "  {}/{} was replayed from {} on: state of events before that is the live group's only",
                range.topic, range.partition, range.from
            );
        }
        if let Some(stores) = &self.stores {
            print_rows("state", &stores.state);
            print_rows("sums", &stores.sums);
        }
        for of in &self.outputs {
            println!(
                "outputs for {}: {} the same, {} only live, {} only side",
                of.topic, of.same, of.only_live, of.only_side
            );
            for (partition, offset) in &of.first_live {
                println!("  only live: {}/{partition}/{offset}", of.topic);
            }
            for line in &of.first_side {
                println!("  only side: {line}");
            }
        }
    }
}

fn text(value: Option<&Vec<u8>>) -> Option<String> {
    value.map(|bytes| bytes.escape_ascii().to_string())
}

fn rows_in_json(rows: &RowDifferences) -> Value {
    let first = rows.first.iter().map(|row| {
        let (live, side) = (text(row.ours.as_ref()), text(row.theirs.as_ref()));
        json!({ "key": shown_key(&row.key), "live": live, "side": side })
    });
    json!({
        "same": rows.same,
        "different": rows.different,
        "only_live": rows.only_ours,
        "only_side": rows.only_theirs,
        "first": first.collect::<Vec<_>>(),
    })
}

fn print_rows(what: &str, rows: &RowDifferences) {
    println!(
        "{what}: {} the same, {} different, {} only live, {} only side",
        rows.same, rows.different, rows.only_ours, rows.only_theirs
    );
    for row in &rows.first {
        let none = || "none".to_owned();
        println!(
            "  {}: live {}, side {}",
            shown_key(&row.key),
            text(row.ours.as_ref()).unwrap_or_else(none),
            text(row.theirs.as_ref()).unwrap_or_else(none)
        );
    }
}
