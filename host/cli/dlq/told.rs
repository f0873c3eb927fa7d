//! Dead letters as text for a person.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest text of a cell, in characters: what is longer is shown whole by `show`.
const CELL_CHARS: usize = 80;

/// A time to the second, in UTC.
pub(super) fn time(ms: Option<i64>) -> String {
    let time = ms.and_then(|ms| OffsetDateTime::from_unix_timestamp(ms.div_euclid(1_000)).ok());
    let text = time.and_then(|time| time.format(&Rfc3339).ok());
    text.unwrap_or_else(|| "-".to_owned())
}

/// One line of text without what could drive a terminal.
pub(super) fn cell(text: &str) -> String {
    let mut cell: String = text
        .chars()
        .take(CELL_CHARS)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    if text.chars().nth(CELL_CHARS).is_some() {
        cell.push('…');
    }
    if cell.is_empty() {
        "-".to_owned()
    } else {
        cell
    }
}

/// Rows in columns as wide as they have to be, the last one as it comes.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..rows.iter().map(Vec::len).max().unwrap_or(0))
        .map(width)
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Text without what could drive a terminal.
pub(super) fn printable(text: &str) -> String {
    match text.contains(char::is_control) {
        true => format!("{text:?}"),
        false => text.to_owned(),
    }
}
