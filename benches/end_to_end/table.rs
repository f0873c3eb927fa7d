//! The table of the end-to-end bench: medians, and ratios within the run.

use super::row::Row;
use super::shared::median;
use super::{PARTITIONS, Run};

pub(crate) fn table(rows: &[Row], runs: &[Run], events: u64) -> String {
    let of = |row: Row, figure: fn(&Run) -> f64| -> Vec<f64> {
        runs.iter()
            .filter(|run| run.row == row)
            .map(figure)
            .collect()
    };
    let rate = |row: Row| {
        Some(of(row, |run| run.events_per_second))
            .filter(|of| !of.is_empty())
            .map(median)
    };
    let ratio = |row: Row, base: Row| match (rate(row), rate(base)) {
        (Some(rate), Some(base)) => format!("{:.2}", rate / base),
        _ => "not run".to_owned(),
    };
    let rounds = of(rows[0], |run| run.events_per_second).len();
    let mut text = format!(
        "{events} events over {PARTITIONS} partitions, {rounds} rounds in turns, thousand events a second\n\n\
         | | median | to (a) | to (b) | rounds | processor, us/event |\n| --- | --- | --- | --- | --- | --- |\n"
    );
    for row in rows {
        let each: Vec<String> = of(*row, |run| run.events_per_second)
            .iter()
            .map(|rate| format!("{:.0}", rate / 1e3))
            .collect();
        let cpu = median(of(*row, |run| run.cpu_seconds)) / events as f64 * 1e6;
        text.push_str(&format!(
            "| {} | {:.0} | {} | {} | {} | {cpu:.2} |\n",
            row.about(),
            rate(*row).unwrap_or_default() / 1e3,
            ratio(*row, Row::Bare),
            ratio(*row, Row::Native),
            each.join(", "),
        ));
    }
    if let (Some(with), Some(without)) = (rate(Row::Millrace), rate(Row::NoDedup)) {
        let cost = (1.0 - with / without) * 100.0;
        text.push_str(&format!(
            "\nDedup takes {cost:.0} % of the throughput; at most 15 % is the aim.\n"
        ));
    }
    for (row, traced) in [(Row::TracedOne, "1 %"), (Row::TracedAll, "all")] {
        if let (Some(with), Some(without)) = (rate(row), rate(Row::Millrace)) {
            let cost = (1.0 - with / without) * 100.0;
            text.push_str(&format!(
                "\nTracing {traced} of the events takes {cost:.0} % of the throughput.\n"
            ));
        }
    }
    text
}
