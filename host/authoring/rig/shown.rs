//! What came of events, for people and for programs. Bytes that are text are shown as text, with what could drive a
//! terminal taken out.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use super::lines::Line;
use super::report::{Outcome, Ran, Ticked};
use crate::authoring::figures::{bytes, duration, grouped, micros};
use crate::authoring::fixture::Fixture;
use crate::sandbox::{MetricKind, Output, TallyOp};

/// Longest piece of a payload on a line for people, in characters.
const SHOWN_CHARS_MAX: usize = 160;

impl fmt::Display for Ran {
    /// A line for the event, and one for each thing that it did.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = &self.event;
        let place = format!(
            "{}/{}@{}",
            event.topic.as_deref().unwrap_or_default(),
            event.partition.unwrap_or(0),
            event.offset.unwrap_or(0)
        );
        let key = event.key.as_deref().map_or_else(|| "-".to_owned(), shown);
        write!(
            f,
            "{place:<16} {key:<12} {:<10} {:>9}",
            self.outcome.word(),
            duration(self.took)
        )?;
        if let Some(fuel) = self.fuel {
            write!(f, " {:>12} fuel", grouped(fuel))?;
        }
        writeln!(f, " {:>9}", bytes(self.memory_bytes as u64))?;
        failure(f, &self.outcome, !self.lines.is_empty())?;
        for output in &self.outputs {
            write_output(f, output)?;
        }
        for change in &self.effects.metrics {
            let kind = metric_kind(change.kind);
            let labels = labels(&change.labels);
            writeln!(f, "    {kind:<9} {}{labels} {}", change.name, change.value)?;
        }
        for change in &self.effects.tallies {
            let op = tally_op(change.op);
            writeln!(f, "    {:<9} {} {op} {}", "sum", change.name, change.value)?;
        }
        for (name, value) in &self.state {
            match value {
                Some(value) => writeln!(f, "    {:<9} {name} = {}", "state", shown(value))?,
                None => writeln!(f, "    {:<9} {name} deleted", "state")?,
            }
        }
        for line in self.journal() {
            writeln!(f, "    {:<9} {}", "journal", shown(line.as_bytes()))?;
        }
        write_lines(f, &self.lines)
    }
}

impl fmt::Display for Ticked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = format!("{}/{}", self.topic, self.partition);
        let (word, took) = (self.outcome.word(), duration(self.took));
        writeln!(f, "{place:<16} {:<12} {word:<10} {took:>9}", "on-tick")?;
        failure(f, &self.outcome, !self.lines.is_empty())?;
        for output in &self.outputs {
            write_output(f, output)?;
        }
        write_lines(f, &self.lines)
    }
}

/// What a plugin said before it trapped stands in the message too, and is not said twice.
fn failure(f: &mut fmt::Formatter<'_>, outcome: &Outcome, lines_follow: bool) -> fmt::Result {
    let Some((code, message)) = outcome.why() else {
        return Ok(());
    };
    let message = match message.split_once("; it said: ") {
        Some((trap, _)) if lines_follow => trap,
        _ => message,
    };
    write!(f, "    {:<9} {code}: {}", "why", shown_whole(message))?;
    if let Some(after_ms) = outcome.after_ms() {
        write!(f, " (again after {after_ms} ms)")?;
    }
    writeln!(f)?;
    match outcome.frames() {
        [] => Ok(()),
        frames => writeln!(f, "    {:<9} {}", "in", frames.join(" < ")),
    }
}

fn write_output(f: &mut fmt::Formatter<'_>, output: &Output) -> fmt::Result {
    let key = output.key.as_deref().map_or_else(|| "-".to_owned(), shown);
    let value = output
        .value
        .as_deref()
        .map_or_else(|| "null".to_owned(), shown);
    let to = match output.partition {
        Some(partition) => format!("{}/{partition}", output.topic),
        None => output.topic.clone(),
    };
    writeln!(f, "    {:<9} {to} {key} {value}", "output")?;
    for (name, value) in &output.headers {
        let value = value.as_deref().map_or_else(|| "null".to_owned(), shown);
        writeln!(f, "    {:<9}   {} = {value}", "", shown(name))?;
    }
    Ok(())
}

fn write_lines(f: &mut fmt::Formatter<'_>, lines: &[Line]) -> fmt::Result {
    for line in lines {
        writeln!(
            f,
            "    {:<9} {}: {}",
            "log",
            line.level,
            shown_whole(&line.text)
        )?;
    }
    Ok(())
}

impl Ran {
    /// One JSON object. Outputs have the form of fixtures.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let event = &self.event;
        let metrics = self.effects.metrics.iter().map(|change| {
            let labels = change
                .labels
                .iter()
                .map(|(name, value)| (name.clone(), json!(value)));
            let labels: serde_json::Map<String, Value> = labels.collect();
            let (kind, name, value) = (metric_kind(change.kind), &change.name, change.value);
            json!({ "kind": kind, "name": name, "labels": labels, "value": value })
        });
        let sums = self.effects.tallies.iter().map(|change| {
            json!({ "name": change.name, "op": tally_op(change.op), "value": change.value })
        });
        let text = |value: &Vec<u8>| String::from_utf8_lossy(value).into_owned();
        let state = self
            .state
            .iter()
            .map(|(name, value)| (name.clone(), json!(value.as_ref().map(text))));
        let mut told = json!({
            "topic": event.topic,
            "partition": event.partition,
            "offset": event.offset,
            "key": event.key.as_ref().map(text),
            "outcome": self.outcome.word(),
            "outputs": outputs(&self.outputs),
            "metrics": metrics.collect::<Vec<_>>(),
            "sums": sums.collect::<Vec<_>>(),
            "state": state.collect::<serde_json::Map<_, _>>(),
            "journal": self.journal(),
            "log": log(&self.lines),
            "us": micros(self.took),
            "fuel": self.fuel,
            "memory_bytes": self.memory_bytes,
        });
        tell_failure(&mut told, &self.outcome);
        told
    }
}

impl Ticked {
    /// One JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut told = json!({
            "tick": true,
            "topic": self.topic,
            "partition": self.partition,
            "outcome": self.outcome.word(),
            "outputs": outputs(&self.outputs),
            "log": log(&self.lines),
            "us": micros(self.took),
        });
        tell_failure(&mut told, &self.outcome);
        told
    }
}

fn tell_failure(told: &mut Value, outcome: &Outcome) {
    let Some((code, message)) = outcome.why() else {
        return;
    };
    told["code"] = json!(code);
    told["message"] = json!(message);
    if let Some(after_ms) = outcome.after_ms() {
        told["after_ms"] = json!(after_ms);
    }
    if !outcome.frames().is_empty() {
        told["frames"] = json!(outcome.frames());
    }
}

fn outputs(outputs: &[Output]) -> Vec<Value> {
    let line = |output: &Output| {
        let fixture = Fixture {
            topic: Some(output.topic.clone()),
            partition: output.partition,
            offset: None,
            timestamp_ms: output.timestamp_ms,
            key: output.key.clone(),
            value: output.value.clone(),
            headers: output.headers.clone(),
            attempt: None,
        };
        serde_json::from_str(&fixture.to_line()).unwrap_or_default()
    };
    outputs.iter().map(line).collect()
}

fn log(lines: &[Line]) -> Vec<Value> {
    let told = |line: &Line| json!({ "level": line.level, "text": line.text });
    lines.iter().map(told).collect()
}

fn metric_kind(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    }
}

fn tally_op(op: TallyOp) -> &'static str {
    match op {
        TallyOp::Add => "add",
        TallyOp::Max => "max",
        TallyOp::Min => "min",
    }
}

fn labels(labels: &[(String, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs = labels
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

/// Bytes as a piece of a line: text as it is, anything else in hexadecimal, cut where it is long.
fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let clean = shown_whole(text);
            if clean.chars().count() <= SHOWN_CHARS_MAX {
                return clean;
            }
            let kept: String = clean.chars().take(SHOWN_CHARS_MAX).collect();
            format!("{kept}... ({} bytes)", bytes.len())
        }
        Err(_) => {
            let mut hex = String::from("0x");
            for byte in bytes.iter().take(SHOWN_CHARS_MAX / 2) {
                // Writing to a String cannot fail.
                let _written = write!(hex, "{byte:02x}");
            }
            if bytes.len() > SHOWN_CHARS_MAX / 2 {
                let _written = write!(hex, "... ({} bytes)", bytes.len());
            }
            hex
        }
    }
}

/// Text without control characters, which could drive a terminal.
fn shown_whole(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.trim_end().chars().map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_drive_no_terminal_and_long_ones_are_cut() {
        assert_eq!(shown(b"a\x1b[2Jb\n"), "a [2Jb");
        assert_eq!(shown(b"\xff\x00"), "0xff00");
        assert!(shown(&[b'x'; 200]).ends_with("... (200 bytes)"));
    }
}
