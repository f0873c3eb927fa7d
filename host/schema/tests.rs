//! Rules as operators write them: files in a folder, and events that keep or break them.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::config::{EventTypes, TypeSchemas, TypeSource, Validation};
use crate::delivery::dead_letter::Cause;

/// A folder with these files.
fn folder(files: &[(&str, Value)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, schema) in files {
        write(folder.path(), name, &schema.to_string());
    }
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Rules with an envelope, types at `/type`, and the payload at `/data`.
fn staged(folder: &Path) -> Validation {
    Validation {
        folder: folder.to_owned(),
        envelope: Some("envelope.json".to_owned()),
        types: Some(EventTypes {
            source: TypeSource::Json("/type".to_owned()),
            schemas: TypeSchemas::Folder("types".to_owned()),
            payload: "/data".to_owned(),
            accept_unknown: false,
        }),
        formats: false,
    }
}

fn orders() -> TempDir {
    folder(&[
        (
            "envelope.json",
            json!({
                "type": "object",
                "required": ["id", "type", "data"],
                "properties": { "id": { "type": "string", "minLength": 1 }, "type": { "type": "string" } }
            }),
        ),
        (
            "types/order.created.json",
            json!({
                "type": "object",
                "required": ["total"],
                "properties": {
                    "total": { "$ref": "../common/money.json" },
                    "lines": { "type": "array", "items": { "$ref": "#/$defs/line" } }
                },
                "$defs": { "line": { "type": "object", "required": ["sku"], "properties": { "sku": { "type": "string" } } } }
            }),
        ),
        (
            "types/order.paid.json",
            json!({ "$ref": "https://example.com/paid" }),
        ),
        (
            "common/money.json",
            json!({ "type": "object", "properties": { "cents": { "type": "integer", "minimum": 0 } } }),
        ),
        (
            "common/paid.json",
            json!({ "$id": "https://example.com/paid", "properties": { "by": { "enum": ["card", "cash"] } } }),
        ),
    ])
}

fn rules(validation: &Validation) -> Rules {
    Rules::load("orders", validation).unwrap()
}

fn check(rules: &Rules, value: &str) -> Result<(), Flaw> {
    check_with(rules, Some(value.as_bytes()), &[])
}

fn check_with(
    rules: &Rules,
    value: Option<&[u8]>,
    headers: &[(&str, Option<&[u8]>)],
) -> Result<(), Flaw> {
    let event = Event {
        topic: "orders",
        key: None,
        value,
        headers: &HeaderList(headers),
    };
    rules.serving().check(&event, None)
}

#[test]
fn each_stage_says_what_is_wrong_with_its_pointer_and_its_file() {
    let folder = orders();
    let rules = rules(&staged(folder.path()));
    let event =
        |data: Value| json!({ "id": "1", "type": "order.created", "data": data }).to_string();
    assert_eq!(
        check(&rules, &event(json!({ "total": { "cents": 5 } }))),
        Ok(())
    );
    let refused = |value: &str, code: &str, message: &str| {
        let flaw = check(&rules, value).unwrap_err();
        assert_eq!(
            (flaw.cause, flaw.code),
            (Cause::Schema, code),
            "{value}: {flaw}"
        );
        assert_eq!(flaw.message, message, "{value}");
    };
    refused(
        "{\"id\": ",
        "not-json",
        "the value is no JSON: EOF while parsing a value at line 1 column 7",
    );
    refused(
        "",
        "not-json",
        "the value is no JSON: EOF while parsing a value at line 1 column 0",
    );
    refused(
        r#"{"id":1,"type":"order.created"}"#,
        "envelope",
        "the whole value: \"data\" is a required property (envelope.json#/required); /id: value is not of type \
         \"string\" (envelope.json#/properties/id/type)",
    );
    refused(
        &event(json!({ "total": { "cents": -1 } })),
        "payload",
        "/data/total/cents: value is less than the minimum of 0 (common/money.json#/properties/cents/minimum)",
    );
    refused(
        &event(json!({ "total": {}, "lines": [{ "sku": "a" }, {}] })),
        "payload",
        "/data/lines/1: \"sku\" is a required property (types/order.created.json#/$defs/line/required)",
    );
    refused(
        r#"{"id":"1","type":"order.paid","data":{"by":"cheque"}}"#,
        "payload",
        "/data/by: value is not one of \"card\" or \"cash\" (https://example.com/paid#/properties/by/enum)",
    );
}

#[test]
fn an_unknown_type_is_a_cause_of_its_own_unless_it_may_pass() {
    let folder = orders();
    let mut validation = staged(folder.path());
    let value = r#"{"id":"1","type":"order.lost","data":{}}"#;
    let flaw = check(&rules(&validation), value).unwrap_err();
    assert_eq!(
        (flaw.cause, flaw.code),
        (Cause::UnknownType, "unknown-type")
    );
    assert_eq!(
        flaw.message,
        "/type: there is no schema of the event type `order.lost`; there is one of order.created, order.paid"
    );
    let path = r#"{"id":"1","type":"../envelope","data":{}}"#;
    let flaw = check(&rules(&validation), path).unwrap_err();
    assert_eq!(
        flaw.cause,
        Cause::UnknownType,
        "a type is a name and no path"
    );
    validation.types.as_mut().unwrap().accept_unknown = true;
    assert_eq!(check(&rules(&validation), value), Ok(()));
}

#[test]
fn the_type_stands_in_the_value_in_a_header_or_in_a_cloud_event() {
    let folder = orders();
    let mut validation = staged(folder.path());
    validation.envelope = None;
    let types = validation.types.as_mut().unwrap();
    types.payload = String::new();
    types.source = TypeSource::Header("event-type".to_owned());
    let in_header = rules(&validation);
    let value = Some(&br#"{"total":{"cents":-1}}"#[..]);
    let code = |rules: &Rules, headers: &[(&str, Option<&[u8]>)]| {
        let checked = check_with(rules, value, headers);
        checked.err().map(|flaw| (flaw.code, flaw.message))
    };
    let (code_is, message) = code(&in_header, &[("event-type", Some(b"order.created"))]).unwrap();
    assert_eq!(code_is, "payload");
    assert!(message.starts_with("/total/cents: "), "{message}");
    assert_eq!(
        code(&in_header, &[("event-type", None)]),
        Some((
            "no-type",
            "header event-type: the event says no type, or not as text".to_owned()
        ))
    );
    validation.types.as_mut().unwrap().source = TypeSource::CloudEvents;
    let cloud = rules(&validation);
    let (code_is, _) = code(&cloud, &[("ce_type", Some(b"order.created"))]).unwrap();
    assert_eq!(code_is, "payload");
    let of_view = View {
        value: Some(b"{\"total\":{}}".to_vec()),
        headers: vec![(b"ce_type".to_vec(), Some(b"order.created".to_vec()))],
    };
    let event = Event {
        topic: "orders",
        key: None,
        value,
        headers: &HeaderList(&[("ce_type", Some(b"nothing"))]),
    };
    assert_eq!(cloud.serving().check(&event, Some(&of_view)), Ok(()));
}

#[test]
fn a_tombstone_passes_and_an_empty_value_does_not() {
    let folder = orders();
    let rules = rules(&staged(folder.path()));
    assert_eq!(check_with(&rules, None, &[]), Ok(()));
    assert_eq!(
        check_with(&rules, Some(b""), &[]).unwrap_err().code,
        "not-json"
    );
}

#[test]
fn what_an_event_is_told_has_an_end() {
    let folder = orders();
    let rules = rules(&staged(folder.path()));
    let long = "x".repeat(100_000);
    let lines: Vec<Value> = (0..1_000)
        .map(|_| json!({ "name": long.get(..50) }))
        .collect();
    for value in [
        json!({ "id": "1", "type": long, "data": {} }),
        json!({ "id": [long], "type": [long] }),
        json!({ "id": "1", "type": "order.created", "data": { "total": {}, "lines": lines } }),
    ] {
        let flaw = check(&rules, &value.to_string()).unwrap_err();
        assert!(flaw.message.len() <= 1_024, "{} bytes", flaw.message.len());
    }
    let deep = "[".repeat(100_000);
    assert_eq!(check(&rules, &deep).unwrap_err().code, "not-json");
}

#[test]
fn a_folder_that_cannot_serve_is_refused_with_every_file_that_is_wrong() {
    let refused = |change: &dyn Fn(&Path, &mut Validation)| {
        let folder = orders();
        let mut validation = staged(folder.path());
        change(folder.path(), &mut validation);
        Rules::load("orders", &validation).unwrap_err().problems
    };
    let problems = refused(&|folder, _| {
        write(folder, "types/a.json", "{\"type\": 1}");
        write(folder, "types/b.json", "{");
        write(
            folder,
            "types/c.json",
            "{\"$ref\": \"https://elsewhere.example/c.json\"}",
        );
        write(
            folder,
            "types/d.json",
            "{\"$ref\": \"../../../etc/passwd\"}",
        );
        write(folder, "types/e.json", "{\"pattern\": \"(?<=a)b\"}");
    });
    assert_eq!(problems.len(), 5, "{problems:#?}");
    for (file, told) in [
        ("types/a.json", "/type"),
        ("types/b.json", "is no JSON: EOF while parsing"),
        ("types/c.json", "nothing is fetched from elsewhere"),
        ("types/d.json", "it is no file in the folder"),
        ("types/e.json", "may not look around"),
    ] {
        let of_file = problems.iter().find(|problem| problem.starts_with(file));
        let of_file = of_file.unwrap_or_else(|| panic!("{file}: {problems:#?}"));
        assert!(of_file.contains(told), "{of_file}");
    }
    let problems = refused(&|_, validation| validation.envelope = Some("lost.json".to_owned()));
    assert_eq!(
        problems,
        ["lost.json is not in the folder, and `envelope` names it"]
    );
    let problems = refused(&|_, validation| {
        validation.types.as_mut().unwrap().schemas = TypeSchemas::Folder("nowhere".to_owned());
    });
    assert!(
        problems[0].contains("there is no `TYPE.json` in "),
        "{problems:?}"
    );
    let problems = refused(&|_, validation| validation.folder = "/nowhere/at/all".into());
    assert!(
        problems[0].starts_with("/nowhere/at/all cannot be read"),
        "{problems:?}"
    );
    let problems = refused(&|folder, _| {
        write(folder, "z.json", r#"{"$id":"https://example.com/paid"}"#);
    });
    assert_eq!(
        problems,
        ["z.json has the `$id` https://example.com/paid, which common/paid.json has too"]
    );
    let problems = refused(&|folder, _| {
        std::os::unix::fs::symlink(".", folder.join("again")).unwrap();
    });
    assert!(
        problems[0].contains("is it a link back up?"),
        "{problems:?}"
    );
    let problems = refused(&|folder, _| write(folder, "big.json", &" ".repeat(1 << 21)));
    assert!(
        problems[0].contains("a schema has 1MiB at most"),
        "{problems:?}"
    );
}

#[test]
fn types_may_be_a_map_and_formats_a_rule() {
    let folder = folder(&[(
        "s.json",
        json!({ "properties": { "at": { "format": "date-time" } } }),
    )]);
    let mut validation = staged(folder.path());
    validation.envelope = None;
    let types = validation.types.as_mut().unwrap();
    types.schemas = TypeSchemas::Files([("a/b c".to_owned(), "s.json".to_owned())].into());
    types.payload = String::new();
    let value = r#"{"type":"a/b c","at":"yesterday"}"#;
    assert_eq!(check(&rules(&validation), value), Ok(()));
    validation.formats = true;
    assert_eq!(
        check(&rules(&validation), value).unwrap_err().code,
        "payload"
    );
}

#[test]
fn changed_files_serve_and_broken_ones_do_not() {
    let folder = orders();
    let rules = Arc::new(rules(&staged(folder.path())));
    let mut checker = Checker::new(Arc::clone(&rules), Place::Group);
    let code = |checker: &Checker, value: &str| {
        let headers = HeaderList(&[]);
        let value = Some(value.as_bytes());
        let event = Event {
            topic: "orders",
            key: None,
            value,
            headers: &headers,
        };
        let flaw = checker.check(&event, None).err()?;
        checker.count(&flaw);
        Some(flaw.code)
    };
    let paid = r#"{"id":"1","type":"order.paid","data":{"by":"cheque"}}"#;
    assert_eq!(code(&checker, paid), Some("payload"));
    assert_eq!(rules.reload(), Ok(Reloaded::Unchanged));
    write(
        folder.path(),
        "common/paid.json",
        r#"{"$id":"https://example.com/paid","type":"object"}"#,
    );
    assert_eq!(rules.reload(), Ok(Reloaded::Taken));
    assert_eq!(
        code(&checker, paid),
        Some("payload"),
        "until it is taken up"
    );
    checker.take_up();
    assert_eq!(code(&checker, paid), None);
    write(folder.path(), "common/paid.json", r#"{"type": "#);
    assert!(rules.reload().is_err());
    checker.take_up();
    assert_eq!(code(&checker, paid), None, "the set before serves on");
    assert_eq!(rules.reloads(), (1, 1));
    let refused: Vec<_> = rules
        .refused(Place::Group)
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(refused, [(Stage::Payload, 2)]);
}

/// Shows the value in capitals, as long as it is ready.
#[derive(Debug)]
struct Capitals {
    ready: bool,
}

impl Decoder for Capitals {
    fn decode(&self, event: &Event<'_>) -> Decoded {
        match event.value {
            _ if !self.ready => Decoded::NotNow { after_ms: 70 },
            None => Decoded::AsIs,
            Some(b"huge") => Decoded::View(View {
                value: Some(vec![b' '; 17 << 20]),
                headers: Vec::new(),
            }),
            Some(value) => Decoded::View(View {
                value: Some(value.to_ascii_uppercase()),
                headers: Vec::new(),
            }),
        }
    }
}

#[test]
fn what_was_decoded_is_what_is_checked() {
    let folder = folder(&[("s.json", json!({ "const": "A" }))]);
    let validation = Validation {
        folder: folder.path().to_owned(),
        envelope: Some("s.json".to_owned()),
        types: None,
        formats: false,
    };
    let rules = Arc::new(rules(&validation));
    let prepare = |ready, value: Option<&[u8]>| {
        let checker = Checker::new(Arc::clone(&rules), Place::Group);
        let preparation = Preparation::new(Some(Arc::new(Capitals { ready })), Some(checker));
        let headers = HeaderList(&[]);
        let event = Event {
            topic: "t",
            key: None,
            value,
            headers: &headers,
        };
        preparation.unwrap().prepare(&event)
    };
    let Prepared::Ready(Some(view)) = prepare(true, Some(b"\"a\"")) else {
        panic!("it keeps the rule in capitals");
    };
    assert_eq!(view.value.as_deref(), Some(&b"\"A\""[..]));
    assert!(matches!(prepare(true, None), Prepared::Ready(None)));
    let flaw = |value| match prepare(true, Some(value)) {
        Prepared::Flawed(flaw) => (flaw.cause, flaw.code),
        other => panic!("{other:?}"),
    };
    assert_eq!(flaw(b"\"b\""), (Cause::Schema, "envelope"));
    assert_eq!(flaw(b"huge"), (Cause::Decode, "too-large"));
    assert!(matches!(
        prepare(false, Some(b"\"b\"")),
        Prepared::NotNow { after_ms: 70 }
    ));
    assert!(
        Preparation::new(None, None).is_none(),
        "a route that asks for nothing has none"
    );
}

/// Whatever the bytes are, there is an answer, and it is the same one that the schemas give one by one.
#[test]
fn any_bytes_are_judged_by_the_first_stage_that_refuses_them() {
    let folder = orders();
    let rules = rules(&staged(folder.path()));
    let base =
        r#"{"id":"1","type":"order.created","data":{"total":{"cents":12},"lines":[{"sku":"a"}]}}"#;
    let mut random = fastrand::Rng::with_seed(7);
    let mut met = std::collections::BTreeMap::new();
    for _ in 0..20_000 {
        let mut bytes = base.as_bytes().to_vec();
        for _ in 0..random.usize(0..3) {
            let at = random.usize(0..bytes.len());
            bytes[at] = *random.choice(b"{}[]\",:x1-d \xff").unwrap();
        }
        let judged = check_with(&rules, Some(&bytes), &[])
            .err()
            .map(|flaw| flaw.code);
        *met.entry(judged).or_insert(0) += 1;
        let Ok(value) = serde_json::from_slice::<Value>(&bytes) else {
            assert_eq!(judged, Some("not-json"));
            continue;
        };
        let enveloped = value["id"].as_str().is_some_and(|id| !id.is_empty())
            && value["type"].is_string()
            && value.get("data").is_some();
        assert_eq!(judged == Some("envelope"), !enveloped, "{value}");
    }
    for code in [
        None,
        Some("not-json"),
        Some("envelope"),
        Some("unknown-type"),
        Some("payload"),
    ] {
        assert!(met.contains_key(&code), "{code:?} never came: {met:?}");
    }
}
