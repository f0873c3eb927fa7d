//! Outgoing HTTP: what is granted gets out and nothing else, and nothing takes longer or more than its limit.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use millrace::config::{Limits, Network, Plugin, WebTarget};
use millrace::sandbox::{Fault, FaultKind, Instance, LoadedPlugin, WebCounts};

use super::limits::logs::logged;
use super::{Event, everything_granted, guest, instance, run, sandbox};

/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// Long enough to connect on a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);

/// A server on this machine that answers by the path.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// Method and path of every request, in their order.
    requests: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    accepting: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (requests, stop) = (Arc::<Mutex<Vec<String>>>::default(), Arc::default());
        let accepting = thread::spawn({
            let (requests, stop) = (Arc::clone(&requests), Arc::<AtomicBool>::clone(&stop));
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let requests = Arc::clone(&requests);
                    // Each ends when its client has gone.
                    thread::spawn(move || drop(serve(&stream, &requests)));
                }
            }
        });
        Self {
            address,
            requests,
            stop,
            accepting: Some(accepting),
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn requests(&self) -> Vec<String> {
        let requests = self.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes it to see that.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

fn serve(mut stream: &TcpStream, requests: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        lines.push(line);
    }
    let first = lines.first().cloned().unwrap_or_default();
    let request = first.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let all = requests.lock();
    all.unwrap_or_else(PoisonError::into_inner).push(request);
    let plain = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    match path.as_str() {
        "/hello" => stream.write_all(plain("hello").as_bytes()),
        "/count" => {
            let mut body = Vec::new();
            // A chunked body ends with an empty chunk.
            while !body.ends_with(b"0\r\n\r\n") {
                let mut piece = [0; 4096];
                let read = reader.read(&mut piece)?;
                if read == 0 {
                    return Ok(());
                }
                body.extend_from_slice(&piece[..read]);
            }
            let count = body.iter().filter(|byte| **byte == b'x').count();
            stream.write_all(plain(&count.to_string()).as_bytes())
        }
        "/redirect" => {
            stream.write_all(b"HTTP/1.1 302 Found\r\nlocation: /hello\r\ncontent-length: 0\r\n\r\n")
        }
        "/long-header" => {
            let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n", "h".repeat(200 << 10));
            stream.write_all(format!("{head}content-length: 0\r\n\r\n").as_bytes())
        }
        "/declared" => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n"),
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            while stream.write_all(&[b'y'; 4096]).is_ok() {}
            Ok(())
        }
        "/drip" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")?;
            reader.read_to_end(&mut Vec::new()).map(drop)
        }
        // Until the client has enough of waiting.
        _ => reader.read_to_end(&mut Vec::new()).map(drop),
    }
}

fn plugin_with(grants: &[&str], change: impl FnOnce(&mut Limits)) -> Arc<LoadedPlugin> {
    let mut config: Plugin = everything_granted(guest("fetches"));
    for grant in grants {
        match grant.split_once(':') {
            Some(("network", rest)) => {
                let network = Network::parse(rest).expect("a network");
                config.grants.networks.push(network);
            }
            Some((scheme, rest)) => {
                let target = WebTarget::parse(scheme == "https", rest).expect("a target");
                config.grants.web.push(target);
            }
            None => panic!("{grant} is no grant"),
        }
    }
    config.limits.deadline = LONG;
    change(&mut config.limits);
    let loaded = LoadedPlugin::load(sandbox(), "fetches", &config);
    Arc::new(loaded.unwrap_or_else(|error| panic!("{error}")))
}

/// A plugin that may ask this server.
fn plugin_of(server: &Server, change: impl FnOnce(&mut Limits)) -> Arc<LoadedPlugin> {
    plugin_with(&[&format!("http:{}", server.address)], change)
}

/// What came of one event.
fn fetch(instance: &mut Instance, order: &str) -> Result<String, Fault> {
    let answer = run(instance, &[Event::of_value(order)])?;
    let [output] = &answer.outputs[..] else {
        panic!("{answer:?}")
    };
    let said = output.value.clone().unwrap_or_default();
    Ok(String::from_utf8_lossy(&said).into_owned())
}

#[track_caller]
fn said(plugin: &Arc<LoadedPlugin>, order: &str) -> String {
    fetch(&mut instance(plugin), order).unwrap_or_else(|fault| panic!("{fault:?}"))
}

#[track_caller]
fn ends(plugin: &Arc<LoadedPlugin>, order: &str) -> Fault {
    fetch(&mut instance(plugin), order).expect_err("it went past its limit")
}

fn get(url: &str) -> String {
    format!(r#"{{"url":"{url}"}}"#)
}

#[test]
fn a_granted_host_is_asked_and_its_answer_read() {
    let server = Server::start();
    let plugin = plugin_of(&server, |_| {});
    assert_eq!(said(&plugin, &get(&server.url("/hello"))), "200 hello");
    let post = format!(r#"{{"url":"{}","send":100000}}"#, server.url("/count"));
    assert_eq!(said(&plugin, &post), "200 100000");
    let requests = server.requests();
    assert_eq!(requests, ["GET /hello", "POST /count"]);
}

#[test]
fn a_client_that_opens_a_body_for_every_request_can_ask_without_one() {
    let server = Server::start();
    let plugin = plugin_of(&server, |limits| limits.http_requests = 200);
    let url = server.url("/hello");
    let order = format!(r#"{{"url":"{url}","wstd":true,"times":200}}"#);
    assert_eq!(said(&plugin, &order), "200 hello");
}

#[test]
fn requests_of_one_instance_go_on_from_event_to_event() {
    let server = Server::start();
    let plugin = plugin_of(&server, |_| {});
    let mut instance = instance(&plugin);
    let began = Instant::now();
    for _ in 0..200 {
        let said = fetch(&mut instance, &get(&server.url("/hello")));
        assert_eq!(said.expect("it answers"), "200 hello");
    }
    eprintln!("one request on loopback takes {:?}", began.elapsed() / 200);
    let counts = instance.web_requests();
    assert_eq!((counts.requests, counts.denied, counts.failed), (200, 0, 0));
    assert_eq!(
        instance.web_requests(),
        WebCounts::default(),
        "counted once"
    );
}

#[test]
fn a_host_that_is_not_granted_is_never_connected_to() {
    let (granted, other) = (Server::start(), Server::start());
    let plugin = plugin_of(&granted, |_| {});
    let mut instance = instance(&plugin);
    let mut answer = String::new();
    let log = logged(|| {
        answer = fetch(&mut instance, &get(&other.url("/hello"))).expect("the plugin goes on");
    });
    assert!(answer.contains("HttpRequestDenied"), "{answer}");
    let missing = format!("add `http:{}` to the grants", other.address);
    assert!(log.contains(&missing), "{missing:?} is not in:\n{log}");
    let other_scheme = format!("https://{}/hello", granted.address);
    let answer = fetch(&mut instance, &get(&other_scheme)).expect("the plugin goes on");
    assert!(answer.contains("HttpRequestDenied"), "{answer}");
    let counts = instance.web_requests();
    assert_eq!((counts.requests, counts.denied, counts.failed), (2, 2, 0));
    assert_eq!((granted.requests(), other.requests()), (vec![], vec![]));
}

#[test]
fn a_name_that_leads_to_this_machine_needs_its_network_granted() {
    let server = Server::start();
    let port = server.address.port();
    let url = get(&format!("http://localhost:{port}/hello"));
    let host = format!("http:localhost:{port}");
    let plugin = plugin_with(&[&host], |_| {});
    let answer = said(&plugin, &url);
    assert!(answer.contains("DestinationIpProhibited"), "{answer}");
    // Other ways to write an address are names, and lead to the same.
    let plugin = plugin_with(&[&format!("http:*:{port}")], |_| {});
    for host in ["127.1", "2130706433", "127.0.0.1", "0"] {
        let answer = said(&plugin, &get(&format!("http://{host}:{port}/hello")));
        assert!(!answer.contains("200"), "{host}: {answer}");
    }
    assert_eq!(server.requests(), [""; 0]);
    let plugin = plugin_with(&[&host, "network:127.0.0.0/8"], |_| {});
    assert_eq!(said(&plugin, &url), "200 hello");
}

#[test]
fn a_redirect_is_an_answer_and_not_followed() {
    let server = Server::start();
    let plugin = plugin_of(&server, |_| {});
    assert_eq!(said(&plugin, &get(&server.url("/redirect"))), "302 ");
    assert_eq!(server.requests(), ["GET /redirect"]);
}

#[track_caller]
fn ends_at_the_deadline(order: impl Fn(&Server) -> String) {
    let server = Server::start();
    let plugin = plugin_of(&server, |limits| limits.deadline = SHORT);
    let began = Instant::now();
    let fault = ends(&plugin, &order(&server));
    assert_eq!(fault.kind, FaultKind::Deadline, "{fault:?}");
    assert!(began.elapsed() < LONG / 3, "it took {:?}", began.elapsed());
}

#[test]
fn a_server_that_does_not_answer_ends_the_call_at_its_deadline() {
    ends_at_the_deadline(|server| get(&server.url("/silent")));
    ends_at_the_deadline(|server| format!(r#"{{"url":"{}","wstd":true}}"#, server.url("/silent")));
}

#[test]
fn a_body_that_does_not_end_ends_the_call_at_its_deadline() {
    ends_at_the_deadline(|server| get(&server.url("/drip")));
}

#[test]
fn a_body_that_nobody_takes_ends_the_call_at_its_deadline() {
    let send = r#""send":1000000"#;
    ends_at_the_deadline(|server| {
        format!(r#"{{"url":"{}",{send},"unsent":true}}"#, server.url("/"))
    });
}

#[test]
fn a_request_has_its_own_time_within_the_deadline() {
    let server = Server::start();
    let plugin = plugin_of(&server, |limits| {
        limits.http_timeout = Duration::from_secs(1)
    });
    let mut instance = instance(&plugin);
    let answer = fetch(&mut instance, &get(&server.url("/silent"))).expect("the plugin goes on");
    assert!(answer.contains("HttpResponseTimeout"), "{answer}");
    let answer = fetch(&mut instance, &get(&server.url("/drip"))).expect("the plugin goes on");
    assert!(answer.contains("HTTP response timeout"), "{answer}");
    assert_eq!(
        instance.web_requests().failed,
        1,
        "the second had an answer"
    );
}

#[test]
fn an_answer_has_a_largest_size() {
    let server = Server::start();
    let plugin = plugin_of(&server, |limits| limits.http_response_bytes = 1 << 20);
    let answer = said(&plugin, &get(&server.url("/declared")));
    assert!(answer.contains("HttpResponseBodySize"), "{answer}");
    // What goes wrong within a stream has a text only.
    let answer = said(&plugin, &get(&server.url("/endless")));
    assert!(
        answer.contains("body size exceeds limit: 1048576"),
        "{answer}"
    );
    let answer = said(&plugin, &get(&server.url("/long-header")));
    assert!(answer.contains("HttpResponseHeaderSectionSize"), "{answer}");
}

#[test]
fn a_request_has_a_largest_size() {
    let server = Server::start();
    let plugin = plugin_of(&server, |limits| limits.http_request_bytes = 100_000);
    let post = |bytes| format!(r#"{{"url":"{}","send":{bytes}}}"#, server.url("/count"));
    assert_eq!(said(&plugin, &post(100_000)), "200 100000");
    let answer = said(&plugin, &post(100_001));
    assert!(answer.contains("HttpRequestBodySize"), "{answer}");
    let long = format!(r#"{{"url":"{}","header":40000}}"#, server.url("/hello"));
    let fault = ends(&plugin, &long);
    assert!(
        fault.message.contains("size of fields exceeds limit"),
        "{fault:?}"
    );
}

#[test]
fn an_event_makes_so_many_requests_and_no_more() {
    let server = Server::start();
    let plugin = plugin_of(&server, |limits| limits.http_requests = 3);
    let times = |n| format!(r#"{{"url":"{}","times":{n}}}"#, server.url("/hello"));
    assert_eq!(said(&plugin, &times(3)), "200 hello");
    let fault = ends(&plugin, &times(4));
    assert_eq!(fault.kind, FaultKind::Fuel, "{fault:?}");
    assert!(fault.message.contains("limits.http_requests"), "{fault:?}");
    let batch = vec![Event::of_value(times(3)); 2];
    assert!(
        run(&mut instance(&plugin), &batch).is_ok(),
        "each has its own"
    );
}

#[test]
fn a_server_that_nobody_vouches_for_is_not_trusted() {
    let server = Server::start();
    // It does not even speak TLS, which is found out in the same place.
    let plugin = plugin_with(&[&format!("https:{}", server.address)], |_| {});
    let answer = said(&plugin, &get(&format!("https://{}/hello", server.address)));
    assert!(answer.contains("Tls"), "{answer}");
    assert_eq!(
        server
            .requests()
            .iter()
            .filter(|r| r.contains("hello"))
            .count(),
        0
    );
}

#[test]
fn an_import_without_a_granted_host_is_refused_at_load() {
    let config = everything_granted(guest("fetches"));
    let error = LoadedPlugin::load(sandbox(), "fetches", &config).expect_err("it is not granted");
    let message = error.to_string();
    for part in ["wasi:http/", "add `https:HOST` to plugins.fetches.grants"] {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}
