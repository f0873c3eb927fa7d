//! How the cluster is reached: its brokers, the encryption of the connections, and who the host is to it.
//!
//! It must not know how a client is made of this.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::{Secret, is_secret_name};

/// librdkafka's own default of `message.max.bytes`, which brokers accept as they come.
pub(crate) const MESSAGE_MAX_DEFAULT_BYTES: usize = 1_000_000;

/// Connection to the Kafka cluster.
#[derive(Clone, PartialEq)]
pub struct Kafka {
    /// `bootstrap.servers`.
    pub brokers: String,
    /// librdkafka properties passed through, without those the delivery promise depends on.
    pub properties: BTreeMap<String, String>,
    /// Largest record the producers send, in bytes; `message.max.bytes` of librdkafka.
    pub message_max_bytes: usize,
    /// How connections are encrypted; none where they are not, or where `properties` say it.
    pub tls: Option<KafkaTls>,
    /// Who the host is to the cluster; none where it does not say, or where `properties` do.
    pub sasl: Option<Sasl>,
}

impl Kafka {
    /// A cluster about which nothing but its brokers is said.
    pub fn at(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            properties: BTreeMap::new(),
            message_max_bytes: MESSAGE_MAX_DEFAULT_BYTES,
            tls: None,
            sasl: None,
        }
    }

    /// Whether the value of a property must not be printed. Beside what other names tell, librdkafka takes a token in
    /// one whose name does not.
    #[must_use]
    pub fn is_secret_property(name: &str) -> bool {
        is_secret_name(name) || name.contains("oauthbearer.config")
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): (&String, &String)| {
            let hidden = Self::is_secret_property(name);
            let value = if hidden { ".." } else { value.as_str() };
            (name.clone(), value.to_owned())
        };
        let properties: BTreeMap<_, _> = self.properties.iter().map(shown).collect();
        f.debug_struct("Kafka")
            .field("brokers", &self.brokers)
            .field("properties", &properties)
            .field("message_max_bytes", &self.message_max_bytes)
            .field("tls", &self.tls)
            .field("sasl", &self.sasl)
            .finish()
    }
}

/// How connections to the brokers are encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KafkaTls {
    /// The certificates that brokers are checked against; none takes those of the system.
    pub ca: Option<PathBuf>,
    /// What the host shows of itself; none shows nothing.
    pub identity: Option<TlsIdentity>,
    /// What of a broker is checked.
    pub verify: TlsVerify,
}

/// The certificate that the host shows to brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    /// Its chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// What the key is encrypted with.
    pub key_password: Option<Secret>,
}

/// What of a broker's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVerify {
    /// Who signed it, when it is valid, and for which host.
    #[default]
    Full,
    /// All but the host's name.
    Chain,
    /// Nothing: anybody can be the broker.
    Nothing,
}

/// Who the host is to the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sasl {
    /// A user with a password.
    Password {
        /// How the password is shown.
        mechanism: PasswordMechanism,
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
    /// Whoever a bearer token says; `OAUTHBEARER`.
    Bearer(TokenSource),
}

/// How a password is shown to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordMechanism {
    /// As it is.
    Plain,
    /// By a proof that one knows it.
    ScramSha256,
    /// By a proof that one knows it, with the longer hash.
    ScramSha512,
}

/// Where bearer tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// A file that something else keeps fresh.
    File(PathBuf),
    /// An authorization server, by the client credentials of OAuth 2.
    Endpoint(TokenEndpoint),
}

/// An authorization server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenEndpoint {
    /// Its token endpoint, `https:`, or `http:` on a loopback address.
    pub url: String,
    /// Who asks.
    pub client_id: String,
    /// The proof.
    pub client_secret: Secret,
    /// What is asked for; none leaves it to the server.
    pub scope: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_of_a_connection_holds_no_secret() {
        let mut kafka = Kafka::at("b:9092");
        for (name, value) in [
            ("sasl.password", "hunter2"),
            ("ssl.key.pem", "hunter2"),
            ("linger.ms", "5"),
        ] {
            kafka.properties.insert(name.into(), value.into());
        }
        kafka.sasl = Some(Sasl::Password {
            mechanism: PasswordMechanism::Plain,
            username: "u".into(),
            password: Secret::new("hunter2"),
        });
        let printed = format!("{kafka:?}");
        assert!(!printed.contains("hunter2"), "{printed}");
        assert!(printed.contains("linger.ms"), "{printed}");
    }
}
