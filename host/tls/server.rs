//! TLS towards clients, with certificates that are read again when their files change.
//!
//! A new certificate that does not fit its key, or a file that cannot be read, is refused with a warning, and what
//! served before serves on. It must not know what is spoken over the connections.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::config;
use crate::watched::{LOOK_EVERY, Stamp, WatchedFile};

/// What HTTP/2 and HTTP/1.1 are called in a handshake.
pub(crate) const HTTP2: &[u8] = b"h2";
/// See [`HTTP2`].
pub(crate) const HTTP1: &[u8] = b"http/1.1";

/// Why connections cannot be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{file} cannot be read as PEM: {source}", file = .path.display())]
    Unreadable { path: PathBuf, source: pem::Error },
    #[error("{file} holds no certificate; it should begin with -----BEGIN CERTIFICATE-----", file = .0.display())]
    NoCertificate(PathBuf),
    #[error("the certificate {shown} cannot be used with the key {own}: {source}", shown = .cert.display(), own = .key.display())]
    Unusable {
        cert: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
    #[error("{file} cannot be used to check the certificates of clients: {source}", file = .path.display())]
    ClientCa {
        path: PathBuf,
        source: VerifierBuilderError,
    },
    #[error("the files of certificates cannot be watched: {0}")]
    Watch(std::io::Error),
}

/// Encrypts the connections of one server. Copies share the certificates.
#[derive(Clone)]
pub(crate) struct ServerTls {
    current: Arc<RwLock<TlsAcceptor>>,
    // The thread that watches ends when nobody can send any more.
    _stop: Sender<()>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads the certificates, and watches their files from now on. `protocols` are offered in this order.
    ///
    /// # Errors
    /// A file cannot be read, or what is in it does not fit together.
    pub(crate) fn start(
        settings: &config::ServerTls,
        protocols: &'static [&'static [u8]],
    ) -> Result<Self, TlsError> {
        let settings = settings.clone();
        let mut files = files(&settings);
        let current = Arc::new(RwLock::new(acceptor(&settings, protocols)?));
        // Nothing is ever sent.
        let (stop, stopped) = bounded::<()>(0);
        let shared = Arc::clone(&current);
        thread::Builder::new()
            .name("certificates".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                    if !any_is_due(&mut files) {
                        continue;
                    }
                    let cert = settings.cert.display();
                    match acceptor(&settings, protocols) {
                        Ok(new) => {
                            *shared.write().unwrap_or_else(PoisonError::into_inner) = new;
                            tracing::info!(%cert, "certificates changed, and serve from now on");
                        }
                        Err(error) => {
                            tracing::warn!(%cert, %error, "changed certificates refused; the ones before serve on");
                        }
                    }
                }
            })
            .map_err(TlsError::Watch)?;
        Ok(Self {
            current,
            _stop: stop,
        })
    }

    /// Shakes hands with a client. The time for that is the caller's to limit.
    ///
    /// # Errors
    /// The client speaks no TLS, goes away, or does not show the certificate that is asked for.
    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let acceptor = self.current.read();
        let accepting = acceptor
            .unwrap_or_else(PoisonError::into_inner)
            .accept(stream);
        accepting.await
    }
}

type Files = Vec<(PathBuf, WatchedFile)>;

fn files(settings: &config::ServerTls) -> Files {
    let paths = [&settings.cert, &settings.key]
        .into_iter()
        .chain(&settings.client_ca);
    // The state is noted before the files are read, so that a change in between is seen.
    let noted = |path: &PathBuf| (path.clone(), WatchedFile::taken(Stamp::of(path)));
    paths.map(noted).collect()
}

/// Whether one of them has come to rest in a new state. All of them count as tried then, as they are read together.
fn any_is_due(files: &mut Files) -> bool {
    let mut is_due = false;
    for (path, file) in files {
        let now = Stamp::of(path);
        if file.is_due(now) {
            file.tried = now;
            is_due = true;
        }
    }
    is_due
}

fn acceptor(settings: &config::ServerTls, protocols: &[&[u8]]) -> Result<TlsAcceptor, TlsError> {
    let chain = certificates(&settings.cert)?;
    let key =
        PrivateKeyDer::from_pem_file(&settings.key).map_err(|source| TlsError::Unreadable {
            path: settings.key.clone(),
            source,
        })?;
    let unusable = |source| TlsError::Unusable {
        cert: settings.cert.clone(),
        key: settings.key.clone(),
        source,
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority).map_err(unusable)?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            let path = path.clone();
            let verifier = verifier.map_err(|source| TlsError::ClientCa { path, source })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let found = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    Ok(found)
}
