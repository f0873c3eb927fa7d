//! Attacks through the host's own functions: too many calls, too large ones, handles that are never dropped,
//! waits without end.

use std::mem::ManuallyDrop;

use millrace_sdk::guest::bindings_capabilities::millrace::plugin as host;
use millrace_sdk::guest::bindings_capabilities::wasi::config::store;
use millrace_sdk::guest::bindings_capabilities::wasi::logging::logging::{Level, log};
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::sockets::{instance_network, ip_name_lookup, network, tcp_create_socket};

/// Ten million: more than any limit lets through.
const FLOOD: u64 = 10_000_000;

/// Does the deed; says whether it is one of these.
pub(crate) fn attack(deed: &str, n: Option<u64>) -> bool {
    let times = n.unwrap_or(FLOOD);
    match deed {
        "flood-log" => (0..times).for_each(|i| log(Level::Info, "flood", &format!("line {i}"))),
        "flood-print" => (0..times).for_each(|i| println!("line {i} {}", "x".repeat(2_000))),
        "flood-state" => (0..times).for_each(|i| drop(host::state::get(&format!("name {i}")))),
        "flood-config" => (0..times).for_each(|_| drop(store::get_all())),
        "flood-metrics" => (0..times).for_each(|_| host::metrics::counter_add("calls", &[], 1.0)),
        "flood-clock" => (0..times * 100).for_each(|_| {
            std::hint::black_box(wasip2::clocks::monotonic_clock::now());
        }),
        "flood-pollables" => (0..times).for_each(|_| drop(subscribe_duration(1))),
        "flood-random" => {
            (0..times).for_each(|_| drop(wasip2::random::random::get_random_bytes(65_536)))
        }
        "much-random" => drop(wasip2::random::random::get_random_bytes(1 << 32)),
        // All within the limits of one event, and again with each.
        "new-series" => series(times.min(5_000)),
        "new-sums" => sums(times.min(5_000)),
        "log-and-trap" => {
            (0..100).for_each(|i| log(Level::Info, "flood", &format!("{i} {}", "x".repeat(2_000))));
            panic!("and so that the next instance begins anew");
        }
        "huge-state" => host::state::set("value", &vec![1; n.unwrap_or(32 << 20) as usize], None),
        "huge-line" => host::journal::append(&vec![b'x'; n.unwrap_or(32 << 20) as usize]),
        "huge-log" => (0..9_000).for_each(|_| log(Level::Info, "", &"x".repeat(3 << 20))),
        "same-strings" => same_strings(),
        "leak-pollables" => (0..times).for_each(|_| std::mem::forget(subscribe_duration(1))),
        "poll-many" => poll_many(),
        "sleep" => std::thread::sleep(std::time::Duration::from_millis(n.unwrap_or(3_600_000))),
        "sockets" => sockets(),
        _ => return false,
    }
    true
}

fn series(count: u64) {
    let unique = wasip2::random::random::get_random_u64();
    for i in 0..count {
        let label = host::metrics::Label {
            name: "user".to_owned(),
            value: format!("{unique} {i}"),
        };
        host::metrics::histogram_observe("seen", &[label], 1.0);
    }
}

fn sums(count: u64) {
    let unique = wasip2::random::random::get_random_u64();
    (0..count).for_each(|i| host::tally::add(&format!("{unique} {i} {}", "x".repeat(200)), 1));
}

/// A list of strings that are all the same megabyte: small here, and large wherever each is copied.
fn same_strings() {
    let name = ManuallyDrop::new("x".repeat(1 << 20));
    let same = || {
        // SAFETY: never dropped, and only read while `name` is there.
        unsafe { String::from_raw_parts(name.as_ptr().cast_mut(), name.len(), name.len()) }
    };
    let changes: Vec<host::tally::Change> = (0..100_000)
        .map(|_| host::tally::Change {
            event_index: 0,
            operation: host::tally::Operation::Add,
            name: same(),
            value: 1,
        })
        .collect();
    host::tally::merge(&ManuallyDrop::new(changes));
}

/// One wait on a list with the same handle a quarter of a million times, again and again.
fn poll_many() {
    let forever = subscribe_duration(u64::MAX / 2);
    let soon = subscribe_duration(1);
    let mut list = vec![&forever; 250_000];
    list.push(&soon);
    loop {
        wasip2::io::poll::poll(&list);
    }
}

/// Everything that could reach a network must be refused.
fn sockets() {
    let tcp = tcp_create_socket::create_tcp_socket(network::IpAddressFamily::Ipv4);
    assert!(tcp.is_err(), "a socket was made");
    let network = instance_network::instance_network();
    let names = ip_name_lookup::resolve_addresses(&network, "localhost");
    let denied = match names {
        Err(_) => true,
        Ok(stream) => {
            stream.subscribe().block();
            stream.resolve_next_address().is_err()
        }
    };
    assert!(denied, "a name was looked up");
    assert!(wasip2::filesystem::preopens::get_directories().is_empty());
    assert!(wasip2::cli::environment::get_environment().is_empty());
}
