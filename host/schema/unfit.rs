//! Why something does not fit its schema, and where in it. It must not know which kind of schema.

use std::borrow::Cow;
use std::fmt;

use super::flaw::cut;

/// Characters of a text that a message shows.
const TEXT_CHARS_SHOWN: usize = 60;

/// Why bytes are not what their schema says, or a JSON text does not fit the schema that it is to be written by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfit {
    /// From the inside out, because it is gathered on the way out.
    path: Vec<String>,
    message: String,
}

impl Unfit {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            path: Vec::new(),
            message: message.into(),
        }
    }

    /// The same, seen from what this part belongs to.
    pub(super) fn within(mut self, part: impl fmt::Display) -> Self {
        self.path.push(part.to_string());
        self
    }

    /// Where it is, as a JSON pointer; empty for the whole.
    fn pointer(&self) -> String {
        let parts = self.path.iter().rev();
        parts.fold(String::new(), |mut pointer, part| {
            pointer.push('/');
            pointer.push_str(&part.replace('~', "~0").replace('/', "~1"));
            pointer
        })
    }
}

/// The beginning of a text that may be long, for a message.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    cut(text, TEXT_CHARS_SHOWN)
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "at {}: {}", self.pointer(), self.message)
        }
    }
}

impl std::error::Error for Unfit {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_from_the_outside_in_with_odd_names_escaped() {
        let unfit = Unfit::new("no number").within("a/b~c").within(3);
        assert_eq!(unfit.to_string(), "at /3/a~1b~0c: no number");
        assert_eq!(Unfit::new("no number").to_string(), "no number");
    }
}
