//! Patterns of topic names in routes: what they match, and which of two is the narrower one. It must not know what a
//! route is, nor which topics there are.

use std::collections::{BTreeSet, VecDeque};

/// What names of topics consist of.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

/// Kafka's longest name of a topic. A pattern matches nothing longer, so it need not be longer either.
const LENGTH_MAX: usize = 249;

/// One piece of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// This letter.
    Letter(u8),
    /// `*`: one or more letters of one level.
    Level,
    /// `**`: one or more letters, dots among them.
    Levels,
}

impl Piece {
    fn takes(self, letter: u8) -> bool {
        match self {
            Self::Letter(own) => own == letter,
            Self::Level => letter != b'.',
            Self::Levels => true,
        }
    }

    fn repeats(self) -> bool {
        !matches!(self, Self::Letter(_))
    }

    /// Whether everything that the other piece stands for is taken by this one.
    fn covers(self, other: Self) -> bool {
        match other {
            Self::Letter(letter) => self.takes(letter),
            Self::Level => matches!(self, Self::Level | Self::Levels),
            Self::Levels => self == Self::Levels,
        }
    }
}

/// A pattern of topic names: `*` stands for one or more characters of a level, `**` for one or more characters with
/// dots among them, and everything else for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPattern {
    text: String,
    pieces: Vec<Piece>,
}

impl TopicPattern {
    /// Whether a name in a route is meant as a pattern.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.contains('*') || text.starts_with('^')
    }

    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('^') {
            return Err(format!(
                "`{text}` is a regular expression, and two of those cannot be told apart by which is the \
                 narrower one: write `*` for a level, or `**` for one or more levels"
            ));
        }
        if text.contains("***") {
            return Err(format!(
                "`{text}` has more than two asterisks in a row: write `*` for a level, or `**` for one or more levels"
            ));
        }
        let wrong = |letter: &u8| *letter != b'*' && !LETTERS.contains(letter);
        if text.len() > LENGTH_MAX || text.bytes().any(|letter| wrong(&letter)) {
            return Err(format!(
                "`{text}` cannot match the name of a topic: use at most {LENGTH_MAX} of letters, digits, `.`, `_` and \
                 `-`, with `*` for a level and `**` for one or more levels"
            ));
        }
        let mut letters = text.bytes().peekable();
        let mut pieces = Vec::new();
        while let Some(letter) = letters.next() {
            pieces.push(match letter {
                b'*' if letters.next_if_eq(&b'*').is_some() => Piece::Levels,
                b'*' => Piece::Level,
                letter => Piece::Letter(letter),
            });
        }
        Ok(Self {
            text: text.to_owned(),
            pieces,
        })
    }

    /// The pattern as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a topic has a name that the pattern stands for. Kafka's internal topics are never matched, and one
    /// whose name begins with `_` only by a pattern that says so.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        let begins_open = self.pieces.first().is_some_and(|piece| piece.repeats());
        if topic.starts_with("__") || (begins_open && topic.starts_with('_')) {
            return false;
        }
        let mut at = BTreeSet::from([0]);
        for letter in topic.bytes() {
            at = at
                .into_iter()
                .flat_map(|piece| self.after(piece, letter))
                .collect();
        }
        at.contains(&self.pieces.len())
    }

    /// Whether everything that this one matches is matched by the other one too, and not the other way round.
    #[must_use]
    pub fn is_narrower_than(&self, other: &Self) -> bool {
        other.covers(self) && !self.covers(other)
    }

    /// A name that both match; none where there is none.
    #[must_use]
    pub fn shared_with(&self, other: &Self) -> Option<String> {
        let mut seen = BTreeSet::from([(0, 0)]);
        let mut open = VecDeque::from([((0, 0), String::new())]);
        while let Some(((own, theirs), name)) = open.pop_front() {
            if (own, theirs) == (self.pieces.len(), other.pieces.len()) {
                return Some(name);
            }
            for &letter in LETTERS {
                for own in self.after(own, letter) {
                    for theirs in other.after(theirs, letter) {
                        if seen.insert((own, theirs)) {
                            let mut name = name.clone();
                            name.push(char::from(letter));
                            open.push_back(((own, theirs), name));
                        }
                    }
                }
            }
        }
        None
    }

    /// The pieces that may come next after a letter was taken by the piece at this place.
    fn after(&self, at: usize, letter: u8) -> impl Iterator<Item = usize> + use<> {
        let piece = self.pieces.get(at).filter(|piece| piece.takes(letter));
        let again = piece.filter(|piece| piece.repeats()).map(|_| at);
        again.into_iter().chain(piece.map(|_| at + 1))
    }

    /// Whether the pieces of the other one can be laid over by the pieces of this one.
    fn covers(&self, other: &Self) -> bool {
        let mut at = BTreeSet::from([0]);
        for theirs in &other.pieces {
            at = at
                .into_iter()
                .filter_map(|own| Some((own, *self.pieces.get(own)?)))
                .filter(|(_, piece)| piece.covers(*theirs))
                .flat_map(|(own, piece)| {
                    piece.repeats().then_some(own).into_iter().chain([own + 1])
                })
                .collect();
        }
        at.contains(&self.pieces.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::parse(text).unwrap()
    }

    #[test]
    fn an_asterisk_stands_for_one_level_and_two_for_the_rest() {
        let level = pattern("orders.*");
        for (topic, is) in [
            ("orders.eu", true),
            ("orders.eu-west_1", true),
            ("orders.eu.created", false),
            ("orders.", false),
            ("orders", false),
            ("ordersxeu", false),
        ] {
            assert_eq!(level.matches(topic), is, "{topic}");
        }
        let rest = pattern("orders.**");
        assert!(rest.matches("orders.eu") && rest.matches("orders.eu.created"));
        assert!(!rest.matches("orders") && !rest.matches("order.eu"));
        let within = pattern("orders.*.created");
        assert!(within.matches("orders.eu.created") && !within.matches("orders.eu.x.created"));
        let part = pattern("orders.eu-*");
        assert!(part.matches("orders.eu-west") && !part.matches("orders.eu-"));
        let deep = pattern("**.created");
        assert!(deep.matches("a.b.created") && deep.matches("a.created"));
    }

    #[test]
    fn internal_topics_are_matched_by_no_pattern_and_hidden_ones_by_name_only() {
        for text in ["**", "*", "__*", "_*"] {
            assert!(!pattern(text).matches("__consumer_offsets"), "{text}");
        }
        assert!(!pattern("*").matches("_schemas"));
        assert!(pattern("_*").matches("_schemas"));
    }

    #[test]
    fn the_narrower_of_two_is_found_whatever_their_length() {
        for (narrow, wide) in [
            ("orders.*", "orders.**"),
            ("orders.eu-*", "orders.*"),
            ("orders.*.created", "orders.**"),
            ("orders.*.created", "**.created"),
            ("orders.eu.**", "*.eu.**"),
            ("*", "**"),
        ] {
            let (narrow, wide) = (pattern(narrow), pattern(wide));
            assert!(narrow.is_narrower_than(&wide), "{narrow:?} {wide:?}");
            assert!(!wide.is_narrower_than(&narrow), "{narrow:?} {wide:?}");
        }
    }

    #[test]
    fn two_that_meet_without_one_being_narrower_are_shown_a_name_of_both() {
        for (one, other) in [
            ("orders.*", "*.created"),
            ("**.created", "orders.**"),
            ("a*", "*a"),
        ] {
            let (one, other) = (pattern(one), pattern(other));
            let name = one.shared_with(&other).unwrap();
            assert!(one.matches(&name) && other.matches(&name), "{name}");
            assert!(!one.is_narrower_than(&other) && !other.is_narrower_than(&one));
        }
        for (one, other) in [("orders.*", "users.*"), ("a.*.b", "a.*.c"), ("*", "*.x")] {
            assert_eq!(
                pattern(one).shared_with(&pattern(other)),
                None,
                "{one} {other}"
            );
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_what_to_write() {
        for (text, part) in [
            ("^orders.*", "regular expression"),
            ("orders.***", "more than two"),
            ("orders *", "cannot match"),
        ] {
            let said = TopicPattern::parse(text).unwrap_err();
            assert!(said.contains(part) && said.contains("`**`"), "{said}");
        }
    }
}
