//! The section `schema_registry`, and the key `decode` of a route.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use super::field::{Field, is_topic, not_a_topic};
use super::section::Context;
use crate::config::tree::Value;
use crate::config::{
    Decode, Encode, RegistryLogin, SchemaFormat, SchemaRegistry, Secret, WantedSchema,
};

/// A registry answers in milliseconds; one that is about to fail gets time.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Versions of a schema come with deployments, and an old one stays right.
const REFRESH_DEFAULT: Duration = Duration::from_mins(5);

/// Largest schema that is registered, in bytes.
const SCHEMA_BYTES_MAX: u64 = 1 << 20;

const FORMATS: [(&str, SchemaFormat); 3] = [
    ("avro", SchemaFormat::Avro),
    ("protobuf", SchemaFormat::Protobuf),
    ("json-schema", SchemaFormat::JsonSchema),
];

pub(super) fn read(field: &Field<'_>, context: &mut Context<'_>) -> Option<SchemaRegistry> {
    let mut section = field.section(context)?;
    let url = section.require("url", "http://localhost:8081", context);
    let url = address(&url, context);
    let login = login(&section.take("basic"), &section.take("bearer"), context);
    let ca = section.take("ca");
    let ca = if ca.is_absent() {
        None
    } else {
        ca.file_path(context)
    };
    let timeout = section.take("timeout").duration(
        context,
        TIMEOUT_DEFAULT,
        Duration::from_millis(100)..=Duration::from_mins(1),
    );
    let refresh = section.take("refresh").duration(
        context,
        REFRESH_DEFAULT,
        Duration::from_secs(1)..=Duration::from_hours(24),
    );
    let encode = encode(&section.take("encode"), context);
    section.finish(context);
    Some(SchemaRegistry {
        url: url?,
        login,
        ca,
        timeout,
        refresh,
        encode,
    })
}

fn address(field: &Field<'_>, context: &mut Context<'_>) -> Option<String> {
    let text = field.name(context)?;
    let known = ["http://", "https://"].iter().any(|scheme| {
        let rest = text.strip_prefix(scheme);
        rest.is_some_and(|rest| !rest.starts_with(['/', ':', '@']) && !rest.is_empty())
    });
    if known && text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains(['?', '#', '@'])
    {
        return Some(text.to_owned());
    }
    let advice = if text.contains('@') {
        "write name and password under `basic`"
    } else {
        "write for example `http://localhost:8081`, or `https://HOST/apis/ccompat/v7`"
    };
    // Whoever writes a password here does not want to read it in a log.
    let message = format!("this is no address of a schema registry: {advice}");
    field.problem(context, message);
    None
}

fn login(
    basic: &Field<'_>,
    bearer: &Field<'_>,
    context: &mut Context<'_>,
) -> Option<RegistryLogin> {
    if !basic.is_absent() && !bearer.is_absent() {
        bearer.problem(
            context,
            "`basic` is written too: a registry is told one of them",
        );
    }
    if let Some(mut section) = basic.section(context) {
        let user = section.require("user", "millrace", context);
        let password = section.require("password", "\"${REGISTRY_PASSWORD}\"", context);
        section.finish(context);
        let user = user.name(context)?;
        if user.contains(':') {
            let message = "a name that has a colon cannot be told from its password";
            basic.problem(context, message);
        }
        let password = Secret::new(password.text(context)?.to_owned());
        let user = user.to_owned();
        return Some(RegistryLogin::Basic { user, password });
    }
    if bearer.is_absent() {
        return None;
    }
    let token = bearer.name(context)?;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bearer.problem(
            context,
            "a token is made of visible ASCII characters without spaces",
        );
    }
    Some(RegistryLogin::Bearer(Secret::new(token.to_owned())))
}

/// By topic: the word for a format, or a section that says more.
fn encode(field: &Field<'_>, context: &mut Context<'_>) -> BTreeMap<String, Encode> {
    let mut all = BTreeMap::new();
    for (topic, field) in field.entries(context) {
        if !is_topic(topic) {
            context.problem(&field.place, not_a_topic(topic));
        }
        if let Some(encode) = one(topic, &field, context) {
            all.insert(topic.to_owned(), encode);
        }
    }
    all
}

fn one(topic: &str, field: &Field<'_>, context: &mut Context<'_>) -> Option<Encode> {
    let default_subject = format!("{topic}-value");
    if !matches!(field.node.map(|node| &node.value), Some(Value::Map(_))) {
        return Some(Encode {
            schema: WantedSchema::Latest(default_subject),
            format: format(field, context),
            message: None,
        });
    }
    let mut section = field.section(context)?;
    let subject = section.take("subject");
    let version = section.take("version");
    let id = section.take("id");
    let register = section.take("register");
    let format_field = section.take("format");
    let message_field = section.take("message");
    let format = (!format_field.is_absent())
        .then(|| format(&format_field, context))
        .flatten();
    let message = message_field.name(context).map(str::to_owned);
    if message.is_some() && format.is_some_and(|format| format != SchemaFormat::Protobuf) {
        message_field.problem(context, "only `protobuf` has messages");
    }
    section.finish(context);
    let named = [&id, &version, &register];
    let mut named = named.into_iter().filter(|field| !field.is_absent());
    if let (Some(_), Some(second)) = (named.next(), named.next()) {
        let message = "one schema is meant: write one of `id`, `version` and `register`, or none for the newest \
                       version";
        second.problem(context, message);
    }
    if !id.is_absent() && !subject.is_absent() {
        subject.problem(context, "an `id` says all: remove the one or the other");
    }
    let subject = match subject.is_absent() {
        true => default_subject,
        false => subject.name(context)?.to_owned(),
    };
    let schema = if !id.is_absent() {
        WantedSchema::Id(id.number(context, 1, 0..=u32::MAX))
    } else if !version.is_absent() {
        WantedSchema::Version(subject, version.number(context, 1, 1..=i32::MAX as u32))
    } else if !register.is_absent() {
        let schema = schema_text(&register, context);
        let Some(format) = format else {
            let message = "what is registered has a format: write `format: avro`, `protobuf` or `json-schema`";
            register.problem(context, message);
            return None;
        };
        WantedSchema::Register {
            subject,
            format,
            schema: schema?,
        }
    } else {
        WantedSchema::Latest(subject)
    };
    Some(Encode {
        schema,
        format,
        message,
    })
}

fn schema_text(field: &Field<'_>, context: &mut Context<'_>) -> Option<String> {
    let path = field.file_path(context)?;
    let mut text = String::new();
    let read = std::fs::File::open(&path)
        .and_then(|file| file.take(SCHEMA_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 <= SCHEMA_BYTES_MAX => return Some(text),
        Ok(_) => field.problem(context, "a schema has at most 1 MiB"),
        Err(error) => {
            let path = path.display();
            field.problem(context, format!("the file {path} cannot be read: {error}"));
        }
    }
    None
}

fn format(field: &Field<'_>, context: &mut Context<'_>) -> Option<SchemaFormat> {
    let choices = FORMATS.map(|(word, format)| (word, Some(format)));
    field.choice(context, None, &choices)
}

/// The key `decode` of a route.
pub(super) fn decode(
    field: &Field<'_>,
    has_registry: bool,
    context: &mut Context<'_>,
) -> Option<Decode> {
    if field.is_absent() {
        return None;
    }
    let formats = FORMATS.map(|(word, format)| (word, Some(Decode::Registered(Some(format)))));
    let [avro, protobuf, json_schema] = formats;
    let any = ("registry", Some(Decode::Registered(None)));
    let cloudevents = ("cloudevents", Some(Decode::CloudEvents));
    let words = [any, avro, protobuf, json_schema, cloudevents];
    let decode = field.choice(context, None, &words);
    if matches!(decode, Some(Decode::Registered(_))) && !has_registry {
        let message = "the schemas that records were written by are asked of a registry: write where it is, as in \
                       `schema_registry: { url: http://localhost:8081 }`";
        field.problem(context, message);
    }
    decode
}
