//! The table of docs/reliability.md, made from the reports that a run of the suite has left.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use crate::Unchecked;

/// Around the part of the document that is made.
const BEGIN: &str = "<!-- made by `make fault`: begin -->";
const END: &str = "<!-- made by `make fault`: end -->";

/// What the table is made of.
#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    /// The folder with the reports.
    #[arg(long)]
    reports: PathBuf,
    /// The document that holds the table between its two marks.
    #[arg(long)]
    into: PathBuf,
    /// When and on what it was run, in words.
    #[arg(long)]
    run: String,
}

/// One report, with what was done.
#[derive(Debug, Deserialize)]
struct Kept {
    row: String,
    done: String,
    /// The invariant that had to turn red; none in a run that had to be green.
    control: Option<String>,
    seconds: u64,
    report: Figures,
}

#[derive(Debug, Deserialize)]
struct Figures {
    sent: u64,
    lost: u64,
    duplicated: u64,
    duplicates_allowed: u64,
    reordered: u64,
    late: u64,
    recover_ms: Option<i64>,
    invariants: std::collections::BTreeMap<String, Finding>,
}

#[derive(Debug, Deserialize)]
struct Finding {
    state: String,
    count: u64,
    examples: Vec<String>,
}

/// Writes the table into its document.
pub(crate) fn run(args: &TableArgs) -> Result<(), Unchecked> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(&args.reports)? {
        let text = fs::read_to_string(entry?.path())?;
        kept.push(serde_json::from_str::<Kept>(&text)?);
    }
    kept.sort_by_key(|kept| (kept.control.is_some(), in_order(&kept.row)));
    let (controls, rows): (Vec<_>, Vec<_>) = kept.iter().partition(|kept| kept.control.is_some());
    let rows: String = rows.into_iter().map(row).collect();
    let controls: String = controls.into_iter().map(control).collect();
    let made = format!(
        "{BEGIN}\n{run}\n\n\
         | fault | what was done | events | lost | repeated (at most) | reordered | late | recovered after | \
         checker |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n{rows}\n\
         | promise | broken by | checker | how often | for example |\n\
         | --- | --- | --- | ---: | --- |\n{controls}{END}",
        run = args.run,
    );
    let text = fs::read_to_string(&args.into)?;
    let (Some(begin), Some(end)) = (text.find(BEGIN), text.find(END)) else {
        return Err(Unchecked(format!(
            "{} has no place for the table",
            args.into.display()
        )));
    };
    let text = format!("{}{made}{}", &text[..begin], &text[end + END.len()..]);
    Ok(fs::write(&args.into, text)?)
}

/// Letters as they are, numbers by their size: F2 before F10.
fn in_order(row: &str) -> (String, u32, String) {
    let letters = row
        .find(|char: char| char.is_ascii_digit())
        .unwrap_or(row.len());
    let (word, rest) = row.split_at(letters);
    let digits = rest
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(rest.len());
    let (number, rest) = rest.split_at(digits);
    (
        word.to_owned(),
        number.parse().unwrap_or(0),
        rest.to_owned(),
    )
}

fn row(kept: &Kept) -> String {
    let Figures {
        sent,
        lost,
        duplicated,
        duplicates_allowed,
        reordered,
        late,
        recover_ms,
        invariants,
    } = &kept.report;
    let recovered = recover_ms.map_or("-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1_000.0));
    let red: Vec<&str> = invariants
        .iter()
        .filter(|(_, finding)| finding.state == "violated")
        .map(|(name, _)| name.as_str())
        .collect();
    let colour = if red.is_empty() {
        "green".to_owned()
    } else {
        format!("RED: {}", red.join(", "))
    };
    format!(
        "| {} | {}; {} s in all | {sent} | {lost} | {duplicated} ({duplicates_allowed}) | {reordered} | \
         {late} | {recovered} | {colour} |\n",
        kept.row, kept.done, kept.seconds
    )
}

fn control(kept: &Kept) -> String {
    let name = kept.control.as_deref().unwrap_or_default();
    let finding = kept.report.invariants.get(name);
    let red = finding.is_some_and(|finding| finding.state == "violated");
    let example = finding.and_then(|finding| finding.examples.first());
    format!(
        "| {name} | {} | {} | {} | {} |\n",
        kept.done,
        if red { "red" } else { "NOT RED" },
        finding.map_or(0, |finding| finding.count),
        example.map_or("", String::as_str).replace('|', "/"),
    )
}
