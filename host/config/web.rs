//! Grants of outgoing HTTP: which hosts a plugin may ask, and which networks they may stand in.

use std::net::IpAddr;

/// One place that a plugin may send requests to (`https:HOST[:PORT]`, `http:HOST[:PORT]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebTarget {
    /// Whether the connection is encrypted: the scheme is `https`.
    pub tls: bool,
    /// The hosts.
    pub host: WebHost,
    /// The port; 443 or 80 where none is written.
    pub port: u16,
}

/// The hosts of one grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebHost {
    /// Every host (`*`).
    Any,
    /// This name, in lower case.
    Name(String),
    /// Every name that ends in a dot and this one (`*.NAME`), in lower case.
    Below(String),
    /// This address, wherever it stands.
    Address(IpAddr),
}

/// Addresses that are not public and that granted hosts may have all the same (`network:ADDRESS[/BITS]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Its first address, or any other of it.
    pub address: IpAddr,
    /// How many leading bits are the same in all of its addresses.
    pub bits: u8,
}

impl WebTarget {
    /// Reads what follows `https:` or `http:` in a grant.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(tls: bool, text: &str) -> Result<Self, String> {
        let scheme = if tls { "https" } else { "http" };
        if let Some(rest) = text.strip_prefix("//") {
            let host = rest.split('/').next().unwrap_or_default();
            return Err(format!("write `{scheme}:{host}`, a host without a path"));
        }
        let (host, port) = match text.rsplit_once(':') {
            // The colons of an address in brackets are its own.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = match port.map(str::parse) {
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(Ok(port)) if port > 0 => port,
            Some(_) => return Err("the port is a number from 1 to 65535".to_owned()),
        };
        let host = WebHost::parse(host).ok_or_else(|| {
            format!(
                "`{host}` is no host: write a name, `*.NAME` for all names below it, an address \
                 (IPv6 in brackets), or `*`"
            )
        })?;
        Ok(Self { tls, host, port })
    }
}

impl WebHost {
    fn parse(text: &str) -> Option<Self> {
        let name = text.to_ascii_lowercase();
        if name == "*" {
            return Some(Self::Any);
        }
        if let Some(below) = name.strip_prefix("*.") {
            return is_name(below).then(|| Self::Below(below.to_owned()));
        }
        let inside = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(inside) = inside {
            return inside.parse().ok().map(IpAddr::V6).map(Self::Address);
        }
        if let Ok(address) = name.parse() {
            return Some(Self::Address(IpAddr::V4(address)));
        }
        is_name(&name).then_some(Self::Name(name))
    }
}

/// Whether this could be a name in the DNS, or in a file of hosts.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(label)
}

impl Network {
    /// Reads what follows `network:` in a grant.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| {
            format!("`{address}` is no address; write for example `network:10.0.0.0/8`")
        })?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(bits_max), str::parse);
        match bits {
            Ok(bits) if bits <= bits_max => Ok(Self { address, bits }),
            _ => Err(format!("after the `/` comes a number from 0 to {bits_max}")),
        }
    }

    /// Whether an address is one of it.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        let (own, other, width) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let rest = width - u32::from(self.bits).min(width);
        // A shift by all 128 bits has no meaning; there nothing has to be the same.
        own.checked_shr(rest).unwrap_or(0) == other.checked_shr(rest).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(tls: bool, host: WebHost, port: u16) -> Result<WebTarget, String> {
        Ok(WebTarget { tls, host, port })
    }

    #[test]
    fn a_target_is_a_host_and_a_port() {
        let name = |name: &str| WebHost::Name(name.to_owned());
        let parse = WebTarget::parse;
        assert_eq!(
            parse(true, "api.example.com"),
            target(true, name("api.example.com"), 443)
        );
        assert_eq!(
            parse(false, "API:8080"),
            target(false, name("api"), 8080),
            "names have no case"
        );
        let below = WebHost::Below("example.com".to_owned());
        assert_eq!(parse(false, "*.example.com"), target(false, below, 80));
        assert_eq!(parse(true, "*"), target(true, WebHost::Any, 443));
        let address = |text: &str| WebHost::Address(text.parse().unwrap());
        assert_eq!(
            parse(false, "127.0.0.1:1"),
            target(false, address("127.0.0.1"), 1)
        );
        assert_eq!(parse(true, "[::1]"), target(true, address("::1"), 443));
        assert_eq!(
            parse(true, "[::1]:8443"),
            target(true, address("::1"), 8443)
        );
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in [
            "",
            "a b",
            "a/b",
            "a:",
            "a:0",
            "a:65536",
            "u@a",
            "*a",
            "a.*",
            "a..b",
            "[::1",
            "::1",
            "[127.0.0.1]",
        ] {
            assert!(WebTarget::parse(true, text).is_err(), "{text:?} was taken");
        }
        let message = WebTarget::parse(true, "//api.example.com/v1").unwrap_err();
        assert_eq!(
            message,
            "write `https:api.example.com`, a host without a path"
        );
    }

    #[test]
    fn a_network_holds_the_addresses_that_begin_like_it() {
        let holds = |network: &str, address: &str| {
            let network = Network::parse(network).unwrap();
            network.holds(address.parse().unwrap())
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("127.0.0.1", "127.0.0.1"));
        assert!(!holds("127.0.0.1", "127.0.0.2"));
        assert!(holds("0.0.0.0/0", "200.1.1.1"));
        assert!(!holds("0.0.0.0/0", "::1"), "the families are apart");
        assert!(holds("::/0", "fe80::1"));
        assert!(holds("fd00::/8", "fdab::1"));
        assert!(!holds("fd00::/8", "fc00::1"));
        for text in ["", "10.0.0.0/33", "10.0.0.0/x", "host", "::/129"] {
            assert!(Network::parse(text).is_err(), "{text:?} was taken");
        }
    }
}
