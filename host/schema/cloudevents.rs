//! Shows CloudEvents in structured mode as they would be in binary mode: the attributes are headers and the value is
//! the data, so a handler need not know in which mode its topic is written.

use super::{Decoded, Decoder, Event, Flaw, View};
use crate::cloudevents::{self, CloudEvent, Form};

/// Why an event cannot be shown, in the dead letter's code.
const CODE: &str = "cloudevent";

/// Takes CloudEvents in structured mode apart; any other event is shown as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct CloudEvents;

impl Decoder for CloudEvents {
    fn decode(&self, event: &Event<'_>) -> Decoded {
        let content_type = event.headers.last(cloudevents::CONTENT_TYPE.as_bytes());
        // A form that is not spoken here is left to the handler, as the binding has it. So is a tombstone.
        let (Some(form), Some(value)) = (content_type.and_then(cloudevents::form), event.value)
        else {
            return Decoded::AsIs;
        };
        match form {
            Form::Foreign => Decoded::AsIs,
            Form::Batch => {
                let message = "a record holds one CloudEvent, and this one says that it holds a batch; write each event into a record of its own";
                Decoded::Invalid(Flaw::undecodable(CODE, message.to_owned()))
            }
            Form::Structured => match cloudevents::read(value) {
                Ok(event) => Decoded::View(view(event)),
                Err(error) => Decoded::Invalid(Flaw::undecodable(CODE, error.to_string())),
            },
        }
    }
}

fn view(event: CloudEvent<'_>) -> View {
    // The record's content type speaks of the whole event. Where nothing is said of the data, nothing stands there.
    let content_type = event
        .datacontenttype
        .map(|text| text.into_owned().into_bytes());
    let content_type = (cloudevents::CONTENT_TYPE.as_bytes().to_vec(), content_type);
    let attributes = event.attributes.into_iter().map(|(name, value)| {
        let name = cloudevents::kafka_header(&name).into_owned();
        (name.into_bytes(), Some(value.into_owned().into_bytes()))
    });
    View {
        value: event.data.map(|data| data.into_owned()),
        headers: std::iter::once(content_type).chain(attributes).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::HeaderList;
    use super::*;

    fn decode(content_type: Option<&str>, value: Option<&str>) -> Decoded {
        let headers = content_type.map(|text| ("content-type", Some(text.as_bytes())));
        let headers: Vec<_> = headers.into_iter().collect();
        CloudEvents.decode(&Event {
            topic: "t",
            key: None,
            value: value.map(str::as_bytes),
            headers: &HeaderList(&headers),
        })
    }

    #[test]
    fn a_structured_event_is_shown_as_attributes_and_data() {
        let value =
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","n":3,"data":{"a": 1}}"#;
        let Decoded::View(view) = decode(Some(cloudevents::STRUCTURED), Some(value)) else {
            panic!("it is an event");
        };
        assert_eq!(view.value.as_deref(), Some(&b"{\"a\": 1}"[..]));
        assert_eq!(view.last(b"ce_id"), Some(&b"1"[..]));
        assert_eq!(view.last(b"ce_n"), Some(&b"3"[..]));
        assert_eq!(view.last(b"content-type"), Some(&b"application/json"[..]));
        let value = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
        let Decoded::View(view) = decode(Some(cloudevents::STRUCTURED), Some(value)) else {
            panic!("it is an event");
        };
        assert_eq!(view.value, None, "no data is no value");
        assert!(
            view.replaces(b"content-type"),
            "what spoke of the whole is gone"
        );
        assert_eq!(view.last(b"content-type"), None);
    }

    #[test]
    fn what_is_in_binary_mode_or_none_is_shown_as_it_is() {
        for (content_type, value) in [
            (None, Some("x")),
            (Some("application/json"), Some("{}")),
            (Some("application/cloudevents+avro"), Some("x")),
            (Some(cloudevents::STRUCTURED), None),
        ] {
            assert!(
                matches!(decode(content_type, value), Decoded::AsIs),
                "{content_type:?}"
            );
        }
    }

    #[test]
    fn what_claims_to_be_an_event_and_is_none_is_named() {
        for (content_type, value, named) in [
            (cloudevents::STRUCTURED, "{", "no JSON object"),
            (
                cloudevents::STRUCTURED,
                "{\"id\":\"1\"}",
                "no `specversion`",
            ),
            ("application/cloudevents-batch+json", "[]", "a batch"),
        ] {
            let Decoded::Invalid(flaw) = decode(Some(content_type), Some(value)) else {
                panic!("{value} is none");
            };
            assert!(flaw.message.contains(named), "{}", flaw.message);
        }
    }
}
