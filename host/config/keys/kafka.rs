//! The keys of `kafka`.

use super::Unless::{Depends, Is, Nothing, Required};
use super::{Key, Kind, NAME, OFF, key, secret};

const TLS: &[Key] = &[
    key(
        "ca",
        Kind::Path,
        Depends("the system's"),
        "The certificates that brokers are checked against, PEM.",
    ),
    key(
        "cert",
        Kind::Path,
        Nothing,
        "The host's own certificates, PEM; goes with `key`.",
    ),
    key(
        "key",
        Kind::Path,
        Nothing,
        "The private key of the host's certificate, PEM.",
    ),
    secret("key_password", Nothing, "What the key is encrypted with."),
    key(
        "verify",
        Kind::Choice(&["full", "chain", "none"]),
        Is("full"),
        "What of a broker is checked: its certificate and its name, the certificate alone, or nothing.",
    ),
];

const TOKEN: &[Key] = &[
    key(
        "file",
        Kind::Path,
        Nothing,
        "A file with a token, which something else keeps fresh.",
    ),
    key(
        "url",
        NAME,
        Nothing,
        "In place of a file, the token endpoint of an authorization server.",
    ),
    key("client_id", NAME, Nothing, "Who asks the token endpoint."),
    secret("client_secret", Nothing, "What proves who asks."),
    key("scope", NAME, Nothing, "What is asked for."),
];

const SASL: &[Key] = &[
    key(
        "mechanism",
        Kind::Choice(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]),
        Required,
        "How the host logs in.",
    ),
    key(
        "username",
        NAME,
        Nothing,
        "As whom; required but for OAUTHBEARER.",
    ),
    secret(
        "password",
        Nothing,
        "The password; required but for OAUTHBEARER.",
    ),
    key(
        "token",
        Kind::Section(TOKEN),
        Nothing,
        "Where bearer tokens come from; required for OAUTHBEARER.",
    ),
];

pub(super) const KAFKA: &[Key] = &[
    key(
        "brokers",
        NAME,
        Depends("the variable KAFKA_BOOTSTRAP_SERVERS"),
        "`host:port`, several with commas between.",
    ),
    key(
        "tls",
        Kind::Either(&OFF, &Kind::Section(TLS)),
        Nothing,
        "How connections are encrypted; `off` says that they are not.",
    ),
    key(
        "sasl",
        Kind::Section(SASL),
        Nothing,
        "Who the host is to the cluster.",
    ),
    key(
        "properties",
        Kind::Named("PROPERTY", &Kind::Text),
        Nothing,
        "Properties of librdkafka, passed through.",
    ),
    key(
        "message_max",
        Kind::Size("16KiB", "1GB"),
        Is("1000000B"),
        "The largest record that is sent; not above what the topics accept.",
    ),
];
