//! `millrace dev` from outside: no terminal, its embedded broker reached as any client would.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::host::BINARY;
use crate::harness::topic::Topic;
use crate::harness::{process, wait};

/// Plugins are compiled first, on a machine that may be busy with other tests.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running `millrace dev`, with what it writes.
struct Dev {
    child: Child,
    folder: PathBuf,
}

impl Dev {
    fn start(args: &[&str]) -> Self {
        let folder = process::folder("dev");
        let temporary = folder.join("tmp");
        fs::create_dir(&temporary).unwrap();
        let mut command = process::tethered(BINARY);
        command
            .arg("dev")
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("TMPDIR", temporary)
            .stdout(File::create(folder.join("stdout")).unwrap())
            .stderr(File::create(folder.join("stderr")).unwrap())
            .stdin(Stdio::null());
        let child = process::spawn(command).expect("the binary can be started");
        Self { child, folder }
    }

    fn stdout(&self) -> String {
        fs::read_to_string(self.folder.join("stdout")).unwrap()
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).unwrap()
    }

    /// The broker's address, as soon as it is printed anywhere.
    fn brokers(&self) -> String {
        wait::eventually_some("the line of the broker", TIMEOUT, || {
            let said = self.stdout() + &self.stderr();
            let line = said.lines().find_map(|line| line.strip_prefix("broker "));
            line.map(|brokers| brokers.trim().to_owned()).ok_or(said)
        })
    }

    /// Waits until it has ended by itself, and answers its exit code.
    fn wait(&mut self) -> Option<i32> {
        process::wait_for_exit(&mut self.child, "millrace dev", TIMEOUT).code()
    }

    /// What is left in the folder for temporary files.
    fn left_behind(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.join("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Fails when it has ended already; and the kernel kills it in the end.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The numbers of `NAME: 9 polled = 7 processed + 2 dead`, by word.
fn equation(stdout: &str, name: &str) -> BTreeMap<String, u64> {
    let line = stdout
        .lines()
        .find_map(|line| line.strip_prefix(&format!("  {name}: ")))
        .unwrap_or_else(|| panic!("no summary of {name} in: {stdout}"));
    let words: Vec<&str> = line.split([' ', ';']).collect();
    words
        .windows(2)
        .filter_map(|pair| Some((pair[1].to_owned(), pair[0].parse().ok()?)))
        .collect()
}

#[test]
fn dev_shows_what_flows_lets_other_clients_in_and_leaves_nothing_behind() {
    let mut dev = Dev::start(&["--for", "8s", "--rate", "300", "--bad-share", "0.05"]);
    let brokers = dev.brokers();

    let topics = ["user-events", "user-events.dlq", "analytics.counts"];
    for topic in topics {
        assert_eq!(Topic::named(&brokers, topic).end_offsets().len(), 4);
    }
    let temporary = dev.left_behind();
    assert_eq!(temporary.len(), 1, "{temporary:?}");
    wait::eventually("a line in the journal", TIMEOUT, || {
        fs::metadata(temporary[0].join("audit.log")).is_ok_and(|file| file.len() > 0)
    });
    // A steady trickle, in which no poll of the host ever times out.
    wait::eventually("a commit while events flow", TIMEOUT, || {
        let events = Topic::named(&brokers, "user-events");
        events.committed("analytics-service").len() == 4
    });

    assert_eq!(dev.wait(), Some(0), "{}{}", dev.stdout(), dev.stderr());
    let stdout = dev.stdout();
    let shown = |line: &&str| line.contains("s sent=") && line.contains("analytics-service 3");
    assert!(stdout.lines().filter(shown).count() >= 3, "{stdout}");
    assert!(stdout.contains(" page_view="), "{stdout}");
    assert!(!stdout.contains('\x1b'), "{stdout}");
    let stderr = dev.stderr();
    let unexpected = |line: &&str| !line.contains("an event is given up on");
    assert_eq!(stderr.lines().find(unexpected), None, "{stderr}");

    let samples = equation(&stdout, "sample events");
    let analytics = equation(&stdout, "analytics-service");
    let sent = samples["sent"];
    assert!(sent > 1_500, "{stdout}");
    assert_eq!(samples["acknowledged"], sent);
    assert_eq!(analytics["polled"], sent);
    assert_eq!(analytics["processed"], samples["good"]);
    assert_eq!(analytics["duplicate"], samples["duplicate"]);
    assert_eq!(analytics["dead"], samples["malformed"]);
    assert_eq!(equation(&stdout, "audit-service")["processed"], sent);
    assert_eq!(
        equation(&stdout, "dead-letters")["processed"],
        analytics["dead"]
    );
    assert_eq!(dev.left_behind(), Vec::<PathBuf>::new());
}

#[test]
fn a_named_folder_keeps_its_journal_over_runs_that_signals_end() {
    let data = process::folder("data");
    let data_arg = data.display().to_string();
    let args = ["--data", &data_arg, "--output", "json", "--rate", "200"];
    let mut audited = 0;
    for run in 1..=2 {
        let mut dev = Dev::start(&args);
        dev.brokers();
        wait::eventually("a second of events", TIMEOUT, || {
            dev.stderr().contains("2s sent=")
        });
        process::signal(&dev.child, "TERM");

        assert_eq!(dev.wait(), Some(0), "{}", dev.stderr());
        let answer: Value = serde_json::from_str(&dev.stdout()).expect("nothing but the answer");
        let total = &answer["groups"][1]["total"];
        assert_eq!(total["processed"], answer["samples"]["total"], "run {run}");
        assert_eq!(total["polled"], total["processed"], "run {run}");
        audited += total["processed"].as_u64().unwrap();
        let journal = fs::read_to_string(data.join("audit.log")).unwrap();
        assert_eq!(journal.lines().count() as u64, audited, "run {run}");
    }
}

#[test]
fn a_configuration_of_ones_own_runs_on_the_embedded_broker() {
    let folder = process::folder("own");
    let audit = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/dist/audit.wasm");
    let write = |delivery: &str| {
        let text = format!(
            "kafka:\n  brokers: nowhere.invalid:1\n  properties: {{ security.protocol: SASL_SSL }}\n\
             plugins:\n  audit: {{ path: {}, grants: [journal], journal: {{ path: mine.log }} }}\n\
             groups:\n  - {{ id: mine, routes: {{ orders: audit }}, store: mine, delivery: {delivery} }}\n\
             admin: {{ listen: 127.0.0.1:0 }}\n",
            audit.display()
        );
        fs::write(folder.join("millrace.yaml"), text).unwrap();
    };
    let file = folder.join("millrace.yaml").display().to_string();

    write("at-least-once");
    let mut dev = Dev::start(&["-c", &file, "--topic", "orders", "--for", "2s"]);
    assert_eq!(dev.wait(), Some(0), "{}", dev.stderr());
    let stdout = dev.stdout();
    let sent = equation(&stdout, "sample events")["sent"];
    assert!(sent > 0);
    assert_eq!(equation(&stdout, "mine")["processed"], sent);
    // Its own store and journal are those of the daemon that runs elsewhere.
    let names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["millrace.yaml"]);

    write("transactional");
    let mut dev = Dev::start(&["-c", &file, "--for", "2s"]);
    assert_eq!(dev.wait(), Some(78));
    assert!(
        dev.stderr().contains("transactional delivery is not built"),
        "{}",
        dev.stderr()
    );
    assert_eq!(dev.left_behind(), Vec::<PathBuf>::new());
}

#[test]
fn plugins_that_are_not_built_are_named_with_what_to_do() {
    let empty = process::folder("empty").display().to_string();
    let mut dev = Dev::start(&["--plugins", &empty]);
    assert_eq!(dev.wait(), Some(1));
    let stderr = dev.stderr();
    assert!(
        stderr.contains("no analytics.wasm in") && stderr.contains("make plugins"),
        "{stderr}"
    );
    assert_eq!(dev.left_behind(), Vec::<PathBuf>::new());
}
