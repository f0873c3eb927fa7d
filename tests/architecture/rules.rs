//! The rules as tables: who may use which library, and which module must not know which.

/// Library, and the places under `host/` that may use it; each stands for the file and its folder.
pub(super) const ONLY_USERS: [(&str, &[&str]); 13] = [
    ("rdkafka", &["kafka"]),
    ("wasmtime", &["sandbox"]),
    ("wasmparser", &["sandbox", "authoring"]),
    ("wit_component", &["authoring"]),
    ("wit_parser", &["authoring"]),
    ("prometheus", &["telemetry"]),
    ("redb", &["store"]),
    ("jsonschema", &["schema"]),
    ("apache_avro", &["schema/avro"]),
    ("prost_reflect", &["schema/protobuf"]),
    ("protox", &["schema/protobuf", "build"]),
    (
        "tonic",
        &["ingest", "cli/produce", "telemetry/traces", "build"],
    ),
    ("subtle", &["config"]),
];

/// Module, and the modules that it may know: `main -> cli -> daemon -> {reload, registry, admin, ingest} -> {pipeline,
/// kafka, sandbox} -> {delivery, store, telemetry, config}`, and beside the daemon `cli -> authoring -> {pipeline,
/// sandbox, ..}`.
pub(super) const MAY_KNOW: [(&str, &str); 25] = [
    (
        "daemon",
        "admin config dead_letters delivery ingest kafka pipeline registry reload replay sandbox schema since_1970 \
         telemetry",
    ),
    ("replay", "authoring config delivery kafka pipeline store"),
    (
        "authoring",
        "config delivery pipeline sandbox schema since_1970",
    ),
    ("dead_letters", "config delivery kafka since_1970"),
    ("reload", "config pipeline sandbox schema telemetry watched"),
    ("registry", "config sandbox tls web whole_file"),
    ("admin", "config connections delivery tls"),
    (
        "ingest",
        "cloudevents config connections delivery kafka schema since_1970 telemetry tls",
    ),
    (
        "pipeline",
        "cloudevents config delivery kafka latest sabotage sandbox schema since_1970 store telemetry",
    ),
    ("kafka", "config delivery since_1970 telemetry tls"),
    ("sandbox", "config tls whole_file"),
    ("schema", "cloudevents config delivery latest tls web"),
    ("telemetry", "config delivery sandbox store tls web"),
    ("store", "delivery since_1970"),
    ("delivery", "config"),
    ("connections", "config tls"),
    ("tls", "config watched"),
    ("config", ""),
    ("cloudevents", ""),
    ("latest", ""),
    ("sample", ""),
    ("since_1970", ""),
    ("watched", ""),
    ("web", ""),
    ("whole_file", ""),
];

/// Those that may know every other: where it all comes together, and what tests and nothing else builds.
pub(super) const KNOW_ALL: [&str; 7] = [
    "main",
    "lib",
    "build",
    "cli",
    "fuzzing",
    "sabotage",
    "sabotaged",
];

/// What `delivery/` does without, so that time and failures are arguments that a test can choose.
pub(super) const NOT_IN_DELIVERY: [&str; 9] = [
    "rdkafka",
    "wasmtime",
    "tokio",
    "Instant",
    "SystemTime",
    "since_1970",
    "std::fs",
    "std::net",
    "std::thread",
];
