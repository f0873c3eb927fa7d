//! `millrace plugin`: which versions of plugins serve in a running host, and changing that; and what one version
//! may do that another does not. It must not know how a version is replaced; the host that runs does.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

mod ask;
mod diff;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::Value;

pub use self::diff::CannotCompare;
use super::Output;

/// Replace the versions of plugins in a running host, and compare versions.
#[derive(Debug, Args)]
pub struct PluginArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the plugins of a running host with the versions that serve.
    List(Asked),
    /// Try the version in the plugin's file, and let it serve.
    Reload(OfPlugin),
    /// Let the version before serve again.
    Back(OfPlugin),
    /// Let the version serve that waits because it asks for more than the one that serves.
    Approve(Approve),
    /// Let the candidate serve that is being tried as a canary or a shadow.
    Promote(OfPlugin),
    /// End the trial of a candidate; the version that serves goes on.
    Dismiss(OfPlugin),
    /// Say what changes from one component file to another; the exit code is 1 where something does.
    Diff(diff::DiffArgs),
}

#[derive(Debug, Args)]
struct Asked {
    /// Where the host's admin server listens, on the host's own machine.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    admin: SocketAddr,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Args)]
struct OfPlugin {
    /// The plugin's name in the configuration.
    name: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
struct Approve {
    #[command(flatten)]
    plugin: OfPlugin,
    /// The SHA-256 of the version's file, all 64 digits, so that nothing else is approved by mistake.
    #[arg(long)]
    digest: String,
}

/// Runs one of the commands.
///
/// # Errors
/// The host does not answer, or refuses, with its reason; a file cannot be compared.
pub fn run(args: PluginArgs) -> anyhow::Result<ExitCode> {
    let (asked, answer) = match args.command {
        Command::Diff(args) => return diff::run(&args),
        Command::List(asked) => {
            let answer = ask::ask(asked.admin, "GET", "/v1/plugins")?;
            (asked, answer)
        }
        Command::Reload(of) => change(of, "reload")?,
        Command::Back(of) => change(of, "back")?,
        Command::Promote(of) => change(of, "promote")?,
        Command::Dismiss(of) => change(of, "dismiss")?,
        Command::Approve(args) => {
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
            anyhow::ensure!(
                args.digest.len() == 64 && digits(&args.digest),
                "--digest takes all 64 hexadecimal digits"
            );
            change(args.plugin, &format!("approve?digest={}", args.digest))?
        }
    };
    match asked.output {
        Output::Json => println!("{answer}"),
        Output::Text => match answer {
            Value::Array(plugins) => plugins.iter().for_each(|plugin| print!("{}", told(plugin))),
            plugin => print!("{}", told(&plugin)),
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn change(of: OfPlugin, verb: &str) -> anyhow::Result<(Asked, Value)> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    anyhow::ensure!(
        of.name.bytes().all(fits),
        "{} cannot be the name of a plugin",
        of.name
    );
    let path = format!("/v1/plugins/{}/{verb}", of.name);
    let answer = ask::ask(of.asked.admin, "POST", &path)
        .with_context(|| format!("plugin {}: nothing was changed", of.name))?;
    Ok((of.asked, answer))
}

/// One plugin, for a person.
fn told(plugin: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let version = |of: &Value| {
        let digest = text(&of["digest"]);
        format!(
            "{} ({})",
            text(&of["version"]),
            digest.get(..12).unwrap_or(&digest)
        )
    };
    let mut told = format!("{}  {}\n", text(&plugin["plugin"]), version(plugin));
    if plugin["previous"].is_object() {
        told.push_str(&format!("  before:  {}\n", version(&plugin["previous"])));
    }
    let waiting = &plugin["waiting"];
    if waiting.is_object() {
        told.push_str(&format!(
            "  waiting: {} asks for {}; digest {}\n",
            version(waiting),
            waiting["asks_for"],
            text(&waiting["digest"])
        ));
    }
    if plugin["refused"].is_object() {
        told.push_str(&format!(
            "  refused: {}\n",
            text(&plugin["refused"]["reason"])
        ));
    }
    told
}
