//! Which requests are let out: by scheme, host and port before anything else, and by address once the name is
//! looked up. Plain data; nothing here connects.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Method;
use http::uri::Scheme;

use crate::config::{Grants, Network, WebHost, WebTarget};

/// The grants of one plugin.
#[derive(Debug)]
pub(super) struct Allowed {
    targets: Vec<WebTarget>,
    networks: Vec<Network>,
}

/// A request's destination that is granted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) tls: bool,
    /// A name in lower case, or an address without brackets.
    pub(super) name: String,
    pub(super) port: u16,
    /// The address that is granted as it is written.
    address: Option<IpAddr>,
}

/// A destination that is not granted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NotGranted { grant: String },
    Unusable,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted { grant } => write!(
                f,
                "a request was refused: add `{grant}` to the grants of the plugin if it may make it"
            ),
            Self::Unusable => f.write_str(
                "a request was refused: it names no host, a user, or the method CONNECT",
            ),
        }
    }
}

impl Allowed {
    pub(super) fn new(grants: &Grants) -> Self {
        Self {
            targets: grants.web.clone(),
            networks: grants.networks.clone(),
        }
    }

    /// The destination of a request, where a grant names it.
    pub(super) fn target<B>(&self, request: &http::Request<B>) -> Result<Target, Refusal> {
        let uri = request.uri();
        let authority = uri.authority().ok_or(Refusal::Unusable)?;
        // What stands before an `@` is taken for the host by some readers and not by others.
        if authority.as_str().contains('@') || request.method() == Method::CONNECT {
            return Err(Refusal::Unusable);
        }
        let tls = uri.scheme() != Some(&Scheme::HTTP);
        let default_port = if tls { 443 } else { 80 };
        let port = match (authority.port_u16(), authority.port()) {
            (Some(port), _) => port,
            (None, None) => default_port,
            (None, Some(_)) => return Err(Refusal::Unusable),
        };
        let host = authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = bare.to_ascii_lowercase();
        if name.is_empty() {
            return Err(Refusal::Unusable);
        }
        let literal: Option<IpAddr> = name.parse().ok();
        let grants = |target: &&WebTarget| {
            target.tls == tls
                && target.port == port
                && match &target.host {
                    WebHost::Any => true,
                    WebHost::Name(granted) => *granted == name,
                    WebHost::Below(granted) => {
                        let start = name.strip_suffix(granted.as_str());
                        start.is_some_and(|start| start.len() > 1 && start.ends_with('.'))
                    }
                    WebHost::Address(granted) => literal == Some(*granted),
                }
        };
        let Some(target) = self.targets.iter().find(grants) else {
            let scheme = if tls { "https" } else { "http" };
            let shown = if port == default_port {
                String::new()
            } else {
                format!(":{port}")
            };
            let grant = format!("{scheme}:{}{shown}", host.to_ascii_lowercase());
            return Err(Refusal::NotGranted { grant });
        };
        let address = match target.host {
            WebHost::Address(address) => Some(address),
            _ => None,
        };
        Ok(Target {
            tls,
            name,
            port,
            address,
        })
    }

    /// Whether a granted destination may stand at this address. A name says nothing about where it leads: its
    /// owner chooses that, and may choose the host's own machine.
    pub(super) fn may_reach(&self, target: &Target, address: IpAddr) -> bool {
        let address = address.to_canonical();
        target
            .address
            .is_some_and(|granted| granted.to_canonical() == address)
            || is_public(address)
            || self.networks.iter().any(|network| network.holds(address))
    }
}

/// Whether an address is one of the public internet: neither of this machine nor of a network around it, and
/// not reserved (IANA's registries of special-purpose addresses).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match a {
        0 | 10 | 127 | 224..=255 => true,
        100 => (64..128).contains(&b),
        169 => b == 254,
        172 => (16..32).contains(&b),
        192 => b == 168 || (b == 0 && (c == 0 || c == 2)) || (b == 88 && c == 99),
        198 => b == 18 || b == 19 || (b == 51 && c == 100),
        203 => b == 0 && c == 113,
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Global unicast is 2000::/3. In it, protocols and documentation have places of their own, and 6to4
    // carries an IPv4 address.
    let global = a & 0xe000 == 0x2000;
    let special = (a == 0x2001 && (b < 0x0200 || b == 0x0db8))
        || a == 0x2002
        || (a == 0x3fff && b & 0xf000 == 0);
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(targets: &[(bool, &str)], networks: &[&str]) -> Allowed {
        let parse = |(tls, text): &(bool, &str)| WebTarget::parse(*tls, text).unwrap();
        Allowed {
            targets: targets.iter().map(parse).collect(),
            networks: networks
                .iter()
                .map(|n| Network::parse(n).unwrap())
                .collect(),
        }
    }

    fn request(uri: &str) -> http::Request<()> {
        http::Request::builder().uri(uri).body(()).unwrap()
    }

    #[test]
    fn scheme_host_and_port_have_to_be_granted_together() {
        let allowed = allowed(
            &[
                (true, "api.example.com"),
                (false, "plain.example.com:8080"),
                (true, "*.below.org"),
            ],
            &[],
        );
        for uri in [
            "https://api.example.com/v1",
            "https://API.example.com:443/",
            "http://plain.example.com:8080",
            "https://a.below.org",
            "https://a.b.below.org",
        ] {
            assert!(allowed.target(&request(uri)).is_ok(), "{uri}");
        }
        for uri in [
            "http://api.example.com/",
            "https://api.example.com:8443/",
            "https://api.example.com.evil.org/",
            "https://example.com/",
            "http://plain.example.com/",
            "https://below.org/",
            "https://.below.org/",
            "https://evilbelow.org/",
            "https://api.example.com@evil.org/",
            "https://evil.org@api.example.com/",
            "https://127.0.0.1/",
        ] {
            assert!(allowed.target(&request(uri)).is_err(), "{uri}");
        }
        let refusal = allowed
            .target(&request("http://Other.org:81/"))
            .unwrap_err();
        assert!(
            refusal.to_string().contains("`http:other.org:81`"),
            "{refusal}"
        );
        let tunnel = http::Request::builder().method("CONNECT");
        let tunnel = tunnel.uri("https://api.example.com/").body(()).unwrap();
        assert_eq!(allowed.target(&tunnel), Err(Refusal::Unusable));
    }

    #[test]
    fn a_granted_name_does_not_lead_to_addresses_that_are_not_public() {
        let reaches = |networks: &[&str], address: &str| {
            let allowed = allowed(&[(true, "*")], networks);
            let target = allowed
                .target(&request("https://name.example.com/"))
                .unwrap();
            allowed.may_reach(&target, address.parse().unwrap())
        };
        for address in [
            "1.1.1.1",
            "93.184.216.34",
            "100.128.0.1",
            "172.32.0.1",
            "2606:4700::1",
        ] {
            assert!(reaches(&[], address), "{address}");
        }
        for address in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!reaches(&[], address), "{address}");
        }
        assert!(reaches(&["10.0.0.0/8"], "10.1.2.3"));
        assert!(
            reaches(&["127.0.0.1"], "::ffff:127.0.0.1"),
            "it is the same address"
        );
        assert!(!reaches(&["10.0.0.0/8"], "192.168.1.1"));
    }

    #[test]
    fn an_address_that_is_granted_as_such_is_reached_wherever_it_stands() {
        let allowed = allowed(&[(false, "127.0.0.1:8080"), (false, "[::1]")], &[]);
        let target = allowed.target(&request("http://127.0.0.1:8080/")).unwrap();
        assert!(allowed.may_reach(&target, "127.0.0.1".parse().unwrap()));
        assert!(!allowed.may_reach(&target, "127.0.0.2".parse().unwrap()));
        assert!(allowed.target(&request("http://[::1]/")).is_ok());
        assert!(allowed.target(&request("http://127.1:8080/")).is_err());
    }
}
