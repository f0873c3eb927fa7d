//! `millrace pause` and `millrace resume`: some of what a running host handles is made to wait, goes on, or is listed.
//! It must not know what a pause does, nor what may be paused; the host does.

use std::io::Write as _;

use anyhow::bail;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::lag::seconds;
use super::tap::printable;
use super::{Output, ask};
use crate::since_1970;

/// Arguments of `millrace pause`.
#[derive(Debug, Args)]
pub struct PauseArgs {
    #[command(flatten)]
    target: Target,
    /// Pauses nothing, and shows what is paused.
    #[arg(long, conflicts_with_all = ["group", "plugin"])]
    list: bool,
    #[command(flatten)]
    server: ask::Server,
    /// How to print what is paused.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Arguments of `millrace resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    server: ask::Server,
    /// How to print what is still paused.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What is paused or resumed: a group, some of it, or a plugin.
#[derive(Debug, Args)]
struct Target {
    /// The group; all of it where nothing more is said.
    #[arg(long)]
    group: Option<String>,
    /// What this plugin handles: in --group, or in every group that has it.
    #[arg(long, conflicts_with = "topic")]
    plugin: Option<String>,
    /// Of the group, the events of this topic.
    #[arg(long, requires = "group")]
    topic: Option<String>,
    /// Of that topic, those of this partition.
    #[arg(long, requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Of that topic, those with this key, and what keeps its order with them.
    #[arg(long, requires = "topic", conflicts_with = "partition")]
    key: Option<String>,
    /// The same for a key that is no text.
    #[arg(long, requires = "topic", value_name = "BASE64", conflicts_with_all = ["partition", "key"])]
    key_base64: Option<String>,
}

/// Pauses what is named, or nothing with `--list`, and prints what is paused then.
///
/// # Errors
/// Nobody answers, nothing is named, or the host has not what is named.
pub fn pause(args: &PauseArgs) -> anyhow::Result<()> {
    let paused = if args.list {
        args.server.ask("GET", "/v1/pauses")?
    } else {
        args.server.ask("POST", &args.target.path("pause")?)?
    };
    print(&paused, args.output)
}

/// Resumes what is named, and prints what is paused still.
///
/// # Errors
/// Nobody answers, nothing is named, or that is not paused.
pub fn resume(args: &ResumeArgs) -> anyhow::Result<()> {
    let paused = args.server.ask("POST", &args.target.path("resume")?)?;
    print(&paused, args.output)
}

impl Target {
    /// Where it is asked for.
    fn path(&self, verb: &str) -> anyhow::Result<String> {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let Some(group) = &self.group else {
            let Some(plugin) = &self.plugin else {
                bail!(
                    "say what to {verb}: --group GROUP for all of it, or with --topic, --partition, --key or --plugin for \
                     some; --plugin PLUGIN alone for every group. `millrace pause --list` shows what is paused"
                );
            };
            return Ok(format!("/v1/plugins/{}/{verb}", encoded(plugin)));
        };
        let partition = self.partition.map(|partition| partition.to_string());
        let named = [
            ("plugin", &self.plugin),
            ("topic", &self.topic),
            ("partition", &partition),
            ("key", &self.key),
            ("key_base64", &self.key_base64),
        ];
        let named = named.into_iter().filter_map(|(name, value)| {
            let value = value.as_deref()?;
            Some(format!("{name}={}", encoded(value)))
        });
        let query = named.collect::<Vec<_>>().join("&");
        Ok(format!("/v1/groups/{}/{verb}?{query}", encoded(group)))
    }
}

fn print(paused: &Value, output: Output) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match (output, paused.as_array()) {
        (Output::Text, Some(all)) if all.is_empty() => writeln!(out, "nothing is paused")?,
        (Output::Text, Some(all)) => writeln!(out, "{}", table(all, since_1970::now_ms()))?,
        _ => writeln!(out, "{paused}")?,
    }
    Ok(())
}

fn table(paused: &[Value], now_ms: u64) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["GROUP", "PAUSED FOR", "WHAT WAITS"]);
    for one in paused {
        let since_ms = one["since_ms"].as_u64();
        let paused_s = since_ms.map(|since_ms| now_ms.saturating_sub(since_ms) as f64 / 1_000.0);
        let group = one["group"].as_str().unwrap_or_default().to_owned();
        table.add_row([group, seconds(paused_s), told(one)]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// What waits, in the words of the options that name it.
fn told(one: &Value) -> String {
    let word = |name: &str| one[name].as_str().map(printable).unwrap_or_default();
    match one["what"].as_str() {
        Some("group") => "everything".to_owned(),
        Some("plugin") => format!("plugin {}", word("plugin")),
        Some("topic") => format!("topic {}", word("topic")),
        Some("partition") => format!("topic {}, partition {}", word("topic"), one["partition"]),
        Some("key") if one.get("key").is_some() => {
            format!("topic {}, key {}", word("topic"), word("key"))
        }
        Some("key") => format!("topic {}, key base64 {}", word("topic"), word("key_base64")),
        _ => one.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        args: PauseArgs,
    }

    fn path(words: &[&str]) -> Option<String> {
        let typed = Typed::try_parse_from([&["pause"], words].concat()).ok()?;
        typed.args.target.path("pause").ok()
    }

    #[test]
    fn what_is_typed_is_what_is_asked_for() {
        for (words, asked) in [
            (&["--group", "g"][..], "/v1/groups/g/pause?"),
            (&["--plugin", "p"], "/v1/plugins/p/pause"),
            (
                &["--group", "a/b", "--plugin", "p"],
                "/v1/groups/a%2Fb/pause?plugin=p",
            ),
            (
                &["--group", "g", "--topic", "t", "--partition", "3"],
                "/v1/groups/g/pause?topic=t&partition=3",
            ),
            (
                &["--group", "g", "--topic", "t", "--key", "a+b&c"],
                "/v1/groups/g/pause?topic=t&key=a%2Bb%26c",
            ),
            (
                &["--group", "g", "--topic", "t", "--key-base64", "/w=="],
                "/v1/groups/g/pause?topic=t&key_base64=%2Fw%3D%3D",
            ),
        ] {
            assert_eq!(path(words).as_deref(), Some(asked), "{words:?}");
        }
        for words in [
            &[][..],
            &["--topic", "t"],
            &["--group", "g", "--partition", "3"],
            &["--group", "g", "--key", "k"],
            &["--group", "g", "--topic", "t", "--partition", "-1"],
            &["--group", "g", "--topic", "t", "--plugin", "p"],
            &["--plugin", "p", "--topic", "t"],
            &["--list", "--group", "g"],
        ] {
            assert_eq!(path(words), None, "{words:?}");
        }
    }

    #[test]
    fn what_is_paused_is_told_in_a_line_each_without_what_drives_a_terminal() {
        let paused = [
            json!({ "group": "g", "what": "group", "since_ms": 1_000 }),
            json!({ "group": "g", "what": "key", "topic": "t", "key": "\u{1b}[2J", "since_ms": 1_000 }),
            json!({ "group": "h", "what": "key", "topic": "t", "key_base64": "/w==", "since_ms": 1_000 }),
            json!({ "group": "h", "what": "partition", "topic": "t", "partition": 3, "since_ms": 541_000 }),
        ];
        let table = table(&paused, 601_000).to_string();
        let lines: Vec<Vec<&str>> = table
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect())
            .collect();
        let expected = [
            "g 10 min everything",
            "g 10 min topic t, key \\u{1b}[2J",
            "h 10 min topic t, key base64 /w==",
            "h 60.0 s topic t, partition 3",
        ];
        let expected: Vec<Vec<&str>> = expected.map(|it| it.split(' ').collect()).into();
        assert_eq!(lines, expected);
    }
}
