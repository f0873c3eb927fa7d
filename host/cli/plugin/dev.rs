//! `millrace plugin dev`: the loop of writing a plugin. Built, run over its events, and both again with every change.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::run::{Tally, print, print_all};
use crate::authoring;
use crate::authoring::build::build;
use crate::authoring::figures::{bytes, duration};
use crate::authoring::fixture::Fixture;
use crate::authoring::manifest::Manifest;
use crate::authoring::rig::{Ran, Rig, Ticked};
use crate::authoring::subject::{Subject, Wishes};
use crate::authoring::watch::{Change, Watch};
use crate::cli::Output;
use crate::cli::signals::Signals;
use crate::cli::topics::Connection;
use crate::kafka::consumer::Record;
use crate::kafka::tail::Tail;
use crate::sandbox::{Compiler, LoadedPlugin, Sandbox, TickReason};
use crate::telemetry::logs::{self, LogFormat};

/// Between two looks at the folder. A change is taken when two looks in a row see the same.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Arguments of `millrace plugin dev`.
#[derive(Debug, clap::Args)]
pub(super) struct DevArgs {
    /// The plugin's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Runs the events of this topic through the plugin, as they come, instead of fixtures/*.jsonl. Nothing is
    /// committed, and no group is joined.
    #[arg(long, value_name = "TOPIC", conflicts_with = "once")]
    from: Option<String>,
    /// Begins that topic at its beginning.
    #[arg(long, requires = "from")]
    from_beginning: bool,
    #[command(flatten)]
    connection: Connection,
    /// Builds, runs the fixtures once, and ends like `plugin run`: 0 where all were processed or filtered, 1 where one
    /// was not, 2 where nothing could be run.
    #[arg(long)]
    once: bool,
    /// How the answer is printed; json is one object a line.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(args: &DevArgs) -> anyhow::Result<ExitCode> {
    logs::start("warn", LogFormat::Text).map_err(anyhow::Error::msg)?;
    let mut dev = Dev {
        args,
        sandbox: authoring::sandbox(Compiler::own_child()?)?,
        loaded: None,
        rig: None,
    };
    if args.once {
        dev.build()?;
        let failed = dev.feed()?;
        return Ok(ExitCode::from(u8::from(failed)));
    }
    let signals = Signals::receive(|| {})?;
    // A folder that is no plugin's, or a topic that is not there, is told at once and not waited for.
    Manifest::read(&args.folder)?;
    let tail = args
        .from
        .as_deref()
        .map(|topic| Tail::open(&args.connection.kafka(), topic, args.from_beginning))
        .transpose()?;
    let mut watch = Watch::new(&args.folder);
    match dev.until_stopped(&signals, &mut watch, tail.as_ref()) {
        // A reader that has gone (`| head`) has seen enough.
        Err(error) if is_gone(&error) => Ok(ExitCode::SUCCESS),
        done => done.map(|()| ExitCode::SUCCESS),
    }
}

fn is_gone(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A plugin that is being written.
struct Dev<'a> {
    args: &'a DevArgs,
    sandbox: Sandbox,
    /// The version that runs, and where events come from that do not say.
    loaded: Option<(Arc<LoadedPlugin>, String)>,
    /// Keeps what the plugin has stored, where a live topic runs through it.
    rig: Option<Rig>,
}

impl Dev<'_> {
    fn until_stopped(
        &mut self,
        signals: &Signals,
        watch: &mut Watch,
        tail: Option<&Tail>,
    ) -> anyhow::Result<()> {
        let mut change = Some(Change::Sources);
        loop {
            if let Some(change) = change {
                self.take_up(change, tail.is_some())?;
            }
            let stopped = match tail {
                Some(tail) => self.live(tail)? || signals.wait(Duration::ZERO),
                None => signals.wait(LOOK_EVERY),
            };
            if stopped {
                return self.stop();
            }
            change = watch.look();
        }
    }

    /// Takes up a change. What is wrong is shown, and the version before stays.
    fn take_up(&mut self, change: Change, live: bool) -> anyhow::Result<()> {
        if live && change == Change::Fixtures {
            return Ok(());
        }
        let built = match change {
            Change::Sources => self.build(),
            Change::Fixtures => Ok(()),
        };
        let stays = built.is_err() && self.loaded.is_some();
        let done = match built {
            Ok(()) if live => self.replace(),
            Ok(()) => self.feed().map(|_failed| ()),
            Err(error) => Err(error),
        };
        match done {
            Err(error) if is_gone(&error) => return Err(error),
            Err(error) => self.show_error(&error, stays)?,
            Ok(()) => {}
        }
        if self.args.output == Output::Text {
            let of = self.args.from.as_deref();
            let events = of.map_or(String::new(), |topic| format!("; events come from {topic}"));
            let folder = self.args.folder.display();
            writeln!(
                io::stdout(),
                "-- watching {folder}{events}; Ctrl-C ends it\n"
            )?;
        }
        Ok(())
    }

    /// Builds and loads.
    fn build(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let manifest = Manifest::read(&self.args.folder)?;
        let built = build(&manifest, &self.sandbox)?;
        let subject = Subject::find(&Wishes {
            folder: Some(&self.args.folder),
            fuel: true,
            ..Wishes::default()
        })?;
        let loaded = subject.load(&self.sandbox)?;
        let mut out = io::stdout();
        match self.args.output {
            Output::Text => {
                let (path, took) = (built.component.display(), duration(began.elapsed()));
                writeln!(out, "-- built {path} in {took}, {}", bytes(built.bytes))?;
                for note in &built.notes {
                    writeln!(out, "-- {note}")?;
                }
            }
            Output::Json => {
                let told = json!({ "built": {
                    "component": built.component,
                    "bytes": built.bytes,
                    "took_ms": began.elapsed().as_millis() as u64,
                    "digest": loaded.digest,
                    "notes": built.notes,
                }});
                writeln!(out, "{told}")?;
            }
        }
        self.loaded = Some((loaded, subject.topic));
        Ok(())
    }

    /// Runs all fixtures, with nothing left of the run before. True where one failed.
    fn feed(&mut self) -> anyhow::Result<bool> {
        let Some((loaded, topic)) = &self.loaded else {
            return Ok(false);
        };
        let events = Subject::find(&Wishes {
            folder: Some(&self.args.folder),
            ..Wishes::default()
        })?
        .fixtures()?;
        anyhow::ensure!(
            !events.is_empty(),
            "there are no events in {}: write some, one a line, for example {{\"key\":\"a\",\"value\":{{\"id\":1}}}}",
            self.args.folder.join("fixtures/events.jsonl").display()
        );
        let mut rig = Rig::new(Arc::clone(loaded), topic)?;
        let mut tally = Tally::default();
        print_all(&mut rig, &events, self.args.output, &mut tally)?;
        Ok(tally.failed)
    }

    /// Lets the version that was just built go on where the one before was.
    fn replace(&mut self) -> anyhow::Result<()> {
        let Some((loaded, topic)) = &self.loaded else {
            return Ok(());
        };
        match &mut self.rig {
            Some(rig) => rig.replace(Arc::clone(loaded))?,
            None => self.rig = Some(Rig::new(Arc::clone(loaded), topic)?),
        }
        Ok(())
    }

    /// Runs what has come of the topic until it is time to look around again. True where the topic has ended.
    fn live(&mut self, tail: &Tail) -> anyhow::Result<bool> {
        let began = Instant::now();
        while let Some(left) = LOOK_EVERY.checked_sub(began.elapsed()) {
            let Some(record) = tail.poll(left)? else {
                continue;
            };
            if let Some(rig) = &mut self.rig {
                let ran = rig.run(&event_of(&record));
                print(&mut io::stdout(), self.args.output, &ran, Ran::to_json)?;
            }
        }
        Ok(false)
    }

    /// The last tick of what ran live.
    fn stop(&mut self) -> anyhow::Result<()> {
        for ticked in self
            .rig
            .iter_mut()
            .flat_map(|rig| rig.tick(TickReason::Shutdown))
        {
            if self.args.output == Output::Json || !ticked.is_quiet() {
                print(
                    &mut io::stdout(),
                    self.args.output,
                    &ticked,
                    Ticked::to_json,
                )?;
            }
        }
        Ok(())
    }

    fn show_error(&self, error: &anyhow::Error, stays: bool) -> io::Result<()> {
        let mut out = io::stdout();
        match self.args.output {
            Output::Text => writeln!(out, "{error:#}"),
            Output::Json => writeln!(out, "{}", json!({ "error": format!("{error:#}") })),
        }?;
        if self.args.output == Output::Text && stays {
            writeln!(out, "-- the version before stays")?;
        }
        Ok(())
    }
}

fn event_of(record: &Record<'_>) -> Fixture {
    let mut headers = Vec::new();
    record.for_each_header(|name, value| headers.push((name.to_vec(), value.map(<[u8]>::to_vec))));
    Fixture {
        topic: Some(record.topic().to_owned()),
        partition: Some(record.partition()),
        offset: Some(record.offset().0),
        timestamp_ms: record.timestamp_ms(),
        key: record.key().map(<[u8]>::to_vec),
        value: record.value().map(<[u8]>::to_vec),
        headers,
        attempt: None,
    }
}
