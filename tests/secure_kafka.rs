//! Secured connections to a real Kafka: events flow through the whole host by every way of encryption and login, and
//! whoever is not who he should be is refused with one message that says what to do.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::harness::host::{self, Exit, Host, Setup};
use crate::harness::ingest::proto::PublishBatchRequest;
use crate::harness::ingest::{Publisher, event};
use crate::harness::main_flow::guest;
use crate::harness::secured_node::{self, PASSWORD, Secured, USER};
use crate::harness::topic::{Topic, unique};
use crate::harness::{process, wait};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Everything that a host of these tests has its own of.
struct Way {
    source: Topic,
    copies: Topic,
    group: String,
    gateway: SocketAddr,
    setup: Setup,
}

/// The section `kafka` for a door.
fn kafka(port: u16, keys: &str) -> String {
    // What `localhost` stands for may begin with an address that the node does not listen on.
    format!(
        "kafka:\n  brokers: \"localhost:{port}\"\n  properties: {{ broker.address.family: v4 }}\n{keys}"
    )
}

fn ca(node: &Secured) -> String {
    format!("  tls: {{ ca: {} }}\n", node.file("ca.pem").display())
}

fn login(mechanism: &str) -> String {
    format!(
        "  sasl: {{ mechanism: {mechanism}, username: {USER}, password: \"${{KAFKA_PASSWORD}}\" }}\n"
    )
}

impl Way {
    /// Topics and a host that copies from the one to the other, reached by this section.
    fn new(kafka: &str) -> Self {
        let brokers = secured_node::shared().brokers();
        let source = Topic::create(&brokers, "secured", 2);
        let copies = Topic::create(&brokers, "copies", 2);
        Topic::create_with(&brokers, &format!("{}.dlq", source.name()), 1, &[]);
        let group = unique("secured");
        let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, process::free_port()));
        let config = format!(
            "{kafka}plugins:\n  copy:\n    path: {}\n    grants: [config, \"output:{copies}\"]\n    \
             config: {{ output: {copies}, host: h, wait_us: 0, down_ms: \"\" }}\n\
             groups:\n  - id: {group}\n    routes: {{ {source}: copy }}\n    dead_letter: {{ topic: {source}.dlq }}\n    \
             store: store\ningest: {{ grpc: {{ listen: \"{gateway}\" }} }}\n",
            guest("copy"),
            copies = copies.name(),
            source = source.name(),
        );
        let setup = Setup::new(&brokers, &config).env("KAFKA_PASSWORD", PASSWORD);
        Self {
            source,
            copies,
            group,
            gateway,
            setup,
        }
    }

    fn publish(&self, events: u64) {
        let mut publisher = Publisher::connect(self.gateway);
        let value = |n: u64| format!("{{\"id\":{n},\"seq\":{n}}}");
        let events = (0..events).map(|n| event(&self.source, &n.to_string(), value(n)));
        let events = events.collect();
        let call = publisher
            .client
            .publish_batch(PublishBatchRequest { events });
        let answer = publisher
            .runtime
            .block_on(call)
            .expect("it is answered")
            .into_inner();
        for status in answer.statuses {
            assert_eq!(status.code, 1, "{}", status.message);
        }
    }

    /// Publishes, and waits until the copies are there and committed.
    fn flows(&self, events: u64, in_all: i64) {
        self.publish(events);
        self.source.wait_for_no_lag(&self.group, TIMEOUT);
        let copied: i64 = self.copies.end_offsets().values().sum();
        assert!(copied >= in_all, "{copied} copies");
    }

    fn start(&self) -> Host {
        self.setup.start()
    }
}

fn assert_silent(text: &str) {
    assert!(!text.contains(PASSWORD), "a secret was printed: {text}");
}

#[test]
fn events_flow_by_every_way_of_encryption_and_login() {
    let node = secured_node::shared();
    let ca = ca(node);
    let mutual = format!(
        "  tls: {{ ca: {}, cert: {}, key: {} }}\n",
        node.file("ca.pem").display(),
        node.file("client.pem").display(),
        node.file("client.key").display()
    );
    let off = "  tls: off\n".to_owned();
    let ways = [
        ("TLS", kafka(node.tls, &ca)),
        ("mutual TLS", kafka(node.mutual, &mutual)),
        ("PLAIN", kafka(node.secure, &(ca.clone() + &login("PLAIN")))),
        (
            "SCRAM-SHA-256",
            kafka(node.secure, &(ca.clone() + &login("SCRAM-SHA-256"))),
        ),
        (
            "SCRAM-SHA-512",
            kafka(node.login, &(off + &login("SCRAM-SHA-512"))),
        ),
    ];
    for (name, kafka) in ways {
        let way = Way::new(&kafka);
        let host = way.start();
        way.flows(20, 20);
        let exit = host.sigterm();
        assert_eq!(exit.code, Some(0), "{name}: {}", exit.stderr);
        assert_silent(&exit.stderr);
    }
}

#[test]
fn a_token_is_renewed_while_events_flow() {
    let node = secured_node::shared();
    let folder = process::folder("token");
    let file = folder.join("token");
    let renew = |seconds| {
        let new: PathBuf = folder.join("new");
        fs::write(&new, secured_node::token(seconds)).expect("the folder can be written");
        fs::rename(&new, &file).expect("the folder can be written");
    };
    // The node asks again every 3 s, and this token is no good by the second time.
    renew(6);
    let sasl = format!(
        "  sasl: {{ mechanism: OAUTHBEARER, token: {{ file: {} }} }}\n",
        file.display()
    );
    let way = Way::new(&kafka(node.secure, &(ca(node) + &sasl)));
    let host = way.start();
    way.flows(10, 10);
    renew(3_600);
    let first_ended = std::time::Instant::now() + Duration::from_secs(9);
    let mut rounds = 1;
    while std::time::Instant::now() < first_ended {
        rounds += 1;
        way.flows(10, rounds * 10);
    }
    assert!(rounds > 2, "{rounds}");
    let exit = host.sigterm().expect_code(0);
    assert!(
        !exit.stderr.contains("eyJ"),
        "a token was printed: {}",
        exit.stderr
    );
}

/// The exit of a host that must not get in.
fn refused(kafka: &str) -> Exit {
    let way = Way::new(kafka);
    let exit = way.setup.run_to_exit();
    assert_silent(&exit.stderr);
    exit
}

#[test]
fn f49_who_is_not_who_he_should_be_is_refused_with_one_clear_message() {
    let node = secured_node::shared();
    let (ca, wrong) = (
        ca(node),
        login("SCRAM-SHA-512").replace("${KAFKA_PASSWORD}", "wrong-horse"),
    );
    let other_ca = format!("  tls: {{ ca: {} }}\n", node.file("other-ca.pem").display());
    let wrong_host = kafka(node.tls, &ca).replace("localhost:", "127.0.0.1:");
    let stale = process::folder("stale").join("token");
    fs::write(&stale, secured_node::token(0)).expect("the folder can be written");
    let stale = format!(
        "  sasl: {{ mechanism: OAUTHBEARER, token: {{ file: {} }} }}\n",
        stale.display()
    );
    let cases = [
        (
            "an expired certificate",
            kafka(node.expired, &ca),
            "kafka.tls",
        ),
        ("the certificate of another host", wrong_host, "kafka.tls"),
        (
            "an unknown authority",
            kafka(node.tls, &other_ca),
            "kafka.tls",
        ),
        (
            "no certificate of the client",
            kafka(node.mutual, &ca),
            "kafka.tls",
        ),
        (
            "a wrong password",
            kafka(node.secure, &(ca.clone() + &wrong)),
            "kafka.sasl",
        ),
        ("no login", kafka(node.secure, &ca), "kafka.sasl"),
        (
            "a token that has ended",
            kafka(node.secure, &(ca.clone() + &stale)),
            "kafka.sasl.token",
        ),
    ];
    for (what, kafka, advice) in cases {
        let exit = refused(&kafka);
        let last = exit.stderr.lines().last().unwrap_or_default();
        eprintln!("{what}: {:?} {last}", exit.code);
        assert_eq!(exit.code, Some(77), "{what}: {}", exit.stderr);
        assert!(last.contains(advice), "{what}: {}", exit.stderr);
    }
}

#[test]
fn commands_take_the_cluster_and_its_secrets_from_the_configuration() {
    let node = secured_node::shared();
    let way = Way::new(&kafka(node.secure, &(ca(node) + &login("PLAIN"))));
    let config = way.setup.config_file();
    let config = config.to_str().expect("the path is text");
    let args = [
        "produce",
        "--topic",
        way.source.name(),
        "--count",
        "50",
        "--config",
        config,
    ];
    let exit = host::command_with(&args, &[("KAFKA_PASSWORD", PASSWORD)]).expect_code(0);
    assert_silent(&(exit.stdout + &exit.stderr));
    wait::eventually("the events", TIMEOUT, || {
        way.source.end_offsets().values().sum::<i64>() == 50
    });
    // A secret that is nowhere to be had is named, and nothing is sent.
    let exit = host::command_with(&args, &[]);
    assert_eq!(exit.code, Some(78), "{}", exit.stderr);
    assert!(
        exit.stderr.contains("KAFKA_PASSWORD is not set"),
        "{}",
        exit.stderr
    );
}
