//! What a plugin may keep in the host: state, sums and series have an end, what expires goes, and a request
//! over HTTP gets out of a running host only where it is granted.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use crate::harness::host::{Host, Setup};
use crate::harness::kafka;
use crate::harness::main_flow::guest;
use crate::harness::topic::{Record, Topic, unique};
use crate::harness::wait;

const TIMEOUT: Duration = Duration::from_secs(60);

/// One group with the plugin `hoards`, and what it could not handle.
struct Hoard {
    source: Topic,
    dead_letters: Topic,
    group: String,
    setup: Setup,
}

impl Hoard {
    fn new(hint: &str, settings: &str) -> Self {
        let brokers = kafka::shared();
        let source = Topic::create(brokers, hint, 1);
        let dead_letters = Topic::create(brokers, &format!("{hint}.dlq"), 1);
        let group = unique(hint);
        let config = format!(
            "plugins:\n  hoards:\n    path: {}\n    \
             grants: [tally, state, metrics, journal, \"output:{}\"]\n    \
             journal: {{ path: hoards.log }}\n{settings}groups:\n  - id: {group}\n    \
             routes: {{ {}: hoards }}\n    retry: {{ attempts: 1 }}\n    \
             dead_letter: {{ topic: {} }}\n    store: store\n    commit_interval: 50ms\n",
            guest("hoards"),
            dead_letters.name(),
            source.name(),
            dead_letters.name(),
        );
        let setup = Setup::new(brokers, &config);
        Self {
            source,
            dead_letters,
            group,
            setup,
        }
    }

    /// Sends events by key and value, and waits until they are settled.
    #[track_caller]
    fn send(&self, events: &[(String, String)]) {
        let record = |(key, value): &(String, String)| Record::new(key.as_str(), value.as_str());
        let records: Vec<Record> = events.iter().map(record).collect();
        self.source.produce(&records);
        self.source.wait_for_no_lag(&self.group, TIMEOUT);
    }

    /// Cause, code and message of all that was given up on.
    fn letters(&self) -> Vec<[String; 3]> {
        let letters = self.dead_letters.read_all();
        let facts = letters.iter().map(|letter| {
            ["cause", "code", "message"].map(|fact| {
                let header = letter.header(&format!("millrace.dlq.{fact}"));
                header.unwrap_or_default().to_owned()
            })
        });
        facts.collect()
    }

    /// A figure of the plugin.
    fn figure(&self, host: &Host, name: &str) -> f64 {
        host.metrics().sum(name, &[("plugin", "hoards")])
    }
}

fn keep(key: &str, bytes: usize) -> (String, String) {
    (key.to_owned(), format!(r#"{{"keep":{bytes}}}"#))
}

#[test]
fn state_beyond_its_quota_fails_its_event_also_after_a_restart() {
    let hoard = Hoard::new("state-quota", "    state: { quota: 64KiB }\n");
    let host = hoard.setup.start();
    let ten: Vec<_> = (0..10).map(|n| keep(&format!("k{n}"), 10_000)).collect();
    hoard.send(&ten);

    let letters = hoard.letters();
    assert_eq!(letters.len(), 4, "six fit: {letters:?}");
    for [cause, code, message] in &letters {
        assert_eq!((cause.as_str(), code.as_str()), ("fuel", "state-quota"));
        for part in ["plugin hoards", "of 65536 are taken", "state.quota"] {
            assert!(message.contains(part), "{part:?} is not in: {message}");
        }
    }
    let figures = |host: &Host| {
        let figure = |name| hoard.figure(host, name);
        (
            figure("millrace_plugin_state_entries"),
            figure("millrace_plugin_state_bytes"),
        )
    };
    wait::eventually("the state is counted", TIMEOUT, || figures(&host).0 == 6.0);
    let (_, bytes) = figures(&host);
    assert!((60_000.0..65_536.0).contains(&bytes), "{bytes}");
    host.sigterm().expect_code(0);

    let host = hoard.setup.start();
    hoard.send(&[keep("k10", 10_000)]);
    assert_eq!(hoard.letters().len(), 5, "it is still full");
    // What grows nothing is written, and what is deleted makes room.
    hoard.send(&[keep("k0", 9_000), keep("k1", 0)]);
    hoard.send(&[keep("k10", 10_000)]);
    assert_eq!(hoard.letters().len(), 5);
    host.metrics().assert_ledger_balanced(&hoard.group);
    host.sigterm().expect_code(0);
}

#[test]
fn events_that_run_one_by_one_after_a_fault_read_what_the_ones_before_them_wrote() {
    let hoard = Hoard::new("after-a-fault", "");
    let everything = |key: &str, end: &str| {
        let value = format!(r#"{{"everything":"{end}"}}"#);
        Record::new(key, value)
    };
    // All of them are there when the host comes, so that they are one batch.
    let mut records = vec![everything("bad", "trap")];
    records.extend((0..5).map(|_| everything("good", "filter")));
    hoard.source.produce(&records);
    let host = hoard.setup.start();
    hoard.source.wait_for_no_lag(&hoard.group, TIMEOUT);
    let [[cause, _, message]] = &hoard.letters()[..] else {
        panic!("{:?}", hoard.letters())
    };
    assert_eq!(cause, "trap");
    assert!(message.contains("the event said so"), "{message}");
    host.sigterm().expect_code(0);
    let journal = std::fs::read_to_string(hoard.setup.folder().join("hoards.log"));
    let expected = "1:\n2:1\n3:2\n4:3\n5:4\n";
    assert_eq!(journal.expect("it is there"), expected);
}

#[test]
fn state_whose_time_has_run_out_leaves_the_store_also_after_a_restart() {
    let hoard = Hoard::new("state-ttl", "");
    let host = hoard.setup.start();
    let entries = |host: &Host| hoard.figure(host, "millrace_plugin_state_entries");
    let events = |range: std::ops::Range<usize>, ttl_ms: &str| {
        let value = format!(r#"{{"keep":100{ttl_ms}}}"#);
        let event = |n| (format!("k{n}"), value.clone());
        range.map(event).collect::<Vec<_>>()
    };
    hoard.send(&events(0..50, r#","ttl-ms":500"#));
    hoard.send(&events(50..60, ""));
    hoard.send(&events(60..90, r#","ttl-ms":15000"#));
    wait::eventually("the first are gone", TIMEOUT, || entries(&host) == 40.0);
    host.sigterm().expect_code(0);

    let host = hoard.setup.start();
    wait::eventually("the others are gone", TIMEOUT, || entries(&host) == 10.0);
    host.sigterm().expect_code(0);
}

#[test]
fn sums_and_series_beyond_their_number_are_refused_by_name() {
    let hoard = Hoard::new("names", "    limits: { tallies: 5, series: 3 }\n");
    let tally = |name: &str| (name.to_owned(), format!(r#"{{"tally":"{name}"}}"#));
    let host = hoard.setup.start();
    let eight: Vec<_> = (0..8).map(|n| tally(&format!("sum-{n}"))).collect();
    hoard.send(&eight);
    let letters = hoard.letters();
    assert_eq!(letters.len(), 3, "{letters:?}");
    for [cause, code, message] in &letters {
        assert_eq!((cause.as_str(), code.as_str()), ("fuel", "tallies"));
        assert!(message.contains("more than 5 named sums"), "{message}");
        assert!(message.contains("limits.tallies"), "{message}");
    }
    let label = |n| (format!("l{n}"), format!(r#"{{"label":"{n}"}}"#));
    hoard.send(&(0..5).map(label).collect::<Vec<_>>());
    assert_eq!(hoard.letters().len(), 3, "a figure fails nobody");
    assert_eq!(host.metrics().select("hoards_kept_total", &[]).len(), 3);
    let refused = hoard.figure(&host, "millrace_plugin_series_refused_total");
    assert_eq!(refused, 2.0);
    host.sigterm().expect_code(0);

    let host = hoard.setup.start();
    hoard.send(&eight);
    assert_eq!(hoard.letters().len(), 6, "the same five are there");
    host.metrics().assert_ledger_balanced(&hoard.group);
    host.sigterm().expect_code(0);
}

/// Answers every request with `hello`, for the life of the test process.
fn greeter() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 4096];
            // A client that has gone needs no answer.
            let _asked = stream.read(&mut head);
            let _answered = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        }
    });
    port
}

#[test]
fn a_running_host_lets_granted_requests_out_and_counts_the_others() {
    let (granted, other) = (greeter(), greeter());
    let brokers = kafka::shared();
    let source = Topic::create(brokers, "fetches", 1);
    let outputs = Topic::create(brokers, "outputs", 1);
    let group = unique("fetches");
    let config = format!(
        "plugins:\n  fetches:\n    path: {}\n    \
         grants: [\"http:127.0.0.1:{granted}\", \"output:{}\"]\n    \
         limits: {{ deadline: 10s }}\ngroups:\n  - id: {group}\n    \
         routes: {{ {}: fetches }}\n    dead_letter: {{ topic: {}.dlq }}\n    store: store\n",
        guest("fetches"),
        outputs.name(),
        source.name(),
        source.name(),
    );
    let setup = Setup::new(brokers, &config);
    let host = setup.start();
    let order = |port: u16, key: &str| {
        let to = outputs.name();
        Record::new(
            key,
            format!(r#"{{"url":"http://127.0.0.1:{port}/","to":"{to}"}}"#),
        )
    };
    source.produce(&[order(granted, "a"), order(other, "b")]);
    source.wait_for_no_lag(&group, TIMEOUT);

    let read = outputs.read_all();
    let mut said: Vec<String> = read
        .iter()
        .map(|record| String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into())
        .collect();
    said.sort_unstable();
    assert_eq!(said, ["200 hello", "ErrorCode::HttpRequestDenied"]);
    let count = |name: &str| host.metrics().sum(name, &[("plugin", "fetches")]);
    assert_eq!(count("millrace_plugin_http_requests_total"), 2.0);
    assert_eq!(count("millrace_plugin_http_denied_total"), 1.0);
    assert_eq!(count("millrace_plugin_http_failed_total"), 0.0);
    let hint = format!("add `http:127.0.0.1:{other}` to the grants");
    let logged = host
        .log()
        .iter()
        .any(|line| line.to_string().contains(&hint));
    assert!(logged, "{hint:?} is not in the log");
    host.sigterm().expect_code(0);
}
