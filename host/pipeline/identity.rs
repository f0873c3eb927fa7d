//! The id of an event, for deduplication: found in the record, hashed together with its order group.

use std::borrow::Cow;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::batch::EventView;
use crate::config::IdSource;
use crate::delivery::dedup::EventId;
use crate::delivery::lanes::OrderGroup;

/// The id of an event; none when it has none, and then it is never a duplicate. Ids are scoped by their
/// order group, because that is what shares a lane.
pub(crate) fn id_of(
    source: &IdSource,
    event: &EventView<'_>,
    group: OrderGroup,
) -> Option<EventId> {
    let bytes = match source {
        IdSource::Header(name) => Cow::Borrowed(event.header(name.as_bytes())?),
        IdSource::Json(path) => json_id(event.value()?, path)?,
        IdSource::CloudEvents => {
            // Unique only together; a zero byte cannot be in either.
            let (id, source) = (event.header(b"ce_id")?, event.header(b"ce_source")?);
            Cow::Owned([id, &[0], source].concat())
        }
        IdSource::Key => Cow::Borrowed(event.key()?),
        IdSource::ValueHash => Cow::Borrowed(event.value()?),
    };
    Some(EventId(xxh3_128_with_seed(&bytes, group.0)))
}

/// The text of the string, number or boolean at a path. Reading stops where it is found: what follows
/// need not even be JSON.
fn json_id<'a>(value: &'a [u8], path: &[String]) -> Option<Cow<'a, [u8]>> {
    let mut found = None;
    let mut json = serde_json::Deserializer::from_slice(value);
    // The error that ends an early stop says nothing; what counts is whether something was found.
    let _stopped = Finder {
        path,
        found: &mut found,
    }
    .deserialize(&mut json);
    found
}

struct Finder<'p, 'f, 'de> {
    path: &'p [String],
    found: &'f mut Option<Cow<'de, [u8]>>,
}

impl<'de> DeserializeSeed<'de> for Finder<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Finder<'_, '_, 'de> {
    fn leaf<E: serde::de::Error>(self, text: Cow<'de, [u8]>) -> Result<(), E> {
        if self.path.is_empty() {
            *self.found = Some(text);
        }
        Err(E::custom("done"))
    }
}

impl<'de> Visitor<'de> for Finder<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an id")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<(), E> {
        self.leaf(Cow::Borrowed(text.as_bytes()))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.leaf(Cow::Owned(text.as_bytes().to_vec()))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.leaf(Cow::Owned(number.to_string().into_bytes()))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.leaf(Cow::Owned(number.to_string().into_bytes()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        self.leaf(Cow::Owned(number.to_string().into_bytes()))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.leaf(Cow::Owned(value.to_string().into_bytes()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((wanted, rest)) = self.path.split_first() else {
            return Err(A::Error::custom("an object is no id"));
        };
        while let Some(matches) = map.next_key_seed(NameIs(wanted))? {
            if matches {
                return map.next_value_seed(Finder {
                    path: rest,
                    found: self.found,
                });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let index = self
            .path
            .split_first()
            .and_then(|(at, rest)| Some((at.parse().ok()?, rest)));
        let Some((index, rest)) = index else {
            return Err(A::Error::custom("an array is no id"));
        };
        for _ in 0_usize..index {
            if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        list.next_element_seed(Finder {
            path: rest,
            found: self.found,
        })?;
        Ok(())
    }
}

/// Compares a key in place, because reading it as a string would allocate.
struct NameIs<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for NameIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for NameIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(json: &str, path: &[&str]) -> Option<String> {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        json_id(json.as_bytes(), &path).map(|id| String::from_utf8(id.into_owned()).unwrap())
    }

    #[test]
    fn ids_are_found_by_their_pointer() {
        assert_eq!(
            id(r#"{"a":{"x":1},"id":"7"}"#, &["id"]).as_deref(),
            Some("7")
        );
        assert_eq!(
            id(r#"{"a":{"x":[0,{"y":-5}]}}"#, &["a", "x", "1", "y"]).as_deref(),
            Some("-5")
        );
        assert_eq!(id(r#"{"id":"a\u0041"}"#, &["id"]).as_deref(), Some("aA"));
    }

    #[test]
    fn a_missing_or_composite_id_is_none() {
        for (json, path) in [
            (r#"{"id":{}}"#, &["id"][..]),
            (r#"{"id":null}"#, &["id"]),
            (r#"{"other":1}"#, &["id"]),
            ("[1]", &["5"]),
            ("not json", &["id"]),
            ("", &["id"]),
            (r#"{"id"#, &["id"]),
        ] {
            assert_eq!(id(json, path), None, "{json}");
        }
    }

    #[test]
    fn reading_stops_at_the_id_so_what_follows_may_be_broken() {
        assert_eq!(id(r#"{"id":"7","rest":"#, &["id"]).as_deref(), Some("7"));
    }
}
