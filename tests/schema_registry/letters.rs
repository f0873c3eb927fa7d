//! Dead letters whose values were written by a registered schema: shown decoded, and judged as their plugin sees them.

use serde_json::{Value, json};

use super::{Relay, avro_of, framed, own_avro, registry};
use crate::harness::host::command;
use crate::harness::main_flow::guest;
use crate::harness::topic::Record;

#[test]
fn a_dead_letter_is_shown_decoded_and_tried_as_its_plugin_sees_it() {
    let relay = Relay::new("letters");
    let id = registry().register(&relay.group, "AVRO", &own_avro("Letter"), &[]);
    let letter = |value: Vec<u8>, cause: &str, code: &str| {
        let facts = [
            ("origin.topic", relay.source.name()),
            ("origin.partition", "0"),
            ("origin.offset", "7"),
            ("group", &relay.group),
            ("plugin", "relay"),
            ("cause", cause),
            ("code", code),
        ];
        facts
            .into_iter()
            .fold(Record::new("k", value), |record, (name, value)| {
                record.header(&format!("millrace.dlq.{name}"), value)
            })
    };
    relay.dead_letters.produce(&[
        letter(framed(id, &avro_of(3)), "reject", "closed"),
        letter(framed(id, &[]), "decode", "data"),
    ]);
    let setup = relay.setup("registry", &format!("  url: {}", registry().url()));
    let config = setup.config_file();
    let config = config.to_str().expect("the path is text");
    let ask = |args: &[&str]| -> Value {
        let exit = command(&[&["dlq"], args, &["-c", config, "--output", "json"]].concat());
        assert_eq!(
            exit.code,
            Some(0),
            "{args:?}: {}{}",
            exit.stdout,
            exit.stderr
        );
        serde_json::from_str(&exit.stdout).expect("it is JSON")
    };
    let place = |offset: i64| format!("{}/0/{offset}", relay.dead_letters.name());
    let shown = ask(&["show", &place(0)]);
    assert_eq!(
        shown[0]["decoded"],
        json!({ "id": 3, "text": null }),
        "{shown}"
    );
    assert_eq!(ask(&["show", &place(1)])[0]["decoded"], Value::Null);
    let again = ask(&["repro", &place(1)]);
    assert_eq!(again["now"]["code"], "data", "{again}");
    let done = ask(&["redrive", "--all", "--if-fixed-by", &guest("relay")]);
    assert_eq!(done["redriven"], 1, "{done}");
    assert_eq!(done["stayed"], json!({ "still-failing": 1 }));
    let back = relay.source.read_all();
    assert_eq!(
        back[0].value,
        Some(framed(id, &avro_of(3))),
        "as it was read"
    );
}
