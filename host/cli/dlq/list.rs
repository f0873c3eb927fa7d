//! `millrace dlq list`: which dead letters there are.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

use clap::Args;
use serde_json::{Value, json};

use super::options::{FilterArgs, Place};
use super::told;
use crate::cli::Output;
use crate::dead_letters::{LISTED_MAX, Newest};
use crate::kafka::reader::Scan;

/// Arguments of `millrace dlq list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// The topic of dead letters; left out, that of the configuration.
    topic: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only those that were not put back.
    #[arg(long)]
    open: bool,
    /// So many of the newest.
    #[arg(long, value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..=LISTED_MAX as u64))]
    limit: u64,
    #[command(flatten)]
    place: Place,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(args: &ListArgs) -> anyhow::Result<()> {
    let (letters, _) = args.place.letters(args.topic.as_deref())?;
    let redriven = letters.redriven()?;
    let mut newest = Newest::new(args.limit as usize);
    letters.scan(&args.filter.filter(), |letter| {
        let put_back = redriven.has(&letter);
        if !(args.open && put_back) {
            newest.add(&letter, put_back);
        }
        Ok(Scan::Continue)
    })?;
    let matched = newest.matched;
    let listed = newest.sorted();
    match args.output {
        Output::Json => println!(
            "{}",
            json!({ "topic": letters.topic(), "matched": matched, "letters": listed })
        ),
        Output::Text => print!("{}", text(&listed, matched)),
    }
    Ok(())
}

fn text(listed: &[Value], matched: u64) -> String {
    if listed.is_empty() {
        return "no dead letter is like that\n".to_owned();
    }
    let head = [
        "id",
        "failed at",
        "cause",
        "plugin",
        "from",
        "key",
        "message",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(listed.iter().map(row));
    let mut text = told::columns(&rows);
    let shown = listed.len();
    text.push_str(&match shown as u64 == matched {
        true => format!("{matched} in all\n"),
        false => format!("the newest {shown} of {matched}; --limit shows more\n"),
    });
    text
}

fn row(letter: &Value) -> Vec<String> {
    let text = |value: &Value| told::cell(value.as_str().unwrap_or_default());
    let origin = &letter["origin"];
    let from = origin["topic"].as_str().map(|topic| {
        let number = |name: &str| {
            let number = origin[name].as_i64();
            number.map_or_else(|| "?".to_owned(), |it| it.to_string())
        };
        format!("{topic}/{}/{}", number("partition"), number("offset"))
    });
    let mut message = text(&letter["message"]);
    if letter["redriven"] == true {
        message = format!("(put back) {message}");
    }
    vec![
        text(&letter["id"]),
        told::time(letter["failed_at_ms"].as_i64()),
        text(&letter["cause"]),
        text(&letter["plugin"]),
        told::cell(&from.unwrap_or_default()),
        text(&letter["key"]),
        message,
    ]
}
