//! What the host answered in a call, played back: the same outcome with other clocks, other state and no server.

use std::sync::Arc;

use millrace::sandbox::{
    Answer, BatchAnswer, Fault, HostAnswer, Instance, LoadedPlugin, StateSource, Transcript,
};

use super::web::Server;
use super::{Event, everything_granted, guest, run, sandbox};

/// State that holds one value under every name, or has no room.
#[derive(Debug)]
struct Holds(&'static str, Result<(), String>);

impl StateSource for Holds {
    fn key(&self, _event_index: u32, name: &str) -> Vec<u8> {
        name.as_bytes().to_vec()
    }

    fn now_ms(&self) -> u64 {
        0
    }

    fn get(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        Ok(Some(self.0.as_bytes().to_vec()))
    }

    fn room_for(&self, _key: &[u8], _value_bytes: usize) -> Result<(), String> {
        self.1.clone()
    }
}

fn recorded(plugin: &Arc<LoadedPlugin>) -> Instance {
    Instance::recording(plugin).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs the event again with nothing but what was told, by way of the form that a dead letter carries.
fn again(
    plugin: &Arc<LoadedPlugin>,
    told: &Transcript,
    event: &Event,
) -> (Result<BatchAnswer, Fault>, Instance) {
    let told = Transcript::parse(&told.to_bytes()).expect("it is read as it was written");
    let mut instance = Instance::replaying(plugin, &told).unwrap_or_else(|error| panic!("{error}"));
    let answer = run(&mut instance, std::slice::from_ref(event));
    (answer, instance)
}

fn refused(answer: &BatchAnswer) -> String {
    match &answer.answers[..] {
        [(0, Answer::Reject(problem))] => problem.message.clone(),
        other => panic!("{other:?}"),
    }
}

fn load(name: &str, change: impl FnOnce(&mut millrace::config::Plugin)) -> Arc<LoadedPlugin> {
    let mut config = everything_granted(guest(name));
    config.transcripts = true;
    change(&mut config);
    let loaded = LoadedPlugin::load(sandbox(), name, &config);
    Arc::new(loaded.unwrap_or_else(|error| panic!("{error}")))
}

#[test]
fn a_handler_that_asks_for_time_chance_and_state_fails_with_the_same_words_again() {
    let plugin = load("asks", |config| config.limits.fuel = Some(100_000_000));
    let event = Event::of_value("{}").with_key("k-1");
    let mut first = recorded(&plugin);
    first.set_state_source(Some(Box::new(Holds("three", Ok(())))));
    let said = refused(&run(&mut first, std::slice::from_ref(&event)).expect("it answers"));
    assert!(said.contains("after \"three\""), "{said}");
    let told = first.transcript().expect("it was recorded");
    assert_eq!(told.log_lines().collect::<Vec<_>>(), ["k-1 was refused"]);

    let (answer, instance) = again(&plugin, &told, &event);
    assert_eq!(refused(&answer.expect("it answers")), said);
    assert_eq!(instance.untold(), None);
    assert!(told.fuel.is_some_and(|fuel| fuel > 0));
    assert_eq!(instance.fuel_used(), told.fuel, "fuel");

    let live = refused(&run(&mut recorded(&plugin), &[event]).expect("it answers"));
    assert_ne!(live, said, "otherwise nothing was shown");
}

#[test]
fn a_server_is_asked_once_and_answers_again_from_the_transcript() {
    let server = Server::start();
    let plugin = load("fetches", |config| {
        let target = millrace::config::WebTarget::parse(false, &server.address.to_string());
        config.grants.web.push(target.expect("a target"));
    });
    for path in ["/hello", "/redirect", "/declared", "/nobody-may"] {
        let url = match path {
            "/nobody-may" => "http://127.0.0.1:1/".to_owned(),
            path => server.url(path),
        };
        let event = Event::of_value(format!(r#"{{"url":"{url}"}}"#));
        let mut first = recorded(&plugin);
        let answer = run(&mut first, std::slice::from_ref(&event)).expect("it answers");
        let told = first.transcript().expect("it was recorded");
        let asked = server.requests().len();
        let (repeated, instance) = again(&plugin, &told, &event);
        let repeated = repeated.expect("it answers");
        assert_eq!(repeated.outputs[0].value, answer.outputs[0].value, "{path}");
        assert_eq!(instance.untold(), None, "{path}");
        assert_eq!(server.requests().len(), asked, "{path}");
    }
}

#[test]
fn a_write_that_found_no_room_finds_none_again() {
    let plugin = load("counter-state", |_| {});
    let event = Event::of_value("x").with_key("k");
    let mut first = recorded(&plugin);
    let full = Holds("1", Err("the state of the partition is full".to_owned()));
    first.set_state_source(Some(Box::new(full)));
    let fault = run(&mut first, std::slice::from_ref(&event)).expect_err("there is no room");
    let told = first.transcript().expect("it was recorded");
    let (repeated, _) = again(&plugin, &told, &event);
    assert_eq!(repeated.expect_err("there is none").message, fault.message);
}

#[test]
fn the_value_of_a_secret_setting_is_not_in_a_transcript() {
    let settings = [
        ("api_token", "k-very-secret"),
        ("partition_key", "customer"),
        ("database", "postgres://us:hush@db"),
    ];
    let plugin = load("asks", |config| {
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        config.settings = settings.into();
        config.secret_parts = ["hush".to_owned()].into();
    });
    for (key, shown) in [
        ("k-very-secret", "[redacted]"),
        ("to postgres://us:hush@db", "to postgres://us:[redacted]@db"),
        ("customer", "customer"),
    ] {
        let mut instance = recorded(&plugin);
        let event = Event::of_value("{}").with_key(key);
        refused(&run(&mut instance, &[event]).expect("it answers"));
        let told = instance.transcript().expect("it was recorded");
        let expected = HostAnswer::Log(format!("{shown} was refused"));
        assert!(told.answers.contains(&expected), "{told:?}");
        assert_eq!(told.redacted, key != shown, "{key}");
    }
}
