//! What a plugin costs in each language: the plugin that `millrace plugin new` begins, built and measured by the
//! commands that its author has. Ends with a table, and writes it into docs/languages.md.

#![allow(missing_docs, reason = "a bench has no interface")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on ends, and its answer is what it prints"
)]

#[path = "shared.rs"]
mod shared;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use shared::harness::toolchains::equip;

/// Around the part of the document that is made.
const BEGIN: &str = "<!-- made by `make bench-languages`: begin -->";
const END: &str = "<!-- made by `make bench-languages`: end -->";

const LANGUAGES: [&str; 6] = ["rust", "c", "go", "js", "ts", "python"];

/// Events of a file; their kinds repeat after a few.
const EVENTS: usize = 1_000;

/// What makes a small event one of 1.1 KiB.
const PADDING_BYTES: usize = 1_050;

/// How long each figure is measured.
const MEASURED_FOR: &str = "3s";

fn millrace(folder: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(args)
        .current_dir(folder)
        .output()
        .expect("the binary can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "millrace {args:?}: {said}");
    String::from_utf8(output.stdout).expect("what it says is text")
}

fn events(padding_bytes: usize) -> String {
    let mut lines = String::new();
    let padding = "x".repeat(padding_bytes);
    for number in 0..EVENTS {
        let kind = ["created", "paid", "sent", "cancelled"][number % 4];
        let value = serde_json::json!({ "kind": kind, "amount": number, "note": padding.as_str() });
        writeln!(lines, r#"{{"key":"k-{}","value":{value}}}"#, number % 100).unwrap();
    }
    lines
}

fn row(parent: &Path, language: &str) -> String {
    let name = format!("in-{language}");
    millrace(parent, &["plugin", "new", &name, "--lang", language]);
    let folder = parent.join(&name);
    equip(&folder);
    millrace(&folder, &["plugin", "build"]);
    let component = format!("dist/{name}.wasm");
    let bytes = fs::metadata(folder.join(&component)).unwrap().len();
    let measured = |padding_bytes| -> Value {
        fs::write(folder.join("measured.jsonl"), events(padding_bytes)).unwrap();
        let args = ["plugin", "bench", &component, "--events", "measured.jsonl"];
        let told = [&args[..], &["--for", MEASURED_FOR, "--output", "json"]].concat();
        serde_json::from_str(&millrace(&folder, &told)).unwrap()
    };
    let (small, large) = (measured(0), measured(PADDING_BYTES));
    let number = |of: &Value| of.as_f64().unwrap_or(f64::NAN);
    let thousands = |of: &Value| number(&of["events_per_second"]) / 1e3;
    let ms = |name: &str| number(&small[name]) / 1e3;
    format!(
        "| `{language}` | {} | {:.0} ms | {:.1} ms | {:.2} ms | {:.0} / {:.0} | {:.1} / {:.1} us | {:.1} MiB |\n",
        size(bytes),
        ms("compile_us"),
        ms("cached_us"),
        ms("instance_us"),
        thousands(&small),
        thousands(&large),
        number(&small["event"]["p50_us"]),
        number(&small["event"]["p99_us"]),
        number(&large["memory_bytes"]["last"]) / f64::from(1 << 20),
    )
}

fn size(bytes: u64) -> String {
    match bytes as f64 / 1024.0 {
        kib if kib < 1024.0 => format!("{kib:.0} KiB"),
        kib => format!("{:.1} MiB", kib / 1024.0),
    }
}

fn main() {
    let parent = tempfile::tempdir().unwrap();
    let mut table = String::from(
        "| language | component | compiled in | from the cache in | an instance in | thousand events/s, small / 1.1 KiB | \
         an event alone, p50 / p99 | memory |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for language in LANGUAGES {
        table.push_str(&row(parent.path(), language));
        println!("{language} is measured");
    }
    println!("\n{table}");
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/languages.md");
    let text = fs::read_to_string(&document).unwrap();
    let (before, rest) = text
        .split_once(BEGIN)
        .expect("the document has a place for it");
    let (_, after) = rest.split_once(END).expect("the place has an end");
    fs::write(
        &document,
        format!("{before}{BEGIN}\n\n{table}\n{END}{after}"),
    )
    .unwrap();
}
