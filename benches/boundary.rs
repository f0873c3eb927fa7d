//! What a call into a plugin costs: the same events parsed natively, in packed batches, in lists of nested
//! records, and one call an event. Ends with a table: nanoseconds an event, and the ratio to native.
//!
//! The packed batch and the call an event go through `millrace::sandbox`, as in the host. The list is not
//! in the contract, so it is called through wasmtime here.

#![allow(missing_docs, reason = "a bench has no interface")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on ends, and its answer is what it prints"
)]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use millrace::config::{Grants, Plugin};
use millrace::sample::{SampleSettings, Sampler};
use millrace::sandbox::{
    Instance, LoadedPlugin, SLOT_WORDS, Sandbox, SandboxSettings, Span, encode_topics,
};
use millrace_sdk::{Event, packed, testing};
use wasmtime::component::{Component, ComponentType, Linker, Lower, TypedFunc};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};

const TOPIC: &str = "user-events";
const TIMESTAMP_MS: i64 = 1_700_000_000_000;

/// As in the measurements that the design rests on.
const BATCH_EVENTS: usize = 256;

/// For the variants with headers: what a traced producer sends.
const HEADERS: [(&str, &str); 2] = [
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    ("content-type", "application/json"),
];

/// Rows of the table, and the columns: without headers, and with two.
const WAYS: [&str; 4] = ["native", "packed-batch", "nested-list", "call-an-event"];
const ANALYTICS: [&str; 2] = ["analytics-native", "analytics-packed"];
const GROUPS: [&str; 2] = ["no-headers", "2-headers"];

#[derive(ComponentType, Lower, Clone)]
#[component(record)]
struct HeaderIn<'a> {
    name: &'a str,
    value: Option<&'a [u8]>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct EventIn<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    #[component(name = "timestamp-ms")]
    timestamp_ms: Option<i64>,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Vec<HeaderIn<'a>>,
    attempt: u32,
}

/// One batch of events.
struct Batch {
    events: Vec<(String, String)>,
    with_headers: bool,
}

impl Batch {
    fn new(with_headers: bool) -> Self {
        let settings = SampleSettings {
            bad_share: 0.0,
            duplicate_share: 0.0,
            ..SampleSettings::default()
        };
        let samples = Sampler::new(settings).take(BATCH_EVENTS);
        Self {
            events: samples.map(|sample| (sample.key, sample.value)).collect(),
            with_headers,
        }
    }

    /// Bytes and slots of the packed form.
    fn packed(&self) -> (Vec<u8>, Vec<u64>) {
        let headers = HEADERS.map(|(n, v)| (n.to_owned(), Some(v.as_bytes().to_vec())));
        let headers = packed::pack_headers(&headers);
        let mut bytes = encode_topics([TOPIC].into_iter());
        let mut slots = vec![SLOT_WORDS as u64, Span::new(0, bytes.len()).0];
        for (offset, (key, value)) in (0_u64..).zip(&self.events) {
            let mut add = |part: &[u8]| {
                bytes.extend_from_slice(part);
                Span::new(bytes.len() - part.len(), part.len()).0
            };
            let (key, value) = (add(key.as_bytes()), add(value.as_bytes()));
            let headers = if self.with_headers {
                add(&headers)
            } else {
                Span::NULL.0
            };
            slots.extend([
                0,
                offset,
                TIMESTAMP_MS as u64,
                1 | offset << 32,
                key,
                value,
                headers,
            ]);
        }
        (bytes, slots)
    }

    fn nested(&self) -> Vec<EventIn<'_>> {
        let header = |&(name, value): &(&'static str, &'static str)| HeaderIn {
            name,
            value: Some(value.as_bytes()),
        };
        let headers: Vec<_> = if self.with_headers {
            HEADERS.iter().map(header).collect()
        } else {
            Vec::new()
        };
        (0_i64..)
            .zip(&self.events)
            .map(|(offset, (key, value))| EventIn {
                topic: TOPIC,
                partition: 0,
                offset,
                timestamp_ms: Some(TIMESTAMP_MS),
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                headers: headers.clone(),
                attempt: 1,
            })
            .collect()
    }
}

fn component(name: &str) -> PathBuf {
    let file = format!("{name}.wasm");
    ["tests/guests/target", "plugins/dist"]
        .iter()
        .map(|folder| {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(folder)
                .join(&file)
        })
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{file} is not built: run `make plugins`"))
}

fn instance(sandbox: &Sandbox, name: &str) -> Instance {
    let grants = Grants {
        metrics: true,
        tally: true,
        ..Grants::default()
    };
    let config = Plugin {
        grants,
        ..Plugin::of_component(component(name))
    };
    let plugin = LoadedPlugin::load(sandbox, name, &config).unwrap_or_else(|e| panic!("{e}"));
    Instance::new(&Arc::new(plugin)).unwrap_or_else(|e| panic!("{e}"))
}

struct Wasi(WasiCtx, ResourceTable);

impl WasiView for Wasi {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.0,
            table: &mut self.1,
        }
    }
}

/// `handle-list` of the guest `parse-nested`, in an engine set as the host's is.
struct NestedList<'a> {
    store: Store<Wasi>,
    handle: TypedFunc<(&'a [EventIn<'a>],), (u32,)>,
}

impl<'a> NestedList<'a> {
    fn load() -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true).concurrency_support(false);
        let engine = Engine::new(&config)?;
        let component = Component::from_file(&engine, component("parse-nested"))?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        let mut store = Store::new(&engine, Wasi(WasiCtx::default(), ResourceTable::new()));
        store.set_epoch_deadline(1);
        let instance = linker.instantiate(&mut store, &component)?;
        let interface = instance
            .get_export_index(&mut store, None, "guests:parse-nested/nested-list")
            .expect("the guest exports the list");
        let handle = instance
            .get_export_index(&mut store, Some(&interface), "handle-list")
            .expect("the interface has the function");
        let handle = instance.get_typed_func(&mut store, handle)?;
        Ok(Self { store, handle })
    }
}

fn bench(criterion: &mut Criterion, sandbox: &Sandbox, group: &str, batch: &Batch) {
    let (bytes, slots) = batch.packed();
    let nested = batch.nested();
    let topics: [Arc<str>; 1] = [Arc::from(TOPIC)];
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(BATCH_EVENTS as u64));
    group.bench_function("native", |bencher| {
        bencher.iter(|| {
            let parses =
                |(_, value): &&(String, String)| parse::parses(black_box(value.as_bytes()));
            assert_eq!(batch.events.iter().filter(parses).count(), BATCH_EVENTS);
        });
    });
    for (way, guest) in [
        ("packed-batch", "parse-packed"),
        ("call-an-event", "parse-nested"),
    ] {
        let mut instance = instance(sandbox, guest);
        group.bench_function(way, |bencher| {
            bencher.iter(|| {
                let answer = instance.call(black_box(&bytes), &slots, &topics).unwrap();
                assert!(answer.answers.is_empty());
            });
        });
    }
    let mut list = NestedList::load().unwrap();
    group.bench_function("nested-list", |bencher| {
        bencher.iter(|| {
            let (parsed,) = list
                .handle
                .call(&mut list.store, (black_box(&nested),))
                .unwrap();
            assert_eq!(parsed as usize, BATCH_EVENTS);
        });
    });
    // The whole analytics plugin, with its tallies and metrics handed over once a batch.
    group.bench_function("analytics-native", |bencher| {
        bencher.iter(|| {
            for (offset, (key, value)) in (0_i64..).zip(&batch.events) {
                let event = Event::of_value(black_box(value.as_bytes()))
                    .at(TOPIC, 0, offset)
                    .with_key(Some(key.as_bytes()));
                testing::run_buffered(&event, analytics::handle).unwrap();
            }
            testing::take_effects()
        });
    });
    let mut instance = instance(sandbox, "analytics");
    group.bench_function("analytics-packed", |bencher| {
        bencher.iter(|| {
            let answer = instance.call(black_box(&bytes), &slots, &topics).unwrap();
            assert!(answer.answers.is_empty());
            instance.effects().clear();
        });
    });
    group.finish();
}

/// Nanoseconds an event, from what criterion has written about its last run.
fn measured(folder: &Path, group: &str, way: &str) -> Option<f64> {
    let file = folder.join(group).join(way).join("new/estimates.json");
    let text = std::fs::read_to_string(file).ok()?;
    let estimates: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(estimates["median"]["point_estimate"].as_f64()? / BATCH_EVENTS as f64)
}

fn print_table(folder: &Path) {
    println!("\n| ns/event, batches of {BATCH_EVENTS} | no headers | ratio | 2 headers | ratio |");
    println!("| --- | --- | --- | --- | --- |");
    for (way, base) in WAYS
        .map(|way| (way, WAYS[0]))
        .iter()
        .chain(&ANALYTICS.map(|way| (way, ANALYTICS[0])))
    {
        let cells = GROUPS.map(|group| {
            match (measured(folder, group, way), measured(folder, group, base)) {
                (Some(ns), Some(base)) => format!("{ns:.0} | {:.2}", ns / base),
                _ => "not run | ".to_owned(),
            }
        });
        println!("| {way} | {} |", cells.join(" | "));
    }
}

fn main() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion");
    let mut criterion = Criterion::default()
        .output_directory(&folder)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let sandbox = Sandbox::start(SandboxSettings::default()).expect("the engine starts");
    for (group, with_headers) in GROUPS.into_iter().zip([false, true]) {
        bench(&mut criterion, &sandbox, group, &Batch::new(with_headers));
    }
    criterion.final_summary();
    print_table(&folder);
}
