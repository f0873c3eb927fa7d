//! Bad input gets one clear message and loses nothing: the host ends before it has consumed anything.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use crate::harness::host::{Exit, Setup};
use crate::harness::ingest::proto::{PublishBatchRequest, PublishRequest, StatusCode};
use crate::harness::ingest::{Publisher, event};
use crate::harness::main_flow::{guest, plugin};
use crate::harness::topic::{Record, Topic, unique};
use crate::harness::{kafka, process};

/// `EX_CONFIG` and `EX_UNAVAILABLE` of sysexits.h.
const BAD_CONFIGURATION: i32 = 78;
const UNAVAILABLE: i32 = 69;
const OTHER: i32 = 1;

/// A topic with events that nobody may consume, and a group that would.
struct Bait {
    topic: Topic,
    group: String,
}

impl Bait {
    fn new() -> Self {
        let topic = Topic::create(kafka::shared(), "bait", 1);
        topic.produce(&[Record::new("a", "{}"), Record::new("b", "{}")]);
        Self {
            topic,
            group: unique("bait"),
        }
    }

    /// A sound configuration: the audit plugin over the bait.
    fn config(&self) -> String {
        self.config_with(
            &plugin("audit"),
            "[journal]\n    journal: { path: audit.log }",
        )
    }

    fn config_with(&self, path: &str, grants: &str) -> String {
        format!(
            "plugins:\n  audit:\n    path: {path}\n    grants: {grants}\ngroups:\n  - id: {}\n    \
             routes: {{ {}: audit }}\n    store: store\n",
            self.group,
            self.topic.name(),
        )
    }

    /// Starts a host that must refuse, with this code and all of these words in its message.
    #[track_caller]
    fn refused(&self, config: &str, code: i32, words: &[&str]) -> Exit {
        self.refused_setup(&Setup::new(kafka::shared(), config), code, words)
    }

    #[track_caller]
    fn refused_setup(&self, setup: &Setup, code: i32, words: &[&str]) -> Exit {
        let exit = setup.run_to_exit().expect_code(code);
        let log = exit.stderr.lines().filter(|line| !line.starts_with('{'));
        let said = log.collect::<Vec<_>>().join("\n");
        for word in words {
            assert!(said.contains(word), "{word:?} is not in: {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
        assert!(
            !said.lines().any(stammers),
            "something is said twice in: {said}"
        );
        assert_eq!(
            exit.stdout, "",
            "nothing but an answer goes to standard output"
        );
        self.assert_untouched();
        exit
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert!(self.topic.committed(&self.group).is_empty());
    }
}

/// Whether a line ends in what it has said before: a cause that is part of the message, printed after it.
fn stammers(line: &str) -> bool {
    let parts = line.match_indices(": ").map(|(at, _)| line.split_at(at));
    let said_before =
        |(before, after): (&str, &str)| before.contains(after.trim_start_matches(": "));
    parts.into_iter().any(said_before)
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_a_suggestion_beside_every_other_problem() {
    let bait = Bait::new();
    let config = bait.config().replace("routes:", "ruotes:") + "admin: { listen: nowhere }\n";
    let exit = bait.refused(
        &config,
        BAD_CONFIGURATION,
        &["ruotes", "`routes`", "7:5", "nowhere"],
    );
    assert!(exit.stderr.contains("millrace.yaml"), "{}", exit.stderr);
}

#[test]
fn a_missing_plugin_file_is_refused_with_its_path() {
    let bait = Bait::new();
    let config = bait
        .config()
        .replace(&plugin("audit"), "plugins/no-such.wasm");
    bait.refused(
        &config,
        BAD_CONFIGURATION,
        &["audit", "plugins/no-such.wasm"],
    );
}

#[test]
fn a_core_module_is_refused_with_what_to_build_instead() {
    let bait = Bait::new();
    let file = process::folder("core").join("core.wasm");
    std::fs::write(&file, b"\0asm\x01\0\0\0").expect("the folder can be written");
    let config = bait.config_with(file.to_str().expect("it is text"), "[]");
    bait.refused(
        &config,
        BAD_CONFIGURATION,
        &["core module", "wasm32-wasip2"],
    );
}

#[test]
fn what_is_no_wasm_at_all_is_refused() {
    let bait = Bait::new();
    let config = bait.config_with(&format!("{}/Cargo.toml", env!("CARGO_MANIFEST_DIR")), "[]");
    bait.refused(&config, BAD_CONFIGURATION, &["not a valid component"]);
}

#[test]
fn an_import_that_is_not_granted_is_refused_with_the_grant_that_is_missing() {
    let bait = Bait::new();
    let config = bait.config_with(&plugin("audit"), "[]");
    let words = [
        "millrace:plugin/journal",
        "`journal`",
        "plugins.audit.grants",
    ];
    bait.refused(&config, BAD_CONFIGURATION, &words);
}

#[test]
fn an_import_that_no_host_has_is_refused_with_its_name() {
    let bait = Bait::new();
    let config = bait.config_with(&guest("wants-more"), "[]");
    bait.refused(&config, BAD_CONFIGURATION, &["elsewhere:moon/gravity"]);
}

#[test]
fn a_plugin_whose_init_refuses_is_refused_with_its_own_words() {
    let bait = Bait::new();
    let config = bait.config_with(&guest("refuses"), "[]");
    bait.refused(
        &config,
        BAD_CONFIGURATION,
        &["the setting `window` is missing"],
    );
}

#[test]
fn a_broker_that_cannot_be_reached_ends_the_start_within_fifteen_seconds() {
    let bait = Bait::new();
    let nobody = format!("127.0.0.1:{}", process::free_port());
    let setup = Setup::new(&nobody, &bait.config());
    let began = Instant::now();
    bait.refused_setup(&setup, UNAVAILABLE, &[&nobody, "no Kafka broker answered"]);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    eprintln!("broker unreachable: said so after {took:.1?}");
}

#[test]
fn a_port_in_use_is_refused_with_the_setting_to_change() {
    let bait = Bait::new();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    let taken = taken
        .local_addr()
        .map(|address| (address, taken))
        .expect("it has an address");
    let address = taken.0.to_string();
    let admin = format!("{}admin: {{ listen: \"{address}\" }}\n", bait.config());
    bait.refused(&admin, OTHER, &[&address, "admin.listen"]);
    let grpc = format!(
        "{}ingest: {{ grpc: {{ listen: \"{address}\" }} }}\n",
        bait.config()
    );
    bait.refused(&grpc, OTHER, &[&address, "ingest.grpc.listen"]);
}

#[test]
fn a_store_or_a_journal_in_use_is_refused_and_its_owner_goes_on() {
    let (owner, bait) = (Bait::new(), Bait::new());
    let owner_setup = Setup::new(kafka::shared(), &owner.config());
    let host = owner_setup.start();
    let of_owner = |file: &str| owner_setup.folder().join(file).display().to_string();

    let store = bait
        .config()
        .replace("store: store", &format!("store: {}", of_owner("store")));
    bait.refused(
        &store,
        OTHER,
        &[&of_owner("store"), "in use by another process", "store"],
    );
    let journal = bait.config().replace("audit.log", &of_owner("audit.log"));
    bait.refused(
        &journal,
        OTHER,
        &[&of_owner("audit.log"), "in use by another process"],
    );

    owner
        .topic
        .wait_for_no_lag(&owner.group, Duration::from_secs(30));
    host.sigterm().expect_code(0);
}

#[test]
fn a_source_topic_that_is_missing_is_refused_with_how_to_create_it() {
    let bait = Bait::new();
    let missing = unique("never-created");
    let config = bait.config().replace(bait.topic.name(), &missing);
    bait.refused(&config, OTHER, &[&missing, "millrace topics create"]);
    assert!(
        !Topic::named(kafka::shared(), &missing).exists(),
        "it is not made by accident"
    );
}

#[test]
fn an_event_that_is_too_large_is_refused_alone_and_the_rest_of_its_batch_is_accepted() {
    let topic = Topic::create(kafka::shared(), "large", 1);
    let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
    let config = format!("ingest: {{ grpc: {{ listen: \"{gateway}\", event_max: 10KiB }} }}\n");
    let host = Setup::new(kafka::shared(), &config).start();
    let mut publisher = Publisher::connect(gateway);
    let (fits, too_large) = (vec![b'x'; 10 << 10], vec![b'x'; (10 << 10) + 1]);
    let fits = fits[..fits.len() - 1].to_vec();

    let batch = PublishBatchRequest {
        events: vec![
            event(&topic, "k", "first"),
            event(&topic, "k", too_large.clone()),
            event(&topic, "k", fits.clone()),
        ],
    };
    let answer = publisher
        .runtime
        .block_on(publisher.client.publish_batch(batch));
    let statuses = answer.expect("the call is answered").into_inner().statuses;
    let codes: Vec<StatusCode> = statuses.iter().map(|status| status.code()).collect();
    assert_eq!(
        codes,
        [StatusCode::Ok, StatusCode::TooLarge, StatusCode::Ok]
    );
    assert!(
        statuses[1].message.contains("10240"),
        "{}",
        statuses[1].message
    );
    let one = PublishRequest {
        event: Some(event(&topic, "k", too_large)),
    };
    let refused = publisher.runtime.block_on(publisher.client.publish(one));
    let refused = refused.expect_err("it is too large");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    assert_eq!(
        refused
            .metadata()
            .get("millrace-status")
            .expect("it is there"),
        "TOO_LARGE"
    );

    host.sigterm().expect_code(0);
    let values: Vec<_> = topic
        .read_all()
        .into_iter()
        .filter_map(|record| record.value)
        .collect();
    assert_eq!(values, [b"first".to_vec(), fits]);
}
