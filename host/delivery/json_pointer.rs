//! Finds one scalar in a JSON text by its pointer, without reading what follows it.
//!
//! It runs for every event before the plugin does, so it skips instead of parsing: nothing is checked that
//! is not needed to get there, and nothing is allocated unless the text has escapes. A text that is not
//! JSON may have an id all the same, and the plugin will say what it thinks of it.

use std::borrow::Cow;

/// The text of the string, number or boolean at a path (RFC 6901, split and unescaped); none when there
/// is none, or an object, an array or null. Of repeated keys the first counts.
pub(crate) fn scalar_at<'a>(json: &'a [u8], path: &[impl AsRef<str>]) -> Option<Cow<'a, [u8]>> {
    let mut at = Cursor { json, at: 0 };
    for step in path {
        match at.peek()? {
            b'{' => at.enter_member(step.as_ref())?,
            b'[' => at.enter_element(step.as_ref().parse().ok()?)?,
            _ => return None,
        }
    }
    match at.peek()? {
        b'"' => at.string()?.unescaped(),
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(at.token())).filter(|token| !token.is_empty()),
    }
}

/// Bytes that are looked at one by one before a search begins, which costs a call.
const SEARCH_BYTES_MIN: usize = 16;

/// The inside of a string, its escapes left as they are.
#[derive(Clone, Copy)]
struct Text<'a> {
    inside: &'a [u8],
    has_escapes: bool,
}

struct Cursor<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.json.get(self.at)?;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    /// From the start of an object to the value of the named member.
    fn enter_member(&mut self, name: &str) -> Option<()> {
        self.expect(b'{')?;
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            if key.inside == name.as_bytes()
                || key.has_escapes && *key.unescaped()? == *name.as_bytes()
            {
                return Some(());
            }
            self.skip_value()?;
            self.expect(b',')?;
        }
    }

    /// From the start of an array to the value at an index.
    fn enter_element(&mut self, index: usize) -> Option<()> {
        self.expect(b'[')?;
        for _ in 0..index {
            self.skip_value()?;
            self.expect(b',')?;
        }
        (self.peek()? != b']').then_some(())
    }

    fn string(&mut self) -> Option<Text<'a>> {
        self.expect(b'"')?;
        let start = self.at;
        let mut has_escapes = false;
        loop {
            let rest = self.json.get(self.at..)?;
            // Names and ids are short: most end before a search would have begun.
            let near = rest.iter().take(SEARCH_BYTES_MIN);
            let mut near = near.copied();
            let found = near.position(|byte| matches!(byte, b'"' | b'\\'));
            let found = found.or_else(|| memchr::memchr2(b'"', b'\\', rest))?;
            self.at += found + 1;
            if rest[found] == b'"' {
                let inside = &self.json[start..self.at - 1];
                return Some(Text {
                    inside,
                    has_escapes,
                });
            }
            has_escapes = true;
            // What a backslash escapes is never the end.
            self.at += 1;
        }
    }

    /// A number or a word.
    fn token(&mut self) -> &'a [u8] {
        let start = self.at;
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
        while self.json.get(self.at).is_some_and(|byte| !ends(byte)) {
            self.at += 1;
        }
        &self.json[start..self.at]
    }

    fn skip_value(&mut self) -> Option<()> {
        // Depth is only counted, so that deep nesting costs no stack.
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    if self.token().is_empty() {
                        return None;
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

impl<'a> Text<'a> {
    fn unescaped(self) -> Option<Cow<'a, [u8]>> {
        if !self.has_escapes {
            return Some(Cow::Borrowed(self.inside));
        }
        let quoted = [b"\"", self.inside, b"\""].concat();
        let text: String = serde_json::from_slice(&quoted).ok()?;
        Some(Cow::Owned(text.into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str, path: &[&str]) -> Option<String> {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        let found = scalar_at(json.as_bytes(), &path);
        found.map(|id| String::from_utf8(id.into_owned()).unwrap())
    }

    #[test]
    fn scalars_are_found_by_their_pointer() {
        assert_eq!(
            found(r#"{"a":{"x":1},"id":"7"}"#, &["id"]).as_deref(),
            Some("7")
        );
        let nested = r#" { "a" : { "x" : [ 0 , {"q":["]","}"]} , { "y" : -5e2 } ] } } "#;
        assert_eq!(
            found(nested, &["a", "x", "2", "y"]).as_deref(),
            Some("-5e2")
        );
        assert_eq!(
            found(r#"{"id":"a\u0041\"b"}"#, &["id"]).as_deref(),
            Some("aA\"b")
        );
        assert_eq!(
            found(r#"{"\u0069d":true}"#, &["id"]).as_deref(),
            Some("true")
        );
        assert_eq!(
            found(r#"{"a\"":"{","id":1}"#, &["id"]).as_deref(),
            Some("1")
        );
        assert_eq!(found("17", &[]).as_deref(), Some("17"));
    }

    #[test]
    fn what_is_missing_or_composite_is_none() {
        for (json, path) in [
            (r#"{"id":{}}"#, &["id"][..]),
            (r#"{"id":null}"#, &["id"]),
            (r#"{"other":1}"#, &["id"]),
            (r#"{"id":"7"#, &["id"]),
            (r#"{"a":}"#, &["id"]),
            (r#"{"a":[}],"id":1}"#, &["b"]),
            ("[]", &["0"]),
            ("[1]", &["5"]),
            ("not json", &["id"]),
            ("", &["id"]),
            (r#"{"id"#, &["id"]),
            (r#"{"id\"#, &["id"]),
        ] {
            assert_eq!(found(json, path), None, "{json}");
        }
    }

    #[test]
    fn reading_stops_at_the_scalar_so_what_follows_may_be_broken() {
        assert_eq!(found(r#"{"id":"7","rest":"#, &["id"]).as_deref(), Some("7"));
    }

    #[test]
    fn it_agrees_with_a_full_parser_and_never_panics() {
        let base = r#"{"k":[1,{"a":"b\\\"c"},null],"m":{"id":"in"},"id":"out","z":[[["x"]]]}"#;
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let mut json = base.as_bytes().to_vec();
            for _ in 0..random.usize(0..4) {
                let at = random.usize(0..json.len());
                json[at] = *random.choice(b"{}[]\",:\\ 1a").unwrap();
            }
            for path in [vec!["id".to_owned()], vec!["m".to_owned(), "id".to_owned()]] {
                let ours = scalar_at(&json, &path);
                let Ok(parsed) = serde_json::from_slice::<serde_json::Value>(&json) else {
                    continue;
                };
                let pointer = format!("/{}", path.join("/"));
                if let Some(serde_json::Value::String(text)) = parsed.pointer(&pointer) {
                    // A full parser lets the last of repeated keys count; only then may they differ.
                    let keys = json.windows(4).filter(|four| *four == b"\"id\"").count();
                    if keys == 2 {
                        assert_eq!(ours.as_deref(), Some(text.as_bytes()));
                    }
                }
            }
        }
    }
}
