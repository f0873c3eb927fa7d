//! What the SDKs of Python, Go and C do beyond one event: the start of a plugin, its timer, and garbage. The kit in
//! `sdk/conformance` has the rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace::config::{Grants, Limits, Plugin};
use millrace::sandbox::{
    Instance, LoadedPlugin, SLOT_WORDS, Sandbox, SandboxSettings, Span, TickReason, encode_topics,
};

use super::{begun, edit, millrace};

const TOPIC: &str = "orders";

fn config(path: PathBuf) -> Plugin {
    Plugin {
        grants: Grants {
            metrics: true,
            tally: true,
            output_topics: vec!["counts".to_owned()],
            ..Grants::default()
        },
        // Other tests run beside this one, and a machine may be busy.
        limits: Limits {
            deadline: Duration::from_mins(1),
            memory_bytes: 128 << 20,
            ..Limits::default()
        },
        ..Plugin::of_component(path)
    }
}

/// An instance of what the build makes of the plugin in a folder.
#[track_caller]
fn instance(folder: &Path, name: &str) -> Instance {
    millrace(folder, &["plugin", "build"], &[]).expect(0);
    let sandbox = Sandbox::start(SandboxSettings::default()).unwrap();
    let config = config(folder.join("dist").join(name).with_extension("wasm"));
    let plugin = LoadedPlugin::load(&sandbox, name, &config).unwrap_or_else(|e| panic!("{e}"));
    Instance::new(&Arc::new(plugin)).unwrap_or_else(|e| panic!("{e}"))
}

/// Bytes and slots of a batch with these values.
fn batch(values: &[String]) -> (Vec<u8>, Vec<u64>) {
    let mut bytes = encode_topics([TOPIC].into_iter());
    let mut slots = vec![SLOT_WORDS as u64, Span::new(0, bytes.len()).0];
    for (offset, value) in (0_u64..).zip(values) {
        bytes.extend_from_slice(value.as_bytes());
        let value = Span::new(bytes.len() - value.len(), value.len()).0;
        let null = Span::NULL.0;
        slots.extend([0, offset, 1, 1 | offset << 32, null, value, null]);
    }
    (bytes, slots)
}

/// A plugin whose start checks, and whose timer emits what it took.
const TICKING: [(&str, &str, &str); 3] = [
    ("python", "src/plugin.py", include_str!("ticking/plugin.py")),
    ("go", "main.go", include_str!("ticking/main.go")),
    ("c", "src/plugin.c", include_str!("ticking/plugin.c")),
];

#[test]
fn a_plugin_with_a_start_and_a_timer_has_them_called() {
    for (language, file, source) in TICKING {
        let folder = begun("ticking", language);
        fs::write(folder.join(file), source).unwrap();
        edit(
            &folder.join("wit/plugin.wit"),
            "include millrace:plugin/with-metrics@0.1.0;",
            "include millrace:plugin/with-tally@0.1.0;\n  include millrace:plugin/with-timer@0.1.0;\n  include \
             millrace:plugin/with-lifecycle@0.1.0;",
        );
        edit(
            &folder.join("plugin.yaml"),
            "[metrics]",
            "[tally, \"output:counts\"]",
        );
        let mut instance = instance(&folder, "ticking");
        let (bytes, slots) = batch(&["x".to_owned()]);
        let answer = instance.call(&bytes, &slots, &[TOPIC.into()]).unwrap();
        assert!(answer.answers.is_empty(), "{language}: {answer:?}");
        let sums = ["t/a", "t/b", "u"].map(|name| (name.to_owned(), i64::MAX));
        let answer = instance
            .tick(
                TOPIC,
                3,
                1_700_000_000_000,
                TickReason::Revoked,
                sums.into(),
            )
            .unwrap_or_else(|fault| panic!("{language}: {fault:?}"));
        let values: Vec<_> = answer
            .outputs
            .iter()
            .map(|output| String::from_utf8_lossy(output.value.as_deref().unwrap()))
            .collect();
        assert_eq!(
            values,
            ["t/a", "t/b"]
                .map(|name| format!("{name}=9223372036854775807 orders/3 1700000000000 revoked")),
            "{language}"
        );
        assert_eq!(answer.outputs[1].partition, Some(1), "{language}");
        assert_eq!(answer.outputs[1].headers.len(), 1, "{language}");
        assert_eq!(answer.left.len(), 1, "{language}");
    }
}

#[test]
fn a_collector_in_go_may_run_while_the_host_has_it_allocate() {
    let folder = begun("garbage", "go");
    let mut instance = instance(&folder, "garbage");
    // 75 MiB in all go in, into memory that Go allocates: its collector runs some twenty times.
    let text = "x".repeat(1000);
    let values: Vec<String> = (0..256)
        .map(|n| format!("{{\"kind\":\"k{n}\",\"text\":\"{text}\"}}"))
        .collect();
    let (bytes, slots) = batch(&values);
    for round in 0..300 {
        let answer = instance.call(&bytes, &slots, &[TOPIC.into()]);
        let answer = answer.unwrap_or_else(|fault| panic!("round {round}: {fault:?}"));
        assert!(answer.answers.is_empty(), "round {round}: {answer:?}");
        assert_eq!(instance.effects().metrics.len(), 256, "round {round}");
    }
}
