//! One run of the suite: topics, hosts that copy events from one to the other, everything that is noted while
//! they are harmed, and the checker that judges it afterwards.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::group;
use super::notes::{append, peak_bytes};
use super::settings::{Tier, Tuning};
use crate::harness::host::{self, Exit, Host, Setup};
use crate::harness::load::{Load, Plan};
use crate::harness::main_flow::guest;
use crate::harness::topic::{Topic, unique};
use crate::harness::{process, wait};

/// For anything that takes a few seconds on idle cores; a busy machine gets time.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(180);

/// Between two looks at the memory of the hosts.
const MEMORY_EVERY: Duration = Duration::from_millis(200);

/// Beyond its drain, what a host may take to end: ten seconds to leave its group, after which it ends all the
/// same, and a little for a busy machine.
pub(crate) const END_MARGIN_MS: u64 = 12_000;

/// How much of the usual order a fault leaves; the checker says what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Hosts are asked and have time.
    Orderly,
    /// Hosts are asked and cannot finish.
    Disturbed,
    /// A host, or where none is named the broker, fell silent.
    Fallen,
}

/// Process ids of the hosts that run, and their names.
type Running = Arc<Mutex<BTreeMap<u32, String>>>;

/// A run.
#[derive(Debug)]
pub(crate) struct Run {
    /// What it is called in the table.
    row: String,
    /// What the hosts are told; the source's brokers may be reached in another way.
    brokers: String,
    pub(crate) source: Topic,
    pub(crate) output: Topic,
    pub(crate) dead_letters: Topic,
    pub(crate) group: String,
    pub(crate) partitions: i32,
    evidence: PathBuf,
    watcher: Mutex<Option<Child>>,
    running: Running,
    lives: AtomicU32,
    began: Instant,
}

impl Run {
    /// Makes the topics on a cluster that hosts reach in the same way.
    pub(crate) fn new(row: &str, brokers: &str, partitions: i32) -> Self {
        Self::behind(row, brokers, brokers, partitions)
    }

    /// Makes the topics on a cluster that hosts reach through `hosts_use`, and everyone else directly.
    pub(crate) fn behind(row: &str, brokers: &str, hosts_use: &str, partitions: i32) -> Self {
        let name = unique(&row.to_lowercase().replace(' ', "-"));
        let evidence = process::folder("evidence");
        for folder in ["metrics", "logs"] {
            fs::create_dir(evidence.join(folder)).expect("a folder can be made");
        }
        let run = Self {
            row: row.to_owned(),
            brokers: hosts_use.to_owned(),
            source: stamped(brokers, &name, partitions),
            output: stamped(brokers, &format!("{name}.out"), partitions),
            dead_letters: stamped(brokers, &format!("{name}.dlq"), 1),
            group: name,
            partitions,
            watcher: Mutex::new(None),
            running: Arc::default(),
            lives: AtomicU32::new(0),
            began: Instant::now(),
            evidence,
        };
        run.watch();
        run.look_at_memory();
        run
    }

    /// Begins to send.
    pub(crate) fn load(&self, plan: Plan) -> Load {
        Load::start(&self.source, plan, self.evidence.join("sent.jsonl"))
    }

    /// The configuration of a host with this name.
    pub(crate) fn config(&self, host: &str, tuning: &Tuning) -> String {
        format!(
            "{kafka}plugins:{plugin}\ngroups:{group}\n",
            kafka = tuning.kafka(&self.brokers, host),
            plugin = self.plugin("copy", host, tuning),
            group = self.route("copy", tuning),
        )
    }

    /// The entry under `plugins`.
    pub(crate) fn plugin(&self, plugin: &str, host: &str, tuning: &Tuning) -> String {
        format!(
            r#"
  {plugin}:
    path: {wasm}
    grants: [config, "output:{output}"]
    config: {{ output: {output}, host: {host}, wait_us: "{wait_us}", down_ms: "{down_ms}" }}
    limits: {{ deadline: {deadline} }}"#,
            wasm = guest("copy"),
            output = self.output.name(),
            wait_us = tuning.wait_us,
            down_ms = tuning.down_ms,
            deadline = tuning.deadline,
        )
    }

    /// The entry under `groups`.
    pub(crate) fn route(&self, plugin: &str, tuning: &Tuning) -> String {
        format!(
            r#"
  - id: {group}
    routes: {{ {source}: {plugin} }}
    dead_letter: {{ topic: {dead_letters} }}
    store: store/{group}
{further}"#,
            group = self.group,
            source = self.source.name(),
            dead_letters = self.dead_letters.name(),
            further = tuning.group,
        )
    }

    /// A host of this name, with a folder of its own.
    pub(crate) fn member(&self, name: &str, tuning: &Tuning) -> Member<'_> {
        let setup = Setup::new(&self.brokers, &self.config(name, tuning));
        self.member_of(name, setup, tuning)
    }

    /// A host of this name with a configuration of its own.
    pub(crate) fn member_of(&self, name: &str, setup: Setup, tuning: &Tuning) -> Member<'_> {
        Member {
            run: self,
            name: name.to_owned(),
            // What the client did is of use when a run ends badly.
            setup: setup.arg("--log").arg("info,librdkafka=debug"),
            end_within_ms: u64::from(tuning.drain_ms) + END_MARGIN_MS,
        }
    }

    /// Notes what was done to the system, or to one host, from `from_ms` until now.
    pub(crate) fn mark(&self, what: &str, host: Option<&str>, from_ms: i64, kind: Kind) {
        self.mark_times(what, host, from_ms, kind, 1);
    }

    /// The same for what may repeat one event more than once.
    pub(crate) fn mark_times(
        &self,
        what: &str,
        host: Option<&str>,
        from_ms: i64,
        kind: Kind,
        times: u64,
    ) {
        let kind = match kind {
            Kind::Orderly => "orderly",
            Kind::Disturbed => "disturbed",
            Kind::Fallen => "fallen",
        };
        let mark = json!({
            "what": what, "host": host, "from_ms": from_ms, "until_ms": now_ms(), "kind": kind,
            "times": times,
        });
        self.note("marks.jsonl", &mark);
    }

    /// Waits until the group has committed all that is in the source.
    #[track_caller]
    pub(crate) fn wait_until_settled(&self) {
        self.source.wait_for_no_lag(&self.group, TIMEOUT);
    }

    /// Lets the checker judge. Every invariant has to hold.
    #[track_caller]
    pub(crate) fn expect_green(&self, done: &str, bounds: &[&str]) -> Value {
        let (code, report) = self.judge(bounds);
        self.keep_report(done, &report, None);
        eprintln!("{}: {done}: {}", self.row, told(&report));
        assert_eq!(code, 0, "{}: {report:#}\n{}", self.row, violated(&report));
        report
    }

    /// Lets the checker judge a host that is broken on purpose. It has to see that this one does not hold.
    #[cfg(feature = "sabotage")]
    #[track_caller]
    pub(crate) fn expect_red(&self, invariant: &str, done: &str, bounds: &[&str]) {
        let (code, report) = self.judge(bounds);
        let finding = &report["invariants"][invariant];
        self.keep_report(done, &report, Some(invariant));
        eprintln!("{}: {done}: {invariant} {finding:#}", self.row);
        assert_eq!(code, 1, "{}: {report:#}", self.row);
        assert_eq!(finding["state"], "violated", "{}: {report:#}", self.row);
    }

    /// How many partitions of the source this host has, as the broker sees it.
    pub(crate) fn owned_by(&self, host: &str) -> usize {
        let owners = group::owners(self.source.brokers(), &self.group, self.source.name());
        owners.get(host).map_or(0, Vec::len)
    }

    /// The generation of the group, as the broker sees it.
    #[track_caller]
    pub(crate) fn generation(&self) -> i32 {
        group::generation(self.source.brokers(), &self.group)
    }

    fn judge(&self, bounds: &[&str]) -> (i32, Value) {
        let watcher = self.watcher.lock().expect("nobody panicked").take();
        let mut watcher = watcher.expect("it watches until now");
        // One more look, so that the last commits are among its notes; then its input ends.
        let seen = self.looks();
        wait::eventually("one more look", TIMEOUT, || self.looks() > seen + 1);
        drop(watcher.stdin.take());
        process::wait_for_exit(&mut watcher, "the watching checker", TIMEOUT);
        let answer = self.evidence.join("report.json");
        let (output, dead_letters) = (self.output.name(), self.dead_letters.name());
        let mut command = process::tethered(checker());
        command
            .arg("check")
            .args(self.place())
            .args(["--output", output, "--dead-letters", dead_letters])
            .args(bounds)
            .stdout(File::create(&answer).expect("it can be written"));
        let mut checker = process::spawn(command).expect("the checker can be started");
        let status = process::wait_for_exit(&mut checker, "the checker", TIMEOUT);
        let code = status.code().unwrap_or(-1);
        assert!((0..=1).contains(&code), "{}: it could not check", self.row);
        let report = fs::read_to_string(answer).expect("it is there");
        (code, serde_json::from_str(&report).expect("it is JSON"))
    }

    /// Reports stay beside the build, where the table is made from them.
    fn keep_report(&self, done: &str, report: &Value, control: Option<&str>) {
        let folder = Path::new(host::BINARY).parent().expect("it has a folder");
        let folder = folder.join("fault-reports").join(Tier::now().name());
        fs::create_dir_all(&folder).expect("a folder can be made");
        let kept = json!({
            "row": self.row,
            "done": done,
            "control": control,
            "seconds": self.began.elapsed().as_secs(),
            "report": report,
        });
        let name = self.row.replace(' ', "-");
        fs::write(folder.join(format!("{name}.json")), kept.to_string()).expect("it is writable");
    }

    fn place(&self) -> [&str; 8] {
        let evidence = self.evidence.to_str().expect("the folder's name is text");
        [
            "--brokers",
            self.source.brokers(),
            "--group",
            &self.group,
            "--source",
            self.source.name(),
            "--evidence",
            evidence,
        ]
    }

    fn looks(&self) -> usize {
        let notes = File::open(self.evidence.join("commits.jsonl"));
        notes.map_or(0, |file| BufReader::new(file).lines().count())
    }

    fn watch(&self) {
        let mut command = process::tethered(checker());
        command
            .arg("watch")
            .args(self.place())
            .stdin(Stdio::piped());
        let watcher = process::spawn(command).expect("the checker can be started");
        *self.watcher.lock().expect("nobody panicked") = Some(watcher);
    }

    fn look_at_memory(&self) {
        let (running, evidence) = (Arc::downgrade(&self.running), self.evidence.clone());
        thread::spawn(move || {
            while let Some(running) = running.upgrade() {
                for (pid, host) in running.lock().expect("nobody panicked").iter() {
                    if let Some(bytes) = peak_bytes(*pid) {
                        let line = json!({ "host": host, "pid": pid, "peak_bytes": bytes });
                        append(&evidence.join("memory.jsonl"), &line);
                    }
                }
                drop(running);
                thread::sleep(MEMORY_EVERY);
            }
        });
    }

    fn note(&self, file: &str, line: &Value) {
        append(&self.evidence.join(file), line);
    }

    fn keep_text(&self, folder: &str, host: &str, text: &str) {
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        let file = self.evidence.join(folder).join(format!("{host}.{life}"));
        fs::write(file, text).expect("it can be written");
    }
}

/// A host of a run, between its lives and in them.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    run: &'a Run,
    pub(crate) name: String,
    pub(crate) setup: Setup,
    pub(crate) end_within_ms: u64,
}

impl Member<'_> {
    /// Starts it and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(&self) -> Host {
        let host = self.setup.start();
        let mut running = self.run.running.lock().expect("nobody panicked");
        running.insert(host.pid(), self.name.clone());
        host
    }

    /// Starts it while events flow: what it changes for the others is noted.
    #[track_caller]
    pub(crate) fn join(&self) -> Host {
        let from_ms = now_ms();
        let host = self.start();
        self.run
            .mark("join", Some(&self.name), from_ms, Kind::Orderly);
        host
    }

    /// Keeps what it says of itself now.
    pub(crate) fn scrape(&self, host: &Host) {
        let (_, text) = host.get("/metrics").expect("the host serves /metrics");
        self.run.keep_text("metrics", &self.name, &text);
    }

    /// Kills it as a power cut would.
    #[track_caller]
    pub(crate) fn kill9(&self, host: Host) {
        self.scrape(&host);
        let from_ms = now_ms();
        let exit = self.ended(host, "killed", |host| host.kill9());
        self.run
            .mark("kill -9", Some(&self.name), from_ms, Kind::Fallen);
        assert_eq!(exit.signal, Some(9));
    }

    /// Asks it to end, as an operator does.
    #[track_caller]
    pub(crate) fn sigterm(&self, host: Host) -> Exit {
        self.scrape(&host);
        self.ended(host, "success", Host::sigterm)
    }

    /// Asks it to end while events flow.
    #[track_caller]
    pub(crate) fn leave(&self, host: Host) -> Exit {
        let from_ms = now_ms();
        let exit = self.sigterm(host);
        self.run
            .mark("SIGTERM", Some(&self.name), from_ms, Kind::Orderly);
        exit
    }

    /// Ends it in some way and notes how that went.
    #[track_caller]
    pub(crate) fn ended(&self, host: Host, wanted: &str, end: impl FnOnce(Host) -> Exit) -> Exit {
        let pid = host.pid();
        let asked = Instant::now();
        let exit = end(host);
        let took_ms = asked.elapsed().as_millis() as u64;
        self.run
            .running
            .lock()
            .expect("nobody panicked")
            .remove(&pid);
        self.run.keep_text("logs", &self.name, &exit.stderr);
        let said = serde_json::from_str::<Value>(&exit.stdout).ok();
        let processed = said.as_ref().and_then(|said| {
            let groups = said["groups"].as_array()?;
            let of_group = groups
                .iter()
                .find(|each| each["group"] == *self.run.group)?;
            of_group["total"]["processed"].as_u64()
        });
        let end = json!({
            "host": self.name, "wanted": wanted, "code": exit.code, "signal": exit.signal,
            "took_ms": took_ms, "within_ms": self.end_within_ms, "processed": processed,
            "last_line": exit.stderr.lines().last().unwrap_or_default(),
        });
        self.run.note("ends.jsonl", &end);
        exit
    }

    /// How many events it has finished in this life, over all partitions.
    pub(crate) fn finished(&self, host: &Host) -> u64 {
        // A host that is busy or frozen may not answer; the next look may find one.
        host.get("/metrics").map_or(0, |(_, text)| {
            let metrics = crate::harness::metrics::Metrics::parse(&text);
            metrics.outcomes(&self.run.group).values().sum::<f64>() as u64
        })
    }

    /// Waits until it has finished this many events in this life.
    #[track_caller]
    pub(crate) fn wait_for_finished(&self, host: &Host, events: u64) {
        let what = format!("{events} events finished by {}", self.name);
        wait::eventually_some(&what, TIMEOUT, || {
            let finished = self.finished(host);
            if finished >= events {
                Ok(())
            } else {
                Err(format!("{finished} were"))
            }
        });
    }
}

/// Now, in milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("it is after 1970").as_millis() as i64
}

/// Lets a fault last: its length is what is tested.
pub(crate) fn let_it_last(duration: Duration) {
    let began = Instant::now();
    wait::eventually("the fault to have lasted", TIMEOUT, || {
        began.elapsed() >= duration
    });
}

/// A topic whose records carry the broker's own time, which nobody else can make up.
pub(crate) fn stamped(brokers: &str, name: &str, partitions: i32) -> Topic {
    let settings = [("message.timestamp.type", "LogAppendTime")];
    Topic::create_with(brokers, name, partitions, &settings)
}

fn told(report: &Value) -> String {
    format!(
        "{} sent, {} lost, {} repeated of at most {}, {} reordered, {} late, recovered after {} ms",
        report["sent"],
        report["lost"],
        report["duplicated"],
        report["duplicates_allowed"],
        report["reordered"],
        report["late"],
        report["recover_ms"],
    )
}

/// What does not hold, alone: what is printed last is what is seen of a long report.
fn violated(report: &Value) -> String {
    let findings = report["invariants"].as_object().into_iter().flatten();
    let violated = findings.filter(|(_, finding)| finding["state"] == "violated");
    let told = violated.map(|(name, finding)| {
        let (count, examples) = (&finding["count"], &finding["examples"]);
        format!("{name} violated {count} times, such as {}", examples[0])
    });
    told.collect::<Vec<_>>().join("\n")
}

/// The checker stands beside the host's binary.
fn checker() -> PathBuf {
    let path = Path::new(host::BINARY).with_file_name("millrace-checker");
    assert!(
        path.exists(),
        "{} is missing: run `make checker`",
        path.display()
    );
    path
}
