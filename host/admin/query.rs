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
        let parts = query.unwrap_or_default().split('&');
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let Some(known) = known.iter().find(|known| **known == name) else {
                let name = percent_decode_str(name).decode_utf8_lossy();
                return Err(match known {
                    [] => format!("there is no parameter `{name}`: nothing can be asked for here"),
                    known => format!(
                        "there is no parameter `{name}`: {} are there",
                        known.join(", ")
                    ),
                });
            };
            let spaced = value.replace('+', " ");
            let Ok(value) = percent_decode_str(&spaced).decode_utf8() else {
                return Err(format!("the value of `{known}` is no UTF-8"));
            };
            if read.insert(*known, value.into_owned()).is_some() {
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
