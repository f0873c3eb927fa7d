//! `millrace dlq repro`: a dead letter, run again as it failed.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::json;

use super::options::Place;
use super::show::event;
use super::told;
use crate::authoring;
use crate::authoring::repro::{self, Ending, Repro, Takes};
use crate::authoring::shown::{NotShown, Shown};
use crate::cli::Output;
use crate::config;
use crate::dead_letters::{Letter, LetterId};
use crate::delivery::dead_letter::{Account, TRANSCRIPT};
use crate::registry::Registry;
use crate::sandbox::{Compiler, Transcript};
use crate::schema::Flaw;

/// Arguments of `millrace dlq repro`.
#[derive(Debug, Args)]
pub(super) struct ReproArgs {
    /// The dead letter (TOPIC/PARTITION/OFFSET).
    id: LetterId,
    /// The component that gave it up, where that of the configuration is another version by now.
    #[arg(long, value_name = "X.WASM")]
    component: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(args: &ReproArgs) -> anyhow::Result<()> {
    let (letters, config) = args.place.letters(Some(&args.id.topic))?;
    let mut config = config.context("name the configuration that has the plugin, with -c FILE")?;
    let letter = letters.letter(&args.id)?;
    let account = letter.account.as_ref();
    let account = account.with_context(|| format!("{} is no dead letter", args.id))?;
    let name = &account.plugin;
    config.plugins.retain(|plugin, _| plugin == name);
    if let (Some(component), Some(plugin)) = (&args.component, config.plugins.get_mut(name)) {
        component.clone_into(&mut plugin.path);
        plugin.origin = config::Origin::default();
        plugin.trial = None;
    }
    let config = Registry::new(&config.registry, false).provide(&config)?;
    let plugin = config.plugins.get(name);
    let plugin = plugin.with_context(|| format!("the configuration has no plugin {name:?}"))?;
    let event = repro::event_of(&event(&letter), &letter.record.headers, account);
    let event = match Shown::of(&config)?.event(&account.group, event) {
        Ok(event) => event,
        Err(NotShown::NotNow(why)) => bail!("{} cannot be decoded now: {why}", args.id),
        Err(NotShown::Flawed(flaw)) => return print_flaw(args, &flaw, account),
    };
    let takes = Takes {
        message_bytes_max: config.kafka.message_max_bytes,
        output_partitions: letters.partitions_of(&plugin.grants.output_topics)?,
    };
    let sandbox = authoring::sandbox(Compiler::own_child()?)?;
    let transcript = transcript_of(&letter)?;
    let told = (&event, account, transcript.as_ref());
    let repro = repro::run(&sandbox, (name, plugin), &takes, told)?;
    print(args, &repro)?;
    ensure!(repro.same, "the event did not end as it did then");
    Ok(())
}

/// What the host answered in the last attempt, where the letter carries it.
pub(super) fn transcript_of(letter: &Letter) -> anyhow::Result<Option<Transcript>> {
    let is_it = |name: &[u8]| name == TRANSCRIPT.as_bytes();
    let mut headers = letter.record.headers.iter();
    let found = headers.find(|(name, _)| is_it(name));
    let Some(bytes) = found.and_then(|(_, value)| value.as_deref()) else {
        return Ok(None);
    };
    let read = Transcript::parse(bytes).map_err(anyhow::Error::msg);
    read.map(Some).with_context(|| letter.id().to_string())
}

fn print(args: &ReproArgs, repro: &Repro) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.output == Output::Json {
        let mut told = repro.to_json();
        told["id"] = args.id.to_string().into();
        return writeln!(out, "{told}");
    }
    let mut line = |name: &str, text: &str| writeln!(out, "  {name:<15} {text}");
    line("letter", &args.id.to_string())?;
    line("plugin", &format!("{} {}", repro.plugin, repro.digest))?;
    line("then", &shown(&repro.then))?;
    line("now", &shown(&repro.now))?;
    let same = if repro.same {
        "the same"
    } else {
        "another one"
    };
    line("outcome", same)?;
    let repeatable = match repro.repeatable {
        true => "yes: a second run ended alike",
        false => "no: a second run differed",
    };
    line("repeatable", repeatable)?;
    if let Some(fuel) = repro.fuel_then {
        line("fuel then", &fuel.to_string())?;
    }
    if let Some(fuel) = repro.fuel {
        line("fuel", &fuel.to_string())?;
    }
    for logged in &repro.lines {
        line("logged", &told::printable(logged))?;
    }
    for missing in &repro.not_reproduced {
        line("not reproduced", missing)?;
    }
    Ok(())
}

/// An event that its plugin is not called with, as it was not then.
fn print_flaw(args: &ReproArgs, flaw: &Flaw, account: &Account) -> anyhow::Result<()> {
    let cause = flaw.cause.word();
    let same = account.cause == cause && account.code == flaw.code;
    let mut out = io::stdout().lock();
    match args.output {
        Output::Json => {
            let now = json!({ "cause": cause, "code": flaw.code, "message": flaw.message });
            let told =
                json!({ "id": args.id.to_string(), "same": same, "called": false, "now": now });
            writeln!(out, "{told}")?;
        }
        Output::Text => {
            let message = told::printable(&flaw.message);
            writeln!(out, "  now             {cause}: {}: {message}", flaw.code)?;
            writeln!(
                out,
                "  outcome         {}, without a call of the plugin",
                outcome(same)
            )?;
        }
    }
    ensure!(same, "the event did not end as it did then");
    Ok(())
}

fn outcome(same: bool) -> &'static str {
    if same { "the same" } else { "another one" }
}

fn shown(ending: &Ending) -> String {
    let Ending {
        cause,
        code,
        message,
        frames,
    } = ending;
    let parts = [cause, code, message, frames].into_iter();
    let parts: Vec<String> = parts
        .filter(|part| !part.is_empty())
        .map(|part| told::printable(part))
        .collect();
    parts.join(": ")
}
