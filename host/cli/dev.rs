//! `millrace dev`: broker, gateway, groups and sample events in one process, with nothing to install.
//!
//! It must not know how the data path works: it runs the daemon, and looks at its metrics.

mod banner;
mod folder;
mod held_log;
mod samples;
mod screen;
mod setup;
mod view;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;

use self::banner::Banner;
use self::folder::Folder;
use self::held_log::HeldLog;
use self::samples::{Samples, Sent};
use self::screen::{Screen, Status};
use self::setup::Wishes;
use self::view::{View, Watch};
use super::Output;
use super::produce::{rate, share};
use super::run::{print_summary, time};
use super::signals::Signals;
use crate::config::Config;
use crate::daemon::{Daemon, Summary};
use crate::kafka::embedded::EmbeddedBroker;
use crate::sample::SampleSettings;
use crate::sandbox::Compiler;
use crate::since_1970;
use crate::telemetry::logs::{self, LogFormat};

/// How often figures are shown.
const REFRESH: Duration = Duration::from_secs(1);

/// At the end, how long the groups may take to catch up with what was sent. They are behind by parts
/// of a second, and one that is stuck should not keep anyone waiting.
const CATCH_UP: Duration = Duration::from_secs(3);

/// How often that is looked at.
const CATCH_UP_LOOK: Duration = Duration::from_millis(100);

/// Arguments of `millrace dev`.
#[derive(Debug, Clone, clap::Args)]
pub struct DevArgs {
    /// Runs this configuration instead of the example. Its brokers are replaced by the embedded one,
    /// and its stores and journals by some in a folder of this run.
    #[arg(short, long, value_name = "FILE", conflicts_with = "plugins")]
    pub config: Option<PathBuf>,
    /// Overrides a value of the configuration, as in `--set groups.audit-service.concurrency=2`. May
    /// be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
    /// The topic of the sample events: user-events of the example; with --config, none are sent
    /// unless this names one.
    #[arg(long)]
    pub topic: Option<String>,
    /// Sample events a second; 0 sends none.
    #[arg(long, default_value_t = 1_000.0, value_parser = rate)]
    pub rate: f64,
    /// Share of malformed sample events, 0 to 1.
    #[arg(long, default_value_t = 0.005, value_parser = share)]
    pub bad_share: f64,
    /// Share of exact duplicates among the sample events, 0 to 1.
    #[arg(long, default_value_t = 0.01, value_parser = share)]
    pub duplicate_share: f64,
    /// Ends by itself after this time, as in `20s`.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub run_for: Option<Duration>,
    /// Where the gRPC gateway listens; a free port when left out.
    #[arg(long, value_name = "ADDRESS")]
    pub grpc: Option<String>,
    /// Where metrics and health are served; a free port when left out.
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// Partitions of each topic.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub partitions: u16,
    /// The folder of the example's plugins; plugins/dist, or beside the executable, when left out.
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
    /// Keeps stores and journals in this folder. Left out, they are in a temporary one, which is
    /// removed at the end.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Which log lines are written: `error`, `warn`, `info`, `debug`, or a filter such as
    /// `warn,plugin=info`.
    #[arg(long, default_value = "warn")]
    pub log: String,
    /// How the consumption summary is printed at the end. With `json`, everything else goes to
    /// standard error.
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

impl DevArgs {
    /// The topic of the sample events; none when there are to be none.
    fn sample_topic(&self) -> Option<&str> {
        let example = self.config.is_none().then_some(setup::TOPIC);
        let topic = self.topic.as_deref().or(example);
        topic.filter(|_| self.rate > 0.0)
    }

    fn sample_settings(&self) -> SampleSettings {
        SampleSettings {
            bad_share: self.bad_share,
            duplicate_share: self.duplicate_share,
            seed: fastrand::u64(..),
            start_ms: since_1970::now_timestamp_ms(),
            #[allow(clippy::cast_possible_truncation, reason = "a float cast saturates")]
            step_us: (1e6 / self.rate) as i64,
            ..SampleSettings::default()
        }
    }
}

/// Runs until a signal, until the time is over, or until a group stops for good.
///
/// # Errors
/// The configuration is wrong, something cannot start, or a group has stopped.
pub fn run(args: &DevArgs) -> anyhow::Result<()> {
    if args.bad_share + args.duplicate_share > 1.0 {
        bail!("--bad-share and --duplicate-share are more than 1 together");
    }
    let log = HeldLog::default();
    let writer = log.clone();
    logs::start_into(&args.log, LogFormat::Auto, move || writer.clone())
        .map_err(anyhow::Error::msg)?;
    let folder = Arc::new(Folder::open(args.data.as_deref())?);
    // The one that waits for signals never ends, and must not keep the folder.
    let weak = Arc::downgrade(&folder);
    let at_once = move || weak.upgrade().iter().for_each(|folder| folder.remove());
    let signals = Signals::receive(at_once)?;
    // Dropped after the daemon, which could otherwise not leave its groups.
    let broker = EmbeddedBroker::start()?;
    let config = configuration(args, &broker, &folder)?;
    let topic = args.sample_topic();
    let topics = setup::create_topics(&broker, &config, topic, args.partitions)?;
    let daemon = Daemon::start(&config, Compiler::own_child()?)?;
    let mut running = Running {
        watch: Watch::new(daemon.metrics().clone(), &config, Instant::now()),
        samples: match topic {
            Some(topic) => Some(Samples::start(
                &config.kafka,
                topic,
                args.rate,
                args.sample_settings(),
            )?),
            None => None,
        },
        began: Instant::now(),
        screen: Screen::for_process(&log, args.output == Output::Json),
        daemon,
        signals,
    };
    let banner = Banner {
        brokers: &config.kafka.brokers,
        topics: &topics,
        sample_topic: topic,
        partitions: args.partitions,
        grpc: running.daemon.grpc_address(),
        admin: running.daemon.admin_address(),
        config: &config,
        folder: &folder,
    };
    running.screen.print(&banner.to_string())?;
    let failure = running.until_stopped(args.run_for);
    let (summary, sent) = running.stop()?;
    report(&summary, sent, args.output)?;
    failure.map_or(Ok(()), |failure| Err(anyhow::anyhow!("{failure}")))
}

fn configuration(
    args: &DevArgs,
    broker: &EmbeddedBroker,
    folder: &Folder,
) -> anyhow::Result<Config> {
    let brokers = broker.bootstrap_servers();
    let wishes = Wishes {
        sets: &args.sets,
        grpc: args.grpc.as_deref(),
        admin: args.admin.as_deref(),
    };
    match &args.config {
        Some(file) => Ok(setup::own(file, &brokers, folder, &wishes)?),
        None => {
            let plugins = setup::find_plugins(args.plugins.as_deref())?;
            setup::example(&brokers, &plugins, folder, &wishes)
        }
    }
}

/// A host at work, and what shows it.
struct Running {
    daemon: Daemon,
    samples: Option<Samples>,
    watch: Watch,
    screen: Screen,
    signals: Signals,
    began: Instant,
}

impl Running {
    /// Shows what happens until it is time to end, and says why a group has stopped if one has.
    fn until_stopped(&mut self, run_for: Option<Duration>) -> Option<String> {
        let end = run_for.and_then(|time| self.began.checked_add(time));
        let mut next = self.began;
        loop {
            next += REFRESH;
            let until = end.map_or(next, |end| next.min(end));
            if self
                .signals
                .wait(until.saturating_duration_since(Instant::now()))
            {
                return None;
            }
            let failure = self.daemon.failure();
            let now = Instant::now();
            // A reader that has gone (`| head`) has seen enough.
            if self.show(now).is_err() || failure.is_some() || end.is_some_and(|end| now >= end) {
                return failure;
            }
            // After the machine has slept there is nothing to catch up on.
            next = next.max(now.checked_sub(REFRESH).unwrap_or(now));
        }
    }

    fn show(&mut self, now: Instant) -> std::io::Result<View> {
        let view = self.watch.look(now);
        let status = Status {
            running: now.duration_since(self.began),
            sent: self.samples.as_ref().map(Samples::sent),
        };
        self.screen.show(&view, status)?;
        Ok(view)
    }

    /// Ends the sample events, then the host, and shows the last figures.
    fn stop(mut self) -> anyhow::Result<(Summary, Option<Sent>)> {
        let mut sent = None;
        if let Some(samples) = self.samples.take() {
            if let Some(failure) = samples.failure() {
                tracing::warn!(%failure, "not every sample event was acknowledged");
            }
            sent = Some(samples.stop());
        }
        self.catch_up();
        let summary = self.daemon.stop();
        let now = Instant::now();
        let status = Status {
            running: now.duration_since(self.began),
            sent,
        };
        // Where the last figures cannot be shown, the summary says so.
        let _shown = self.screen.show(&self.watch.look(now), status);
        Ok((summary, sent))
    }

    /// Waits until the groups have settled everything, so that a short run adds up.
    fn catch_up(&mut self) {
        let end = Instant::now() + CATCH_UP;
        let mut calm = 0;
        // The lag is read from the last answer of the broker, which may be older than the last event:
        // what moves between two looks is not at its end yet.
        while Instant::now() < end && calm < 4 && self.daemon.failure().is_none() {
            std::thread::sleep(CATCH_UP_LOOK);
            let view = self.watch.look(Instant::now());
            let done = view
                .groups
                .iter()
                .all(|group| group.lag + group.in_flight == 0 && group.per_second == 0.0);
            calm = if done { calm + 1 } else { 0 };
        }
    }
}

fn report(summary: &Summary, sent: Option<Sent>, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        let mut answer = serde_json::to_value(summary)?;
        answer["samples"] = serde_json::to_value(sent)?;
        return Ok(writeln!(std::io::stdout(), "{answer}")?);
    }
    let mut out = std::io::stdout();
    writeln!(out)?;
    print_summary(summary, output)?;
    if let Some(sent) = sent {
        writeln!(
            out,
            "  sample events: {} sent = {} good + {} duplicate + {} malformed; {} acknowledged",
            sent.total, sent.good, sent.duplicate, sent.bad, sent.acknowledged
        )?;
    }
    Ok(())
}
