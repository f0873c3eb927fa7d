//! `millrace tap`: events of a running host as they are handled, with what became of them. It must not know how they
//! are looked at; the host does.

use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{Output, ask};

/// Arguments of `millrace tap`.
#[derive(Debug, Args)]
pub struct TapArgs {
    /// Only events of this group.
    #[arg(long)]
    group: Option<String>,
    /// Only events of this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Only events of this plugin.
    #[arg(long)]
    plugin: Option<String>,
    /// Only events that failed: dead letters, retries, what was moved to a retry topic, overloads.
    #[arg(long)]
    failed: bool,
    /// Ends after so many events.
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    #[command(flatten)]
    server: ask::Server,
    /// How to print the events; `json` prints one object a line.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Prints events until there are enough, until nobody reads them, or until the host ends.
///
/// # Errors
/// Nobody answers, or there is no such group or plugin.
pub fn run(args: &TapArgs) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut left = args.limit;
    args.server.follow(&path(args), |line| {
        let said: Value = serde_json::from_str(line)?;
        let is_event = said.get("outcome").is_some();
        if is_event && args.failed && !has_failed(&said) {
            return Ok(ControlFlow::Continue(()));
        }
        let written = match args.output {
            Output::Json => writeln!(out, "{line}"),
            Output::Text => write!(out, "{}", told(&said)),
        };
        match written.and_then(|()| out.flush()) {
            // Whoever reads has had enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                return Ok(ControlFlow::Break(()));
            }
            other => other?,
        }
        if is_event && let Some(left) = &mut left {
            *left -= 1;
        }
        Ok(match left {
            Some(0) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    })
}

fn path(args: &TapArgs) -> String {
    let asked = [
        ("group", &args.group),
        ("topic", &args.topic),
        ("plugin", &args.plugin),
    ];
    let asked = asked.into_iter().filter_map(|(name, value)| {
        let value = utf8_percent_encode(value.as_deref()?, NON_ALPHANUMERIC);
        Some(format!("{name}={value}"))
    });
    format!("/v1/tap?{}", asked.collect::<Vec<_>>().join("&"))
}

fn has_failed(event: &Value) -> bool {
    !matches!(
        event["outcome"].as_str(),
        Some("processed" | "filtered" | "duplicate")
    )
}

/// One event, for a person: a line for what became of it, and one for what it is.
fn told(event: &Value) -> String {
    if let Some(dropped) = event["dropped"].as_u64() {
        return format!("... {dropped} more went by without being shown\n");
    }
    let word = |name: &str| event[name].as_str().unwrap_or_default();
    let attempt = match event["attempt"].as_u64() {
        Some(attempt) if attempt > 1 => format!(", attempt {attempt}"),
        _ => String::new(),
    };
    let mut told = format!(
        "{:<10} {}[{}]@{}  {} -> {} {}{attempt}\n",
        word("outcome"),
        word("topic"),
        event["partition"],
        event["offset"],
        word("group"),
        word("plugin"),
        word("version"),
    );
    if let Some(message) = event["message"].as_str() {
        told.push_str(&format!(
            "           {}: {}\n",
            word("code"),
            printable(message)
        ));
    }
    told.push_str(&format!(
        "           {}  {}\n",
        shown(event, "key"),
        shown(event, "value")
    ));
    told
}

fn shown(event: &Value, name: &str) -> String {
    let long = event[format!("{name}_bytes")].as_u64();
    let cut = long.map_or_else(String::new, |bytes| format!(" ... ({bytes} bytes)"));
    match (
        event[name].as_str(),
        event[format!("{name}_base64")].as_str(),
    ) {
        (Some(text), _) => format!("{}{cut}", printable(text)),
        (None, Some(base64)) => format!("base64 {base64}{cut}"),
        (None, None) => "null".to_owned(),
    }
}

/// What could drive a terminal is shown and not sent.
pub(super) fn printable(text: &str) -> String {
    let safe = |char: char| match char {
        char if char.is_control() => char.escape_default().to_string(),
        char => char.to_string(),
    };
    text.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_told_with_its_failure_and_without_what_drives_a_terminal() {
        let event = json!({
            "outcome": "dead", "topic": "t", "partition": 3, "offset": 7, "group": "g", "plugin": "p",
            "version": "1.0", "attempt": 2, "code": "bad", "message": "no\nid", "key": null,
            "value": "\u{1b}[2J", "value_bytes": 5000,
        });
        let expected = "dead       t[3]@7  g -> p 1.0, attempt 2\n           bad: no\\nid\n           \
                        null  \\u{1b}[2J ... (5000 bytes)\n";
        assert_eq!(told(&event), expected);
        assert!(has_failed(&event) && !has_failed(&json!({ "outcome": "filtered" })));
        assert_eq!(
            told(&json!({ "dropped": 9 })),
            "... 9 more went by without being shown\n"
        );
    }
}
