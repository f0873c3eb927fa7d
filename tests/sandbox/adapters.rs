//! Components that were written for other hosts run unchanged: `wasi:messaging` and `wasmcloud:messaging`.

use std::sync::Arc;

use millrace::sandbox::{
    Answer, BatchAnswer, Fault, FaultKind, Instance, LoadedPlugin, Output, Problem, Worn,
};

use super::{Event, everything_granted, guest, instance, load, run, sandbox};

const WASI: &str = "wasi-messaging";
const WASMCLOUD: &str = "wasmcloud-messaging";

fn handle(guest: &str, event: Event) -> Result<BatchAnswer, Fault> {
    run(&mut instance(&load(guest, |_| {})), &[event])
}

#[track_caller]
fn only_output(answer: Result<BatchAnswer, Fault>) -> Output {
    let mut answer = answer.unwrap_or_else(|fault| panic!("{fault:?}"));
    assert_eq!(answer.answers, []);
    assert_eq!(answer.outputs.len(), 1, "{:?}", answer.outputs);
    answer.outputs.remove(0)
}

fn text(output: &Output) -> &str {
    std::str::from_utf8(output.value.as_deref().unwrap_or_default()).expect("it is text")
}

fn header(name: &str, value: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    (name.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))
}

/// The one answer of a call without outputs.
#[track_caller]
fn only_answer(answer: Result<BatchAnswer, Fault>) -> Answer {
    let mut answer = answer.unwrap_or_else(|fault| panic!("{fault:?}"));
    assert_eq!(answer.outputs, [], "a failed event sends nothing");
    assert_eq!(answer.answers.len(), 1, "{:?}", answer.answers);
    answer.answers.remove(0).1
}

fn problem(code: &str, message: &str) -> Problem {
    Problem {
        code: code.to_owned(),
        message: message.to_owned(),
        ..Problem::default()
    }
}

#[test]
fn a_wasi_message_shows_the_topic_the_value_and_the_headers_that_are_text() {
    let event = Event::of_value("tell me")
        .with_header("trace", Some(b"1"))
        .with_header("Content-Type", Some(b"text/plain"))
        .with_header("null", None)
        .with_header("trace", Some(b"2"))
        .with_header("binary", Some(b"\xff\xfe"));
    let output = only_output(handle(WASI, event));
    assert_eq!(output.topic, "echo");
    assert_eq!(
        text(&output),
        r#"Some("events") Some("text/plain") Some([("trace", "1"), ("null", ""), ("trace", "2")]) 7"#
    );
}

#[test]
fn a_tombstone_is_a_message_without_data() {
    let mut event = Event::of_value("");
    event.value = None;
    let output = only_output(handle(WASI, event));
    assert_eq!(text(&output), r#"Some("events") None None 0"#);
}

#[test]
fn what_a_wasi_component_sends_on_keeps_key_content_type_and_metadata() {
    let event = Event::of_value("relay:outputs")
        .with_key("a key")
        .with_header("trace", Some(b"1"))
        .with_header("content-type", Some(b"text/plain"));
    let output = only_output(handle(WASI, event));
    assert_eq!(
        (output.topic.as_str(), text(&output)),
        ("outputs", "relay:outputs")
    );
    assert_eq!(output.key.as_deref(), Some(b"a key".as_slice()));
    assert_eq!((output.partition, output.timestamp_ms), (None, None));
    let headers = [header("content-type", "text/plain"), header("trace", "1")];
    assert_eq!(output.headers, headers);
}

#[test]
fn a_wasi_message_can_be_changed_in_every_way() {
    let output = only_output(handle(WASI, Event::of_value("edit")));
    assert_eq!(text(&output), "second");
    let headers = [
        header("content-type", "text/plain"),
        header("a", "3"),
        header("b", "4"),
    ];
    assert_eq!(output.headers, headers);
    assert_eq!(output.key, None);
}

#[test]
fn a_wasi_component_has_its_settings_and_its_log() {
    let output = only_output(handle(WASI, Event::of_value("config:window")));
    assert_eq!(text(&output), "60s");
    let mut config = everything_granted(guest(WASI));
    config.grants.config = false;
    let refusal = LoadedPlugin::load(sandbox(), WASI, &config).expect_err("it is not granted");
    assert!(refusal.to_string().contains("add `config` to"), "{refusal}");
}

#[test]
fn errors_that_may_pass_are_retries_and_what_is_not_permitted_is_rejected() {
    let answers = [
        ("timeout", Answer::Retry(problem("timeout", ""))),
        (
            "connection",
            Answer::Retry(problem("connection", "it is cut")),
        ),
        (
            "denied",
            Answer::Reject(problem("permission-denied", "not for you")),
        ),
        (
            "other",
            Answer::Retry(problem("other", "it is something else")),
        ),
    ];
    for (value, answer) in answers {
        assert_eq!(only_answer(handle(WASI, Event::of_value(value))), answer);
    }
    let failed = only_answer(handle(WASMCLOUD, Event::of_value("fail")));
    assert_eq!(
        failed,
        Answer::Retry(problem("error", "the message said so"))
    );
}

#[test]
fn after_a_failure_later_events_of_the_order_group_are_held_and_others_run() {
    let mut instance = instance(&load(WASI, |_| {}));
    let events = [
        Event::of_value("relay:echo").in_group(1),
        Event::of_value("other").in_group(2),
        Event::of_value("relay:echo").in_group(2),
        Event::of_value("relay:outputs").in_group(1),
    ];
    let answer = run(&mut instance, &events).expect("it is handled");
    let failed = Answer::Retry(problem("other", "it is something else"));
    assert_eq!(answer.answers, [(1, failed), (2, Answer::Held)]);
    let sent = answer.outputs.iter();
    let sent: Vec<_> = sent.map(|it| (it.event_index, it.topic.as_str())).collect();
    assert_eq!(sent, [(0, "echo"), (3, "outputs")]);
}

#[test]
fn a_topic_that_is_not_granted_ends_the_call() {
    let fault = handle(WASI, Event::of_value("relay:elsewhere")).expect_err("it is not granted");
    assert_eq!(fault.kind, FaultKind::Capability);
    assert!(fault.message.contains("`output:elsewhere`"), "{fault:?}");
    let event = Event::of_value("hello").with_header("reply-to", Some(b"elsewhere"));
    let fault = handle(WASMCLOUD, event).expect_err("it is not granted");
    assert_eq!(fault.kind, FaultKind::Capability);
}

#[test]
fn a_panic_is_a_trap_with_its_message() {
    for guest in [WASI, WASMCLOUD] {
        let fault = handle(guest, Event::of_value("trap")).expect_err("it panics");
        assert_eq!(fault.kind, FaultKind::Trap);
        assert!(fault.message.contains("the message said so"), "{fault:?}");
    }
}

#[test]
fn an_instance_that_never_gives_its_messages_back_is_worn_before_it_meets_the_limit() {
    let plugin = load(WASI, |limits| limits.resources = 40);
    let mut instance = instance(&plugin);
    let leak = Event::of_value("leak");
    run(&mut instance, &vec![leak.clone(); 10]).expect("they are handled");
    assert_eq!(instance.worn(), None);
    run(&mut instance, std::slice::from_ref(&leak)).expect("it is handled");
    assert_eq!(instance.worn(), Some(Worn::Handles));
    let fault = run(&mut instance, &vec![leak; 30]).expect_err("it holds too many");
    assert_eq!(
        (fault.kind, fault.limit),
        (FaultKind::Fuel, Some("resources"))
    );
}

#[test]
fn an_instance_that_gives_its_messages_back_is_never_worn_by_them() {
    let mut instance = instance(&load(WASI, |limits| limits.resources = 40));
    for value in ["tell", "edit", "relay:echo", "other"] {
        // A failure holds its order group, so each has one of its own.
        let events = (0..100).map(|group| Event::of_value(value).in_group(group));
        run(&mut instance, &events.collect::<Vec<_>>()).expect("they are handled");
        assert_eq!(instance.worn(), None, "{value}");
    }
}

#[test]
fn messages_that_a_guest_hoards_take_no_more_than_an_event_may_pass() {
    let fault = handle(WASI, Event::of_value("hoard:100000")).expect_err("it hoards");
    assert_eq!(
        (fault.kind, fault.limit),
        (FaultKind::Fuel, Some("event_hostcall"))
    );
    assert!(
        fault.message.contains("holds messages of more than"),
        "{fault:?}"
    );
    let fault = handle(WASI, Event::of_value("hoard:0")).expect_err("it hoards");
    assert_eq!(
        (fault.kind, fault.limit),
        (FaultKind::Fuel, Some("resources"))
    );
}

#[test]
fn a_wasmcloud_component_answers_to_the_topic_of_the_header() {
    let event = Event::of_value("hello")
        .with_key("k")
        .with_header("Reply-To", Some(b"outputs"));
    let output = only_output(handle(WASMCLOUD, event));
    assert_eq!(
        (output.topic.as_str(), text(&output)),
        ("outputs", "events hello")
    );
    assert_eq!(output.key.as_deref(), Some(b"k".as_slice()));
    assert_eq!(output.headers, [header("reply-to", "answers")]);
    let output = only_output(handle(WASMCLOUD, Event::of_value("hello")));
    assert_eq!(output.topic, "echo");
}

#[test]
fn a_wasmcloud_request_is_told_that_nobody_answers() {
    let output = only_output(handle(WASMCLOUD, Event::of_value("request")));
    assert!(
        text(&output).contains("does not wait for answers"),
        "{}",
        text(&output)
    );
}

/// A component of these exports and imports, by their names, that does nothing.
fn loads(text: &str) -> Result<Arc<LoadedPlugin>, String> {
    let bytes = wat::parse_str(text).expect("the text is a component");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("component.wasm");
    std::fs::write(&path, bytes).expect("it can be written");
    let prepared = LoadedPlugin::prepare(sandbox(), "under-test", &everything_granted(path));
    prepared.map_err(|error| error.to_string())
}

#[test]
fn what_asks_and_waits_for_answers_is_refused_before_it_runs() {
    let refusal = loads(
        r#"(component
             (import "wasi:messaging/request-reply@0.2.0-draft" (instance (export "reply" (func)))))"#,
    );
    let refusal = refusal.expect_err("it cannot be had");
    assert!(
        refusal.contains(
            "imports wasi:messaging/request-reply@0.2.0-draft, which this host does not have"
        ),
        "{refusal}"
    );
}

#[test]
fn an_older_draft_under_the_same_version_is_told_as_another_contract() {
    let refusal = loads(
        r#"(component
             (core module $m (func (export "handle")) )
             (core instance $i (instantiate $m))
             (func $handle (canon lift (core func $i "handle")))
             (instance $handler (export "handle" (func $handle)))
             (export "wasi:messaging/incoming-handler@0.2.0-draft" (instance $handler)))"#,
    );
    let refusal = refusal.expect_err("it takes no message");
    assert!(
        refusal.contains(
            "does not fit the contract wasi:messaging@0.2.0-draft as of December 2024: handle"
        ),
        "{refusal}"
    );
}

#[test]
fn a_plugin_of_our_own_world_sends_by_returning_outputs() {
    let refusal = loads(
        r#"(component
             (import "wasmcloud:messaging/consumer@0.2.0" (instance (export "publish" (func))))
             (core module $m (func (export "handle")) )
             (core instance $i (instantiate $m))
             (func $handle (canon lift (core func $i "handle")))
             (instance $handler (export "handle" (func $handle)))
             (export "millrace:plugin/event-handler@0.1.0" (instance $handler)))"#,
    );
    let refusal = refusal.expect_err("it has outputs");
    assert!(
        refusal.contains("returns what it sends as outputs"),
        "{refusal}"
    );
}

/// That an instance can be made again after each of these; it is what a lane does.
#[test]
fn other_instances_of_the_same_plugin_are_untouched_by_a_trap() {
    let plugin = load(WASI, |_| {});
    let mut spent: Instance = instance(&plugin);
    run(&mut spent, &[Event::of_value("trap")]).expect_err("it panics");
    let answer = run(&mut instance(&plugin), &[Event::of_value("relay:echo")]);
    assert_eq!(only_output(answer).topic, "echo");
}
