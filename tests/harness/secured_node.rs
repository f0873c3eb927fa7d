//! A Kafka node whose clients must encrypt, show a certificate, or log in, each on a port of its own; and the
//! certificates and secrets that go with it. It must not know what the tests do with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::{Value, json};

use super::kafka::{Listener, Node};
use super::process;

/// The only user of the node.
pub(crate) const USER: &str = "ada";

/// The user's password, for every mechanism.
pub(crate) const PASSWORD: &str = "correct-horse-7";

/// How long the node takes a token for good, in milliseconds, whatever the token says: the client must log in again
/// on its open connection.
const REAUTHENTICATE_MS: u32 = 3_000;

/// The node, and where its doors are.
#[derive(Debug)]
pub(crate) struct Secured {
    node: Node,
    folder: PathBuf,
    /// Encrypted.
    pub(crate) tls: u16,
    /// Encrypted, and the client shows a certificate.
    pub(crate) mutual: u16,
    /// Encrypted, by a certificate whose time is over.
    pub(crate) expired: u16,
    /// In the clear, with a login.
    pub(crate) login: u16,
    /// Encrypted, with a login.
    pub(crate) secure: u16,
}

/// The node that all tests share.
pub(crate) fn shared() -> &'static Secured {
    static SHARED: LazyLock<Secured> = LazyLock::new(Secured::start);
    &SHARED
}

impl Secured {
    fn start() -> Self {
        let folder = process::folder("secured");
        write_certificates(&folder);
        let [tls, mutual, expired, login, secure] = std::array::from_fn(|_| process::free_port());
        let listener = |name: &'static str, protocol: &'static str, port: u16| Listener {
            name,
            protocol,
            port,
        };
        let listeners = [
            listener("TLS", "SSL", tls),
            listener("MUTUAL", "SSL", mutual),
            listener("EXPIRED", "SSL", expired),
            listener("LOGIN", "SASL_PLAINTEXT", login),
            listener("SECURE", "SASL_SSL", secure),
        ];
        let node = Node::start_secured(&listeners, &properties(&folder), &scram_users());
        Self {
            node,
            folder,
            tls,
            mutual,
            expired,
            login,
            secure,
        }
    }

    /// The way past all doors, for looking at what is there.
    pub(crate) fn brokers(&self) -> String {
        self.node.brokers()
    }

    /// A file of the folder: `ca.pem`, `other-ca.pem`, `client.pem`, `client.key`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn scram_users() -> Vec<String> {
    ["SCRAM-SHA-256", "SCRAM-SHA-512"]
        .iter()
        .flat_map(|mechanism| {
            let user = format!("{mechanism}=[name={USER},password={PASSWORD}]");
            ["--add-scram".to_owned(), user]
        })
        .collect()
}

/// What the node is told of its doors.
fn properties(folder: &Path) -> String {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut text = format!(
        "ssl.keystore.type=PEM\nssl.keystore.location={}\nssl.truststore.type=PEM\nssl.truststore.location={}\n\
         listener.name.mutual.ssl.client.auth=required\n\
         listener.name.expired.ssl.keystore.type=PEM\nlistener.name.expired.ssl.keystore.location={}\n",
        file("broker.pem"),
        file("ca.pem"),
        file("expired.pem"),
    );
    let module = "org.apache.kafka.common.security";
    for door in ["login", "secure"] {
        let door = format!("listener.name.{door}");
        text.push_str(&format!(
            "{door}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER\n\
             {door}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n\
             {door}.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;\n\
             {door}.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;\n\
             {door}.oauthbearer.sasl.jaas.config={module}.oauthbearer.OAuthBearerLoginModule required \
             unsecuredLoginStringClaim_sub=\"broker\";\n\
             {door}.oauthbearer.connections.max.reauth.ms={REAUTHENTICATE_MS}\n"
        ));
    }
    text
}

fn write_certificates(folder: &Path) {
    let ca = authority("millrace test authority");
    let other = authority("somebody else");
    let write = |name: &str, text: String| {
        fs::write(folder.join(name), text).expect("the folder can be written")
    };
    write("ca.pem", ca.1.clone());
    write("other-ca.pem", other.1);
    for (name, expired) in [("broker", false), ("expired", true)] {
        let (cert, key) = signed("localhost", &ca.0, expired);
        write(&format!("{name}.pem"), format!("{key}{cert}{}", ca.1));
    }
    let (cert, key) = signed("client", &ca.0, false);
    write("client.pem", cert);
    write("client.key", key);
}

/// Who signs certificates, and its own as PEM.
fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key can be made");
    let cert = params.self_signed(&key).expect("it can be signed");
    (Issuer::new(params, key), pem("CERTIFICATE", cert.der()))
}

/// A certificate for a name and its key, as PEM.
fn signed(name: &str, by: &Issuer<'static, KeyPair>, expired: bool) -> (String, String) {
    let mut params = CertificateParams::new([name.to_owned()]).expect("it is a name");
    params.not_before = date_time_ymd(2020, 1, 1);
    if expired {
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate().expect("a key can be made");
    let cert = params.signed_by(&key, by).expect("it can be signed");
    (
        pem("CERTIFICATE", cert.der()),
        pem("PRIVATE KEY", &key.serialize_der()),
    )
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("it is ASCII"))
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// An unsecured JSON web token, as the node takes it, good for so many seconds.
pub(crate) fn token(seconds: u64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is after 1970")
        .as_secs();
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let claims = json!({ "sub": USER, "iat": now, "exp": now + seconds });
    format!("{}.{}.", part(json!({ "alg": "none" })), part(claims))
}
