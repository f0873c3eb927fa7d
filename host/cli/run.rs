//! `millrace run`: the daemon.

mod another;
mod notify;
mod source;
mod waiting;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value as Json;

use self::another::Taken;
use self::source::Source;
use self::waiting::{Next, Waiting};
use super::{Output, explain};
use crate::config::{self, Config, ConfigError};
use crate::daemon::{Daemon, Summary};
use crate::sandbox::Compiler;
use crate::telemetry::logs::{self, LogFormat};

/// How long closing connections may take after everything in flight is finished or given up.
pub(super) const EXIT_MARGIN: Duration = Duration::from_secs(10);

/// Where the configuration comes from.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigArgs {
    /// The configuration file.
    #[arg(short, long, default_value = "millrace.yaml")]
    pub config: PathBuf,
    /// Overrides a value, as in `--set groups.orders.concurrency=4`. May be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
}

impl ConfigArgs {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// Every problem of it, at once.
    pub fn load(&self) -> Result<Config, ConfigError> {
        config::load(&self.config, config::process_environment(), &self.sets)
    }

    /// The same, with what every setting is and where it came from, as JSON.
    ///
    /// # Errors
    /// Every problem of it, at once.
    fn load_explained(&self) -> Result<(Config, Json), ConfigError> {
        let env = config::process_environment();
        let (config, explained) = config::load_explained(&self.config, env, &self.sets)?;
        Ok((config, explain::in_json(&explained, &self.config)))
    }
}

/// Arguments of `millrace run`.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How the consumption summary is printed at the end.
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
    /// Which log lines are written: `error`, `warn`, `info`, `debug`, or a filter such as
    /// `warn,plugin=info`. Where it is not given, the variable LOG_LEVEL says it, or else `info`.
    #[arg(long)]
    pub log: Option<String>,
    /// How log lines look: for people, as one JSON object a line, or by whether standard error is a terminal.
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// Stops by itself after this time, as in `20s`.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub run_for: Option<Duration>,
}

/// Runs until a signal, until the time is over, or until a group stops for good. Takes up its configuration as the
/// file changes, or by SIGHUP.
///
/// # Errors
/// The configuration is wrong, something cannot start, or a group has stopped.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    let lines = args.log.clone();
    let lines = lines.unwrap_or_else(|| config::log_level(config::process_environment()));
    logs::start(&lines, args.log_format).map_err(anyhow::Error::msg)?;
    let mut source = Source::new(&args.config);
    let (config, explained) = source.read()?;
    let mut daemon = Daemon::start(&config, Compiler::own_child()?)?;
    daemon.configuration_is_explained(explained);
    let mut waiting = daemon.wait(async { Waiting::begin(args.run_for) })?;
    tracing::info!(admin = %daemon.admin_address(), grpc = ?daemon.grpc_address(), http = ?daemon.http_address(), "started");
    notify::tell(notify::READY);
    let failure = loop {
        match daemon.wait(waiting.next(&daemon, &mut source)) {
            Next::End => break None,
            Next::Failed(failure) => break Some(failure),
            Next::ReadAgain => {
                let time = config.drain_timeout;
                match another::take(&mut daemon, &mut source, &mut waiting, time)? {
                    Taken::GoesOn => {}
                    Taken::End => break None,
                    Taken::Lost(reason) => break Some(reason),
                }
            }
        }
    };
    notify::tell(notify::STOPPING);
    tracing::info!("stopping: finishing what is in flight");
    exit_in_the_end(config.drain_timeout + EXIT_MARGIN);
    print_summary(&daemon.stop(), args.output)?;
    match failure {
        Some(failure) => Err(anyhow::anyhow!("{failure}")),
        None => Ok(()),
    }
}

/// Leaving a group blocks inside librdkafka when the brokers are gone. What is not committed runs again,
/// so ending the process loses nothing, and an operator who stops a host must see it stop.
pub(super) fn exit_in_the_end(after: Duration) {
    #[cfg(feature = "sabotage")]
    if crate::sabotage::does("never-give-up") {
        return;
    }
    std::thread::spawn(move || {
        std::thread::sleep(after);
        tracing::error!("shutdown did not end in time; what is not committed runs again");
        std::process::exit(1);
    });
}

pub(super) fn print_summary(summary: &Summary, output: Output) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => writeln!(out, "{}", serde_json::to_string(summary)?)?,
        Output::Text => write!(out, "{summary}")?,
    }
    Ok(())
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    config::units::duration(text).map_err(|error| error.to_string())
}
