//! How a view is shown: a table that stays in its place on a terminal, one line a second elsewhere.
//!
//! It must not know where the figures come from.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use super::held_log::HeldLog;
use super::samples::Sent;
use super::view::{GroupFigures, View};
use crate::config;

/// Rows of each table. With both full, the whole still fits a terminal of 24 lines, and moving the
/// cursor up works only as far as the terminal is high.
const ROWS_MAX: usize = 7;

/// A longer name would push the figures out of 80 columns.
const NAME_CHARS_MAX: usize = 24;

/// The terminal does not break lines that are too long, so that each line of the table is one line of
/// the screen; and back.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
/// Clears the rest of the line; clears everything below.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// What is shown beside the figures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Status {
    /// Since the host was ready.
    pub(super) running: Duration,
    /// Sample events; none when none are sent.
    pub(super) sent: Option<Sent>,
}

/// Where views are shown.
#[derive(Debug)]
pub(super) enum Screen {
    /// A table in its place.
    Live {
        log: HeldLog,
        bold: bool,
        /// Lines of the table that stands there.
        lines: usize,
    },
    /// A line for each view, on standard output or standard error.
    Lines { to_stderr: bool },
}

impl Screen {
    /// The screen for this process. `answer_only` keeps standard output for the answer at the end.
    pub(super) fn for_process(log: &HeldLog, answer_only: bool) -> Self {
        let set = |variable: &str, value: Option<&str>| {
            config::process_environment().any(|(name, content)| {
                name == variable && value.map_or(!content.is_empty(), |value| content == value)
            })
        };
        if answer_only || !io::stdout().is_terminal() || set("TERM", Some("dumb")) {
            return Self::Lines {
                to_stderr: answer_only,
            };
        }
        if io::stderr().is_terminal() {
            log.hold();
        }
        Self::Live {
            log: log.clone(),
            bold: !set("NO_COLOR", None),
            lines: 0,
        }
    }

    /// Shows a text that stays.
    pub(super) fn print(&self, text: &str) -> io::Result<()> {
        match self {
            Self::Lines { to_stderr: true } => io::stderr().write_all(text.as_bytes()),
            _ => io::stdout().write_all(text.as_bytes()),
        }
    }

    /// Shows a view.
    pub(super) fn show(&mut self, view: &View, status: Status) -> io::Result<()> {
        match self {
            Self::Lines { .. } => self.print(&line(view, status)),
            Self::Live { log, bold, lines } => {
                let table = table(view, status, *bold);
                let held = log.take();
                let above = up(*lines);
                let mut out = io::stdout().lock();
                if !held.is_empty() {
                    write!(out, "{above}{CLEAR_BELOW}")?;
                    out.flush()?;
                    io::stderr().write_all(&held)?;
                } else {
                    write!(out, "{above}")?;
                }
                *lines = table.len();
                // One write, so that no half of a table is ever seen.
                let mut frame = String::from(NO_WRAP);
                for line in &table {
                    frame.extend([line, CLEAR_LINE, "\n"]);
                }
                frame.extend([CLEAR_BELOW, WRAP]);
                out.write_all(frame.as_bytes())?;
                out.flush()
            }
        }
    }
}

/// Log lines must not stay behind when the command ends, whatever ends it.
impl Drop for Screen {
    fn drop(&mut self) {
        if let Self::Live { log, .. } = self {
            log.release();
        }
    }
}

fn up(lines: usize) -> String {
    match lines {
        0 => String::new(),
        lines => format!("\x1b[{lines}A\r"),
    }
}

/// One line: everything for a person who reads a log, or for grep.
fn line(view: &View, status: Status) -> String {
    let mut line = format!("{:>4}s", status.running.as_secs());
    // Writing to a String cannot fail.
    let mut add = |text: std::fmt::Arguments<'_>| {
        let _written = line.write_fmt(text);
    };
    if let Some(sent) = status.sent {
        add(format_args!(" sent={}", sent.total));
    }
    for group in &view.groups {
        add(format_args!(
            " | {} {:.0}/s processed={} duplicate={} retries={} dead={} parked={} lag={}",
            group.group,
            group.per_second,
            group.processed,
            group.duplicate,
            group.retries,
            group.dead,
            group.parked,
            group.lag
        ));
        if group.filtered > 0 {
            add(format_args!(" filtered={}", group.filtered));
        }
    }
    if !view.types.is_empty() {
        add(format_args!(" |"));
    }
    for row in &view.types {
        add(format_args!(" {}={}", row.event_type, row.events));
    }
    add(format_args!("\n"));
    line
}

/// The lines of the table.
fn table(view: &View, status: Status, bold: bool) -> Vec<String> {
    let mut lines = vec![String::new(), headline(status), String::new()];
    let head = |line: String| match bold {
        true => format!("\x1b[1m{line}\x1b[0m"),
        false => line,
    };
    let mut add = |table: Option<Table>, rows: usize| {
        for (at, line) in table.iter().flat_map(|table| table.lines()).enumerate() {
            let line = line.trim_end().to_owned();
            lines.push(if at == 0 { head(line) } else { line });
        }
        if rows > ROWS_MAX {
            lines.push(format!("... and {} more", rows - ROWS_MAX));
        }
        lines.push(String::new());
    };
    add(groups_table(&view.groups), view.groups.len());
    if !view.types.is_empty() {
        add(types_table(view), view.types.len());
    }
    // The cursor rests below the table, and that line is blank anyhow.
    lines.pop();
    lines
}

fn headline(status: Status) -> String {
    let seconds = status.running.as_secs();
    let mut line = format!("{}:{:02} min", seconds / 60, seconds % 60);
    if let Some(sent) = status.sent {
        let _written = write!(
            line,
            "   {} sent: {} good, {} duplicate, {} malformed",
            sent.total, sent.good, sent.duplicate, sent.bad
        );
    }
    line + "   Ctrl-C ends"
}

fn groups_table(groups: &[GroupFigures]) -> Option<Table> {
    let filtered = groups.iter().any(|group| group.filtered > 0);
    let mut header = vec!["group", "rate/s", "processed"];
    header.extend(filtered.then_some("filtered"));
    header.extend(["duplicate", "retries", "dead", "parked", "lag"]);
    let row = |group: &GroupFigures| {
        let mut row = vec![
            short(&group.group),
            format!("{:.0}", group.per_second),
            group.processed.to_string(),
        ];
        row.extend(filtered.then(|| group.filtered.to_string()));
        row.extend(
            [
                group.duplicate,
                group.retries,
                group.dead,
                group.parked,
                group.lag,
            ]
            .map(|figure| figure.to_string()),
        );
        row
    };
    build(&header, groups.iter().map(row))
}

fn types_table(view: &View) -> Option<Table> {
    let rows = view.types.iter().map(|row| {
        vec![
            short(&row.event_type),
            format!("{:.0}", row.per_second),
            row.events.to_string(),
        ]
    });
    build(&["event type", "rate/s", "counted"], rows)
}

/// Names on the left, figures on the right; none without rows.
fn build(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Option<Table> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table.add_rows(rows.take(ROWS_MAX));
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if at > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    (!table.is_empty()).then_some(table)
}

/// A name that fits its column, in which nothing moves the cursor: event types come from events.
fn short(name: &str) -> String {
    let clean = |c: char| if c.is_control() { '?' } else { c };
    let mut chars = name.chars().map(clean);
    let mut short: String = chars.by_ref().take(NAME_CHARS_MAX).collect();
    if chars.next().is_some() {
        short.pop();
        short.push('~');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::super::view::TypeFigures;
    use super::*;

    fn view() -> View {
        let group = |name: &str, processed| GroupFigures {
            group: name.to_owned(),
            per_second: 999.6,
            processed,
            duplicate: 12,
            dead: 3,
            lag: 40,
            ..GroupFigures::default()
        };
        let event_type = |name: &str, events| TypeFigures {
            event_type: name.to_owned(),
            events,
            per_second: 10.0,
        };
        View {
            groups: vec![
                group("analytics-service", 123_456_789),
                group("audit-service", 5),
            ],
            types: vec![event_type("page_view", 60), event_type("click", 7)],
        }
    }

    fn status() -> Status {
        let sent = Sent {
            total: 20,
            good: 15,
            duplicate: 3,
            bad: 2,
            acknowledged: 20,
        };
        Status {
            running: Duration::from_secs(75),
            sent: Some(sent),
        }
    }

    #[test]
    fn a_table_has_its_figures_under_their_names_and_fits_80_columns() {
        let lines = table(&view(), status(), false);
        let expected = [
            "",
            "1:15 min   20 sent: 15 good, 3 duplicate, 2 malformed   Ctrl-C ends",
            "",
            "group              rate/s  processed  duplicate  retries  dead  parked  lag",
            "analytics-service    1000  123456789         12        0     3       0   40",
            "audit-service        1000          5         12        0     3       0   40",
            "",
            "event type  rate/s  counted",
            "page_view       10       60",
            "click           10        7",
        ];
        assert_eq!(lines, expected);
        assert!(lines.iter().all(|line| line.len() <= 80));
    }

    #[test]
    fn headers_are_bold_where_that_is_wanted() {
        let lines = table(&view(), status(), true);
        assert!(lines[3].starts_with("\x1b[1mgroup ") && lines[3].ends_with("lag\x1b[0m"));
        assert!(!lines[4].contains('\x1b'));
    }

    #[test]
    fn a_column_for_filtered_events_comes_with_the_first_of_them() {
        let mut view = view();
        assert!(!table(&view, status(), false)[3].contains("filtered"));
        view.groups[1].filtered = 77;
        let lines = table(&view, status(), false);
        assert!(
            lines[3].contains("processed  filtered  duplicate"),
            "{lines:?}"
        );
        assert!(lines[5].contains("        77 "), "{lines:?}");
        assert!(line(&view, status()).contains(" filtered=77 "));
    }

    #[test]
    fn many_groups_and_types_with_hostile_names_fit_a_small_terminal() {
        let mut view = view();
        view.groups = vec![view.groups[0].clone(); 40];
        view.types = vec![view.types[0].clone(); 40];
        view.types[0].event_type = format!("\x1b[2J\n{}", "x".repeat(100));
        let lines = table(&view, status(), false);
        // The line of the cursor comes on top.
        assert!(lines.len() < 24, "{lines:#?}");
        assert!(lines.contains(&"... and 33 more".to_owned()), "{lines:#?}");
        assert!(lines.iter().all(|line| !line.contains(['\x1b', '\n'])));
        assert!(lines.iter().all(|line| line.len() <= 90), "{lines:#?}");
    }

    #[test]
    fn a_plain_line_says_the_same() {
        assert_eq!(
            line(&view(), status()),
            "  75s sent=20 | analytics-service 1000/s processed=123456789 duplicate=12 retries=0 dead=3 \
             parked=0 lag=40 | audit-service 1000/s processed=5 duplicate=12 retries=0 dead=3 parked=0 \
             lag=40 | page_view=60 click=7\n"
        );
    }
}
