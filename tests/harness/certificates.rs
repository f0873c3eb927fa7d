//! Authorities and the certificates that they sign, as files that a server is configured with, and connections that
//! trust them. It knows nothing of the host.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Who signs certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Signed {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("it is sound");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it can sign itself");
        Self { issuer }
    }

    /// A certificate for a server at this address.
    pub(crate) fn server(&self, address: IpAddr) -> Signed {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("it is sound");
        params.subject_alt_names = vec![SanType::IpAddress(address)];
        self.sign(params)
    }

    /// A certificate for a client.
    pub(crate) fn client(&self, name: &str) -> Signed {
        self.sign(CertificateParams::new(vec![name.to_owned()]).expect("it is sound"))
    }

    /// A certificate for a client, whose time is over.
    pub(crate) fn expired_client(&self, name: &str) -> Signed {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("it is sound");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        self.sign(params)
    }

    /// A certificate for a server at 127.0.0.1, whose time is over.
    pub(crate) fn expired_server(&self) -> Signed {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("it is sound");
        params.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Signed {
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &*self.issuer);
        Signed {
            certificate: certificate.expect("it can be signed").der().clone(),
            key: key.serialize_der(),
        }
    }

    /// Writes its own certificate to a file.
    pub(crate) fn write(&self, file: &Path) -> PathBuf {
        write(file, "CERTIFICATE", self.issuer.der());
        file.to_owned()
    }

    /// Connects, trusts this authority, and shows a certificate where there is one.
    pub(crate) fn connector(&self, shown: Option<&Signed>, protocol: &str) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("it is sound");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("there are versions")
            .with_root_certificates(roots);
        let mut config = match shown {
            None => config.with_no_client_auth(),
            Some(signed) => {
                let key = PrivateKeyDer::try_from(signed.key.clone()).expect("it is a key");
                let chain = vec![signed.certificate.clone()];
                config
                    .with_client_auth_cert(chain, key)
                    .expect("they fit together")
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

impl Signed {
    /// Writes `tls.crt` and `tls.key` to a folder, each at once.
    pub(crate) fn write(&self, folder: &Path) {
        self.write_certificate(folder);
        write(&folder.join("tls.key"), "PRIVATE KEY", &self.key);
    }

    /// Writes `tls.crt` alone.
    pub(crate) fn write_certificate(&self, folder: &Path) {
        write(&folder.join("tls.crt"), "CERTIFICATE", &self.certificate);
    }

    /// Takes encrypted connections as the server that it was made for.
    pub(crate) fn acceptor(&self, protocols: &[&str]) -> TlsAcceptor {
        let key = PrivateKeyDer::try_from(self.key.clone()).expect("it is a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("there are versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key);
        let mut config = config.expect("they fit together");
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }
}

/// Writes PEM beside the file and moves it there, so that nobody reads half of it.
pub(crate) fn write(file: &Path, label: &str, der: &[u8]) {
    let coded = STANDARD.encode(der);
    let lines: Vec<&str> = coded
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("it is ASCII"))
        .collect();
    let text = format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    );
    let new = file.with_extension("new");
    fs::write(&new, text).expect("the folder can be written");
    fs::rename(&new, file).expect("the folder can be written");
}
