//! Encrypted connections to other servers, which are checked against the certificates that the system trusts. It must
//! not know what is asked of them.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A connector that trusts what the system trusts, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
///
/// # Errors
/// The system has no certificates, so no server could be trusted.
pub(crate) fn connector() -> Result<TlsConnector, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _unusable) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        return Err(
            "no root certificates were found to check servers against: install ca-certificates, or \
             name a file in SSL_CERT_FILE"
                .to_owned(),
        );
    }
    trusting(roots)
}

/// The same, or a connector that trusts nothing but what a file of certificates (PEM) says.
///
/// # Errors
/// The file cannot be read, or there is no certificate in it; or the system has none.
pub(crate) fn connector_to(trusted: Option<&Path>) -> Result<TlsConnector, String> {
    let Some(file) = trusted else {
        return connector();
    };
    let refused =
        |why: String| format!("no certificates can be read from {}: {why}", file.display());
    let certificates = CertificateDer::pem_file_iter(file);
    let certificates = certificates.map_err(|error| refused(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        let added = roots.add(certificate);
        added.map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refused("there is none in it".to_owned()));
    }
    trusting(roots)
}

/// [`connector_to`] a server that speaks HTTP/2 alone.
///
/// # Errors
/// As there.
pub(crate) fn connector_for_http2(trusted: Option<&Path>) -> Result<TlsConnector, String> {
    let mut config = ClientConfig::clone(connector_to(trusted)?.config());
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn trusting(roots: RootCertStore) -> Result<TlsConnector, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// An encrypted connection to the server at `address`, for a thread that may block. It trusts the authorities of one
/// PEM file, and the server's certificate has to name the address.
///
/// # Errors
/// The file holds no certificate, or TLS cannot be set up. A server that is not trusted shows with the first read.
pub(crate) fn blocking(
    stream: std::net::TcpStream,
    address: IpAddr,
    authorities: &Path,
) -> std::io::Result<StreamOwned<ClientConnection, std::net::TcpStream>> {
    let connector = connector_to(Some(authorities)).map_err(std::io::Error::other)?;
    let config = Arc::clone(connector.config());
    let name = ServerName::from(address);
    let session = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
    Ok(StreamOwned::new(session, stream))
}

/// The name that a server's certificate has to hold.
///
/// # Errors
/// No server can be called so.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    ServerName::try_from(name.to_owned())
}

/// Whether it is the server's certificate that is not trusted.
pub(crate) fn is_about_certificate(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|e| e.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    /// Connects to a server that shows a certificate for `server.test`, as if it had this name.
    fn connect(trusted: bool, name: &str) -> Result<(), std::io::Error> {
        let made = rcgen::generate_simple_self_signed(["server.test".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        if trusted {
            roots.add(made.cert.der().clone()).unwrap();
        }
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                TlsAcceptor::from(Arc::new(config))
                    .accept(stream)
                    .await
                    .map(drop)
            });
            let stream = TcpStream::connect(address).await.unwrap();
            let connector = trusting(roots).unwrap();
            connector
                .connect(server_name(name).unwrap(), stream)
                .await
                .map(drop)
        })
    }

    #[test]
    fn a_server_is_trusted_by_its_certificate_and_its_name() {
        connect(true, "server.test").unwrap();
        for (trusted, name) in [
            (false, "server.test"),
            (true, "other.test"),
            (true, "127.0.0.1"),
        ] {
            let error = connect(trusted, name).unwrap_err();
            assert!(is_about_certificate(&error), "{trusted} {name}: {error}");
        }
    }
}
