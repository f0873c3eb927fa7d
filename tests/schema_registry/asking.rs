//! When the registry is asked, and what waits while it does not answer.

use serde_json::json;

use super::{Relay, TIMEOUT, avro_of, framed, keyed, own_avro, registry};
use crate::harness::host::Host;
use crate::harness::proxy::{Proxy, Weather};
use crate::harness::schema_registry::SchemaRegistry;
use crate::harness::topic::{Record, unique};
use crate::harness::{process, schema_registry, wait};

/// What the health page says of the registry.
#[track_caller]
fn health(host: &Host) -> String {
    let (_, page) = host.get("/readyz?verbose").expect("it answers");
    let mut lines = page.lines();
    let line = lines.find(|line| line.contains("schema registry"));
    line.unwrap_or_else(|| panic!("no line in: {page}"))
        .to_owned()
}

#[test]
fn each_schema_is_asked_for_once_however_many_records_and_lanes_there_are() {
    const RECORDS: usize = 5_000;
    let relay = Relay::new("cached");
    let ids = [1, 2].map(|_| registry().register(&unique("c"), "AVRO", &own_avro("C"), &[]));
    let records = (0..RECORDS).map(|n| {
        keyed(
            &format!("{n}"),
            framed(ids[n % 2], &avro_of((n % 60) as u8)),
        )
    });
    relay.source.produce(&records.collect::<Vec<Record>>());
    let setup = relay.setup("registry", &format!("  url: {}", registry().url()));
    let text = std::fs::read_to_string(setup.config_file()).expect("it is there");
    setup.write_config(&text.replace(
        "    store: store\n",
        "    store: store\n    concurrency: 3\n",
    ));
    let host = setup.start();
    relay.source.wait_for_no_lag(&relay.group, TIMEOUT);
    assert_eq!(relay.seen.read_all().len(), RECORDS);
    for id in ids {
        let asked = registry().asked(&format!("/schemas/ids/{id}"));
        assert_eq!(asked, 1, "schema {id}");
    }
    let metrics = host.metrics();
    let requests = |result: &str| {
        metrics.sum(
            "millrace_schema_registry_requests_total",
            &[("result", result)],
        )
    };
    assert_eq!((requests("ok"), requests("failed")), (2.0, 0.0));
    assert_eq!(metrics.sum("millrace_schemas", &[("state", "ready")]), 2.0);
    assert!(health(&host).ends_with("ok"), "{}", health(&host));
    host.sigterm().expect_code(0);
}

#[test]
fn an_unknown_schema_holds_its_keys_and_no_others_until_it_is_there() {
    let relay = Relay::new("unknown");
    // Of its own, so that it is known which number comes next.
    let registry = SchemaRegistry::start();
    let known = registry.register("known", "AVRO", &own_avro("K"), &[]);
    let missing = known + 1;
    relay.source.produce(&[
        keyed("late", framed(missing, &avro_of(1))),
        keyed("late", framed(known, &avro_of(2))),
        keyed("well", framed(known, &avro_of(3))),
    ]);
    let setup = relay.setup("registry", &format!("  url: {}", registry.url()));
    let host = setup.start();
    let shown = |id: u8| json!({ "id": id, "text": null });
    assert_eq!(relay.shown(1), [shown(3)], "another key goes on");
    let asked = || registry.asked(&format!("/schemas/ids/{missing}"));
    wait::eventually("the registry is asked again", TIMEOUT, || asked() >= 3);
    let told = health(&host);
    assert!(told.contains(&format!("no schema {missing}")), "{told}");
    let (status, _) = host.get("/readyz").expect("it answers");
    assert_eq!(status, 200, "it is ready all the same");
    let metrics = host.metrics();
    assert_eq!(
        metrics.sum("millrace_schemas", &[("state", "waiting")]),
        1.0
    );
    assert!(metrics.sum("millrace_decode_waits_total", &[]) >= 1.0);
    host.sigterm().expect_code(0);
    assert_eq!(
        relay.seen.read_all().len(),
        1,
        "what is behind it in its key waits too"
    );
    let committed = relay.source.committed(&relay.group);
    assert_eq!(
        committed.get(&0).copied().unwrap_or(0),
        0,
        "nothing is committed past it"
    );

    // A later host waits on, and goes on when somebody registers it.
    let host = setup.start();
    wait::eventually("the trouble is told", TIMEOUT, || {
        health(&host).contains(&format!("no schema {missing}"))
    });
    assert_eq!(
        registry.register("late", "AVRO", &own_avro("L"), &[]),
        missing
    );
    assert_eq!(
        relay.shown(3),
        [shown(3), shown(1), shown(2)],
        "in the order of its key"
    );
    relay.source.wait_for_no_lag(&relay.group, TIMEOUT);
    assert_eq!(
        host.metrics().sum("millrace_retries_total", &[]),
        0.0,
        "no attempt is counted"
    );
    host.sigterm().expect_code(0);
    assert_eq!(
        relay.dead_letters.read_all().len(),
        0,
        "it is never given up"
    );
}

#[test]
fn a_registry_that_is_away_holds_everything_and_nothing_is_lost_when_it_comes_back() {
    let relay = Relay::new("away");
    let proxy = Proxy::start(process::free_port(), registry().port());
    proxy.set(Weather::Refusing);
    let subject = format!("{}-value", relay.written.name());
    let id = registry().register(&subject, "AVRO", &own_avro("A"), &[]);
    let records: Vec<Record> = (0..50)
        .map(|n| keyed(&format!("{}", n % 7), framed(id, &avro_of(n))))
        .collect();
    relay.source.produce(&records);
    let registry_lines = format!(
        "  url: {}\n  timeout: 1s\n  encode: {{ {}: avro }}",
        schema_registry::url(proxy.port()),
        relay.written.name()
    );
    let setup = relay.setup("avro", &registry_lines);
    let host = setup.start();
    wait::eventually("the trouble is told", TIMEOUT, || {
        health(&host).contains("cannot be asked")
    });
    let failed = |host: &Host| {
        let labels = [("result", "failed")];
        host.metrics()
            .sum("millrace_schema_registry_requests_total", &labels)
    };
    wait::eventually("it is asked again", TIMEOUT, || failed(&host) >= 3.0);
    // Now connections are taken, and nothing comes through: each question ends at its time-out.
    proxy.set(Weather::BlackHole);
    let before = failed(&host);
    wait::eventually("a time-out", TIMEOUT, || failed(&host) > before);
    assert_eq!(
        relay.seen.read_all().len() + relay.dead_letters.read_all().len(),
        0
    );
    proxy.set(Weather::Clear);
    let written = Relay::first(&relay.written, records.len());
    assert_eq!(written.len(), records.len());
    for (stored, record) in written.iter().zip(relay.source.read_all()) {
        // One partition, and every key in its order; all keys waited for the same.
        assert_eq!(
            stored.value.as_ref().map(Vec::len),
            record.value.as_ref().map(Vec::len)
        );
    }
    let mut values: Vec<_> = written.iter().map(|it| it.value.clone()).collect();
    let mut wanted: Vec<_> = records.iter().map(|it| it.value.clone()).collect();
    values.sort();
    wanted.sort();
    assert_eq!(
        values, wanted,
        "each event once, byte for byte as it was read"
    );
    relay.source.wait_for_no_lag(&relay.group, TIMEOUT);
    assert!(health(&host).ends_with("ok"), "{}", health(&host));
    assert_eq!(relay.dead_letters.read_all().len(), 0);
    assert_eq!(host.metrics().sum("millrace_retries_total", &[]), 0.0);
    host.sigterm().expect_code(0);
}

#[test]
fn a_subject_that_is_not_there_yet_holds_events_before_they_run() {
    let relay = Relay::new("nosubject");
    let id = registry().register(&unique("n"), "AVRO", &own_avro("N"), &[]);
    relay.source.produce(&[keyed("a", framed(id, &avro_of(1)))]);
    let host = relay.asking("registry", "avro").start();
    let subject = format!("{}-value", relay.written.name());
    wait::eventually("the trouble is told", TIMEOUT, || {
        health(&host).contains(&format!("subject {subject}"))
    });
    assert_eq!(relay.seen.read_all().len(), 0, "it has not run in vain");
    registry().register(&subject, "AVRO", &own_avro("Late"), &[]);
    assert_eq!(relay.shown(1), [json!({ "id": 1, "text": null })]);
    assert_eq!(Relay::first(&relay.written, 1).len(), 1);
    host.sigterm().expect_code(0);
}

#[test]
fn an_encrypted_registry_is_trusted_by_its_certificate_alone() {
    let relay = Relay::new("encrypted");
    let id = registry().register(&unique("t"), "AVRO", &own_avro("T"), &[]);
    relay.source.produce(&[keyed("a", framed(id, &avro_of(1)))]);
    let url = format!("  url: {}", registry().tls_url());
    let untrusting = relay.setup("registry", &url);
    let host = untrusting.start();
    wait::eventually("it is not trusted", TIMEOUT, || {
        health(&host).contains("its certificate is not trusted")
    });
    host.sigterm().expect_code(0);
    assert_eq!(relay.seen.read_all().len(), 0);
    let ca = registry().certificate();
    let trusting = relay.setup("registry", &format!("{url}\n  ca: {}", ca.display()));
    let host = trusting.start();
    assert_eq!(relay.shown(1), [json!({ "id": 1, "text": null })]);
    host.sigterm().expect_code(0);
}
