//! A text that nobody may read in a log, a message or an answer, and what takes such texts out of others.

mod names;

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub use self::names::is_secret_name;
pub(super) use self::names::is_secret_source;

/// A shorter text stands in what has nothing to do with it, and is no secret that anybody would have to read: it is
/// guessed in no time.
const SECRET_BYTES_MIN: usize = 4;

/// A token. Printing it for debugging says only that there is one.
#[derive(Clone)]
pub struct Secret {
    text: String,
    digest: Digested,
}

impl Secret {
    /// Keeps `text` from being printed.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let digest = Digested::new(text.as_bytes());
        Self { text, digest }
    }

    /// The text itself, for where it has to be sent.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// Whether `shown` is the same, in a time that says nothing of where they differ, or of their lengths.
    #[must_use]
    pub fn is(&self, shown: &Digested) -> bool {
        self.digest.0.ct_eq(&shown.0).into()
    }
}

/// What somebody shows as a token, ready to be compared with many.
#[derive(Clone, Copy)]
pub struct Digested([u8; 32]);

impl Digested {
    /// Prepares what was shown.
    #[must_use]
    pub fn new(shown: &[u8]) -> Self {
        Self(Sha256::digest(shown).into())
    }

    /// Prepares the token of a header `authorization: Bearer TOKEN`; the word in any case, as RFC 9110 has it. None
    /// where the header is not of that form.
    #[must_use]
    pub fn bearer(authorization: &[u8]) -> Option<Self> {
        let (scheme, token) = authorization.split_at_checked(7)?;
        let token = token.trim_ascii();
        (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then(|| Self::new(token))
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.digest)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Texts that nobody may read, to be taken out of what is shown.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Those of these texts that can be told from others.
    #[must_use]
    pub fn new<'t>(texts: impl Iterator<Item = &'t str>) -> Self {
        let mut all: Vec<String> = texts
            .filter(|text| text.len() >= SECRET_BYTES_MIN)
            .flat_map(|text| {
                // What stands for it inside of a text in JSON.
                let quoted = serde_json::Value::from(text).to_string();
                [text.to_owned(), quoted[1..quoted.len() - 1].to_owned()]
            })
            .collect();
        // The longest first, so that of one that stands in another nothing is left.
        all.sort_by(|one, other| other.len().cmp(&one.len()).then(one.cmp(other)));
        all.dedup();
        Self(all)
    }

    /// What is left of these bytes with `mark` in the place of each secret; none where there is none in them. They need
    /// not be text: a secret may stand in anything.
    #[must_use]
    pub fn taken_out_of(&self, bytes: &[u8], mark: &str) -> Option<Vec<u8>> {
        if self.0.is_empty() {
            return None;
        }
        let mut left = Vec::new();
        // Up to here everything is in `left`.
        let (mut done, mut at) = (0, 0);
        while at < bytes.len() {
            let begins = |secret: &&String| bytes[at..].starts_with(secret.as_bytes());
            let Some(secret) = self.0.iter().find(begins) else {
                at += 1;
                continue;
            };
            left.extend_from_slice(&bytes[done..at]);
            left.extend_from_slice(mark.as_bytes());
            at += secret.len();
            done = at;
        }
        left.extend_from_slice(&bytes[done..]);
        (done > 0).then_some(left)
    }

    /// The same of a text.
    #[must_use]
    pub fn taken_out_of_text(&self, text: &str, mark: &str) -> Option<String> {
        let left = self.taken_out_of(text.as_bytes(), mark)?;
        // Secrets and marks are text, so that text is left.
        Some(String::from_utf8_lossy(&left).into_owned())
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_in_full_wherever_they_stand() {
        let texts = ["hunter2", "hunter2-and-more", "abc", "", "a\"b\nc"];
        let secrets = Secrets::new(texts.into_iter());
        let left = |bytes: &[u8]| secrets.taken_out_of(bytes, "*");
        for (text, wanted) in [
            (&b"hunter2"[..], &b"*"[..]),
            (b"with hunter2-and-more, hunter2hunter2", b"with *, **"),
            (b"\xff\xfehunter2\x00", b"\xff\xfe*\x00"),
            (b"{\"key\":\"a\\\"b\\nc\"}", b"{\"key\":\"*\"}"),
        ] {
            assert_eq!(left(text).as_deref(), Some(wanted), "{text:?}");
        }
        for text in [&b""[..], b"abc", b"hunter", b"a\xff"] {
            assert_eq!(left(text), None, "{text:?}");
        }
        let printed = format!("{secrets:?}");
        assert!(!printed.contains("hunter"), "{printed}");
    }

    #[test]
    fn a_secret_is_compared_and_never_printed() {
        let secret = Secret::new("correct-horse-battery".to_owned());
        assert!(secret.is(&Digested::new(b"correct-horse-battery")));
        for other in ["", "correct-horse-batterY", "correct-horse-battery "] {
            assert!(!secret.is(&Digested::new(other.as_bytes())), "{other}");
        }
        let printed = format!("{secret:?} {:#?}", Some(&secret));
        assert!(!printed.contains("horse"), "{printed}");
    }
}
