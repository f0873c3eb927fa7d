//! What a registry answers to somebody it does not know, and where a token is to be had. It must not know passwords,
//! nor ask anybody.

use http::Uri;

/// How a registry wants to be told who asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// By user name and password.
    Basic,
    /// By a token.
    Bearer(Parameters),
}

/// Where and for what a token is to be had, by name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Challenge {
    /// Reads the header; none where it is something else.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, mut rest) = header.trim().split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut parameters = Vec::new();
        while let Some((name, after)) = rest.split_once('=') {
            let name = name.trim_matches([',', ' ']).to_ascii_lowercase();
            let (value, left) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            parameters.push((name, value.to_owned()));
            rest = left;
        }
        Some(Self::Bearer(Parameters(parameters)))
    }
}

impl Parameters {
    /// The address to ask for a token that lets do what `scope` says; none where there is no address.
    pub(super) fn address(&self, scope: &str) -> Option<Uri> {
        let given = |name: &str| {
            let found = self.0.iter().find(|(other, _)| other == name);
            found.map(|(_, value)| value.as_str())
        };
        let mut address = given("realm")?.to_owned();
        let service = given("service").map(|service| ("service", service));
        for (name, value) in service.into_iter().chain([("scope", scope)]) {
            address.push(if address.contains('?') { '&' } else { '?' });
            address.push_str(&format!("{name}={}", escaped(value)));
        }
        let address: Uri = address.parse().ok()?;
        address.host().is_some().then_some(address)
    }
}

/// As a value in the query of an address.
fn escaped(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte);
    value.bytes().fold(String::new(), |mut text, byte| {
        if plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_with_commas_in_quotes_and_any_case() {
        let header = r#"Bearer realm="https://auth.example/token",service="r.example", Scope="repository:a/b:pull,push""#;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let read = [
            pair("realm", "https://auth.example/token"),
            pair("service", "r.example"),
            pair("scope", "repository:a/b:pull,push"),
        ];
        assert_eq!(
            Challenge::parse(header),
            Some(Challenge::Bearer(Parameters(read.to_vec())))
        );
        let bare = Challenge::parse("bearer realm=https://a.example,service=s");
        let read = [pair("realm", "https://a.example"), pair("service", "s")];
        assert_eq!(bare, Some(Challenge::Bearer(Parameters(read.to_vec()))));
        assert_eq!(
            Challenge::parse(r#"Basic realm="x""#),
            Some(Challenge::Basic)
        );
        assert_eq!(Challenge::parse("Negotiate"), None);
        assert_eq!(Challenge::parse(r#"Bearer realm="x"#), None);
    }

    #[test]
    fn a_token_is_asked_for_where_the_registry_says() {
        let address = |header: &str| match Challenge::parse(header) {
            Some(Challenge::Bearer(parameters)) => parameters.address("repository:a:pull"),
            _ => None,
        };
        let text = |header: &str| address(header).map(|uri| uri.to_string());
        let plain = text(r#"Bearer realm="https://a.example/token",service="the registry""#);
        let wanted = "https://a.example/token?service=the%20registry&scope=repository:a:pull";
        assert_eq!(plain.as_deref(), Some(wanted));
        let more = text(r#"Bearer realm="https://a.example/token?x=1""#);
        assert_eq!(
            more.as_deref(),
            Some("https://a.example/token?x=1&scope=repository:a:pull")
        );
        assert_eq!(text(r#"Bearer realm="/token""#), None);
        assert_eq!(text(r#"Bearer service="s""#), None);
    }

    #[test]
    fn a_value_in_a_query_ends_nowhere_else() {
        assert_eq!(
            escaped("repository:a/b:pull,push"),
            "repository:a/b:pull,push"
        );
        assert_eq!(escaped("a b&c=d#é"), "a%20b%26c%3Dd%23%C3%A9");
    }
}
