//! `millrace produce`: sends sample events and says exactly what it sent.
//!
//! It must not know how events are made ([`crate::sample`]) or how Kafka is spoken to.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

mod door;
mod flags;
mod report;
mod via_grpc;
mod via_http;
mod via_kafka;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use self::door::Door;
use self::flags::ProducerFlags;
use self::report::{Recorder, Report};
use super::Output;
use super::topics::Connection;
use crate::kafka::publisher::Publisher;
use crate::sample::{Sample, SampleSettings, Sampler};
use crate::since_1970;

/// Event time between two events when no rate says it: as if 100 000 events a second happened.
const STEP_UNPACED_US: i64 = 10;

/// Send sample events to a topic.
#[derive(Debug, Args)]
pub struct ProduceArgs {
    /// The topic; it must exist.
    #[arg(long)]
    topic: String,
    /// The way the events take.
    #[arg(long, value_enum, default_value = "kafka")]
    via: Via,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    producer: ProducerFlags,
    /// Whether each event is waited for before the next is sent.
    #[arg(long, value_enum, default_value_t = Mode::Async)]
    mode: Mode,
    /// The gRPC gateway, HOST:PORT.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    grpc: String,
    /// The HTTP gateway, HOST:PORT.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    http: String,
    #[command(flatten)]
    door: Door,
    /// How many events to send, duplicates and malformed ones included.
    #[arg(long, default_value_t = 1_000)]
    count: u64,
    /// Events a second; 0 sends as fast as possible.
    #[arg(long, default_value_t = 0.0, value_parser = rate)]
    rate: f64,
    /// Share of malformed events, 0 to 1.
    #[arg(long, default_value_t = 0.005, value_parser = share)]
    bad_share: f64,
    /// Share of exact duplicates of recent events, 0 to 1.
    #[arg(long, default_value_t = 0.01, value_parser = share)]
    duplicate_share: f64,
    /// How many users the events are of; a user's id is the key.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    users: u32,
    /// Repeats the same ids and contents. Left out, each run differs, because a consumer that
    /// deduplicates would drop a second run of the same ids.
    #[arg(long)]
    seed: Option<u64>,
    /// Event time of the first event in milliseconds since 1970; now when left out.
    #[arg(long)]
    start_ms: Option<i64>,
    /// Write every event sent to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Via {
    /// Straight to the brokers.
    Kafka,
    /// Through Millrace's gRPC gateway.
    Grpc,
    /// Through Millrace's HTTP gateway.
    Http,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Events are sent as they come, and answered as they are acknowledged.
    Async,
    /// The next event is sent when the one before has its answer.
    Sync,
}

/// Reads a share.
pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("write a share as a number from 0 to 1".to_owned()),
    }
}

/// Reads a rate.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate),
        _ => Err("write events a second as a number from 0".to_owned()),
    }
}

/// Runs `millrace produce`.
///
/// # Errors
/// When the events could not be sent, or not all of them were acknowledged; what was sent is printed
/// before that.
pub fn run(args: ProduceArgs) -> anyhow::Result<()> {
    let mut source = Source::new(&args)?;
    let started = Instant::now();
    let acknowledged = match args.via {
        Via::Kafka => {
            let (kafka, producing) = args.producer.settings(&args.connection)?;
            let publisher = Publisher::with(&kafka, &producing)?;
            via_kafka::send(&mut source, &args.topic, &publisher, args.mode)?
        }
        Via::Grpc => via_grpc::send(
            &mut source,
            &args.topic,
            (&args.grpc, &args.door),
            args.mode,
        )?,
        Via::Http => via_http::send(
            &mut source,
            &args.topic,
            (&args.http, &args.door),
            args.mode,
        )?,
    };
    let took = started.elapsed();
    source.recorder.finish()?;
    let report = &source.report;
    match args.output {
        Output::Json => println!("{}", report.json(source.seed, &acknowledged, took)),
        Output::Text => println!("{}", report.text(source.seed, &acknowledged, took)),
    }
    if let Some(failure) = acknowledged.failure {
        let failed = report.total - acknowledged.events;
        bail!(
            "{failed} of {} events were not acknowledged; the first because: {failure}",
            report.total
        );
    }
    Ok(())
}

/// How sending went.
#[derive(Debug, Default)]
struct Acknowledged {
    events: u64,
    /// How many of the others failed, by cause.
    causes: BTreeMap<String, u64>,
    /// Why the first of the others failed; present exactly when some did.
    failure: Option<String>,
}

impl Acknowledged {
    /// Counts an event that failed.
    fn failed(&mut self, cause: &str, why: impl FnOnce() -> String) {
        *self.causes.entry(cause.to_owned()).or_default() += 1;
        self.failure.get_or_insert_with(why);
    }
}

/// The events to send, at their time, counted and recorded as they are taken.
struct Source {
    sampler: Sampler,
    left: u64,
    pace: Pace,
    report: Report,
    recorder: Recorder,
    seed: u64,
}

impl Source {
    fn new(args: &ProduceArgs) -> anyhow::Result<Self> {
        if args.bad_share + args.duplicate_share > 1.0 {
            bail!("--bad-share and --duplicate-share are more than 1 together");
        }
        let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
        let settings = SampleSettings {
            bad_share: args.bad_share,
            duplicate_share: args.duplicate_share,
            users: args.users,
            seed,
            start_ms: args.start_ms.unwrap_or_else(since_1970::now_timestamp_ms),
            #[allow(clippy::cast_possible_truncation, reason = "a float cast saturates")]
            step_us: if args.rate > 0.0 {
                (1e6 / args.rate) as i64
            } else {
                STEP_UNPACED_US
            },
        };
        let file = args.record.as_ref().map(|path| {
            File::create(path).with_context(|| format!("{} cannot be written", path.display()))
        });
        Ok(Self {
            sampler: Sampler::new(settings),
            left: args.count,
            pace: Pace {
                rate: args.rate,
                started: Instant::now(),
                sent: 0,
            },
            report: Report::default(),
            recorder: Recorder::new(file.transpose()?.map(BufWriter::new)),
            seed,
        })
    }

    /// How long to wait before the next event is due.
    fn due_in(&self) -> Duration {
        self.pace.due_in(self.pace.started.elapsed())
    }

    /// The next event, which counts as sent from now on; none when all were taken.
    fn take(&mut self) -> anyhow::Result<Option<Sample>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.pace.sent += 1;
        let sample = self.sampler.make();
        self.report.count(&sample);
        self.recorder.record(&sample)?;
        Ok(Some(sample))
    }
}

/// When each event is due, counted from the start, so that a pause is caught up on.
struct Pace {
    rate: f64,
    started: Instant,
    sent: u64,
}

impl Pace {
    fn due_in(&self, elapsed: Duration) -> Duration {
        if self.rate <= 0.0 {
            return Duration::ZERO;
        }
        #[allow(clippy::cast_precision_loss, reason = "exact up to 9e15 events")]
        let due = Duration::try_from_secs_f64(self.sent as f64 / self.rate);
        due.unwrap_or(Duration::MAX).saturating_sub(elapsed)
    }
}

#[cfg(test)]
mod tests;
