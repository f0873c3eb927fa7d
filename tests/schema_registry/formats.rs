//! Each format from end to end: decoded for the plugin, and its output written again, with references.

use serde_json::{Value, json};

use super::{Relay, avro_of, framed, keyed, own_avro, registry};
use crate::harness::schema_registry;
use crate::harness::topic::{Record, unique};

/// The data of a record, after its schema's number.
#[track_caller]
fn data(value: Option<&[u8]>, id: u32) -> Vec<u8> {
    let value = value.expect("it has a value");
    assert_eq!(value[..5], framed(id, &[]), "written by schema {id}");
    value[5..].to_vec()
}

#[test]
fn what_other_peoples_codecs_write_is_read_and_written_the_same() {
    let program = include_str!("../schema-registry/reference.py");
    let name = unique("Reference").replace(['-', '.'], "_");
    let told: Value =
        serde_json::from_str(&schema_registry::python(program, &[&name])).expect("it is JSON");
    for of in told.as_array().expect("a list") {
        let text = |name: &str| of[name].as_str().expect("a text");
        let relay = Relay::new(&format!("reference{}", text("format").to_lowercase()));
        let subject = format!("{}-value", relay.written.name());
        let id = registry().register(&subject, text("format"), text("schema"), &[]);
        let records = of["records"].as_array().expect("a list");
        let values: Vec<Vec<u8>> = records
            .iter()
            .map(|it| framed(id, &unhex(it["data"].as_str())))
            .collect();
        let written: Vec<Record> = values
            .iter()
            .map(|value| keyed("k", value.clone()))
            .collect();
        relay.source.produce(&written);
        let host = relay.asking("registry", "{}").start();
        let seen = Relay::first(&relay.seen, records.len());
        for (stored, record) in seen.iter().zip(records) {
            assert_eq!(stored.json(), record["view"], "{}", text("format"));
        }
        let again = Relay::first(&relay.written, records.len());
        let again: Vec<Vec<u8>> = again.into_iter().filter_map(|it| it.value).collect();
        assert_eq!(again, values, "{}: byte for byte", text("format"));
        host.sigterm().expect_code(0);
    }
}

fn unhex(text: Option<&str>) -> Vec<u8> {
    let digits = text.expect("a text").as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("it is text");
        u8::from_str_radix(pair, 16).expect("hexadecimal")
    };
    digits.map(byte).collect()
}

#[test]
fn avro_goes_round_with_its_references() {
    let relay = Relay::new("avro");
    let space = unique("avro").replace(['-', '.'], "_");
    let money = json!({ "type": "record", "name": "Money", "namespace": space, "fields": [
        { "name": "amount", "type": { "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2 } },
        { "name": "unit", "type": { "type": "enum", "name": "Unit", "symbols": ["EUR", "USD"] } }] });
    let order = json!({ "type": "record", "name": "Order", "namespace": space, "fields": [
        { "name": "id", "type": { "type": "string", "logicalType": "uuid" } },
        { "name": "total", "type": format!("{space}.Money") },
        { "name": "at", "type": { "type": "long", "logicalType": "timestamp-millis" } },
        { "name": "paid", "type": ["null", "string", "long"] },
        { "name": "next", "type": ["null", "Order"], "default": null }] });
    let money_subject = unique("money");
    registry().register(&money_subject, "AVRO", &money.to_string(), &[]);
    let references = [(format!("{space}.Money"), money_subject.clone(), 1)];
    let references = references
        .each_ref()
        .map(|(name, subject, version)| (name.as_str(), subject.as_str(), *version));
    let subject = format!("{}-value", relay.written.name());
    let id = registry().register(&subject, "AVRO", &order.to_string(), &references);

    let uuid = "0190b6d3-7e0a-7c3e-8f00-00000000000f";
    let one = |next: &[u8]| [&[72], uuid.as_bytes(), &[4, 0x04, 0xd2, 2, 2, 4, 10], next].concat();
    let datum = one(&[&[2][..], &one(&[0])].concat());
    relay
        .source
        .produce(&[keyed("a", framed(id, &datum)), Record::tombstone("b")]);
    let host = relay.asking("registry", "avro").start();
    let shown = |next: Value| {
        json!({ "id": uuid, "total": { "amount": "12.34", "unit": "USD" }, "at": "1970-01-01T00:00:00.001Z",
            "paid": { "long": 5 }, "next": next })
    };
    // The tombstone needs no schema, and its key does not wait for the other's.
    let by_key = |topic| {
        let mut records = Relay::first(topic, 2);
        records.sort_by_key(|record| record.key.clone());
        records
    };
    let seen = by_key(&relay.seen);
    assert_eq!(seen[0].json(), shown(shown(Value::Null)));
    assert_eq!(seen[1].value, None, "a tombstone stays one");
    let written = by_key(&relay.written);
    assert_eq!(data(written[0].value.as_deref(), id), datum);
    assert_eq!(
        written[1].value, None,
        "also where values are written by a schema"
    );
    host.sigterm().expect_code(0);
    assert_eq!(relay.dead_letters.read_all().len(), 0);
}

#[test]
fn protobuf_goes_round_with_its_imports() {
    let relay = Relay::new("protobuf");
    let package = unique("p").replace(['-', '.'], "_");
    let money = format!(
        "syntax = \"proto3\";\npackage {package};\nmessage Money {{ sint64 cents = 1; }}\n"
    );
    let order = format!(
        "syntax = \"proto3\";\npackage {package};\nimport \"{package}/money.proto\";\n\
         import \"google/protobuf/timestamp.proto\";\nmessage Refund {{ int64 of = 1; }}\n\
         message Order {{\n  message Line {{ string name = 1; Money price = 2; }}\n  int64 id = 1;\n  \
         repeated Line lines = 2;\n  google.protobuf.Timestamp at = 3;\n}}\n"
    );
    let money_subject = unique("money");
    registry().register(&money_subject, "PROTOBUF", &money, &[]);
    let import = format!("{package}/money.proto");
    let references = [(import.as_str(), money_subject.as_str(), 1)];
    let subject = unique("order");
    let id = registry().register(&subject, "PROTOBUF", &order, &references);

    // id 7; one line "x" of -5 cents; a second after 1970. It is the second message of its file.
    let message = [
        0x08, 7, 0x12, 7, 0x0a, 1, b'x', 0x12, 2, 0x08, 9, 0x1a, 2, 0x08, 1,
    ];
    let value = framed(id, &[&[2, 2], &message[..]].concat());
    relay.source.produce(&[keyed("a", value.clone())]);
    let encode = format!("{{ subject: {subject}, format: protobuf, message: {package}.Order }}");
    let host = relay.asking("protobuf", &encode).start();
    let shown = json!({ "id": "7", "lines": [{ "name": "x", "price": { "cents": "-5" } }],
        "at": "1970-01-01T00:00:01Z" });
    assert_eq!(relay.shown(1), [shown]);
    assert_eq!(Relay::first(&relay.written, 1)[0].value, Some(value));
    host.sigterm().expect_code(0);
}

#[test]
fn json_by_a_schema_goes_round_and_what_breaks_a_rule_is_told() {
    let relay = Relay::new("jsonschema");
    let name = unique("customer");
    let customer =
        json!({ "title": name, "type": "object", "properties": { "id": { "type": "integer" } } });
    let file = format!("{name}.json");
    let order = json!({ "title": unique("order"), "type": "object", "required": ["customer"],
        "properties": { "customer": { "$ref": file } } });
    registry().register(&name, "JSON", &customer.to_string(), &[]);
    let subject = format!("{}-value", relay.written.name());
    let references = [(file.as_str(), name.as_str(), 1)];
    let id = registry().register(&subject, "JSON", &order.to_string(), &references);

    let good = json!({ "customer": { "id": 7 } });
    let records = [
        good.to_string(),
        json!({ "customer": { "id": "7" } }).to_string(),
        "{".to_owned(),
    ];
    let records = records.map(|value| keyed("a", framed(id, value.as_bytes())));
    relay.source.produce(&records);
    let host = relay.asking("json-schema", "json-schema").start();
    assert_eq!(relay.shown(1), std::slice::from_ref(&good));
    let written = Relay::first(&relay.written, 1);
    assert_eq!(
        data(written[0].value.as_deref(), id),
        good.to_string().into_bytes()
    );
    let given_up = relay.given_up(2);
    for (offset, told) in [
        (1, ["schema", "payload", "/customer/id: "]),
        (2, ["decode", "data", "no JSON"]),
    ] {
        let (letter, [cause, code, message]) = &given_up[&offset];
        assert_eq!([cause, code], [told[0], told[1]], "{message}");
        assert!(
            message.contains(told[2]) && message.contains(&format!("schema {id}")),
            "{message}"
        );
        assert_eq!(
            letter.value, records[offset as usize].value,
            "byte for byte"
        );
    }
    host.sigterm().expect_code(0);
}

#[test]
fn what_cannot_be_decoded_is_a_dead_letter_byte_for_byte() {
    let relay = Relay::new("undecodable");
    let subject = format!("{}-value", relay.written.name());
    let id = registry().register(&subject, "AVRO", &own_avro("U"), &[]);
    let other = registry().register(
        &unique("o"),
        "JSON",
        &json!({ "title": unique("o"), "properties": {} }).to_string(),
        &[],
    );
    let wrong = [
        (b"{\"id\":1}".to_vec(), "magic-byte", "0x7b"),
        (Vec::new(), "magic-byte", "empty"),
        (vec![0, 0, 1], "truncated", "3 bytes"),
        (framed(id, &[]), "data", "the data end"),
        (
            framed(id, &[2, 2, 20, b'x']),
            "data",
            "at /text: the data end: 10 bytes are to come, and 1 are there",
        ),
        (framed(id, &[2, 0, 0]), "data", "1 bytes are left over"),
        (framed(id, &[2, 4]), "data", "branch 2 of a union"),
        (
            framed(id, &[&[2, 2], &[0xff; 9][..], &[1]].concat()),
            "data",
            "a length of -",
        ),
        (framed(other, b"{}"), "format", "JSON Schema"),
    ];
    let mut records: Vec<Record> = wrong
        .iter()
        .map(|(value, ..)| keyed("k", value.clone()))
        .collect();
    let record = |record: Record| record.header("trace", [0xff, 0]).null_header("trace");
    records = records.into_iter().map(record).collect();
    records.push(keyed("k", framed(id, &avro_of(5))));
    relay.source.produce(&records);
    let host = relay.asking("avro", "avro").start();
    assert_eq!(relay.shown(1), [json!({ "id": 5, "text": null })]);
    let given_up = relay.given_up(wrong.len());
    let source = relay.source.read_all();
    for (offset, (value, code, part)) in wrong.iter().enumerate() {
        let (letter, [cause, told_code, message]) = &given_up[&(offset as i64)];
        assert_eq!(
            (cause.as_str(), told_code.as_str()),
            ("decode", *code),
            "{message}"
        );
        assert!(message.contains(part), "{message}");
        assert_eq!(letter.value.as_ref(), Some(value));
        crate::harness::main_flow::assert_kept(&source[offset], letter);
        assert_eq!(letter.header("millrace.dlq.attempts"), Some("1"));
    }
    host.sigterm().expect_code(0);
}

#[test]
fn an_output_that_does_not_fit_its_schema_costs_its_own_event() {
    let relay = Relay::new("misfit");
    // It is read by one schema, and written by another that wants more.
    let id = registry().register(&unique("m"), "AVRO", &own_avro("M"), &[]);
    let name = unique("strict").replace(['-', '.'], "_");
    let strict = json!({ "type": "record", "name": name, "fields": [
        { "name": "id", "type": "int" }, { "name": "text", "type": "string" }] });
    let subject = format!("{}-value", relay.written.name());
    let strict = registry().register(&subject, "AVRO", &strict.to_string(), &[]);
    let with_text = |n: u8| framed(id, &[n * 2, 2, 2, b'x']);
    relay.source.produce(&[
        keyed("a", with_text(1)),
        keyed("b", framed(id, &avro_of(2))),
        keyed("c", with_text(3)),
    ]);
    let host = relay.asking("registry", "avro").start();
    let given_up = relay.given_up(1);
    let (letter, [cause, code, message]) = &given_up[&1];
    assert_eq!([cause, code], ["output", "output-schema"], "{message}");
    assert!(
        message.contains("at /text: a text is wanted, and null was found"),
        "{message}"
    );
    assert_eq!(letter.value, Some(framed(id, &avro_of(2))));
    let written = Relay::first(&relay.written, 2);
    let written: Vec<Vec<u8>> = written
        .iter()
        .map(|it| data(it.value.as_deref(), strict))
        .collect();
    assert_eq!(written, [[2, 2, b'x'], [6, 2, b'x']]);
    assert_eq!(
        relay.shown(2).len(),
        2,
        "what the failed event wrote elsewhere is not written either"
    );
    host.sigterm().expect_code(0);
}

#[test]
fn a_schema_is_registered_only_where_the_configuration_says_so() {
    let relay = Relay::new("registers");
    let id = registry().register(&unique("r"), "AVRO", &own_avro("R"), &[]);
    relay.source.produce(&[keyed("a", framed(id, &avro_of(1)))]);
    let subject = format!("{}-value", relay.written.name());
    let schema = own_avro("Written");
    let setup = relay.asking("registry", "{ register: written.avsc, format: avro }");
    std::fs::write(setup.folder().join("written.avsc"), &schema).expect("it can be written");
    assert_eq!(registry().latest(&subject), None);
    let host = setup.start();
    let written = Relay::first(&relay.written, 1);
    let told = registry().latest(&subject).expect("it is registered");
    assert_eq!(told["schema"].as_str(), Some(schema.as_str()));
    let registered = told["id"].as_u64().expect("a number") as u32;
    assert_eq!(data(written[0].value.as_deref(), registered), avro_of(1));
    host.sigterm().expect_code(0);
}
