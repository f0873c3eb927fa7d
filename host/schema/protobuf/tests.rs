//! Messages of every kind, and messages that lie, through a codec.

use serde_json::{Value, json};

use super::*;

const VIEW_BYTES_MAX: usize = 1 << 20;

const SHOP: &str = r#"
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/any.proto";
import "common/money.proto";
message Order {
  enum Kind { NONE = 0; LARGE = 1; }
  message Line { string name = 1; common.Money price = 2; message Note { string text = 1; } }
  int64 id = 1;
  map<string, Line> by_name = 2;
  repeated Line lines = 3;
  google.protobuf.Timestamp made_at = 4;
  google.protobuf.Struct more = 5;
  Kind kind = 6;
  bytes seal = 7;
  optional string note = 8;
  oneof paid { string card = 9; bool cash = 10; }
  repeated int32 numbers = 11;
  google.protobuf.Any any = 12;
  Order next = 13;
}
message Refund { int64 order_id = 1; }
"#;
const MONEY: &str = r#"syntax = "proto3"; package common; message Money { sint64 cents = 1; }"#;

fn shop() -> ProtobufCodec {
    ProtobufCodec::new(SHOP, [("common/money.proto", MONEY)]).unwrap()
}

fn decode(codec: &ProtobufCodec, data: &[u8]) -> Result<Value, Unfit> {
    let mut view = Vec::new();
    codec.decode(data, VIEW_BYTES_MAX, &mut view)?;
    Ok(serde_json::from_slice(&view).unwrap())
}

fn encode(codec: &ProtobufCodec, name: Option<&str>, value: &Value) -> Result<Vec<u8>, Unfit> {
    let mut data = Vec::new();
    let message = codec.message(name).unwrap();
    message.encode(value.to_string().as_bytes(), &mut data)?;
    Ok(data)
}

#[test]
fn a_message_goes_round_through_its_canonical_json() {
    let shop = shop();
    let order = json!({
        "id": "9007199254740993", "byName": { "x": { "name": "x", "price": { "cents": "-5" } } },
        "lines": [{ "name": "y" }, {}], "madeAt": "2026-11-29T12:30:00.001Z",
        "more": { "a": [1.0, null, { "b": true }] }, "kind": "LARGE", "seal": "AP8=", "note": "",
        "cash": false, "numbers": [1, -1],
        "any": { "@type": "type.googleapis.com/shop.Refund", "orderId": "7" },
        "next": { "id": "1" },
    });
    let data = encode(&shop, None, &order).unwrap();
    assert_eq!(data[0], 0, "the first message of the file");
    assert_eq!(decode(&shop, &data).unwrap(), order);
    for len in 0..data.len() {
        // What is cut off between two fields is a shorter message: the format cannot tell.
        let _told = decode(&shop, &data[..len]);
    }
    assert!(decode(&shop, &data[..data.len() - 1]).is_err());
}

#[test]
fn any_message_of_the_file_is_named_by_its_path() {
    let shop = shop();
    for (name, path) in [
        ("shop.Order", &[0][..]),
        ("shop.Refund", &[2, 2]),
        ("shop.Order.Line", &[4, 0, 0]),
        ("shop.Order.Line.Note", &[6, 0, 0, 0]),
    ] {
        let data = encode(&shop, Some(name), &json!({})).unwrap();
        assert_eq!(data, path, "{name}");
        assert_eq!(decode(&shop, &data).unwrap(), json!({}));
    }
    assert!(
        shop.message(Some("common.Money")).is_err(),
        "of another file"
    );
    assert!(shop.message(Some("shop.Nothing")).is_err());
    assert!(decode(&shop, &[2, 4]).is_err(), "there is no third message");
    assert!(decode(&shop, &[]).is_err());
}

#[test]
fn what_does_not_fit_is_refused() {
    let shop = shop();
    for wrong in [
        json!({ "idd": 1 }),
        json!({ "id": "x" }),
        json!({ "kind": "HUGE" }),
        json!({ "lines": {} }),
        json!([]),
    ] {
        assert!(encode(&shop, None, &wrong).is_err(), "{wrong}");
    }
    assert!(
        ProtobufCodec::new(SHOP, [])
            .unwrap_err()
            .contains("common/money.proto")
    );
    assert!(ProtobufCodec::new("message", []).is_err());
}

#[test]
fn messages_that_would_take_much_more_memory_than_bytes_are_refused_before_they_do() {
    let shop = shop();
    // Empty lines of two bytes each, numbers of one, and fields that nobody knows.
    let mut lines = vec![0];
    lines.extend([0x1a, 0x00].repeat(1_200_000));
    let mut numbers = vec![0, 0x5a, 0x80, 0x80, 0x40];
    numbers.extend(std::iter::repeat_n(1, 1 << 20));
    let mut unknown = vec![0];
    unknown.extend([0x80, 0x7d, 0x00].repeat(3 << 20));
    for data in [lines, numbers, unknown] {
        let error = decode(&shop, &data).unwrap_err();
        assert!(error.to_string().contains("of memory"), "{error}");
    }
}

#[test]
fn messages_inside_of_each_other_are_refused_below_a_hundred() {
    let shop = shop();
    let inside = |field: u8, inner: Vec<u8>| {
        let mut outer = vec![field << 3 | 2];
        prost::encoding::encode_varint(inner.len() as u64, &mut outer);
        outer.extend(inner);
        outer
    };
    let mut orders = Vec::new();
    for _ in 0..5_000 {
        orders = inside(13, orders);
    }
    // One of any type holds the next one, so each is decoded when its JSON is made.
    let mut anys = Vec::new();
    for _ in 0..5_000 {
        let url = inside(1, b"type.googleapis.com/google.protobuf.Any".to_vec());
        anys = [url, inside(2, anys)].concat();
    }
    let groups = [0xb3, 0x06].repeat(5_000);
    // Seventy of them in lists of each other are 140 levels of JSON.
    let nested = r#"syntax = "proto3"; message Node { repeated Node nodes = 1; string text = 2; }"#;
    let nested = ProtobufCodec::new(nested, []).unwrap();
    let nodes = |depth: usize| {
        let text = inside(2, br#"[{[{\"[{"#.repeat(50));
        (1..depth).fold(text, |inner, _| inside(1, inner))
    };
    assert!(decode(&nested, &[&[0], &nodes(50)[..]].concat()).is_ok());
    let error = decode(&nested, &[&[0], &nodes(70)[..]].concat()).unwrap_err();
    assert!(error.to_string().contains("deep"), "{error}");
    for data in [orders, inside(12, anys), groups] {
        let error = decode(&shop, &[&[0], &data[..]].concat()).unwrap_err();
        assert!(error.to_string().contains("deep"), "{error}");
    }
}
