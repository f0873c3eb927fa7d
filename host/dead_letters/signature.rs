//! What failures of one reason have in common: a message without what differs from event to event. Plain functions
//! over text.

use std::fmt::Write as _;

use xxhash_rust::xxh3::xxh3_64;

use crate::delivery::dead_letter::Account;

/// A word of letters only is taken for hexadecimal from this length on. No word of a language is so long and made of
/// `a` to `f`.
const HEX_WORD_MIN: usize = 8;

/// What failures of one reason share: cause, plugin, code, where it trapped, and the message with numbers and ids
/// replaced. The version of the plugin is left out, so that a failure that outlives a release stays one.
#[must_use]
pub(super) fn signature_of(account: &Account) -> String {
    let parts = [
        account.cause.as_str(),
        &account.plugin,
        &account.code,
        account.frames(),
        &normalised(&account.message),
    ];
    // A zero byte stands in no header that is text.
    format!("{:016x}", xxh3_64(parts.join("\0").as_bytes()))
}

/// The message with `#` in the place of each number and each id: words that hold a digit, UUIDs, and long hexadecimal
/// words.
#[must_use]
pub(super) fn normalised(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut word = String::new();
    // One more at the end, so that the last word is written too.
    for char in message.chars().chain(['\0']) {
        if char.is_alphanumeric() || matches!(char, '_' | '-') {
            word.push(char);
            continue;
        }
        // Writing to a String cannot fail.
        let _written = if is_id(&word) {
            write!(out, "#")
        } else {
            write!(out, "{word}")
        };
        word.clear();
        if char != '\0' {
            out.push(char);
        }
    }
    // A number with a point or with colons, and a list of numbers, are one thing.
    for joined in ["#.#", "#:#", "#,#", "#, #"] {
        while out.contains(joined) {
            out = out.replace(joined, "#");
        }
    }
    out
}

fn is_id(word: &str) -> bool {
    let hex = |word: &str| word.chars().all(|char| char.is_ascii_hexdigit());
    word.contains(|char: char| char.is_ascii_digit()) || (word.len() >= HEX_WORD_MIN && hex(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_event_to_event_is_left_out() {
        for (message, expected) in [
            ("no price for order 4711", "no price for order #"),
            ("no price for order-4712!", "no price for #!"),
            ("0xdeadbeef at 1.25 s", "# at # s"),
            (
                "id 9f1c2b34-aaaa-bbbb-cccc-0123456789ab is unknown",
                "id # is unknown",
            ),
            ("key deadbeefcafe", "key #"),
            ("a bad facade was added", "a bad facade was added"),
            ("ids 1, 2, 3 of 10.0.0.1:80", "ids # of #"),
            ("naïve café", "naïve café"),
            ("", ""),
        ] {
            assert_eq!(normalised(message), expected, "{message}");
        }
    }
}
