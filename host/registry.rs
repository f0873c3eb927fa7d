//! Where plugins are fetched from, and pushed to: OCI registries and web servers. What was fetched is kept by its
//! digest, so a host that starts again asks nobody. It must not know what a plugin does, nor when it is loaded.

mod artifact;
mod cache;
mod credentials;
mod error;
mod login;
mod oci;
mod web;

use std::path::PathBuf;

use tokio::runtime::{Builder, Runtime};

use self::artifact::Layer;
use self::cache::Cache;
use self::credentials::Credentials;
pub use self::error::{FetchError, RegistryError};
use self::oci::{Named, Repository, Rights};
use self::web::{Client, Want};
use crate::config::{self, Config, OciReference, Remote, WebReference};
use crate::sandbox::{ComponentFacts, digest_of};

/// The largest component that any configuration can allow, in bytes.
pub const COMPONENT_BYTES_MAX: u64 = 1 << 30;

/// Fetches components and pushes them.
#[derive(Debug)]
pub struct Registry {
    cache: Option<Cache>,
    client: Client,
    credentials: Credentials,
    plain_http: bool,
}

/// A component that was fetched.
#[derive(Debug)]
pub struct Pulled {
    /// What was asked for, pinned to what was found.
    pub pinned: Remote,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// The component.
    pub bytes: Vec<u8>,
}

impl Registry {
    /// Readies what the settings name; nothing is asked yet. `plain_http` sends unencrypted requests to other
    /// machines too, passwords included.
    #[must_use]
    pub fn new(settings: &config::Registry, plain_http: bool) -> Self {
        Self {
            cache: settings.cache.clone().map(Cache::new),
            client: Client::new(),
            credentials: Credentials::of(settings.credentials.clone()),
            plain_http,
        }
    }

    /// The configuration with a file for every component, fetched where it is not in the cache. Every one of them
    /// must be pinned.
    ///
    /// # Errors
    /// Says of the first that is not to be had why, and what to do.
    pub fn provide(&self, config: &Config) -> Result<Config, FetchError> {
        let mut config = config.clone();
        for (name, plugin) in &mut config.plugins {
            let limit = plugin.limits.component_bytes;
            let trial = plugin.trial.as_mut();
            let trial = trial.map(|trial| (&mut trial.path, &mut trial.origin));
            let own = (&mut plugin.path, &mut plugin.origin);
            for (path, origin) in std::iter::once(own).chain(trial) {
                let Some(remote) = &origin.remote else {
                    continue;
                };
                let provided =
                    runtime().and_then(|it| it.block_on(self.provide_one(remote, limit)));
                let (file, digest) = provided.map_err(|source| FetchError {
                    plugin: name.clone(),
                    source: Box::new(source),
                })?;
                (*path, origin.digest) = (file, Some(digest));
            }
        }
        Ok(config)
    }

    /// The file of a component in the cache, and its digest.
    async fn provide_one(
        &self,
        remote: &Remote,
        limit: u64,
    ) -> Result<(PathBuf, String), RegistryError> {
        let cache = self.cache.as_ref().ok_or(RegistryError::NoCache)?;
        let Some(pin) = remote.digest() else {
            return Err(self.not_pinned(remote, limit).await);
        };
        let digest = match remote {
            Remote::Oci(reference) => self.keep_layer(cache, reference, pin, limit).await?,
            Remote::Web(reference) => {
                if cache.read(pin, limit).is_none() {
                    tracing::info!(%remote, "fetching a component");
                    let bytes = self.file(reference, limit).await?;
                    check_digest(remote, pin, &bytes)?;
                    cache.write(pin, &bytes)?;
                }
                pin.to_owned()
            }
        };
        Ok((cache.path(&digest), digest))
    }

    /// Fetches what is not in the cache of an artifact. The manifest is kept too: it leads from the digest that is
    /// written to that of the component.
    async fn keep_layer(
        &self,
        cache: &Cache,
        reference: &OciReference,
        pin: &str,
        limit: u64,
    ) -> Result<String, RegistryError> {
        let mut repository = self.repository(reference, Rights::Pull);
        let manifest = match cache.read(pin, artifact::MANIFEST_BYTES_MAX) {
            Some(manifest) => manifest,
            None => {
                let manifest = repository.manifest(Named::Digest(pin)).await?;
                cache.write(pin, &manifest)?;
                manifest
            }
        };
        let remote = Remote::Oci(reference.clone());
        let layer = layer_of(&remote, &manifest)?;
        if cache.read(&layer.digest, limit).is_none() {
            tracing::info!(%remote, "fetching a component");
            let bytes = repository.blob(&layer, limit).await?;
            check_digest(&remote, &layer.digest, &bytes)?;
            cache.write(&layer.digest, &bytes)?;
        }
        Ok(layer.digest)
    }

    /// What to write instead of a reference that may be something else tomorrow.
    async fn not_pinned(&self, remote: &Remote, limit: u64) -> RegistryError {
        let what = remote.to_string();
        let found = match remote {
            Remote::Oci(reference) => {
                let mut repository = self.repository(reference, Rights::Pull);
                repository.manifest(Named::of(reference)).await
            }
            Remote::Web(reference) => self.file(reference, limit).await,
        };
        match found {
            Ok(bytes) => RegistryError::NotPinned {
                what,
                pinned: remote.pinned_to(&digest_of(&bytes)).to_string(),
            },
            Err(source) => RegistryError::NotPinnedNorFound {
                what,
                source: Box::new(source),
            },
        }
    }

    /// Fetches a component, pinned or not, and keeps it nowhere.
    ///
    /// # Errors
    /// It is not to be had, or it is not what it is pinned to.
    pub fn pull(&self, remote: &Remote, bytes_max: u64) -> Result<Pulled, RegistryError> {
        let (pin, bytes) = runtime()?.block_on(async {
            match remote {
                Remote::Oci(reference) => {
                    let mut repository = self.repository(reference, Rights::Pull);
                    let manifest = repository.manifest(Named::of(reference)).await?;
                    let layer = layer_of(remote, &manifest)?;
                    let bytes = repository.blob(&layer, bytes_max).await?;
                    check_digest(remote, &layer.digest, &bytes)?;
                    Ok((digest_of(&manifest), bytes))
                }
                Remote::Web(reference) => {
                    let bytes = self.file(reference, bytes_max).await?;
                    if let Some(wanted) = &reference.digest {
                        check_digest(remote, wanted, &bytes)?;
                    }
                    Ok((digest_of(&bytes), bytes))
                }
            }
        })?;
        Ok(Pulled {
            pinned: remote.pinned_to(&pin),
            digest: digest_of(&bytes),
            bytes,
        })
    }

    /// Whether a component is to be had, whatever the cache holds. Of an artifact only the manifest is fetched.
    ///
    /// # Errors
    /// It is not, and why.
    pub fn ask(&self, remote: &Remote, bytes_max: u64) -> Result<(), RegistryError> {
        runtime()?.block_on(async {
            match remote {
                Remote::Oci(reference) => {
                    let mut repository = self.repository(reference, Rights::Pull);
                    let manifest = repository.manifest(Named::of(reference)).await?;
                    layer_of(remote, &manifest).map(drop)
                }
                Remote::Web(reference) => self.file(reference, bytes_max).await.map(drop),
            }
        })
    }

    /// Pushes a component to the tag of a reference, and says what it is pinned by. The same component is the same
    /// artifact.
    ///
    /// # Errors
    /// The registry does not take it, and why.
    pub fn push(
        &self,
        to: &OciReference,
        component: &[u8],
        facts: &ComponentFacts,
    ) -> Result<Remote, RegistryError> {
        let made = artifact::Artifact::of(component, facts);
        runtime()?.block_on(async {
            let mut repository = self.repository(to, Rights::Push);
            repository.put_blob(component).await?;
            repository.put_blob(&made.config).await?;
            repository.put_manifest(&made.manifest).await
        })?;
        let digest = digest_of(&made.manifest);
        Ok(Remote::Oci(to.clone()).pinned_to(&digest))
    }

    fn repository<'a>(&'a self, reference: &'a OciReference, rights: Rights) -> Repository<'a> {
        let plain = self.plain_http || config::is_loopback(&reference.host);
        Repository::new(&self.client, &self.credentials, reference, plain, rights)
    }

    async fn file(&self, from: &WebReference, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let want = Want {
            what: Remote::Web(from.clone()).to_string(),
            bytes_max: limit,
        };
        self.client.file(&from.url, &want).await
    }
}

/// One component is fetched after the other, by whoever waits for it, so a thread is enough.
fn runtime() -> Result<Runtime, RegistryError> {
    let made = Builder::new_current_thread().enable_all().build();
    made.map_err(|error| RegistryError::Host(error.to_string()))
}

fn layer_of(remote: &Remote, manifest: &[u8]) -> Result<Layer, RegistryError> {
    artifact::layer(manifest).map_err(|why| RegistryError::Unusable {
        what: remote.to_string(),
        why,
    })
}

fn check_digest(remote: &Remote, wanted: &str, bytes: &[u8]) -> Result<(), RegistryError> {
    let found = digest_of(bytes);
    if found == wanted {
        return Ok(());
    }
    Err(RegistryError::Digest {
        what: remote.to_string(),
        wanted: wanted.to_owned(),
        found,
    })
}
