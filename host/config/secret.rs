//! A text that nobody may read in a log, a message or an answer.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

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

#[cfg(test)]
mod tests {
    use super::*;

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
