//! `millrace plugin`: which versions of plugins serve in a running host, and changing that; and what one version
//! may do that another does not. It must not know how a version is replaced; the host that runs does.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

mod bench;
mod build;
mod dev;
mod diff;
mod inspect;
mod new;
mod options;
mod pull;
mod push;
mod run;
mod test;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::Value;

pub use self::diff::CannotCompare;
use super::{Output, ask};

/// A component that could not be run, inspected or measured at all, so that this is not taken for an event that
/// failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CannotRun(#[source] anyhow::Error);

/// Replace the versions of plugins in a running host, and compare versions.
#[derive(Debug, Args)]
pub struct PluginArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin a plugin: a folder with its source, a README, a first test and events to try it on.
    New(new::NewArgs),
    /// Write this host's contract and SDK into the folder of a plugin, over older ones.
    Wit(new::WitArgs),
    /// Build the plugin of a folder into dist/NAME.wasm, and check that a host can load it.
    Build(build::BuildArgs),
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
    /// Build the plugin of a folder, run its fixtures or a live topic through it, and do so again with every change.
    Dev(dev::DevArgs),
    /// Play the scenarios of a plugin on the host's own data path, in virtual time. The exit code is 0 where all went as
    /// expected, 1 where one did not, 2 where the plugin could not be built or loaded, and 78 where a scenario is wrong.
    Test(test::TestArgs),
    /// Run events through a component, once. The exit code is 0 where all were processed or filtered, 1 where one
    /// was not, and 2 where nothing could be run.
    Run(run::RunArgs),
    /// Measure how quick a component is, and where the time goes.
    Bench(bench::BenchArgs),
    /// Say what a component is and what it wants. The exit code is 0 where a host could load it, 1 where it could not,
    /// and 2 where the file is no component.
    Inspect(inspect::InspectArgs),
    /// Push a component to an OCI registry, and say what it is pinned by.
    Push(push::PushArgs),
    /// Fetch a component from an OCI registry or a web server into a file.
    Pull(pull::PullArgs),
    /// Say what changes from one component file to another; the exit code is 1 where something does.
    Diff(diff::DiffArgs),
}

#[derive(Debug, Args)]
struct Asked {
    #[command(flatten)]
    server: ask::Server,
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
        Command::New(args) => return new::run(&args),
        Command::Wit(args) => return new::wit(&args),
        Command::Build(args) => return build::run(&args),
        Command::Push(args) => return push::run(&args),
        Command::Pull(args) => return pull::run(&args),
        Command::Diff(args) => return diff::run(&args),
        Command::Dev(args) => return dev::run(&args).map_err(|error| CannotRun(error).into()),
        Command::Test(args) => return test::run(&args),
        Command::Bench(args) => return bench::run(&args).map_err(|error| CannotRun(error).into()),
        Command::Inspect(args) => {
            return inspect::run(&args).map_err(|error| CannotRun(error).into());
        }
        Command::Run(args) => return run::run(&args).map_err(|error| CannotRun(error).into()),
        Command::List(asked) => {
            let answer = asked.server.ask("GET", "/v1/plugins")?;
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
    let answer = of
        .asked
        .server
        .ask("POST", &path)
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
