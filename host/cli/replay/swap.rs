//! `millrace replay swap`: asked for, and told where the group goes on. It must not know how stores are exchanged.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

use clap::Args;
use serde_json::json;

use super::{Of, side_of};
use crate::cli::Output;
use crate::cli::offsets::{TIMEOUT, group_of, print_table};
use crate::kafka::group_offsets::GroupOffsets;
use crate::replay::{Swap, Wishes};

/// Arguments of `millrace replay swap`.
#[derive(Debug, Args)]
pub(super) struct SwapArgs {
    #[command(flatten)]
    of: Of,
    /// Takes the old state back, and sets the offsets to where the group stood then.
    #[arg(long)]
    back: bool,
    /// Goes on where the replay has handled more than the live group had: outputs of that stay in files.
    #[arg(long)]
    accept_captured: bool,
    /// Checks everything, shows where the group would go on, and changes nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &SwapArgs) -> anyhow::Result<()> {
    let config = args.of.config.load()?;
    let group = group_of(&config, &args.of.group)?;
    let side = side_of(&group, args.of.side.as_ref());
    let offsets = GroupOffsets::new(&config.kafka, &group.id, TIMEOUT)?;
    let topics: Vec<String> = group.routes.keys().cloned().collect();
    let swap = Swap {
        group: &group.id,
        live: &group.store,
        topics: &topics,
        offsets: &offsets,
        side: &side,
    };
    let setting = swap.perform(Wishes {
        back: args.back,
        accept_captured: args.accept_captured,
        dry_run: args.dry_run,
    })?;
    let before = |moved: &crate::replay::Moved| moved.from.committed.map(|offset| offset.0);
    if args.of.output == Output::Json {
        let partitions = setting.moved.iter().map(|moved| {
            json!({
                "topic": moved.from.topic,
                "partition": moved.from.partition,
                "before": before(moved),
                "after": moved.to.0,
                "again": moved.again(),
                "skipped": moved.skipped(),
            })
        });
        println!(
            "{}",
            json!({
                "group": group.id,
                "swapped": !args.dry_run,
                "back": args.back,
                "old_state": side.store(),
                "partitions": partitions.collect::<Vec<_>>(),
            })
        );
        return Ok(());
    }
    let done = match (args.dry_run, args.back) {
        (true, _) => "could be swapped; nothing was changed",
        (false, false) => "goes on with the state of the replay",
        (false, true) => "goes on with the state that it had before",
    };
    println!("{}: {done}", group.id);
    let rows = setting.moved.iter().map(|moved| {
        let before = before(moved).map_or_else(|| "none".to_owned(), |offset| offset.to_string());
        let counts = [moved.to.0, moved.again(), moved.skipped()].map(|count| count.to_string());
        [moved.from.topic.clone(), moved.from.partition.to_string()]
            .into_iter()
            .chain([before])
            .chain(counts)
    });
    let head = ["topic", "partition", "before", "after", "again", "skipped"];
    print_table(&head, rows);
    if !args.dry_run {
        println!("the other state is kept in {}", side.store().display());
    }
    Ok(())
}
