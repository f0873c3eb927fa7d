//! What the guest `hostile` can do to a host, and what must come of each.

/// One attack by one event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deed {
    /// The fault in the list that the suite goes through.
    pub(super) fault: &'static str,
    /// The word in the event.
    pub(super) name: &'static str,
    /// How often, how long or how large.
    pub(super) n: Option<u64>,
    /// For a person.
    pub(super) about: &'static str,
    pub(super) comes_to: ComesTo,
}

/// What an event comes to.
#[derive(Debug, Clone, Copy)]
pub(super) enum ComesTo {
    /// It stays within its limits.
    Processed,
    /// A dead letter with a cause, whose code or message holds a text: the limit, where there is one.
    Dead(&'static str, &'static str),
}

use ComesTo::{Dead, Processed};

const fn deed(
    fault: &'static str,
    name: &'static str,
    about: &'static str,
    comes_to: ComesTo,
) -> Deed {
    Deed {
        fault,
        name,
        n: None,
        about,
        comes_to,
    }
}

const fn of(n: u64, deed: Deed) -> Deed {
    Deed { n: Some(n), ..deed }
}

const MEMORY: ComesTo = Dead("memory", "limits.memory");
const DEADLINE: ComesTo = Dead("deadline", "limits.deadline");
const CALLS: ComesTo = Dead("fuel", "limits.host_calls");
const BYTES: ComesTo = Dead("fuel", "limits.event_hostcall");

pub(super) const DEEDS: &[Deed] = &[
    deed(
        "F13",
        "trap",
        "a panic",
        Dead("trap", "UnreachableCodeReached"),
    ),
    deed("F13", "exit", "`exit(0)`", Dead("trap", "exit")),
    deed(
        "F13",
        "abort",
        "`abort()`",
        Dead("trap", "UnreachableCodeReached"),
    ),
    deed("F14", "loop", "an endless loop", DEADLINE),
    deed("F14", "copy-memory", "endless bulk copies", DEADLINE),
    deed("F15", "eat-memory", "allocates by the megabyte", MEMORY),
    deed(
        "F15",
        "eat-memory-slowly",
        "allocates by the kilobyte",
        MEMORY,
    ),
    deed(
        "F15",
        "grow-memory",
        "grows its memory page by page",
        MEMORY,
    ),
    deed(
        "F17",
        "deep",
        "endless recursion",
        Dead("trap", "StackOverflow"),
    ),
    of(
        9_000,
        deed(
            "F17",
            "deep-with-calls",
            "recursion with a host call at each level",
            Processed,
        ),
    ),
    deed("F18", "flood-log", "10 million log lines", CALLS),
    deed("F18", "flood-state", "10 million reads of state", CALLS),
    deed(
        "F18",
        "flood-config",
        "10 million reads of the settings",
        CALLS,
    ),
    deed("F18", "flood-metrics", "10 million metric calls", CALLS),
    deed(
        "F18",
        "flood-print",
        "10 million lines on standard output",
        DEADLINE,
    ),
    deed(
        "F18",
        "flood-clock",
        "a billion looks at the clock",
        DEADLINE,
    ),
    deed(
        "F18",
        "flood-random",
        "10 million times 64 KiB of random bytes",
        DEADLINE,
    ),
    deed(
        "F18",
        "log-and-trap",
        "a hundred lines, then a trap, 8 times",
        Dead("trap", "Unreachable"),
    ),
    deed(
        "F19",
        "much-random",
        "4 GiB of random bytes at once",
        Dead("trap", ""),
    ),
    deed("F19", "huge-line", "one argument of 32 MiB", BYTES),
    deed("F19", "huge-state", "a state value of 32 MiB", BYTES),
    deed(
        "F19",
        "same-strings",
        "a list of 100 000 strings of the same MiB",
        BYTES,
    ),
    deed("F19", "huge-log", "9 000 log lines of 3 MiB", DEADLINE),
    of(
        1_000_000,
        deed("F20", "output-flood", "a million outputs", MEMORY),
    ),
    of(
        150_000,
        deed("F20", "output-flood", "150 000 outputs", BYTES),
    ),
    of(
        20_000,
        deed(
            "F20",
            "output-flood",
            "20 000 outputs",
            Dead("output", "limits.outputs"),
        ),
    ),
    deed("F20", "output-huge", "an output of 20 MiB", BYTES),
    deed(
        "F20",
        "output-large",
        "an output of 2 MiB",
        Dead("output", "kafka.message_max"),
    ),
    deed(
        "F21",
        "leak-pollables",
        "10 million handles, none dropped",
        Dead("fuel", "handles"),
    ),
    deed(
        "F21",
        "flood-pollables",
        "10 million handles, all dropped",
        DEADLINE,
    ),
    deed("F22", "sleep", "sleeps an hour", DEADLINE),
    deed(
        "F22",
        "poll-many",
        "polls a list of 250 000 handles",
        Dead("fuel", "handles"),
    ),
    deed(
        "F23",
        "output-forbidden",
        "an output to a topic not granted",
        Dead("capability", "output:nobody"),
    ),
    deed(
        "F23",
        "output-bad-topic",
        "an output to an impossible topic",
        Dead("capability", "output:no topic"),
    ),
    deed(
        "F23",
        "output-nul-topic",
        "a zero byte in the topic",
        Dead("capability", "\\0"),
    ),
    deed(
        "F23",
        "output-long-topic",
        "a topic name of 30 KB",
        Dead("capability", "output-topic"),
    ),
    deed(
        "F23",
        "output-huge-header",
        "a header of 1 MiB",
        Dead("output", "kafka.message_max"),
    ),
    of(
        450_000,
        deed(
            "F23",
            "output-many-headers",
            "450 000 headers of one byte",
            Dead("output", "kafka.message_max"),
        ),
    ),
    deed(
        "F23",
        "output-partition",
        "an output to partition 2 147 483 647",
        Dead("output", "partition"),
    ),
    deed(
        "F23",
        "output-future",
        "an output of the year 55840",
        Dead("output", "timestamp"),
    ),
    deed(
        "F23",
        "output-past",
        "an output before 1970",
        Dead("output", "timestamp"),
    ),
    deed(
        "F23",
        "output-nul-header",
        "a zero byte in a header's name",
        Processed,
    ),
    deed(
        "F23",
        "output-no-header-name",
        "a header without a name",
        Processed,
    ),
    deed(
        "-",
        "huge-problem",
        "a rejection of 3 MiB of control characters",
        Dead("reject", ""),
    ),
    deed(
        "-",
        "come-back-never",
        "a retry in 500 million years",
        Dead("exhausted", "later"),
    ),
    deed(
        "-",
        "new-series",
        "5 000 metric series with each of 50 events",
        Processed,
    ),
    of(
        5_000,
        deed(
            "-",
            "new-sums",
            "5 000 sums with each of 4 events",
            Processed,
        ),
    ),
    deed(
        "-",
        "new-sums",
        "and 5 000 more",
        Dead("fuel", "limits.tallies"),
    ),
    of(
        3_900_000,
        deed(
            "-",
            "huge-line",
            "a journal line of 3.9 MB with each of 200 events",
            Processed,
        ),
    ),
    of(
        3_900_000,
        deed(
            "-",
            "huge-state",
            "a state value of 3.9 MB with each of 200 events",
            Processed,
        ),
    ),
    deed(
        "-",
        "output-often",
        "four outputs of 900 KB with each of 100 events",
        Processed,
    ),
    deed(
        "-",
        "sockets",
        "sockets, name lookups, files, environment",
        Processed,
    ),
];

/// These do little by one event, and are done by as many.
pub(super) fn events_of(deed: &Deed) -> usize {
    match (deed.name, deed.n) {
        // After sixteen faults in a row the host waits before it makes another instance.
        ("log-and-trap", _) => 8,
        // As many as `limits.tallies` lets one partition have.
        ("new-sums", Some(_)) => 4,
        ("new-series", _) => 50,
        ("output-often", _) => 100,
        ("huge-line" | "huge-state", Some(_)) => 200,
        _ => 1,
    }
}
