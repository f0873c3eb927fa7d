//! CloudEvents on their way from HTTP's binding to Kafka's.
//!
//! It must not know what becomes of an event.

use std::borrow::Cow;

use axum::http::{HeaderMap, header};
use percent_encoding::percent_decode;

use super::events::Incoming;
use super::request;
use crate::cloudevents::{self, CloudEvent};
use crate::config::{CloudEventsIngest, CloudEventsMode};

/// Reads a CloudEvent that came as JSON.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn structured<'a>(
    json: &'a [u8],
    settings: &CloudEventsIngest,
) -> Result<Incoming<'a>, String> {
    let event = cloudevents::read(json).map_err(|error| error.to_string())?;
    Ok(to_record(event, Some(json), settings))
}

/// The CloudEvent that stands in the headers of a request and its body.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn from_headers<'a>(
    headers: &'a HeaderMap,
    body: &'a [u8],
) -> Result<CloudEvent<'a>, String> {
    let mut event = CloudEvent::default();
    for (name, value) in request::attributes(headers) {
        if name == "datacontenttype" {
            return Err(
                "say the media type of the data as `Content-Type`, not as `ce-datacontenttype`"
                    .to_owned(),
            );
        }
        let value = attribute(value).ok_or_else(|| {
            format!("`ce-{name}` is no UTF-8 after its percent-encoding is undone; encode its bytes as UTF-8")
        })?;
        event.attributes.push((Cow::Borrowed(name), value));
    }
    if let Some(content_type) = headers.get(header::CONTENT_TYPE) {
        let content_type = content_type.to_str();
        let content_type =
            content_type.map_err(|_| "`Content-Type` is no ASCII text".to_owned())?;
        event.datacontenttype = Some(Cow::Borrowed(content_type));
    }
    // An empty body with a media type is empty data; without one, there is no data.
    if !body.is_empty() || event.datacontenttype.is_some() {
        event.data = Some(Cow::Borrowed(body));
    }
    event.check().map_err(|error| error.to_string())?;
    Ok(event)
}

/// The value of an attribute as it stands in a request header: perhaps in quotes, and percent-encoded.
fn attribute(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inside = raw
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    let unquoted = match inside {
        Some(inside) if inside.contains(&b'\\') => Cow::Owned(without_backslashes(inside)),
        Some(inside) => Cow::Borrowed(inside),
        None => Cow::Borrowed(raw),
    };
    match unquoted {
        Cow::Borrowed(bytes) => percent_decode(bytes).decode_utf8().ok(),
        Cow::Owned(bytes) => {
            let decoded = percent_decode(&bytes).decode_utf8().ok()?;
            Some(Cow::Owned(decoded.into_owned()))
        }
    }
}

fn without_backslashes(quoted: &[u8]) -> Vec<u8> {
    let mut bytes = quoted.iter().copied();
    let unescaped = std::iter::from_fn(|| match bytes.next()? {
        b'\\' => Some(bytes.next().unwrap_or(b'\\')),
        byte => Some(byte),
    });
    unescaped.collect()
}

/// A CloudEvent as a record by the Kafka binding. `json` is the event as it came, where it came as JSON.
pub(super) fn to_record<'a>(
    event: CloudEvent<'a>,
    json: Option<&'a [u8]>,
    settings: &CloudEventsIngest,
) -> Incoming<'a> {
    let mut incoming = Incoming::default();
    if let Some(name) = &settings.key {
        let key = event.attribute(name);
        incoming.key = key.map(|key| Cow::Owned(key.as_bytes().to_vec()));
    }
    if settings.mode == CloudEventsMode::Structured {
        let value = json.map_or_else(|| Cow::Owned(cloudevents::write(&event)), Cow::Borrowed);
        incoming.value = Some(value);
        let content_type = Cow::Borrowed(cloudevents::STRUCTURED.as_bytes());
        incoming
            .headers
            .push((Cow::Borrowed(cloudevents::CONTENT_TYPE), Some(content_type)));
        return incoming;
    }
    incoming.headers.reserve_exact(event.attributes.len() + 1);
    if let Some(content_type) = event.datacontenttype {
        let name = Cow::Borrowed(cloudevents::CONTENT_TYPE);
        incoming.headers.push((name, Some(bytes(content_type))));
    }
    for (name, value) in event.attributes {
        incoming
            .headers
            .push((cloudevents::kafka_header(&name), Some(bytes(value))));
    }
    incoming.value = event.data;
    incoming
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}
