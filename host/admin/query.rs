//! The query of a request: names and values, of which each name is known and stands once. It must not know what they
//! are for.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

/// What a query says, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query(BTreeMap<&'static str, String>);

impl Query {
    /// Reads a query that may have these names.
    ///
    /// # Errors
    /// It has another one, or one twice, or what is no text.
    pub(super) fn read(query: Option<&str>, known: &[&'static str]) -> Result<Self, String> {
        let mut read = BTreeMap::new();
        for (name, value) in words(query)? {
            let Some(known) = known.iter().find(|known| **known == name) else {
                return Err(match known {
                    [] => format!("there is no parameter `{name}`: nothing can be asked for here"),
                    known => format!(
                        "there is no parameter `{name}`: {} are there",
                        known.join(", ")
                    ),
                });
            };
            if read.insert(*known, value).is_some() {
                return Err(format!("the query has `{known}` twice; leave one out"));
            }
        }
        Ok(Self(read))
    }

    /// What it says of this name; none where it says nothing.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }
}

/// The names and values of a query in their order, whatever they are.
///
/// # Errors
/// One of them is no text.
pub(super) fn words(query: Option<&str>) -> Result<Vec<(String, String)>, String> {
    let parts = query.unwrap_or_default().split('&');
    let parts = parts.filter(|part| !part.is_empty());
    let words = parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
        let spaced = value.replace('+', " ");
        match percent_decode_str(&spaced).decode_utf8() {
            Ok(value) => Ok((name, value.into_owned())),
            Err(_) => Err(format!("the value of `{name}` is no UTF-8")),
        }
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_by_name_and_says_what_it_does_not_know() {
        let mut read = Query::read(Some("group=a%2Fb+c&topic="), &["group", "topic"]).unwrap();
        assert_eq!(read.take("group").as_deref(), Some("a/b c"));
        assert_eq!(read.take("topic").as_deref(), Some(""));
        assert_eq!(read.take("topic"), None);
        assert_eq!(Query::read(None, &[]), Ok(Query::default()));
        for (query, part) in [
            ("nam%65=1", "`name`"),
            ("group=1&group=2", "twice"),
            ("group=%ff", "UTF-8"),
        ] {
            let refused = Query::read(Some(query), &["group", "topic"]).unwrap_err();
            assert!(refused.contains(part), "{query}: {refused}");
        }
    }
}
