//! Every key of the configuration: its form, what holds without it, and what it means.
//!
//! The readers in `read/` decide what is accepted; this is what `explain` and `schema` tell of it, and
//! `keys/tests.rs` holds the one against the other, key by key. It must not know a document.

mod group;
mod ingest;
mod kafka;
mod plugin;
mod schemas;
#[cfg(test)]
mod tests;
mod top;

pub(crate) use top::TOP;

/// One key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What holds where it is not written.
    pub(crate) unless: Unless,
    /// What it means, in a sentence.
    pub(crate) meaning: &'static str,
    /// Whether nobody may read its value.
    pub(crate) secret: bool,
}

/// What holds where a key is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unless {
    /// This, as it would be written.
    Is(&'static str),
    /// Nothing: what it is for is off.
    Nothing,
    /// What its own keys say; only of sections.
    Below,
    /// Something that other keys or the machine decide, in these words.
    Depends(&'static str),
    /// The configuration is refused.
    Required,
}

/// The form of a value. Durations, sizes and numbers come with the least and the most.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// The path of a file or folder.
    Path,
    /// An IP address and a port.
    Address,
    /// The name of a topic.
    Topic,
    /// A text that this regular expression fits, which is written for ECMA 262.
    Form(&'static str),
    Duration(&'static str, &'static str),
    Size(&'static str, &'static str),
    /// A whole number.
    Number(&'static str, &'static str),
    /// A number that may have a fraction.
    Fraction(&'static str, &'static str),
    Flag,
    Choice(&'static [&'static str]),
    /// Fixed keys.
    Section(&'static [Key]),
    /// Keys that the operator chooses, by what they name, each with such a value.
    Named(&'static str, &'static Kind),
    List(&'static Kind),
    /// One or the other; where both are single values, the first has more to say.
    Either(&'static Kind, &'static Kind),
}

impl Kind {
    /// The least and the most, where it is something that is counted or measured.
    pub(crate) fn range(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Duration(least, most)
            | Self::Size(least, most)
            | Self::Number(least, most)
            | Self::Fraction(least, most) => Some((least, most)),
            Self::Either(one, other) => one.range().or_else(|| other.range()),
            _ => None,
        }
    }

    /// Whether it is made of keys.
    pub(crate) fn has_keys(&self) -> bool {
        matches!(self, Self::Section(_) | Self::Named(..))
    }
}

/// `off`, in the place of something.
const OFF: Kind = Kind::Choice(&["off"]);

/// A name that must not be empty.
const NAME: Kind = Kind::Form("\\S");

const fn key(name: &'static str, kind: Kind, unless: Unless, meaning: &'static str) -> Key {
    Key {
        name,
        kind,
        unless,
        meaning,
        secret: false,
    }
}

const fn secret(name: &'static str, unless: Unless, meaning: &'static str) -> Key {
    Key {
        name,
        kind: NAME,
        unless,
        meaning,
        secret: true,
    }
}
