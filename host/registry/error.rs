//! Why a component cannot be fetched or pushed, and what to do about it. It must not know how that is done.

use std::path::PathBuf;

/// Why the component of a plugin cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("plugin {plugin}: {source}")]
pub struct FetchError {
    /// Its name in the configuration.
    pub plugin: String,
    /// Why.
    pub source: Box<RegistryError>,
}

/// Why a component cannot be fetched or pushed. `what` is the reference, as it was written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum RegistryError {
    #[error(
        "{what} is not pinned, and could be another component at the next start; what it is now is pinned as \
         `path: {pinned}`"
    )]
    NotPinned { what: String, pinned: String },
    #[error(
        "{what} is not pinned, and could be another component at the next start: add its digest. What it is now \
         could not be found out: {source}"
    )]
    NotPinnedNorFound {
        what: String,
        source: Box<RegistryError>,
    },
    #[error(
        "{what}: {host} wants to know who asks (status {status}{told}); log in with `docker login {host}`, or put a \
         user name and password for {host} into {place}"
    )]
    LoginNeeded {
        what: String,
        host: String,
        status: u16,
        told: String,
        place: String,
    },
    #[error(
        "{what}: {host} refuses {user} (status {status}{told}); check the password in {place}, and what the user \
         may do there"
    )]
    Refused {
        what: String,
        host: String,
        user: String,
        status: u16,
        told: String,
        place: String,
    },
    #[error(
        "{what}: there is nothing of that name (status 404{told}); check the name, the tag and the digest"
    )]
    NotFound { what: String, told: String },
    #[error("{what}: {host} cannot be reached: {message}")]
    Away {
        what: String,
        host: String,
        message: String,
    },
    #[error("{what}: {host} answered with status {status}{told}")]
    Answered {
        what: String,
        host: String,
        status: u16,
        told: String,
    },
    #[error("{what}: {host} answered what is no answer: {message}")]
    Malformed {
        what: String,
        host: String,
        message: String,
    },
    #[error(
        "{what}: what came has the digest sha256:{found} and not sha256:{wanted}, so it is not used; it was changed, \
         or the digest is that of something else"
    )]
    Digest {
        what: String,
        wanted: String,
        found: String,
    },
    #[error(
        "{what}: more than the {limit} bytes that it may have (`limits.component_size` of the plugin)"
    )]
    TooLarge { what: String, limit: u64 },
    #[error("{what}: no component for this host: {why}")]
    Unusable { what: String, why: String },
    #[error(
        "there is no folder to keep components in: set `registry.cache`, or the variable XDG_CACHE_HOME or HOME"
    )]
    NoCache,
    #[error("{}: {source}; name a folder that the host may write as `registry.cache`", path.display())]
    Cache {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {message}", path.display())]
    Credentials { path: PathBuf, message: String },
    #[error("{0}")]
    Host(String),
}

impl RegistryError {
    /// Whether trying again later may help.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Away { .. } | Self::Malformed { .. } | Self::Host(_) => true,
            Self::Answered { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}
