//! Where a component is that is not a file here: how that is written, and what it is pinned to. It must not know how
//! it is fetched.

use std::fmt::{self, Display};
use std::net::IpAddr;

/// Longest reference, in bytes. Registries allow 255 for a repository and 128 for a tag.
const REFERENCE_BYTES_MAX: usize = 1024;

/// Longest tag, in bytes, as the specification of OCI registries has it.
const TAG_BYTES_MAX: usize = 128;

/// Digits of a SHA-256.
const DIGEST_DIGITS: usize = 64;

/// Where a component comes from, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Where it is fetched from; none where it is a file.
    pub remote: Option<Remote>,
    /// SHA-256 of the component, in hexadecimal; none takes what the file holds.
    pub digest: Option<String>,
}

/// Where a component is fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// An artifact of an OCI registry.
    Oci(OciReference),
    /// A file of a web server.
    Web(WebReference),
}

/// `oci://HOST/REPOSITORY[:TAG][@sha256:DIGITS]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciReference {
    /// The registry, with its port where one is written.
    pub host: String,
    /// The name of the repository, with its slashes.
    pub repository: String,
    /// The tag; says nothing where there is a digest.
    pub tag: Option<String>,
    /// SHA-256 of the manifest, in hexadecimal.
    pub digest: Option<String>,
}

/// `https://HOST/PATH[#sha256:DIGITS]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebReference {
    /// The address without the digest, which no server gets to see.
    pub url: String,
    /// SHA-256 of the file, in hexadecimal.
    pub digest: Option<String>,
}

impl Remote {
    /// Reads a reference; none where the text is the path of a file.
    #[must_use]
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        let (scheme, rest) = text.split_once("://")?;
        let known = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !known || scheme.is_empty() {
            return None;
        }
        if text.len() > REFERENCE_BYTES_MAX || text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            let message = format!(
                "a reference has at most {REFERENCE_BYTES_MAX} characters, all of them visible ASCII"
            );
            return Some(Err(message));
        }
        Some(match scheme {
            "oci" => OciReference::parse(rest).map(Self::Oci),
            "https" | "http" => WebReference::parse(scheme, rest).map(Self::Web),
            _ => Err(format!(
                "nothing is fetched by `{scheme}://`: write a path, `oci://HOST/REPOSITORY@sha256:…` or \
                 `https://HOST/FILE#sha256:…`"
            )),
        })
    }

    /// The digest that it is pinned to; none where it may be another component tomorrow.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        match self {
            Self::Oci(reference) => reference.digest.as_deref(),
            Self::Web(reference) => reference.digest.as_deref(),
        }
    }

    /// The same, pinned.
    #[must_use]
    pub fn pinned_to(&self, digest: &str) -> Self {
        let digest = Some(digest.to_owned());
        match self {
            Self::Oci(reference) => Self::Oci(OciReference {
                digest,
                ..reference.clone()
            }),
            Self::Web(reference) => Self::Web(WebReference {
                digest,
                ..reference.clone()
            }),
        }
    }
}

impl Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oci(reference) => Display::fmt(reference, f),
            Self::Web(WebReference { url, digest }) => {
                f.write_str(url)?;
                digest
                    .as_ref()
                    .map_or(Ok(()), |digits| write!(f, "#sha256:{digits}"))
            }
        }
    }
}

impl Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest
            .as_ref()
            .map_or(Ok(()), |digits| write!(f, "@sha256:{digits}"))
    }
}

impl OciReference {
    /// Reads what follows `oci://`.
    fn parse(rest: &str) -> Result<Self, String> {
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => (name, Some(digest_of(digest)?)),
            None => (rest, None),
        };
        let (host, path) = name
            .split_once('/')
            .filter(|(host, _)| is_host(host))
            .ok_or("write the registry and the repository: `oci://HOST/REPOSITORY@sha256:…`")?;
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if !is_repository(repository) {
            return Err(format!(
                "`{repository}` cannot be the name of a repository: parts of small letters and digits with single \
                 `.`, `_` or `-` between them, and `/` between the parts"
            ));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(format!(
                "`{tag}` cannot be a tag: letters, digits, `_`, `.` and `-`, at most {TAG_BYTES_MAX}"
            ));
        }
        Ok(Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl WebReference {
    fn parse(scheme: &str, rest: &str) -> Result<Self, String> {
        let (address, digest) = match rest.split_once('#') {
            Some((address, digest)) => (address, Some(digest_of(digest)?)),
            None => (rest, None),
        };
        let (host, _) = address
            .split_once('/')
            .filter(|(host, _)| is_host(host))
            .ok_or("write the server and the file: `https://HOST/FILE#sha256:…`")?;
        if scheme == "http" && !is_loopback(host) {
            return Err(format!(
                "`http://{host}` is not encrypted, and only this machine itself is asked so: write `https://`"
            ));
        }
        Ok(Self {
            url: format!("{scheme}://{address}"),
            digest,
        })
    }
}

/// Whether a host, with or without a port, is this machine itself.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = address.parse().ok();
    name == "localhost" || address.is_some_and(|address| address.is_loopback())
}

/// A name or address, and perhaps a port. User names have no place in it.
fn is_host(host: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(fits)
}

fn is_repository(repository: &str) -> bool {
    let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        let ends = bytes.first().zip(bytes.last());
        let doubled = ["..", "._", "_.", ".-", "-.", "_-", "-_", "___"];
        ends.is_some_and(|(first, last)| small(*first) && small(*last))
            && bytes
                .iter()
                .all(|byte| small(*byte) || b"._-".contains(byte))
            && !doubled.iter().any(|pair| part.contains(pair))
    };
    repository.split('/').all(is_part)
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.bytes().next().is_some_and(word)
        && tag.len() <= TAG_BYTES_MAX
        && tag.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

/// The digits after `sha256:`.
fn digest_of(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or_default();
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digits.len() == DIGEST_DIGITS && digits.bytes().all(is_digit) {
        return Ok(digits.to_owned());
    }
    Err(format!(
        "`{text}` is no digest: write `sha256:` and {DIGEST_DIGITS} digits of 0-9 and a-f"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits() -> String {
        "0123456789abcdef".repeat(4)
    }

    fn parsed(text: &str) -> Remote {
        Remote::parse(text).expect(text).expect(text)
    }

    #[test]
    fn a_reference_is_read_and_written_alike() {
        let pin = format!("sha256:{}", digits());
        for text in [
            "oci://registry.example/orders".to_owned(),
            "oci://registry.example:5000/team/orders:1.0".to_owned(),
            format!("oci://127.0.0.1:5000/a/b_c/d-e@{pin}"),
            format!("oci://[::1]:5000/orders:v1@{pin}"),
            "https://example.com/plugins/orders.wasm".to_owned(),
            format!("https://example.com/orders.wasm?v=1#{pin}"),
            format!("http://localhost:8080/orders.wasm#{pin}"),
        ] {
            assert_eq!(parsed(&text).to_string(), text);
            assert_eq!(parsed(&text).digest().is_some(), text.contains("sha256"));
        }
        let bare = parsed("oci://registry.example/orders:1");
        let pinned = format!("oci://registry.example/orders:1@{pin}");
        assert_eq!(bare.pinned_to(&digits()).to_string(), pinned);
    }

    #[test]
    fn a_path_is_no_reference() {
        for path in [
            "plugins/orders.wasm",
            "/a/b.wasm",
            "a:b/c",
            "://x",
            "a b://c",
        ] {
            assert!(Remote::parse(path).is_none(), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_fetched_is_refused_with_what_to_write() {
        for (text, part) in [
            ("oci://orders", "oci://HOST/REPOSITORY"),
            ("oci:///orders", "oci://HOST/REPOSITORY"),
            ("oci://user:word@h/orders", "is no digest"),
            ("oci://h/Orders", "cannot be the name of a repository"),
            ("oci://h/a..b", "cannot be the name of a repository"),
            ("oci://h/a//b", "cannot be the name of a repository"),
            ("oci://h/a:-1", "cannot be a tag"),
            ("oci://h/a@sha256:12", "is no digest"),
            ("oci://h/a@sha512:12", "is no digest"),
            ("https://example.com", "https://HOST/FILE"),
            ("https://u:p@example.com/f", "https://HOST/FILE"),
            ("https://example.com/f#latest", "is no digest"),
            ("http://example.com/f", "is not encrypted"),
            ("http://127.0.0.1.example.com/f", "is not encrypted"),
            ("ftp://example.com/f", "nothing is fetched by `ftp://`"),
            ("oci://h/a b", "visible ASCII"),
        ] {
            let refusal = Remote::parse(text).expect(text).expect_err(text);
            assert!(refusal.contains(part), "{text}: {refusal}");
        }
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]:5000",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example",
            "10.0.0.1",
            "[::2]:5000",
            "127.0.0.1.example:1",
            "",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
