//! F51: thousands of connections that hold places and do nothing with them keep nobody out. What they cost in time is
//! measured by `make bench-ingest-doors`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::gateway;
use crate::harness::certificates::Authority;
use crate::harness::host::Host;
use crate::harness::secure::SecurePublisher;
use crate::harness::slow::SlowCrowd;
use crate::harness::topic::Topic;
use crate::harness::{kafka, process, wait};

const CROWD: usize = 2_000;
const CONNECTIONS_MAX: usize = 256;
const TOKEN: &str = "a-token-of-the-web-client";

fn open_files(host: &Host) -> usize {
    let files = fs::read_dir(format!("/proc/{}/fd", host.pid()));
    files.expect("the host runs").count()
}

#[test]
fn two_thousand_slow_connections_keep_no_client_out() {
    let topic = Topic::create(kafka::shared(), "besieged", 1);
    let authority = Authority::new();
    let folder = process::folder("tls");
    authority
        .server(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .write(&folder);
    let (setup, address) = gateway(&format!(
        "tls: {{ cert: {dir}/tls.crt, key: {dir}/tls.key }}, \
         clients: [{{ name: web, token: {TOKEN}, topics: [\"*\"] }}], \
         connections: {{ max: {CONNECTIONS_MAX}, handshake_timeout: 3s, header_timeout: 3s }}",
        dir = folder.display()
    ));
    let host = setup.start();
    let connector = authority.connector(None, "h2");
    let publish = || -> Result<(), String> {
        SecurePublisher::connect(address, connector.clone(), Some(TOKEN))?.publish(&topic)
    };
    publish().expect("it is let in");
    let (files, memory) = (open_files(&host), host.peak_memory_bytes());

    let crowd = SlowCrowd::gather(address, &connector, CROWD);
    wait::eventually("a crowd at the door", Duration::from_secs(60), || {
        crowd.opened() >= CROWD
    });
    // Each comes anew, and has to find a place in the crowd.
    for n in 0..30 {
        publish().unwrap_or_else(|error| panic!("good client {n}, {} open: {error}", crowd.open()));
        // What the kernel has accepted and the host is about to close is open for a moment.
        let open = open_files(&host);
        assert!(
            open < files + CONNECTIONS_MAX + 128,
            "{open} files are open"
        );
    }
    let grown = host.peak_memory_bytes() - memory;
    assert!(grown < 256 << 20, "the host has grown by {grown} bytes");
    drop(crowd);
    wait::eventually(
        "places that are free again",
        Duration::from_secs(30),
        || open_files(&host) < files + 16,
    );
    assert_eq!(topic.read_all().len(), 31);
}
