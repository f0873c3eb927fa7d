//! F49: certificates that are expired, for another host, of an unknown authority, missing, or exchanged.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use tokio_rustls::TlsConnector;

use super::gateway;
use crate::harness::certificates::{Authority, Signed};
use crate::harness::host::{Host, command_with};
use crate::harness::ingest::event;
use crate::harness::ingest::proto::PublishRequest;
use crate::harness::ingest::proto::ingest_client::IngestClient;
use crate::harness::secure::{SecurePublisher, shown};
use crate::harness::topic::Topic;
use crate::harness::{kafka, process, wait};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Two looks of the host, and a slow machine.
const RELOADED: Duration = Duration::from_secs(20);

/// Publishes one event over a new connection; what went wrong, where something did.
fn publish(gateway: SocketAddr, connector: TlsConnector, topic: &Topic) -> Result<(), String> {
    SecurePublisher::connect(gateway, connector, None)?.publish(topic)
}

fn said(host: &Host, words: &str) -> bool {
    host.log()
        .iter()
        .any(|line| line.to_string().contains(words))
}

/// A folder `tls` that is exchanged as Kubernetes exchanges a mounted secret: files that lead through `..data`.
fn mount(folder: &Path, version: &str, signed: &Signed) {
    let real = folder.join(version);
    fs::create_dir(&real).expect("the folder can be written");
    signed.write(&real);
    let new = folder.join("..new");
    symlink(version, &new).expect("links can be made");
    fs::rename(&new, folder.join("..data")).expect("links can be moved");
    for file in ["tls.crt", "tls.key"] {
        let link = folder.join(file);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(file), link).expect("links can be made");
        }
    }
}

#[test]
fn a_client_needs_a_certificate_of_the_authority_and_trusts_only_the_right_server() {
    let topic = Topic::create(kafka::shared(), "mutual", 1);
    let (own, stranger) = (Authority::new(), Authority::new());
    let folder = process::folder("tls");
    own.server(LOCALHOST).write(&folder);
    let authority = own.write(&folder.join("ca.crt"));
    let tls = format!(
        "tls: {{ cert: {dir}/tls.crt, key: {dir}/tls.key, client_ca: {} }}",
        authority.display(),
        dir = folder.display()
    );
    let (setup, address) = gateway(&tls);
    let _host = setup.start();

    let good = own.client("publisher");
    publish(address, own.connector(Some(&good), "h2"), &topic).expect("it is let in");
    let refused = [
        ("no certificate", own.connector(None, "h2")),
        (
            "an expired one",
            own.connector(Some(&own.expired_client("late")), "h2"),
        ),
        (
            "a stranger's",
            own.connector(Some(&stranger.client("publisher")), "h2"),
        ),
        ("an unknown server", stranger.connector(Some(&good), "h2")),
    ];
    for (what, connector) in refused {
        publish(address, connector, &topic).expect_err(what);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let clear = runtime.block_on(async {
        let client = IngestClient::connect(format!("http://{address}")).await;
        let event = Some(event(&topic, "k", "in the clear"));
        match client {
            Ok(mut client) => client.publish(PublishRequest { event }).await.is_ok(),
            Err(_) => false,
        }
    });
    assert!(!clear, "nobody speaks in the clear");
    assert_eq!(topic.read_all().len(), 1);
}

#[test]
fn certificates_that_change_serve_new_connections_and_bad_ones_do_not() {
    let topic = Topic::create(kafka::shared(), "rotated", 1);
    let authority = Authority::new();
    let folder = process::folder("tls");
    let first = authority.server(LOCALHOST);
    mount(&folder, "..1", &first);
    let tls = format!(
        "tls: {{ cert: {dir}/tls.crt, key: {dir}/tls.key }}",
        dir = folder.display()
    );
    let (setup, address) = gateway(&tls);
    let host = setup.start();
    let connector = authority.connector(None, "h2");
    assert_eq!(shown(address, &connector).as_ref(), Some(first.der()));

    let lasting = SecurePublisher::connect(address, connector.clone(), None);
    let mut lasting = lasting.expect("it is trusted");
    let mut publish_on_the_first = || lasting.publish(&topic).expect("the connection lasts");
    publish_on_the_first();

    let second = authority.server(LOCALHOST);
    mount(&folder, "..2", &second);
    wait::eventually("the second certificate", RELOADED, || {
        shown(address, &connector).as_ref() == Some(second.der())
    });
    publish_on_the_first();

    // A certificate of another key: the one before serves on, and the log says why.
    let third = authority.server(LOCALHOST);
    third.write_certificate(&folder.join("..2"));
    wait::eventually("a refusal in the log", RELOADED, || {
        said(&host, "changed certificates refused")
    });
    assert_eq!(shown(address, &connector).as_ref(), Some(second.der()));

    // For another host, and expired: the client does not trust it, whatever the server does.
    let elsewhere = authority.server(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9)));
    for (version, wrong) in [("..3", elsewhere), ("..4", authority.expired_server())] {
        mount(&folder, version, &wrong);
        wait::eventually("a server that is not trusted", RELOADED, || {
            shown(address, &connector).is_none()
        });
        publish(address, connector.clone(), &topic).expect_err("it is not trusted");
    }
    mount(&folder, "..5", &third);
    wait::eventually("a server that is trusted again", RELOADED, || {
        shown(address, &connector).as_ref() == Some(third.der())
    });
    publish(address, connector, &topic).expect("it is trusted again");
    publish_on_the_first();
    assert_eq!(topic.read_all().len(), 4);
}

#[test]
fn certificates_that_cannot_be_used_are_named_at_the_start() {
    let folder = process::folder("tls");
    let authority = Authority::new();
    authority.server(LOCALHOST).write(&folder);
    authority.server(LOCALHOST).write_certificate(&folder);
    fs::write(folder.join("empty.crt"), "").expect("the folder can be written");
    let dir = folder.display();
    for (tls, words) in [
        (
            format!("cert: {dir}/none.crt, key: {dir}/tls.key"),
            "none.crt cannot be read",
        ),
        (
            format!("cert: {dir}/empty.crt, key: {dir}/tls.key"),
            "holds no certificate",
        ),
        (
            format!("cert: {dir}/tls.crt, key: {dir}/tls.key"),
            "cannot be used with the key",
        ),
    ] {
        let (setup, _) = gateway(&format!("tls: {{ {tls} }}"));
        let exit = setup.run_to_exit();
        assert!(exit.code.is_some_and(|code| code != 0), "{exit:?}");
        assert!(
            exit.stderr.contains(words),
            "{words:?} is not in {}",
            exit.stderr
        );
    }
}

#[test]
fn sample_events_go_through_the_encrypted_door_of_each_gateway_with_a_token() {
    const TOKEN: &str = "a-token-of-the-samples";
    let topic = Topic::create(kafka::shared(), "samples", 1);
    let authority = Authority::new();
    let folder = process::folder("tls");
    authority.server(LOCALHOST).write(&folder);
    let ca = authority.write(&folder.join("ca.crt"));
    let http = SocketAddr::new(LOCALHOST, process::free_port());
    let (setup, grpc) = gateway(&format!(
        "http: {{ listen: \"{http}\" }}, tls: {{ cert: {dir}/tls.crt, key: {dir}/tls.key }}, \
         clients: [{{ name: samples, token: {TOKEN}, topics: [\"*\"] }}]",
        dir = folder.display()
    ));
    let _host = setup.start();
    let ca = ca.to_str().expect("it is text");
    let (grpc, http) = (grpc.to_string(), http.to_string());
    for via in ["grpc", "http"] {
        let args = [
            "produce",
            "--topic",
            topic.name(),
            "--count",
            "50",
            "--via",
            via,
            "--grpc",
            &grpc,
            "--http",
            &http,
            "--gateway-ca",
            ca,
        ];
        command_with(&args, &[("MILLRACE_TOKEN", TOKEN)]).expect_code(0);
        command_with(&args, &[("MILLRACE_TOKEN", "another-token-of-somebody")]).expect_code(1);
        command_with(&args[..args.len() - 2], &[("MILLRACE_TOKEN", TOKEN)]).expect_code(1);
    }
    assert_eq!(topic.read_all().len(), 100);
}
