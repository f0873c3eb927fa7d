//! The security of connections as librdkafka takes it, and what a refused connection means.
//!
//! It must not know where tokens come from.

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

use super::KafkaError;
use crate::config::{self, KafkaTls, PasswordMechanism, Sasl, TlsVerify};

/// Sets how connections are encrypted and who the host is, where the configuration says it.
pub(super) fn apply(kafka: &config::Kafka, settings: &mut ClientConfig) {
    let protocol = match (&kafka.tls, &kafka.sasl) {
        (None, None) => return,
        (Some(_), None) => "ssl",
        (Some(_), Some(_)) => "sasl_ssl",
        (None, Some(_)) => "sasl_plaintext",
    };
    settings.set("security.protocol", protocol);
    if let Some(tls) = &kafka.tls {
        encrypt(tls, settings);
    }
    match &kafka.sasl {
        Some(Sasl::Password {
            mechanism,
            username,
            password,
        }) => {
            settings
                .set("sasl.mechanism", name(*mechanism))
                .set("sasl.username", username)
                .set("sasl.password", password.reveal());
        }
        Some(Sasl::Bearer(_)) => {
            settings.set("sasl.mechanism", "OAUTHBEARER");
        }
        None => {}
    }
}

fn encrypt(tls: &KafkaTls, settings: &mut ClientConfig) {
    let (certificate, host) = match tls.verify {
        TlsVerify::Full => ("true", "https"),
        TlsVerify::Chain => ("true", "none"),
        TlsVerify::Nothing => ("false", "none"),
    };
    // Said outright, so that no default of another version switches it off.
    settings
        .set("enable.ssl.certificate.verification", certificate)
        .set("ssl.endpoint.identification.algorithm", host);
    if let Some(ca) = &tls.ca {
        settings.set("ssl.ca.location", ca.to_string_lossy());
    }
    if let Some(identity) = &tls.identity {
        settings
            .set("ssl.certificate.location", identity.cert.to_string_lossy())
            .set("ssl.key.location", identity.key.to_string_lossy());
        if let Some(password) = &identity.key_password {
            settings.set("ssl.key.password", password.reveal());
        }
    }
}

fn name(mechanism: PasswordMechanism) -> &'static str {
    match mechanism {
        PasswordMechanism::Plain => "PLAIN",
        PasswordMechanism::ScramSha256 => "SCRAM-SHA-256",
        PasswordMechanism::ScramSha512 => "SCRAM-SHA-512",
    }
}

/// What librdkafka does not accept, without the value where it is a secret.
pub(super) fn refused(error: ClientError) -> KafkaError {
    KafkaError::Settings(match error {
        ClientError::ClientConfig(result, what, name, _)
            if config::Kafka::is_secret_property(&name) =>
        {
            ClientError::ClientConfig(result, what, name, "(not shown)".to_owned())
        }
        error => error,
    })
}

/// A complaint of librdkafka that no waiting mends: the two sides do not accept each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The encrypted connection was not made.
    Tls(String),
    /// The login was refused.
    Login(String),
}

impl Refusal {
    /// The refusal that an error stands for, if it stands for one.
    pub(super) fn of(code: Option<Code>, reason: &str) -> Option<Self> {
        match code? {
            Code::SSL => Some(Self::Tls(readable(reason))),
            Code::Authentication => Some(Self::Login(readable(reason))),
            // Since TLS 1.3 a broker says only after the handshake that it wanted a certificate.
            Code::BrokerTransportFailure if reason.contains("SSL routines") => {
                Some(Self::Tls(readable(reason)))
            }
            _ => None,
        }
    }

    /// The refusal that it stands for when a broker hangs up again and again, as a line of the log says: it speaks
    /// another `security.protocol` and cannot say so.
    pub(super) fn of_hanging_up(protocol: &str, line: &str) -> Option<Self> {
        let in_state = |state: &str| line.contains(&format!("in state {state}"));
        if in_state("APIVERSION_QUERY") && !protocol.ends_with("ssl") {
            let reason =
                "it hangs up on what is not encrypted, and kafka.tls does not say how to encrypt";
            return Some(Self::Tls(reason.to_owned()));
        }
        if in_state("UP") && !protocol.starts_with("sasl") {
            let reason = "it hangs up on who does not log in, and kafka.sasl does not say how to";
            return Some(Self::Login(reason.to_owned()));
        }
        None
    }

    pub(super) fn error(self, brokers: &str) -> KafkaError {
        let brokers = brokers.to_owned();
        match self {
            Self::Tls(reason) => KafkaError::NotTrusted { brokers, reason },
            Self::Login(reason) => KafkaError::NotLoggedIn { brokers, reason },
        }
    }
}

/// librdkafka's reason without its own advice, which names properties, and without counters.
fn readable(reason: &str) -> String {
    let ends = [
        " (after ",
        ", verify that ",
        ": client SSL authentication might",
    ];
    let end = ends.iter().filter_map(|end| reason.find(end)).min();
    reason[..end.unwrap_or(reason.len())].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_librdkafka_says_is_told_without_its_properties() {
        let said = "ssl://b:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: \
                    broker certificate could not be verified, verify that ssl.ca.location is correctly configured (after \
                    5ms in state SSL_HANDSHAKE)";
        let refusal = Refusal::of(Some(Code::SSL), said);
        let told = "ssl://b:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: \
                    broker certificate could not be verified";
        assert_eq!(refusal, Some(Refusal::Tls(told.to_owned())));
        assert_eq!(
            Refusal::of(Some(Code::BrokerTransportFailure), "Connection refused"),
            None
        );
        let line = |state| {
            format!(
                "b:1/bootstrap: Disconnected: connection closed by peer (after 3ms in state {state})"
            )
        };
        let hung_up = |protocol, state| Refusal::of_hanging_up(protocol, &line(state));
        assert!(matches!(hung_up("ssl", "UP"), Some(Refusal::Login(_))));
        assert!(matches!(
            hung_up("plaintext", "APIVERSION_QUERY"),
            Some(Refusal::Tls(_))
        ));
        assert_eq!(hung_up("sasl_ssl", "UP"), None);
    }

    #[test]
    fn a_property_that_is_refused_does_not_show_a_secret() {
        let error = |name: &str| {
            let result = rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID;
            refused(ClientError::ClientConfig(
                result,
                "no good".into(),
                name.into(),
                "hunter2".into(),
            ))
            .to_string()
        };
        assert!(!error("sasl.password").contains("hunter2"));
        assert!(error("linger.ms").contains("hunter2"));
    }
}
