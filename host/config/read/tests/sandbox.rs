//! What the configuration says about the sandbox: limits, recycling, the compile cache, and how many lanes.

use std::path::PathBuf;
use std::time::Duration;

use super::{Folder, MINIMAL};
use crate::config::{Limits, Recycle};

#[test]
fn every_limit_can_be_set_for_a_plugin() {
    let folder = Folder::new();
    let limits = "limits: { memory: 1MiB, deadline: 2s, fuel: 5000, instances: 3, memories: 2, tables: 5, \
                  table_elements: 6, resources: 7, event_hostcall: 8KiB, batch_hostcall: 9KiB, outputs: 10, \
                  output_size: 11B, host_calls: 12, log_line: 130B, log_lines: 14, component_size: 15KiB, \
                  compile_time: 16s, series: 20, tallies: 21, http_requests: 22, http_timeout: 23s, \
                  http_request_size: 24B, http_response_size: 25B }, recycle: { events: 17, memory: 1MiB }";
    let text = MINIMAL.replace("path: p.wasm,", &format!("path: p.wasm, {limits},"));
    let plugin = &folder.read(&text, &[], &[]).unwrap().plugins["p"];
    let expected = Limits {
        memory_bytes: 1 << 20,
        deadline: Duration::from_secs(2),
        fuel: Some(5_000),
        instances: 3,
        memories: 2,
        tables: 5,
        table_elements: 6,
        resources: 7,
        event_hostcall_bytes: 8 << 10,
        batch_hostcall_bytes: 9 << 10,
        outputs: 10,
        output_bytes: 11,
        host_calls: 12,
        log_line_bytes: 130,
        log_lines: 14,
        component_bytes: 15 << 10,
        compile_time: Duration::from_secs(16),
        series: 20,
        tallies: 21,
        http_requests: 22,
        http_timeout: Duration::from_secs(23),
        http_request_bytes: 24,
        http_response_bytes: 25,
    };
    assert_eq!(plugin.limits, expected);
    let recycle = Recycle {
        events: Some(17),
        memory_bytes: Some(1 << 20),
    };
    assert_eq!(plugin.recycle, recycle);
}

#[test]
fn the_compile_cache_is_where_it_is_said_to_be() {
    let folder = Folder::new();
    let cache = |line: &str, env: &[(&str, &str)]| {
        let text = format!("{MINIMAL}{line}");
        folder.read(&text, env, &[]).unwrap().compile_cache
    };
    let caches = [("XDG_CACHE_HOME", "/caches"), ("HOME", "/home/me")];
    let path = |text: &str| Some(PathBuf::from(text));
    assert_eq!(cache("", &caches), path("/caches/millrace/compiled"));
    assert_eq!(
        cache("", &caches[1..]),
        path("/home/me/.cache/millrace/compiled")
    );
    assert_eq!(cache("", &[]), None);
    assert_eq!(cache("compile_cache: off", &caches), None);
    let beside = folder.0.path().join("compiled");
    assert_eq!(cache("compile_cache: compiled", &caches), Some(beside));
}

#[test]
fn more_lanes_than_there_can_be_instances_are_refused() {
    let folder = Folder::new();
    let groups: String = (0..40)
        .map(|at| format!("  - {{ id: g{at}, routes: {{ t: p, u: q }}, concurrency: 101 }}\n"))
        .collect();
    let text = format!(
        "kafka: {{ brokers: b:9092 }}\nplugins:\n  p: {{ path: p.wasm }}\n  q: {{ path: q.wasm }}\ngroups:\n{groups}"
    );
    let refused = folder.refused(&text);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(
        refused[0].contains("the groups have 8080 lanes in all"),
        "{refused:?}"
    );
    let fits = text.replace("concurrency: 101", "concurrency: 100");
    assert_eq!(folder.read(&fits, &[], &[]).unwrap().lanes(), 8_000);
}

#[test]
fn fetched_components_and_logins_are_where_they_are_said_to_be() {
    let folder = Folder::new();
    let registry = |line: &str, env: &[(&str, &str)]| {
        let text = format!("{MINIMAL}{line}");
        let registry = folder.read(&text, env, &[]).unwrap().registry;
        (registry.cache, registry.credentials)
    };
    let path = |text: &str| Some(PathBuf::from(text));
    let home = ("HOME", "/home/me");
    let of_home = (
        path("/home/me/.cache/millrace/plugins"),
        path("/home/me/.docker/config.json"),
    );
    assert_eq!(registry("", &[home]), of_home);
    let others = [
        ("XDG_CACHE_HOME", "/caches"),
        ("DOCKER_CONFIG", "/docker"),
        home,
    ];
    let of_others = (
        path("/caches/millrace/plugins"),
        path("/docker/config.json"),
    );
    assert_eq!(registry("", &others), of_others);
    assert_eq!(registry("", &[]), (None, None));
    let beside = (folder.0.path().join("c"), folder.0.path().join("l.json"));
    let said = registry("registry: { cache: c, credentials: l.json }", &others);
    assert_eq!(said, (Some(beside.0), Some(beside.1)));
}

#[test]
fn a_plugin_may_be_elsewhere_and_so_may_its_candidate() {
    let folder = Folder::new();
    let from = format!("oci://registry.example/orders@sha256:{}", "0".repeat(64));
    let text = MINIMAL.replace(
        "path: p.wasm,",
        &format!("path: \"{from}\", shadow: {{ path: \"{from}\" }},"),
    );
    let plugin = &folder.read(&text, &[], &[]).unwrap().plugins["p"];
    let trial = plugin.trial.as_ref().unwrap();
    for (path, origin) in [(&plugin.path, &plugin.origin), (&trial.path, &trial.origin)] {
        assert_eq!(path, &PathBuf::new(), "there is no file yet");
        assert_eq!(origin.remote.as_ref().unwrap().to_string(), from);
        assert_eq!(
            origin.digest, None,
            "that of the component is not known yet"
        );
    }
    let refused =
        folder.refused(&MINIMAL.replace("p.wasm,", "\"oci://registry.example/orders@1\","));
    let refusal = refused.join("\n");
    assert!(
        refusal.starts_with("m.yaml:4:14: `plugins.p.path`: `1` is no digest"),
        "{refusal}"
    );
}

#[test]
fn a_candidate_may_be_the_component_of_another_plugin() {
    let folder = Folder::new();
    let with = |canary: &str| {
        let next = "plugins:\n  next: { path: p.wasm }\n";
        let own = format!("path: p.wasm, canary: {{ {canary}, share: 5% }},");
        MINIMAL
            .replace("plugins:\n", next)
            .replace("path: p.wasm,", &own)
    };
    let config = folder
        .read(&with("plugin: next, by: key"), &[], &[])
        .unwrap();
    let trial = config.plugins["p"].trial.as_ref().unwrap();
    assert_eq!(trial.path, config.plugins["next"].path);
    for (canary, said) in [
        (
            "plugin: nexd",
            "there is no plugin `nexd`: did you mean `next`?",
        ),
        ("plugin: p", "a plugin is no candidate for itself"),
        ("plugin: next, path: p.wasm", "a candidate is one component"),
    ] {
        let refused = folder.refused(&with(canary)).join("\n");
        assert!(refused.contains(said), "{refused}");
    }
}
