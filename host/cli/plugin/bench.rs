//! `millrace plugin bench`: how quick a component is, and where the time goes.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::options::ComponentArgs;
use crate::authoring;
use crate::authoring::bench::{self, Settings};
use crate::authoring::figures::{duration, micros};
use crate::authoring::fixture::Fixture;
use crate::authoring::startup::StartUp;
use crate::authoring::subject::Subject;
use crate::cli::Output;
use crate::cli::run::time;
use crate::sample::{SampleSettings, Sampler};
use crate::sandbox::Compiler;

/// Sample events where there are no others: enough that their keys and values differ.
const SAMPLES: usize = 1_000;

/// Arguments of `millrace plugin bench`.
#[derive(Debug, clap::Args)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    component: ComponentArgs,
    /// The file of events, one JSON object a line. Left out: fixtures/*.jsonl of the plugin's folder, else the sample
    /// events of `millrace produce`.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// How long to measure, as in `5s`.
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = time)]
    run_for: Duration,
    /// Events of a call at most. A host gives up to 512, and fewer where a call would take more than 20 ms.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=512))]
    batch: u16,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let mut subject = Subject::find(&args.component.wishes(false))?;
    // Whoever it asks would be flooded.
    subject.plugin.only_watches = true;
    let (events, of) = events(args, &subject)?;
    let loaded = subject.load(&authoring::sandbox(Compiler::own_child()?)?)?;
    let startup = StartUp::measure(&Compiler::own_child()?, &subject.name, &subject.plugin)?;
    let settings = Settings {
        time: args.run_for,
        batch: usize::from(args.batch),
    };
    let figures = bench::measure(&loaded, &subject.topic, &events, settings)?;
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => {
            let mut told = figures.to_json();
            told["plugin"] = json!(subject.name);
            told["version"] = json!(loaded.version);
            told["digest"] = json!(loaded.digest);
            told["of"] = json!(of);
            told["compile_us"] = json!(micros(startup.cold));
            told["cached_us"] = json!(micros(startup.cached));
            told["instance_us"] = json!(micros(startup.instance));
            writeln!(out, "{told}")?;
        }
        Output::Text => {
            writeln!(out, "{} {}, {of}", subject.name, loaded.version)?;
            write!(out, "{figures}")?;
            writeln!(
                out,
                "  start-up   compiled in {}, from the cache in {}, an instance in {}",
                duration(startup.cold),
                duration(startup.cached),
                duration(startup.instance)
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The events, and what they are.
fn events(args: &BenchArgs, subject: &Subject) -> anyhow::Result<(Vec<Fixture>, String)> {
    let (events, of) = match &args.events {
        Some(path) => (Fixture::read_file(path)?, path.display().to_string()),
        None => (subject.fixtures()?, "its fixtures".to_owned()),
    };
    if !events.is_empty() {
        let of = format!("{} events of {of}", events.len());
        return Ok((events, of));
    }
    anyhow::ensure!(args.events.is_none(), "there are no events in {of}");
    let settings = SampleSettings {
        bad_share: 0.0,
        duplicate_share: 0.0,
        ..SampleSettings::default()
    };
    let samples = Sampler::new(settings).take(SAMPLES).map(|sample| Fixture {
        key: Some(sample.key.into_bytes()),
        ..Fixture::of_value(sample.value)
    });
    let of = "sample events; --events FILE takes others";
    Ok((samples.collect(), of.to_owned()))
}
