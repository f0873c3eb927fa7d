//! The document that the host serves describes what it answers, and nothing else is answered.

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{TIMEOUT, Trouble};
use crate::harness::host::Host;
use crate::harness::http;
use crate::harness::topic::Record;
use crate::harness::wait;

/// The document, and whether answers are as it says.
pub(super) struct Document(Value);

impl Document {
    pub(super) fn of(host: &Host) -> Self {
        let (status, text) = host.get("/v1/openapi.json").expect("it is served");
        assert_eq!(status, 200);
        Self(serde_json::from_str(&text).expect("it is JSON"))
    }

    /// The schema of an answer in JSON.
    #[track_caller]
    fn schema(&self, method: &str, path: &str, status: u16) -> Validator {
        let path = path.split('?').next().unwrap_or(path);
        let answers = &self.0["paths"][path][method]["responses"][status.to_string()];
        let schema = &answers["content"]["application/json"]["schema"];
        assert!(
            schema.is_object(),
            "{method} {path} {status} is not described"
        );
        let mut schema = schema.clone();
        schema["components"] = self.0["components"].clone();
        jsonschema::validator_for(&schema).expect("it is a schema")
    }

    /// Checks one answer, which stands under this path in the document.
    #[track_caller]
    pub(super) fn holds(&self, method: &str, path: &str, (status, text): (u16, &str)) -> Value {
        let answer: Value = serde_json::from_str(text).expect("it is JSON");
        let validator = self.schema(method, path, status);
        let flaws: Vec<String> = validator
            .iter_errors(&answer)
            .map(|flaw| format!("{}: {flaw}", flaw.instance_path()))
            .collect();
        assert!(flaws.is_empty(), "{path}: {flaws:#?}\n{answer:#}");
        answer
    }
}

#[test]
fn what_is_answered_is_what_the_document_describes() {
    let trouble = Trouble::new("described");
    let host = trouble.start();
    let document = Document::of(&host);
    let get = |path: &str| {
        let (status, text) = host.get(path).expect("it is served");
        document.holds("get", path, (status, &text))
    };
    let (topic, group) = (trouble.topic(), trouble.witness.group.as_str());

    let waiting = wait::eventually_some("a partition that says why it waits", TIMEOUT, || {
        let waiting = get("/v1/partitions?state=waiting");
        let told = waiting[0]["why"].as_str().is_some();
        told.then(|| waiting.clone()).ok_or(waiting)
    });
    assert_eq!(waiting.as_array().map(Vec::len), Some(1), "{waiting:#}");
    let partition = &waiting[0];
    assert_eq!(partition["topic"], topic);
    assert_eq!(partition["partition"], 0);
    assert_eq!(partition["reason"], "parked");
    let why = partition["why"].as_str().unwrap_or_default();
    assert!(why.starts_with("1 events wait for a retry"), "{why}");
    assert_eq!(
        (&partition["position"], &partition["lag"]),
        (&json!(0), &json!(1))
    );

    let all = get(&format!(
        "/v1/partitions?group={group}&topic={topic}&plugin=witness"
    ));
    assert_eq!(all.as_array().map(Vec::len), Some(2));
    assert_eq!(get("/v1/partitions?group=another"), json!([]));
    groups_are_described(&trouble, &host, &document);
    assert_eq!(get("/v1/lanes")[0]["plugin"], "witness");
    assert_eq!(get("/v1/plugins")[0]["plugin"], "witness");
    assert_eq!(get("/v1/host")["ready"], true);
    assert_eq!(get("/v1/pauses"), json!([]));
    let settings = get("/v1/configuration");
    let found = settings["settings"].as_array().and_then(|settings| {
        let mut settings = settings.iter();
        settings.find(|setting| setting["path"] == "plugins.witness.tick")
    });
    assert_eq!(found.expect("it is written")["value"], "300ms");

    dead_letters_are_described(&trouble, &host, &document);

    for (path, status, part) in [
        ("/v1/partitions?state=sad", 400, "stuck, waiting"),
        ("/v1/groups?grp=1", 400, "nothing can be asked for here"),
        ("/v1/lanes?group=a&group=b", 400, "twice"),
        ("/v1/tap?group=nobody", 404, group),
    ] {
        let answer = host.get(path).expect("it is served");
        assert_eq!(answer.0, status, "{path}");
        let refused = document.holds("get", path, (answer.0, &answer.1));
        let error = refused["error"].as_str().unwrap_or_default();
        assert!(error.contains(part), "{path}: {error}");
    }
    changes_are_described(&host, &document);
    host.sigterm().expect_code(0);
}

/// The sums of the group, and its dead letters that rise.
fn groups_are_described(trouble: &Trouble, host: &Host, document: &Document) {
    let get = |path: &str| {
        let (status, text) = host.get(path).expect("it is served");
        document.holds("get", path, (status, &text))
    };
    let groups = wait::eventually_some("the sums", TIMEOUT, || {
        let groups = get("/v1/groups");
        let sums = &groups[0]["events"];
        let expected = (&json!(1), &json!(1), &json!(1));
        let is = (&sums["processed"], &sums["dead"], &sums["parked"]) == expected;
        let rise = &groups[0]["dead_letters_rise"];
        let is = is && rise["causes"] == json!({ "reject": 1 });
        is.then(|| groups.clone()).ok_or(groups)
    });
    assert_eq!(groups[0]["group"], trouble.witness.group.as_str());
    assert_eq!(groups[0]["waiting"], 1);
    assert_eq!(
        groups[0]["plugins"][0]["dead_letters"],
        json!({ "reject": 1 })
    );
    assert_eq!(groups[0]["topics"][0]["events"]["polled"], 3);
    let rise = &groups[0]["dead_letters_rise"];
    assert_eq!(rise["topic"], trouble.witness.dead_letters.name());
    assert_eq!(rise["since_ms"], rise["last_ms"], "{rise}");
}

/// The first look lets somebody read; what is read is grouped.
fn dead_letters_are_described(trouble: &Trouble, host: &Host, document: &Document) {
    let get = |path: &str, described: &str| {
        let (status, text) = host.get(path).expect("it is served");
        document.holds("get", described, (status, &text))
    };
    let topic = trouble.witness.dead_letters.name();
    let topics = get("/v1/dead-letters", "/v1/dead-letters");
    let group = &trouble.witness.group;
    assert_eq!(topics, json!([{ "topic": topic, "groups": [group] }]));
    let described = "/v1/dead-letters/{topic}";
    let read = wait::eventually_some("the letters", TIMEOUT, || {
        let read = get(&format!("/v1/dead-letters/{topic}"), described);
        let all = read["complete"] == true;
        all.then(|| read.clone()).ok_or(read)
    });
    assert_eq!(read["letters"], 1);
    assert_eq!(read["clusters"][0]["cause"], "reject");
    assert_eq!(read["clusters"][0]["code"], "malformed");
    assert_eq!(read["newest"][0]["id"], read["clusters"][0]["example"]);

    trouble.witness.source.produce(&[
        Record::new("another", "not JSON").partition(1),
        Record::new("yet another", "not JSON either").partition(1),
    ]);
    wait::eventually_some("letters that came since", TIMEOUT, || {
        let read = get(&format!("/v1/dead-letters/{topic}"), described);
        let count = read["clusters"][0]["count"] == 3 && read["letters"] == 3;
        count.then_some(()).ok_or(read)
    });
    let nowhere = get("/v1/dead-letters/nowhere", described);
    let error = nowhere["error"].as_str().unwrap_or_default();
    assert!(error.contains(topic), "{error}");
}

/// Requests that change something, and those that come from a page of another site.
fn changes_are_described(host: &Host, document: &Document) {
    let admin = host.admin();
    let own = format!("http://{admin}");
    for (plugin, verb, origin, status) in [
        ("witness", "reload", None, 200),
        ("witness", "reload", Some(own.as_str()), 200),
        ("witness", "reload", Some("https://elsewhere.example"), 403),
        ("witness", "back", None, 409),
        ("witness", "promote", None, 409),
        ("witness", "dismiss", None, 409),
        ("witness", "approve", None, 400),
        ("nobody", "reload", None, 404),
    ] {
        let headers: Vec<_> = origin
            .map(|origin| ("origin", origin))
            .into_iter()
            .collect();
        let path = format!("/v1/plugins/{plugin}/{verb}");
        let reply = http::ask(admin, "POST", &path, &headers, b"").expect("it answers");
        assert_eq!(reply.status, status, "{path} from {origin:?}");
        let text = String::from_utf8_lossy(&reply.body);
        let described = format!("/v1/plugins/{{plugin}}/{verb}");
        document.holds("post", &described, (reply.status, &text));
    }
}

#[test]
fn without_a_token_no_name_of_another_site_leads_to_what_is_shown() {
    let setup = crate::harness::host::Setup::new(
        crate::harness::kafka::shared(),
        "ingest: { grpc: { listen: 127.0.0.1:0 } }\n",
    );
    let host = setup.start();
    let port = host.admin().port();
    for (name, status) in [
        (format!("localhost:{port}"), 200),
        (format!("127.0.0.1:{port}"), 200),
        (format!("rebound.example:{port}"), 403),
    ] {
        let mut stream = http::connect(host.admin()).expect("it listens");
        let request = format!("GET /v1/host HTTP/1.0\r\nHost: {name}\r\n\r\n");
        let mut answer = String::new();
        std::io::Write::write_all(&mut stream, request.as_bytes()).expect("it is read");
        std::io::Read::read_to_string(&mut stream, &mut answer).expect("it answers");
        let said = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        assert_eq!(said, Some(status), "{name}: {answer}");
    }
    host.sigterm().expect_code(0);
}
