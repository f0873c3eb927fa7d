//! The rules that attributes of a CloudEvent follow.
//!
//! It must not know in which form an event came.

use super::{CloudEvent, NoCloudEvent};

/// The version that is spoken.
const SPEC_VERSION: &str = "1.0";

/// What every event has.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

pub(super) fn check(event: &CloudEvent<'_>) -> Result<(), NoCloudEvent> {
    for name in REQUIRED {
        match event.attribute(name) {
            None => {
                return refuse(format!(
                    "the event has no `{name}`; every CloudEvent has one"
                ));
            }
            Some("") => return refuse(format!("`{name}` is empty; give it a value")),
            Some(_) => {}
        }
    }
    for (index, (name, value)) in event.attributes.iter().enumerate() {
        check_name(name)?;
        if event.attributes[..index]
            .iter()
            .any(|(other, _)| other == name)
        {
            return refuse(format!("`{name}` is there twice; leave one out"));
        }
        check_text(name, value)?;
        match &**name {
            "specversion" if value != SPEC_VERSION => {
                return refuse(format!(
                    "`specversion` is {value:?}, and {SPEC_VERSION:?} is what is spoken here"
                ));
            }
            "time" if !is_timestamp(value) => {
                return refuse(format!(
                    "`time` is {value:?}; write it by RFC 3339, as in 2026-11-29T12:00:00Z"
                ));
            }
            "subject" | "dataschema" if value.is_empty() => {
                return refuse(format!(
                    "`{name}` is empty; leave it out or give it a value"
                ));
            }
            _ => {}
        }
    }
    if let Some(content_type) = &event.datacontenttype {
        check_text("datacontenttype", content_type)?;
        if content_type.is_empty() {
            return refuse("`datacontenttype` is empty; leave it out or name a media type");
        }
    }
    Ok(())
}

pub(super) fn refuse<T>(why: impl Into<String>) -> Result<T, NoCloudEvent> {
    Err(NoCloudEvent(why.into()))
}

fn check_name(name: &str) -> Result<(), NoCloudEvent> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !name.is_empty() && name.bytes().all(fits) && name != "data" {
        return Ok(());
    }
    refuse(format!(
        "{name:?} cannot be an attribute: its name has the characters a-z and 0-9 only, and is not `data`"
    ))
}

/// Control characters and what Unicode calls no characters have no place in an attribute.
fn check_text(name: &str, value: &str) -> Result<(), NoCloudEvent> {
    let odd = |c: char| {
        c.is_control() || matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
    };
    match value.chars().find(|c| odd(*c)) {
        None => Ok(()),
        Some(found) => refuse(format!(
            "`{name}` has the character U+{:04X}, which no attribute may have; take it out",
            u32::from(found)
        )),
    }
}

/// Whether a text is a timestamp of RFC 3339. Days are not counted by month: whoever reads them will.
fn is_timestamp(text: &str) -> bool {
    let number = |range: std::ops::Range<usize>, least: u32, most: u32| {
        let digits = text
            .get(range)
            .filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok());
        number.is_some_and(|number: u32| (least..=most).contains(&number))
    };
    let is = |at: usize, marks: &[u8]| text.as_bytes().get(at).is_some_and(|b| marks.contains(b));
    let date = number(0..4, 0, 9999) && is(4, b"-") && number(5..7, 1, 12) && is(7, b"-");
    let date = date && number(8..10, 1, 31) && is(10, b"Tt ");
    let time = number(11..13, 0, 23) && is(13, b":") && number(14..16, 0, 59) && is(16, b":");
    // The 60th second is a leap second.
    if !(date && time && number(17..19, 0, 60)) {
        return false;
    }
    let mut at = 19;
    if is(at, b".") {
        let digits = text
            .bytes()
            .skip(at + 1)
            .take_while(u8::is_ascii_digit)
            .count();
        if digits == 0 {
            return false;
        }
        at += 1 + digits;
    }
    if is(at, b"Zz") {
        return text.len() == at + 1;
    }
    is(at, b"+-")
        && number(at + 1..at + 3, 0, 23)
        && is(at + 3, b":")
        && number(at + 4..at + 6, 0, 59)
        && text.len() == at + 6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event<'a>(more: &[(&'a str, &'a str)]) -> CloudEvent<'a> {
        let base = [
            ("specversion", "1.0"),
            ("id", "1"),
            ("source", "/s"),
            ("type", "t"),
        ];
        let missing = base
            .into_iter()
            .filter(|(name, _)| !more.iter().any(|(n, _)| n == name));
        let attributes = missing.chain(more.iter().copied());
        CloudEvent {
            attributes: attributes
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            ..CloudEvent::default()
        }
    }

    #[test]
    fn what_the_specification_allows_passes() {
        for more in [
            &[][..],
            &[("time", "2026-11-29T12:00:00Z"), ("subject", "a b")],
            &[
                ("time", "2018-04-05t17:31:00.123456789+05:30"),
                ("ext1", ""),
            ],
            &[("source", "https://example.com/ü"), ("partitionkey", "k")],
        ] {
            assert_eq!(event(more).check(), Ok(()), "{more:?}");
        }
    }

    #[test]
    fn what_it_forbids_is_named() {
        for (more, named) in [
            (&[("specversion", "0.3")][..], "\"0.3\""),
            (&[("id", "")], "`id` is empty"),
            (&[("source", "a\nb")], "U+000A"),
            (&[("type", "\u{ffff}")], "U+FFFF"),
            (&[("time", "yesterday")], "RFC 3339"),
            (&[("time", "2026-11-29T12:00:00")], "RFC 3339"),
            (&[("time", "2026-13-29T12:00:00Z")], "RFC 3339"),
            (&[("time", "2026-11-29T12:00:00.Z")], "RFC 3339"),
            (&[("time", "ü026-11-29T12:00:00Z")], "RFC 3339"),
            (&[("My-ext", "1")], "\"My-ext\""),
            (&[("data", "1")], "\"data\""),
            (&[("ext", "1"), ("ext", "2")], "twice"),
            (&[("subject", "")], "`subject` is empty"),
        ] {
            let message = event(more).check().unwrap_err().to_string();
            assert!(message.contains(named), "{more:?}: {message}");
        }
        let mut without = event(&[]);
        without.attributes.remove(1);
        let message = without.check().unwrap_err().to_string();
        assert!(message.contains("no `id`"), "{message}");
    }
}
