//! One repository of an OCI registry: manifests and blobs, both ways, and logging in where the registry asks for it.
//! It must not know what they mean.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::uri::Scheme;
use http::{HeaderValue, Request, StatusCode, Uri};
use hyper::body::Bytes;
use serde_json::Value;

use super::RegistryError;
use super::artifact::{Layer, MANIFEST_BYTES_MAX, MANIFEST_TYPE};
use super::credentials::{Credentials, Login};
use super::login::{Challenge, Parameters};
use super::web::{Answer, Client, Want, host_of, malformed, same_server};
use crate::config::{OciReference, Remote};
use crate::sandbox::digest_of;

/// The tag where none is written.
const TAG_DEFAULT: &str = "latest";

/// Larger than any token with all of its claims.
const TOKEN_BYTES_MAX: u64 = 1 << 20;

/// What is to be done in the repository; tokens are made for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    Pull,
    Push,
}

/// How a manifest is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Named<'a> {
    /// SHA-256, in hexadecimal.
    Digest(&'a str),
    Tag(&'a str),
}

impl<'a> Named<'a> {
    pub(super) fn of(reference: &'a OciReference) -> Self {
        match &reference.digest {
            Some(digest) => Self::Digest(digest),
            None => Self::Tag(tag_of(reference)),
        }
    }
}

pub(super) fn tag_of(reference: &OciReference) -> &str {
    reference.tag.as_deref().unwrap_or(TAG_DEFAULT)
}

pub(super) struct Repository<'a> {
    client: &'a Client,
    credentials: &'a Credentials,
    reference: &'a OciReference,
    scheme: &'static str,
    rights: Rights,
    /// The reference as it was written, for messages.
    what: String,
    /// What the registry is shown once it has asked.
    authorization: Option<HeaderValue>,
    /// Who was shown; none where the registry lets everyone in.
    login: Option<Login>,
}

impl<'a> Repository<'a> {
    pub(super) fn new(
        client: &'a Client,
        credentials: &'a Credentials,
        reference: &'a OciReference,
        plain: bool,
        rights: Rights,
    ) -> Self {
        Self {
            client,
            credentials,
            reference,
            scheme: if plain { "http" } else { "https" },
            rights,
            what: Remote::Oci(reference.clone()).to_string(),
            authorization: None,
            login: None,
        }
    }

    /// A manifest, which has the digest that it was asked for by.
    pub(super) async fn manifest(&mut self, named: Named<'_>) -> Result<Vec<u8>, RegistryError> {
        let name = match named {
            Named::Digest(digest) => format!("sha256:{digest}"),
            Named::Tag(tag) => tag.to_owned(),
        };
        let url = self.url(&format!("manifests/{name}"))?;
        let request = || Request::get(&url).header(ACCEPT, MANIFEST_TYPE);
        let answer = self.call(|| request().body(Bytes::new())).await?;
        if answer.response.status() != StatusCode::OK {
            return Err(answer.refusal(&self.what).await);
        }
        let manifest = answer.body(&self.want(MANIFEST_BYTES_MAX)).await;
        let manifest = manifest.map_err(|error| match error {
            RegistryError::TooLarge { what, limit } => RegistryError::Unusable {
                what,
                why: format!("its manifest has more than {limit} bytes"),
            },
            error => error,
        })?;
        match (named, digest_of(&manifest)) {
            (Named::Digest(wanted), found) if wanted != found => Err(RegistryError::Digest {
                what: self.what.clone(),
                wanted: wanted.to_owned(),
                found,
            }),
            _ => Ok(manifest),
        }
    }

    /// What a layer holds, unchecked.
    pub(super) async fn blob(
        &mut self,
        layer: &Layer,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let want = self.want(limit);
        if layer.bytes > limit {
            let what = want.what;
            return Err(RegistryError::TooLarge { what, limit });
        }
        let url = self.url(&format!("blobs/sha256:{}", layer.digest))?;
        let answer = self.call(|| Request::get(&url).body(Bytes::new())).await?;
        let authorization = self.authorization.as_ref();
        let answer = self
            .client
            .follow(answer, authorization, &self.what)
            .await?;
        if answer.response.status() != StatusCode::OK {
            return Err(answer.refusal(&self.what).await);
        }
        answer.body(&want).await
    }

    /// Puts bytes there, unless they are.
    pub(super) async fn put_blob(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        let digest = digest_of(bytes);
        let url = self.url(&format!("blobs/sha256:{digest}"))?;
        let found = self.call(|| Request::head(&url).body(Bytes::new())).await?;
        if found.response.status() == StatusCode::OK {
            return Ok(());
        }
        let url = self.url("blobs/uploads/")?;
        let begun = self.call(|| Request::post(&url).body(Bytes::new())).await?;
        if begun.response.status() != StatusCode::ACCEPTED {
            return Err(begun.refusal(&self.what).await);
        }
        let to = begun.location(&self.what)?;
        let separator = if to.query().is_some() { '&' } else { '?' };
        let to = format!("{to}{separator}digest=sha256:{digest}");
        let to: Uri = to
            .parse()
            .map_err(|error| malformed(&self.what, &self.reference.host, &error))?;
        let bytes = Bytes::copy_from_slice(bytes);
        let request = || Request::put(&to).header(CONTENT_TYPE, "application/octet-stream");
        self.create(|| request().body(bytes.clone())).await
    }

    pub(super) async fn put_manifest(&mut self, manifest: &[u8]) -> Result<(), RegistryError> {
        let url = self.url(&format!("manifests/{}", tag_of(self.reference)))?;
        let manifest = Bytes::copy_from_slice(manifest);
        let request = || Request::put(&url).header(CONTENT_TYPE, MANIFEST_TYPE);
        self.create(|| request().body(manifest.clone())).await
    }

    async fn create(
        &mut self,
        request: impl Fn() -> http::Result<Request<Bytes>>,
    ) -> Result<(), RegistryError> {
        let answer = self.call(request).await?;
        match answer.response.status() {
            StatusCode::CREATED => Ok(()),
            _ => Err(answer.refusal(&self.what).await),
        }
    }

    /// Sends a request, and logs in where the registry asks for it. The answer is none of "who are you".
    async fn call(
        &mut self,
        request: impl Fn() -> http::Result<Request<Bytes>>,
    ) -> Result<Answer, RegistryError> {
        loop {
            let request = request();
            let mut request =
                request.map_err(|error| malformed(&self.what, &self.reference.host, &error))?;
            let home = self.url("")?;
            if let Some(authorization) = &self.authorization
                && same_server(request.uri(), &home)
            {
                let headers = request.headers_mut();
                headers.insert(AUTHORIZATION, authorization.clone());
            }
            let answer = self.client.send(request, &self.what).await?;
            let status = answer.response.status();
            if status == StatusCode::UNAUTHORIZED && self.authorization.is_none() {
                self.log_in(answer).await?;
                continue;
            }
            if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                return Err(self.turned_away(answer).await);
            }
            return Ok(answer);
        }
    }

    /// Answers a challenge.
    async fn log_in(&mut self, answer: Answer) -> Result<(), RegistryError> {
        self.login = self.credentials.of_host(&self.reference.host)?;
        let challenges = answer.response.headers().get_all(WWW_AUTHENTICATE);
        let challenges: Vec<Challenge> = challenges
            .iter()
            .filter_map(|value| Challenge::parse(value.to_str().ok()?))
            .collect();
        let bearer = challenges
            .into_iter()
            .find_map(|challenge| match challenge {
                Challenge::Bearer(parameters) => Some(parameters),
                Challenge::Basic => None,
            });
        let shown = match (bearer, &self.login) {
            (Some(parameters), _) => format!("Bearer {}", self.token(&parameters).await?),
            (None, Some(login)) => login.basic(),
            (None, None) => return Err(self.turned_away(answer).await),
        };
        let mut shown = HeaderValue::from_str(&shown)
            .map_err(|error| malformed(&self.what, &self.reference.host, &error))?;
        shown.set_sensitive(true);
        self.authorization = Some(shown);
        Ok(())
    }

    /// Fetches a token, for whoever asks where there is no login.
    async fn token(&self, parameters: &Parameters) -> Result<String, RegistryError> {
        let refuse = |message: &str| malformed(&self.what, &self.reference.host, &message);
        let scope = match self.rights {
            Rights::Pull => "pull",
            Rights::Push => "pull,push",
        };
        let scope = format!("repository:{}:{scope}", self.reference.repository);
        let url = parameters
            .address(&scope)
            .ok_or_else(|| refuse("it does not say where to log in"))?;
        let encrypted = url.scheme() == Some(&Scheme::HTTPS);
        if !encrypted && self.scheme == "https" {
            return Err(refuse("it wants a login that is not encrypted"));
        }
        let mut request = Request::get(&url);
        if let Some(login) = &self.login {
            request = request.header(AUTHORIZATION, login.basic());
        }
        let request = request.body(Bytes::new());
        let request = request.map_err(|error| malformed(&self.what, &host_of(&url), &error))?;
        let answer = self.client.send(request, &self.what).await?;
        match answer.response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(self.turned_away(answer).await);
            }
            _ => return Err(answer.refusal(&self.what).await),
        }
        let said = answer.body(&self.want(TOKEN_BYTES_MAX)).await?;
        let said: Value = serde_json::from_slice(&said).unwrap_or_default();
        let token = said["token"].as_str().or(said["access_token"].as_str());
        token
            .map(str::to_owned)
            .ok_or_else(|| refuse("it logs in without giving a token"))
    }

    async fn turned_away(&self, answer: Answer) -> RegistryError {
        let status = answer.response.status().as_u16();
        let (what, host) = (self.what.clone(), self.reference.host.clone());
        let place = self.credentials.place();
        let told = answer.told().await;
        match &self.login {
            None => RegistryError::LoginNeeded {
                what,
                host,
                status,
                told,
                place,
            },
            Some(login) => RegistryError::Refused {
                what,
                host,
                user: login.user.clone(),
                status,
                told,
                place,
            },
        }
    }

    fn url(&self, rest: &str) -> Result<Uri, RegistryError> {
        let OciReference {
            host, repository, ..
        } = self.reference;
        let url = format!("{}://{host}/v2/{repository}/{rest}", self.scheme);
        url.parse()
            .map_err(|error: http::uri::InvalidUri| malformed(&self.what, host, &error))
    }

    fn want(&self, bytes_max: u64) -> Want {
        Want {
            what: self.what.clone(),
            bytes_max,
        }
    }
}
