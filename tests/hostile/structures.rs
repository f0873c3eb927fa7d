//! Components written by hand: what they declare, what they do when they start, and what they hand back. Each is
//! refused, or ends with the limit that it hit, and the process goes on.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::sandbox::{FaultKind, Instance, LoadedPlugin};

use crate::sandbox::{Event, everything_granted, run, sandbox};

/// Short, because the suite waits for it several times.
const DEADLINE: Duration = Duration::from_millis(200);

/// No refusal takes longer, whatever the component is like, even beside everything else on two cores.
const REFUSAL_MAX: Duration = Duration::from_secs(20);

/// What a message may have at most; it ends in a log and on a screen.
const MESSAGE_BYTES_MAX: usize = 2_000;

/// A component of the world `batch-handler` that answers every batch with plain success.
#[derive(Clone)]
struct Written {
    /// Among the items of the core module.
    module: String,
    memory: &'static str,
    /// At the start of the handler.
    handler: &'static str,
    /// What the host allocates the arguments with.
    realloc: &'static str,
    /// Where the answer stands.
    answer: &'static str,
    /// Among the options of the lifted handler.
    options: &'static str,
    /// Among the items of the component, before the core module.
    before: String,
    /// What the core module imports, from the items before.
    with: &'static str,
}

const NOTHING: Written = Written {
    module: String::new(),
    memory: "1",
    handler: "",
    realloc: "global.get $top
        global.get $top local.get 3 i32.add i32.const 7 i32.add i32.const -8 i32.and global.set $top",
    answer: "i32.const 16",
    options: "",
    before: String::new(),
    with: "",
};

impl Written {
    fn text(&self) -> String {
        let Self {
            module,
            memory,
            handler,
            realloc,
            answer,
            options,
            before,
            with,
        } = self;
        format!(
            r#"(component
  (type $events (record (field "bytes" (list u8)) (field "slots" (list u64))))
  (export $e "packed-events" (type $events))
  (type $results
    (record (field "bytes" (list u8)) (field "outcomes" (list u64)) (field "outputs" (list u64))))
  (export $r "packed-results" (type $results))
  {before}
  (core module $m
    {module}
    (memory (export "memory") {memory})
    (global $top (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})
    (func (export "after") (param i32) (loop br 0))
    (func (export "handle") (param i32 i32 i32 i32) (result i32) {handler} {answer}))
  (core instance $i (instantiate $m {with}))
  (func $f (param "events" $e) (result $r)
    (canon lift (core func $i "handle") (memory (core memory $i "memory"))
      (realloc (core func $i "realloc")) {options}))
  (instance $x (export "handle-batch" (func $f)))
  (export "millrace:plugin/batch-event-handler@0.1.0" (instance $x)))"#
        )
    }

    fn bytes(&self) -> Vec<u8> {
        let text = self.text();
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn with_module(module: impl Into<String>) -> Self {
        Self {
            module: module.into(),
            ..NOTHING
        }
    }

    fn with_handler(handler: &'static str) -> Self {
        Self { handler, ..NOTHING }
    }
}

/// A file of these bytes, removed with the folder that comes with it.
fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("component.wasm");
    std::fs::write(&path, bytes).expect("the folder can be written");
    (folder, path)
}

/// Loads and instantiates it, as the host does before it joins a group.
fn start(bytes: &[u8]) -> Result<Instance, String> {
    let (_folder, path) = file(bytes);
    let mut config = everything_granted(path);
    config.limits.deadline = DEADLINE;
    let loaded = LoadedPlugin::load(sandbox(), "written", &config);
    let loaded = Arc::new(loaded.map_err(|error| error.to_string())?);
    Instance::new(&loaded).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(what: &str, bytes: &[u8], parts: &[&str]) {
    let began = Instant::now();
    let refusal = match start(bytes) {
        Ok(_) => panic!("{what} was started"),
        Err(refusal) => refusal,
    };
    let took = began.elapsed();
    eprintln!(
        "refused after {took:.1?}: {what}: {}",
        refusal.replace('\n', " ")
    );
    assert!(took < REFUSAL_MAX, "{what}: after {took:?}");
    assert!(
        refusal.len() <= MESSAGE_BYTES_MAX,
        "{what}: a message of {} bytes",
        refusal.len()
    );
    for part in parts {
        assert!(
            refusal.contains(part),
            "{what}: {part:?} is not in: {refusal}"
        );
    }
}

/// What its first event ends with.
#[track_caller]
fn ends(what: &str, written: &Written, kind: FaultKind, part: &str) {
    let mut instance = start(&written.bytes()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let fault = run(&mut instance, &[Event::of_value("{}")]).expect_err(what);
    let said = format!("{}: {}", fault.code, fault.message);
    eprintln!("ended: {what}: {:?}, {said}", fault.kind);
    assert_eq!(fault.kind, kind, "{what}: {said}");
    assert!(said.contains(part), "{what}: {part:?} is not in: {said}");
}

#[test]
fn a_component_written_by_hand_handles_events_like_any_other() {
    let mut instance = start(&NOTHING.bytes()).expect("it is in order");
    for _ in 0..10 {
        let answer = run(&mut instance, &[Event::of_value("{}")]).expect("it is handled");
        assert!(answer.answers.is_empty() && answer.outputs.is_empty());
    }
}

#[test]
fn what_declares_more_than_its_limits_is_refused_before_it_runs() {
    let memory = |memory| Written { memory, ..NOTHING };
    refused(
        "128 MiB of memory",
        &memory("2048").bytes(),
        &["limits.memory"],
    );
    refused(
        "4 GiB of memory",
        &memory("65536").bytes(),
        &["limits.memory"],
    );
    let memories = "(core module $n (memory 600)) (core instance (instantiate $n)) (core instance (instantiate $n))";
    let memories = Written {
        before: memories.to_owned(),
        ..NOTHING
    };
    refused(
        "two memories of 75 MiB together",
        &memories.bytes(),
        &["limits.memory"],
    );
    let memories = Written::with_module("(memory 1)".repeat(50));
    refused("51 memories", &memories.bytes(), &["memor"]);
    let table = Written::with_module("(table 100000000 funcref)");
    refused("a table of 100 million", &table.bytes(), &["table"]);
    let tables = Written::with_module("(table 10 funcref)".repeat(100));
    refused("100 tables", &tables.bytes(), &["table"]);
    let instances =
        "(core module $n)".to_owned() + &"(core instance (instantiate $n))".repeat(10_000);
    let instances = Written {
        before: instances,
        ..NOTHING
    };
    refused("10 000 instances", &instances.bytes(), &["instances"]);
}

#[test]
fn a_start_that_does_not_end_well_is_refused() {
    let start = |body: &str| Written::with_module(format!("(func $s {body}) (start $s)"));
    refused(
        "a start that loops",
        &start("(loop br 0)").bytes(),
        &["limits.deadline"],
    );
    refused(
        "a start that traps",
        &start("unreachable").bytes(),
        &["unreachable"],
    );
    refused(
        "a start that recurses",
        &start("call $s").bytes(),
        &["stack"],
    );
}

#[test]
fn a_handler_of_another_type_is_refused_with_its_name() {
    let text = NOTHING.text();
    let other = text.replace(
        "(func $f (param \"events\" $e) (result $r)",
        "(func $f (param \"events\" $e) (result u32)",
    );
    assert_ne!(text, other);
    let bytes = wat::parse_str(other).expect("it is in order");
    refused(
        "a handler of another type",
        &bytes,
        &["handle-batch", "millrace:plugin@0.1.0"],
    );
}

#[test]
fn what_a_call_does_ends_with_the_limit_that_it_hits() {
    let endless = Written::with_module("(func $f return_call $f)");
    let endless = Written {
        handler: "call $f",
        ..endless
    };
    ends(
        "tail calls without end",
        &endless,
        FaultKind::Deadline,
        "limits.deadline",
    );
    let grow = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
    ends(
        "memory until there is none",
        &Written::with_handler(grow),
        FaultKind::Memory,
        "limits.memory",
    );
    let tables = Written {
        handler: "(loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) \
                  unreachable",
        ..Written::with_module("(table $t 0 funcref)")
    };
    ends(
        "tables until there is no more",
        &tables,
        FaultKind::Memory,
        "table_elements",
    );
    let resources = Written {
        before: "(type $res (resource (rep i32)))
            (core func $new (canon resource.new $res))
            (core instance $host (export \"new\" (func $new)))"
            .to_owned(),
        module: "(import \"host\" \"new\" (func $new (param i32) (result i32)))".to_owned(),
        with: "(with \"host\" (instance $host))",
        handler: "(loop (drop (call $new (i32.const 1))) br 0)",
        ..NOTHING
    };
    ends(
        "resources of its own without end",
        &resources,
        FaultKind::Fuel,
        "handles",
    );
}

#[test]
fn what_lies_about_its_memory_ends_the_call() {
    let realloc = |realloc| Written { realloc, ..NOTHING };
    let deadline = (FaultKind::Deadline, "limits.deadline");
    let looping = realloc("(loop br 0) unreachable");
    ends("an allocation that loops", &looping, deadline.0, deadline.1);
    ends(
        "an allocation outside",
        &realloc("i32.const -8"),
        FaultKind::Trap,
        "",
    );
    ends(
        "an allocation that is not aligned",
        &realloc("i32.const 1025"),
        FaultKind::Trap,
        "",
    );
    let answer = |answer| Written { answer, ..NOTHING };
    ends(
        "an answer outside",
        &answer("i32.const -8"),
        FaultKind::Trap,
        "",
    );
    ends(
        "an answer that is not aligned",
        &answer("i32.const 17"),
        FaultKind::Trap,
        "",
    );
    let long = "(i32.store (i32.const 20) (i32.const 0x7fffffff)) i32.const 16";
    ends("an answer of 2 GiB", &answer(long), FaultKind::Trap, "");
    let words = "(i32.store (i32.const 28) (i32.const 0x1fffffff)) i32.const 16";
    ends(
        "an answer of half a billion words",
        &answer(words),
        FaultKind::Trap,
        "",
    );
    let large = Written {
        memory: "1000",
        ..answer("(i32.store (i32.const 20) (i32.const 60000000)) i32.const 16")
    };
    ends(
        "an answer of 60 MB",
        &large,
        FaultKind::Fuel,
        "limits.event_hostcall",
    );
    let options = "(post-return (core func $i \"after\"))";
    let after = Written { options, ..NOTHING };
    ends("a loop after the answer", &after, deadline.0, deadline.1);
}

#[test]
fn deep_and_wide_components_are_refused_in_time() {
    // A component in a component in a component.
    let mut nested = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..2_000 {
        let mut outer = b"\0asm\x0d\0\x01\0\x04".to_vec();
        leb(&mut outer, nested.len());
        outer.extend(&nested);
        nested = outer;
    }
    refused("2 000 components in each other", &nested, &[]);

    let mut lists = "(type $t0 (list u8))".to_owned();
    for depth in 1..5_000 {
        write!(lists, "(type $t{depth} (list $t{}))", depth - 1).expect("a string");
    }
    let lists = format!("{lists}(import \"f\" (func (param \"p\" $t4999)))");
    refused("5 000 lists in each other", &with_import(&lists), &[]);

    let mut tuples = "(type $t0 (tuple u8 u8))".to_owned();
    for depth in 1..60 {
        let inner = depth - 1;
        write!(tuples, "(type $t{depth} (tuple $t{inner} $t{inner}))").expect("a string");
    }
    let tuples = format!("{tuples}(import \"f\" (func (param \"p\" $t59)))");
    refused("a tuple of 2^60 fields", &with_import(&tuples), &[]);

    let name = "a".repeat(90_000);
    let long = with_import(&format!("(import \"{name}\" (func))"));
    refused("a name of 90 KB", &long, &["does not have"]);

    let many: String = (0..20_000).fold(String::new(), |mut text, i| {
        write!(text, "(import \"f{i}\" (func))").expect("a string");
        text
    });
    refused("20 000 imports", &with_import(&many), &[]);
}

fn with_import(items: &str) -> Vec<u8> {
    let before = items.to_owned();
    Written { before, ..NOTHING }.bytes()
}

fn leb(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}
