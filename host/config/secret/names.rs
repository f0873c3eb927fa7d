//! Which names say that nobody may read what they stand for: of settings, of properties, of variables.
//!
//! A name that an operator chose freely is all that tells it. It must not know where a name stands, or what is hidden.

/// Wherever one of these stands in a name, the value lets somebody in.
const ANYWHERE: [&str; 6] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "credential",
    "apikey",
];

/// What a key opens, where this stands before `key`. Any other key may well be one of the data: `partition_key`.
const OF_KEYS: [&str; 14] = [
    "access",
    "aes",
    "api",
    "auth",
    "deploy",
    "encryption",
    "hmac",
    "master",
    "private",
    "rsa",
    "shared",
    "signing",
    "ssh",
    "storage",
];

/// Words that tell it at the end of a name; before another they tell of something else: `private_network`.
const AT_THE_END: [&str; 2] = ["private", "pem"];

/// Whether nobody may read the value of what is called this.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let words = words(name);
    let in_a_word = |word: &String| {
        // Before the end of a word it is part of another: `tokenizer`.
        one_of_many(word).ends_with("token") || ANYWHERE.iter().any(|secret| word.contains(secret))
    };
    let a_key = |at: usize| {
        let opens = match one_of_many(&words[at]).strip_suffix("key") {
            Some("") => at.checked_sub(1).map(|before| words[before].as_str()),
            glued => glued,
        };
        opens.is_some_and(|word| OF_KEYS.contains(&word))
    };
    words.iter().any(in_a_word)
        || (0..words.len()).any(a_key)
        || words
            .last()
            .is_some_and(|last| AT_THE_END.contains(&last.as_str()))
}

/// Whether nobody may read what `${...}` was replaced by, by what stands in the braces: the name of a variable, or
/// `file:PATH`.
pub(in crate::config) fn is_secret_source(source: &str) -> bool {
    source.starts_with("file:") || is_secret_name(source)
}

fn one_of_many(word: &str) -> &str {
    word.strip_suffix('s').unwrap_or(word)
}

/// The words of a name, in lower case: `apiKey`, `API_KEY` and `api.key` have the same two.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for char in name.chars() {
        let begins = !char.is_alphanumeric() || (was_small && char.is_uppercase());
        if begins && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| char.is_alphanumeric()) {
            word.extend(char.to_lowercase());
        }
        was_small = char.is_lowercase() || char.is_numeric();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, and whether what they stand for is hidden.
    const NAMES: [(&str, bool); 57] = [
        ("password", true),
        ("DB_PASSWORD", true),
        ("dbpassword", true),
        ("passwordHash", true),
        ("mysql.passwd", true),
        ("passphrase", true),
        ("client_secret", true),
        ("clientSecret", true),
        ("secrets", true),
        ("credentials-file", true),
        ("token", true),
        ("api-token", true),
        ("accessToken", true),
        ("authtoken", true),
        ("tokens", true),
        ("token_events", true),
        ("GITHUB_TOKEN_2", true),
        ("api_key", true),
        ("apiKey", true),
        ("APIKey", true),
        ("API_KEYS", true),
        ("openaiapikey", true),
        ("x.api.key", true),
        ("api_key_v2", true),
        ("private_key", true),
        ("privatekey", true),
        ("AWS_ACCESS_KEY", true),
        ("aws_secret_access_key", true),
        ("signing-key", true),
        ("signingKey", true),
        ("hmac_key", true),
        ("sshkey", true),
        ("ssh_keys", true),
        ("rsa_private", true),
        ("private", true),
        ("ssl.key.pem", true),
        ("ssl.key.password", true),
        ("", false),
        ("___", false),
        ("key", false),
        ("keys", false),
        ("partition_key", false),
        ("partitionKey", false),
        ("primary-key", false),
        ("group_key", false),
        ("key_field", false),
        ("keyField", false),
        ("key_prefix", false),
        ("api_url", false),
        ("monkey", false),
        ("design_key", false),
        ("keyboard", false),
        ("tokenizer", false),
        ("private_network", false),
        ("pemberton", false),
        ("ssl.key.location", false),
        ("greeting", false),
    ];

    #[test]
    fn a_name_tells_by_its_words_whether_its_value_is_hidden() {
        for (name, is_secret) in NAMES {
            assert_eq!(is_secret_name(name), is_secret, "{name:?}");
        }
    }

    #[test]
    fn what_comes_from_a_file_is_hidden_whatever_its_name() {
        for (source, is_secret) in [
            ("file:greeting", true),
            ("DB_PASSWORD", true),
            ("GREETING", false),
        ] {
            assert_eq!(is_secret_source(source), is_secret, "{source}");
        }
    }
}
