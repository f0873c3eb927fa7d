//! The unit of systemd, judged by systemd's own tools: it is valid, and leaves the host little to misuse.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use millrace::config;

use super::top;
use crate::harness::host::{BINARY, Setup};
use crate::harness::{kafka, process};

/// As `systemd-analyze security` counts, in tenths: below 2 is as hardened as a service is that talks to a network.
const EXPOSURE_MAX: &str = "20";

fn unit() -> String {
    fs::read_to_string(top().join("deploy/systemd/millrace.service")).expect("it is there")
}

#[test]
fn systemd_finds_the_unit_valid_and_hardened() {
    // systemd looks for the program too.
    let installed = unit().replace("/usr/local/bin/millrace", BINARY);
    let file = process::folder("unit").join("millrace.service");
    fs::write(&file, installed).expect("the folder can be written");
    let exposure = format!("--threshold={EXPOSURE_MAX}");
    for args in [
        &["verify", "--man=no"][..],
        &["security", "--offline=true", "--no-pager", &exposure],
    ] {
        let output = Command::new("systemd-analyze")
            .args(args)
            .arg(&file)
            .output();
        let output = output.expect("systemd-analyze can be started: run `make setup-deploy`");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{args:?}: {said}");
        assert!(!said.contains("Unknown"), "{said}");
    }
}

#[test]
fn a_service_manager_is_told_when_the_host_has_started_and_when_it_stops() {
    let socket = process::folder("manager").join("notify");
    let manager = UnixDatagram::bind(&socket).expect("the folder can be written");
    let patience = Some(Duration::from_secs(30));
    manager
        .set_read_timeout(patience)
        .expect("it is more than 0");
    let heard = || {
        let mut word = [0; 64];
        let read = manager.recv(&mut word).expect("the host says something");
        String::from_utf8_lossy(&word[..read]).into_owned()
    };
    let port = process::free_port();
    let config = format!("ingest: {{ grpc: {{ listen: \"127.0.0.1:{port}\" }} }}\n");
    let setup = Setup::new(kafka::shared(), &config);
    let setup = setup.env("NOTIFY_SOCKET", socket.to_str().expect("it is text"));
    let host = setup.start();
    assert_eq!(heard(), "READY=1");
    host.ask_to_end();
    assert_eq!(heard(), "STOPPING=1");
    host.wait().expect_code(0);
}

#[test]
fn the_unit_checks_the_configuration_first_and_waits_for_a_drain() {
    let unit = unit();
    let value = |key: &str| {
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{key}=")));
        line.unwrap_or_else(|| panic!("no {key}"))
    };
    assert_eq!(value("Type"), "notify");
    let (check, run) = (value("ExecStartPre"), value("ExecStart"));
    assert_eq!(check.replace(" validate ", " run "), run);
    // A bad configuration ends both with this code.
    assert_eq!(value("RestartPreventExitStatus"), "78");
    let stop = value("TimeoutStopSec").trim_end_matches('s').parse::<u64>();
    let folder = process::folder("unit");
    let text = "kafka: { brokers: b:1 }\ningest: { grpc: { listen: 127.0.0.1:1 } }\n";
    let defaults = config::parse(text, "defaults", &folder, std::iter::empty(), &[]);
    let drain = defaults.expect("it is valid").drain_timeout.as_secs();
    assert!(stop.expect("seconds") > drain + 10);
}
