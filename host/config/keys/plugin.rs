//! The keys of `plugins.NAME`.

use super::Unless::{Below, Is, Nothing, Required};
use super::{Key, Kind, NAME, key};

/// Every grant, as it is written; what stands behind a colon is checked by the reader.
const GRANT: Kind =
    Kind::Form("^(logging|config|metrics|state|tally|journal|(output|https|http|network):.+)$");

const JOURNAL: &[Key] = &[
    key(
        "path",
        Kind::Path,
        Required,
        "The file; no two plugins share one.",
    ),
    key(
        "rotate",
        Kind::Size("64KiB", "1TiB"),
        Is("100MiB"),
        "A new file is begun when this one has reached the size.",
    ),
    key(
        "rotate_age",
        Kind::Duration("1s", "3650d"),
        Nothing,
        "A new file is begun when the first lines of this one are so old.",
    ),
    key(
        "keep",
        Kind::Number("1", "1000000"),
        Nothing,
        "How many finished files stay; all, where it is not written.",
    ),
];

const STATE: &[Key] = &[key(
    "quota",
    Kind::Size("1KiB", "1TiB"),
    Is("64MiB"),
    "What its state may take for each topic-partition, keys included.",
)];

const LIMITS: &[Key] = &[
    key(
        "memory",
        Kind::Size("64KiB", "4GiB"),
        Is("64MiB"),
        "Memory of one instance.",
    ),
    key(
        "deadline",
        Kind::Duration("10ms", "5m"),
        Is("1s"),
        "Time for one call.",
    ),
    key(
        "fuel",
        Kind::Number("1000", "1000000000000000"),
        Nothing,
        "Instructions of one event, roughly; counting costs every call time.",
    ),
    key(
        "instances",
        Kind::Number("1", "100"),
        Is("20"),
        "Core modules that one instance is made of.",
    ),
    key(
        "memories",
        Kind::Number("1", "16"),
        Is("4"),
        "Memories of one instance.",
    ),
    key(
        "tables",
        Kind::Number("1", "100"),
        Is("20"),
        "Tables of one instance.",
    ),
    key(
        "table_elements",
        Kind::Number("1", "100000"),
        Is("20000"),
        "Elements of all tables of one instance.",
    ),
    key(
        "resources",
        Kind::Number("1", "1000000"),
        Is("1000"),
        "Handles of the host that one instance holds at once.",
    ),
    key(
        "event_hostcall",
        Kind::Size("1KiB", "1GiB"),
        Is("4MiB"),
        "Bytes that one event's call passes to and from the host.",
    ),
    key(
        "batch_hostcall",
        Kind::Size("1KiB", "1GiB"),
        Is("16MiB"),
        "The same for one batch; not below `event_hostcall`.",
    ),
    key(
        "outputs",
        Kind::Number("0", "1000000"),
        Is("1000"),
        "Outputs of one event.",
    ),
    key(
        "output_size",
        Kind::Size("0B", "1GiB"),
        Is("4MiB"),
        "Outputs of one event together.",
    ),
    key(
        "host_calls",
        Kind::Number("1", "100000000"),
        Is("10000"),
        "Calls of host functions for one event.",
    ),
    key(
        "log_line",
        Kind::Size("16B", "1MiB"),
        Is("1KiB"),
        "A log line; a longer one is cut.",
    ),
    key(
        "log_lines",
        Kind::Number("1", "100000"),
        Is("100"),
        "Log lines a second of all instances of the plugin.",
    ),
    key(
        "component_size",
        Kind::Size("1KiB", "1GiB"),
        Is("32MiB"),
        "The component file.",
    ),
    key(
        "compile_time",
        Kind::Duration("10ms", "1h"),
        Is("60s"),
        "Time for compiling it.",
    ),
    key(
        "series",
        Kind::Number("1", "100000"),
        Is("1000"),
        "Series of the plugin's own metrics.",
    ),
    key(
        "tallies",
        Kind::Number("1", "1000000"),
        Is("20000"),
        "Named sums that one topic-partition may have until a tick takes them.",
    ),
    key(
        "http_requests",
        Kind::Number("1", "1000"),
        Is("10"),
        "HTTP requests of one event.",
    ),
    key(
        "http_timeout",
        Kind::Duration("10ms", "5m"),
        Is("30s"),
        "Time for one HTTP request, its answer included.",
    ),
    key(
        "http_request_size",
        Kind::Size("0B", "1GiB"),
        Is("1MiB"),
        "The body of one HTTP request.",
    ),
    key(
        "http_response_size",
        Kind::Size("0B", "1GiB"),
        Is("4MiB"),
        "The body of one HTTP answer.",
    ),
];

const RECYCLE: &[Key] = &[
    key(
        "events",
        Kind::Number("1", "1000000000000"),
        Nothing,
        "A new instance takes the place of one that is well after so many events.",
    ),
    key(
        "memory",
        Kind::Size("64KiB", "4GiB"),
        Nothing,
        "The same, once its memory has grown past this; not above `limits.memory`.",
    ),
];

const RELOAD: &[Key] = &[
    key(
        "watch",
        Kind::Flag,
        Is("true"),
        "Whether a change of the component file is taken up.",
    ),
    key(
        "approve_grants",
        Kind::Flag,
        Is("false"),
        "Whether a version that uses further grants waits until it is approved.",
    ),
];

const PATH: Key = key(
    "path",
    NAME,
    Nothing,
    "The component of the candidate: a file, or a reference as the plugin's own `path`.",
);

const PLUGIN_KEY: Key = key(
    "plugin",
    NAME,
    Nothing,
    "In place of `path`: another plugin of this configuration, whose component it is.",
);

const PROMOTE_AFTER: Key = key(
    "promote_after",
    Kind::Number("1", "18446744073709551615"),
    Nothing,
    "It serves by itself after so many events in a row on which nothing spoke against it.",
);

const CANARY: &[Key] = &[
    PATH,
    PLUGIN_KEY,
    key(
        "share",
        Kind::Form("^[0-9]+(\\.[0-9]{0,4})? *%$"),
        Required,
        "The part of the order groups that the candidate handles, such as `5%`.",
    ),
    key(
        "by",
        Kind::Choice(&["key"]),
        Is("key"),
        "What is kept together.",
    ),
    PROMOTE_AFTER,
];

const SHADOW: &[Key] = &[PATH, PLUGIN_KEY, PROMOTE_AFTER];

pub(super) const PLUGIN: &[Key] = &[
    key(
        "path",
        NAME,
        Required,
        "The component: a file, `oci://HOST/REPOSITORY@sha256:DIGITS`, or `https://HOST/FILE#sha256:DIGITS`.",
    ),
    key(
        "grants",
        Kind::List(&GRANT),
        Nothing,
        "What the plugin may use.",
    ),
    key(
        "tick",
        Kind::Duration("100ms", "24h"),
        Is("10s"),
        "How often `on-tick` is called for each assigned partition.",
    ),
    key(
        "config",
        Kind::Named("SETTING", &Kind::Text),
        Nothing,
        "The plugin's own settings, handed over as text; needs the grant `config`.",
    ),
    key(
        "journal",
        Kind::Section(JOURNAL),
        Nothing,
        "The journal file; there exactly when `journal` is granted.",
    ),
    key(
        "state",
        Kind::Section(STATE),
        Below,
        "What its state may take; written only where `state` is granted.",
    ),
    key(
        "limits",
        Kind::Section(LIMITS),
        Below,
        "The limits of each instance.",
    ),
    key(
        "recycle",
        Kind::Section(RECYCLE),
        Below,
        "When an instance that is well makes room for a new one.",
    ),
    key(
        "reload",
        Kind::Section(RELOAD),
        Below,
        "How other versions of the plugin come to serve.",
    ),
    key(
        "transcripts",
        Kind::Flag,
        Is("false"),
        "Whether dead letters carry what the host answered, for `millrace dlq repro`.",
    ),
    key(
        "canary",
        Kind::Section(CANARY),
        Nothing,
        "A candidate for its next version that handles a share of the events.",
    ),
    key(
        "shadow",
        Kind::Section(SHADOW),
        Nothing,
        "A candidate for its next version that is only compared.",
    ),
];
