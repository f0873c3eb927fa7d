//! Data of every type, and data that lie, through a codec.

use serde_json::{Value, json};

use super::*;

const VIEW_BYTES_MAX: usize = 1 << 20;

fn codec(schema: Value) -> AvroCodec {
    AvroCodec::new(&schema.to_string(), []).unwrap()
}

fn record(fields: Value) -> Value {
    json!({ "type": "record", "name": "R", "namespace": "test", "fields": fields })
}

fn decode(codec: &AvroCodec, datum: &[u8]) -> Result<String, Unfit> {
    let mut view = Vec::new();
    codec.decode(datum, VIEW_BYTES_MAX, &mut view)?;
    Ok(String::from_utf8(view).unwrap())
}

fn encode(codec: &AvroCodec, value: &Value) -> Result<Vec<u8>, Unfit> {
    let mut datum = Vec::new();
    codec.encode(value, &mut datum)?;
    Ok(datum)
}

fn fixed(name: &str, size: u32) -> Value {
    json!({ "type": "fixed", "name": name, "size": size })
}

fn logical(name: &str, of: Value) -> Value {
    match of {
        Value::Object(mut of) => {
            of.insert("logicalType".to_owned(), name.into());
            Value::Object(of)
        }
        of => json!({ "type": of, "logicalType": name }),
    }
}

fn decimal(of: Value) -> Value {
    match logical("decimal", of) {
        Value::Object(mut of) => {
            of.insert("precision".to_owned(), 20.into());
            of.insert("scale".to_owned(), 2.into());
            Value::Object(of)
        }
        other => other,
    }
}

/// Every type, and a value of each in its view.
fn types() -> Vec<(Value, Value)> {
    vec![
        (json!("null"), json!(null)),
        (json!("boolean"), json!(true)),
        (json!("int"), json!(i32::MIN)),
        (json!("long"), json!(i64::MAX)),
        (json!("float"), json!(0.5)),
        (json!("double"), json!(-1.0e300)),
        (json!("double"), json!("NaN")),
        (json!("float"), json!("-Infinity")),
        (json!("bytes"), json!("AP/+")),
        (json!("string"), json!("a \"quoted\" \u{1} ü 🦀")),
        (fixed("F", 3), json!("AQID")),
        (
            json!({ "type": "array", "items": "long" }),
            json!([1, -1, 64]),
        ),
        (
            json!({ "type": "array", "items": "null" }),
            json!([null, null]),
        ),
        (
            json!({ "type": "map", "values": "int" }),
            json!({ "a": 1, "b \n": 2 }),
        ),
        (
            json!({ "type": "enum", "name": "E", "symbols": ["A", "B"] }),
            json!("B"),
        ),
        (json!(["null", "string"]), json!("text")),
        (json!(["string", "null"]), json!(null)),
        (json!(["null", "string", "long"]), json!({ "long": 5 })),
        (json!(["int", fixed("G", 1)]), json!({ "test.G": "/w==" })),
    ]
}

/// Every meaning that a type may have besides itself, and a value of each in its view.
fn meanings() -> Vec<(Value, Value)> {
    vec![
        (decimal(json!("bytes")), json!("-12.34")),
        (decimal(fixed("D", 9)), json!("100000000.00")),
        (
            logical("uuid", json!("string")),
            json!("0190b6d3-7e0a-7c3e-8f00-00000000000f"),
        ),
        (
            logical("uuid", fixed("U", 16)),
            json!("0190b6d3-7e0a-7c3e-8f00-00000000000f"),
        ),
        (logical("date", json!("int")), json!("2026-11-29")),
        (logical("time-millis", json!("int")), json!("23:59:59.999")),
        (
            logical("time-micros", json!("long")),
            json!("00:00:00.000001"),
        ),
        (
            logical("timestamp-millis", json!("long")),
            json!("2026-11-29T12:30:00.001Z"),
        ),
        (
            logical("timestamp-micros", json!("long")),
            json!("1815-12-10T00:00:00.000001Z"),
        ),
        (
            logical("local-timestamp-millis", json!("long")),
            json!("2026-11-29T12:30:00.001"),
        ),
        (
            logical("local-timestamp-micros", json!("long")),
            json!("2026-11-29T12:30:00.000001"),
        ),
        (
            logical("duration", fixed("P", 12)),
            json!({ "months": 1, "days": 2, "millis": 3 }),
        ),
        (logical("unheard-of", json!("int")), json!(7)),
    ]
}

#[test]
fn every_type_goes_round_through_its_view() {
    for (schema, value) in types().into_iter().chain(meanings()) {
        let wrapped = codec(record(json!([{ "name": "v", "type": schema }])));
        let value = json!({ "v": value });
        let datum = encode(&wrapped, &value).unwrap_or_else(|error| panic!("{schema}: {error}"));
        let view = decode(&wrapped, &datum).unwrap_or_else(|error| panic!("{schema}: {error}"));
        let view: Value =
            serde_json::from_str(&view).unwrap_or_else(|error| panic!("{view}: {error}"));
        assert_eq!(view, value, "{schema}");
        for len in 0..datum.len() {
            let error = decode(&wrapped, &datum[..len]).expect_err("what is cut off is missed");
            assert!(
                error.to_string().contains("the data end"),
                "{schema}: {error}"
            );
        }
        let longer = [&datum[..], &[0]].concat();
        assert!(
            decode(&wrapped, &longer).is_err(),
            "{schema}: what is left over is noticed"
        );
    }
}

#[test]
fn the_binary_form_is_that_of_the_official_library() {
    use apache_avro::types::Value as Datum;
    let text = record(json!([
        { "name": "id", "type": "long" },
        { "name": "tags", "type": { "type": "map", "values": ["null", "string"] } },
        { "name": "lines", "type": { "type": "array", "items":
            { "type": "record", "name": "Line", "fields": [{ "name": "price", "type": "double" }] } } },
        { "name": "next", "type": ["null", "R"] },
    ]));
    let schema = Schema::parse_str(&text.to_string()).unwrap();
    let inner = |next| {
        Datum::Record(vec![
            ("id".to_owned(), Datum::Long(-7)),
            (
                "tags".to_owned(),
                Datum::Map(
                    [(
                        "k".to_owned(),
                        Datum::Union(1, Box::new(Datum::String("v".to_owned()))),
                    )]
                    .into(),
                ),
            ),
            (
                "lines".to_owned(),
                Datum::Array(vec![Datum::Record(vec![(
                    "price".to_owned(),
                    Datum::Double(2.5),
                )])]),
            ),
            ("next".to_owned(), next),
        ])
    };
    let datum = inner(Datum::Union(
        1,
        Box::new(inner(Datum::Union(0, Box::new(Datum::Null)))),
    ));
    let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&schema)
        .build()
        .unwrap();
    let bytes = writer.write_value_to_vec(datum).unwrap();
    let own = codec(text);
    let part = |next: &str| {
        format!(r#"{{"id":-7,"tags":{{"k":"v"}},"lines":[{{"price":2.5}}],"next":{next}}}"#)
    };
    let view = decode(&own, &bytes).unwrap();
    assert_eq!(view, part(&part("null")));
    let again = encode(&own, &serde_json::from_str(&view).unwrap()).unwrap();
    assert_eq!(again, bytes);
}

#[test]
fn blocks_of_any_kind_are_read() {
    let list = codec(json!({ "type": "array", "items": "int" }));
    // Two items with their length in bytes before them, one without, and the end.
    assert_eq!(decode(&list, &[3, 4, 2, 4, 2, 6, 0]).unwrap(), "[1,2,3]");
    assert_eq!(decode(&list, &[0]).unwrap(), "[]");
}

#[test]
fn lengths_and_counts_that_lie_take_no_memory_and_no_time() {
    let huge = {
        let mut bytes = vec![0xfe; 9];
        bytes.push(0x01);
        bytes
    };
    for schema in [
        json!("string"),
        json!("bytes"),
        json!({ "type": "array", "items": "int" }),
        json!({ "type": "map", "values": "int" }),
        json!({ "type": "array", "items": "null" }),
        json!({ "type": "array", "items": record(json!([])) }),
        json!({ "type": "fixed", "name": "F", "size": 1_u64 << 40 }),
    ] {
        let codec = codec(schema.clone());
        let mut view = Vec::new();
        let error = codec.decode(&huge, VIEW_BYTES_MAX, &mut view).unwrap_err();
        assert!(view.capacity() < 4 * VIEW_BYTES_MAX, "{schema}: {error}");
    }
}

#[test]
fn what_is_too_deep_is_refused_in_both_directions() {
    let list = codec(record(json!([{ "name": "next", "type": ["null", "R"] }])));
    let deep = |depth: usize| [vec![2; depth - 1], vec![0]].concat();
    let view = decode(&list, &deep(DEPTH_MAX)).unwrap();
    let value: Value = serde_json::from_str(&view).unwrap();
    assert_eq!(encode(&list, &value).unwrap(), deep(DEPTH_MAX));
    assert!(decode(&list, &deep(DEPTH_MAX + 1)).is_err());
    assert!(decode(&list, &deep(1 << 20)).is_err());
    let deeper = json!({ "next": value });
    assert!(encode(&list, &deeper).is_err());
    // It contains itself with nothing in between, so no data could ever end.
    let endless = codec(record(json!([{ "name": "self", "type": "R" }])));
    assert!(decode(&endless, &[]).is_err());
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    let order = codec(record(json!([
        { "name": "id", "type": "int" },
        { "name": "lines", "type": { "type": "array", "items": { "type": "map", "values": "long" } } },
        { "name": "kind", "type": { "type": "enum", "name": "K", "symbols": ["A", "B"] }, "default": "A" },
    ])));
    let refused = |value: Value| encode(&order, &value).unwrap_err().to_string();
    for (value, told) in [
        (
            json!({ "id": 1, "lines": [{}, { "a/b": "x" }] }),
            "at /lines/1/a~1b: ",
        ),
        (
            json!({ "id": 3_000_000_000_u32, "lines": [] }),
            "at /id: 3000000000 is too large",
        ),
        (json!({ "id": 1.5, "lines": [] }), "at /id: a whole number"),
        (json!({ "lines": [] }), "at /id: it is missing"),
        (
            json!({ "id": 1, "lines": [], "line": [] }),
            "at /line: test.R has no field",
        ),
        (
            json!({ "id": 1, "lines": [], "kind": "C" }),
            "at /kind: \"C\" is none of A, B",
        ),
        (json!([1]), "an object for test.R is wanted"),
    ] {
        let message = refused(value);
        assert!(message.starts_with(told), "{message}");
    }
    assert_eq!(
        encode(&order, &json!({ "id": 1.0, "lines": [] })).unwrap(),
        [2, 0, 0]
    );
}

#[test]
fn a_missing_field_takes_its_default_and_a_missing_nullable_one_is_null() {
    let fields = json!([
        { "name": "a", "type": "long", "default": 3 },
        { "name": "b", "type": ["string", "null"], "default": "x" },
        { "name": "c", "type": "bytes", "default": "\u{ff}" },
        { "name": "d", "type": ["null", "int"] },
        { "name": "e", "type": { "type": "array", "items": "int" }, "default": [1] },
        { "name": "f", "type": { "type": "int", "logicalType": "date" }, "default": 1 },
    ]);
    let codec = codec(record(fields));
    let datum = encode(&codec, &json!({})).unwrap();
    let view = decode(&codec, &datum).unwrap();
    assert_eq!(
        view,
        r#"{"a":3,"b":"x","c":"/w==","d":null,"e":[1],"f":"1970-01-02"}"#
    );
}

#[test]
fn names_of_other_schemas_are_found_in_any_order() {
    let order = record(json!([
        { "name": "price", "type": "shop.Money" },
        { "name": "again", "type": "shop.Money" },
        { "name": "unit", "type": "shop.Unit" },
    ]));
    let money = json!({ "type": "record", "name": "Money", "namespace": "shop", "fields": [
        { "name": "unit", "type": "Unit" }, { "name": "cents", "type": "long" }] });
    let unit = json!({ "type": "enum", "name": "shop.Unit", "symbols": ["EUR"] });
    let (order, money, unit) = (order.to_string(), money.to_string(), unit.to_string());
    let value = json!({
        "price": { "unit": "EUR", "cents": 1 }, "again": { "unit": "EUR", "cents": 2 }, "unit": "EUR"
    });
    for references in [[&money, &unit], [&unit, &money]] {
        let codec = AvroCodec::new(&order, references.map(String::as_str)).unwrap();
        let datum = encode(&codec, &value).unwrap();
        assert_eq!(datum, [0, 2, 0, 4, 0]);
        assert_eq!(
            serde_json::from_str::<Value>(&decode(&codec, &datum).unwrap()).unwrap(),
            value
        );
    }
    let error = AvroCodec::new(&order, [unit.as_str()]).unwrap_err();
    assert!(error.contains("shop.Money"), "{error}");
}

#[test]
fn a_value_without_a_name_belongs_to_the_first_branch_that_it_fits() {
    let either = codec(json!(["null", "string", "long", { "type": "map", "values": "int" }]));
    assert_eq!(encode(&either, &json!("x")).unwrap(), [2, 2, b'x']);
    assert_eq!(encode(&either, &json!(1)).unwrap(), [4, 2]);
    assert_eq!(encode(&either, &json!({ "a": 1, "b": 1 })).unwrap()[0], 6);
    assert_eq!(
        encode(&either, &json!({ "long": 1 })).unwrap(),
        [4, 2],
        "a name comes first"
    );
    let error = encode(&either, &json!(true)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "one of null, string, long, map is wanted, and true was found"
    );
    // Two ways at each level, and none fits at the end.
    let branch = |name: &str| json!({ "type": "record", "name": name, "fields": [{ "name": "n", "type": "T" }] });
    let tree = json!({ "type": "record", "name": "T", "fields": [
        { "name": "t", "type": ["null", branch("A"), branch("B")] }] });
    let mut value = json!({ "t": "no" });
    for _ in 0..30 {
        value = json!({ "t": { "n": value } });
    }
    assert!(
        encode(&codec(tree), &value)
            .unwrap_err()
            .to_string()
            .contains("too many ways")
    );
}
