//! Bearer tokens for the clients that log in by them: fetched ahead of time on a thread of their own, so that no client
//! ever waits for one.
//!
//! There is one keeper for each source, however many clients log in with it. It must not know what the clients do.

mod endpoint;

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde_json::Value;

use super::KafkaError;
use crate::config::{self, Sasl, Secret, TokenSource};
use crate::since_1970;

/// How often the keeper looks whether there is something to do, and whether anybody still needs it.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// A file is read again this often: whatever keeps it fresh replaces it minutes before its token ends.
const FILE_INTERVAL_MS: i64 = 5_000;

/// After a failure, until the next try.
const RETRY_INTERVAL_MS: i64 = 5_000;

/// What is believed of a token that does not say how long it is good for.
const LIFETIME_MS: i64 = 300_000;

/// A token larger than this is none; brokers take a few kilobytes.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// A token, and how long it is good for.
struct Token {
    text: Secret,
    /// Who it is about, as far as it says so; brokers look for themselves.
    principal: String,
    expires_ms: i64,
}

impl Token {
    fn new(text: String, lifetime_ms: Option<i64>, now_ms: i64) -> Self {
        let claims = claims(&text);
        let expires_ms = claims["exp"]
            .as_f64()
            // A time in seconds; a float cast saturates.
            .map(|seconds| (seconds * 1e3) as i64)
            .or_else(|| lifetime_ms.map(|lifetime| now_ms.saturating_add(lifetime)))
            .unwrap_or(now_ms.saturating_add(LIFETIME_MS));
        Self {
            principal: claims["sub"].as_str().unwrap_or("millrace").to_owned(),
            text: Secret::new(text),
            expires_ms,
        }
    }
}

/// What a JSON web token says of itself; null where it is none. Nothing is believed of it but its time.
fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap_or_default();
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('='));
    serde_json::from_slice(&claims.unwrap_or_default()).unwrap_or_default()
}

/// Keeps a token of one source fresh as long as somebody needs it.
pub(super) struct Keeper {
    source: TokenSource,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    token: Option<Token>,
    failure: Option<String>,
    /// When it is fetched next, in milliseconds since 1970.
    due_ms: i64,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl Keeper {
    /// The keeper of the tokens that a cluster is reached with; none where the host does not log in by tokens. The
    /// first token is waited for.
    ///
    /// # Errors
    /// [`KafkaError::Token`] when there is none to be had.
    pub(super) fn of(kafka: &config::Kafka) -> Result<Option<Arc<Self>>, KafkaError> {
        static KEEPERS: Mutex<Vec<Weak<Keeper>>> = Mutex::new(Vec::new());
        let Some(Sasl::Bearer(source)) = &kafka.sasl else {
            return Ok(None);
        };
        let mut keepers = KEEPERS.lock().unwrap_or_else(PoisonError::into_inner);
        keepers.retain(|keeper| keeper.strong_count() > 0);
        let known = keepers
            .iter()
            .filter_map(Weak::upgrade)
            .find(|keeper| keeper.source == *source);
        if let Some(known) = known {
            return Ok(Some(known));
        }
        let keeper = Arc::new(Self {
            source: source.clone(),
            kept: Mutex::default(),
        });
        keeper.refresh(since_1970::now_timestamp_ms());
        if let Some(failure) = &keeper.kept().failure {
            return Err(KafkaError::Token(failure.clone()));
        }
        let weak = Arc::downgrade(&keeper);
        keepers.push(Weak::clone(&weak));
        std::thread::Builder::new()
            .name("tokens".to_owned())
            .spawn(move || keep_fresh(&weak))
            .map_err(|error| KafkaError::Token(format!("no thread to keep it fresh: {error}")))?;
        Ok(Some(keeper))
    }

    /// The token as librdkafka takes it.
    pub(super) fn current(&self) -> Result<OAuthToken, Box<dyn Error>> {
        let kept = self.kept();
        let failure = || {
            kept.failure
                .clone()
                .unwrap_or_else(|| "the last one has ended".to_owned())
        };
        match &kept.token {
            Some(token) if token.expires_ms > since_1970::now_timestamp_ms() => Ok(OAuthToken {
                token: token.text.reveal().to_owned(),
                principal_name: token.principal.clone(),
                lifetime_ms: token.expires_ms,
            }),
            _ => Err(failure().replace('\0', " ").into()),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches a token, where one is due. Blocks.
    fn refresh(&self, now_ms: i64) {
        if self.kept().due_ms > now_ms {
            return;
        }
        // Not held while a server is asked: clients read what there is meanwhile.
        let fetched = fetch(&self.source, now_ms);
        let mut kept = self.kept();
        match fetched {
            Ok(token) => {
                let rest_ms = token.expires_ms.saturating_sub(now_ms).max(0);
                let wait_ms = match self.source {
                    TokenSource::File(_) => FILE_INTERVAL_MS.min(rest_ms / 3),
                    // librdkafka asks for the next one when four fifths of the time are over.
                    TokenSource::Endpoint(_) => rest_ms / 3 * 2,
                };
                kept.due_ms = now_ms.saturating_add(wait_ms);
                kept.token = Some(token);
                kept.failure = None;
            }
            Err(failure) => {
                kept.due_ms = now_ms.saturating_add(RETRY_INTERVAL_MS);
                if kept.failure.as_ref() != Some(&failure) {
                    tracing::warn!("no fresh token for Kafka: {failure}");
                }
                kept.failure = Some(failure);
            }
        }
    }
}

/// For contexts of clients: the token, or why there is none.
pub(super) fn current(keeper: Option<&Arc<Keeper>>) -> Result<OAuthToken, Box<dyn Error>> {
    match keeper {
        Some(keeper) => keeper.current(),
        None => Err("no token is configured; write kafka.sasl.token".into()),
    }
}

fn keep_fresh(keeper: &Weak<Keeper>) {
    loop {
        std::thread::sleep(LOOK_INTERVAL);
        let Some(keeper) = keeper.upgrade() else {
            return;
        };
        keeper.refresh(since_1970::now_timestamp_ms());
    }
}

fn fetch(source: &TokenSource, now_ms: i64) -> Result<Token, String> {
    let token = match source {
        TokenSource::File(path) => Token::new(read(path)?, None, now_ms),
        TokenSource::Endpoint(endpoint) => {
            let granted = endpoint::ask(endpoint)?;
            Token::new(granted.token, granted.lifetime_ms, now_ms)
        }
    };
    if token.expires_ms <= now_ms {
        return Err(format!("the one from {} has ended already", name(source)));
    }
    Ok(token)
}

fn name(source: &TokenSource) -> String {
    match source {
        TokenSource::File(path) => path.display().to_string(),
        TokenSource::Endpoint(endpoint) => endpoint.url.clone(),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let text = text.trim();
    if text.is_empty() || text.len() > TOKEN_BYTES_MAX || text.contains(char::is_whitespace) {
        return Err(format!("{} holds no token", path.display()));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token as an unsecured JSON web token.
    fn token(subject: &str, expires_ms: i64) -> String {
        let claims = serde_json::json!({ "sub": subject, "exp": expires_ms / 1_000 });
        let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
        format!(
            "{}.{}.",
            part(serde_json::json!({ "alg": "none" })),
            part(claims)
        )
    }

    fn kafka(path: &Path) -> config::Kafka {
        let mut kafka = config::Kafka::at("b:9092");
        kafka.sasl = Some(Sasl::Bearer(TokenSource::File(path.to_owned())));
        kafka
    }

    #[test]
    fn a_token_says_who_it_is_about_and_when_it_ends() {
        let read = Token::new(token("ada", 5_000_000), Some(1), 0);
        assert_eq!(
            (read.principal.as_str(), read.expires_ms),
            ("ada", 5_000_000)
        );
        let opaque = Token::new("opaque".into(), Some(60_000), 1_000);
        assert_eq!(opaque.expires_ms, 61_000);
        assert_eq!(Token::new("opaque".into(), None, 0).expires_ms, LIFETIME_MS);
    }

    #[test]
    fn a_file_is_read_again_before_its_token_ends_and_clients_share_a_keeper() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let now = since_1970::now_timestamp_ms();
        std::fs::write(&path, token("one", now + 60_000)).unwrap();
        let keeper = Keeper::of(&kafka(&path)).unwrap().unwrap();
        let again = Keeper::of(&kafka(&path)).unwrap().unwrap();
        assert!(Arc::ptr_eq(&keeper, &again));
        assert_eq!(keeper.current().unwrap().principal_name, "one");
        std::fs::write(&path, token("two", now + 120_000)).unwrap();
        keeper.refresh(now + 1_000);
        assert_eq!(
            keeper.current().unwrap().principal_name,
            "one",
            "not due yet"
        );
        keeper.refresh(now + FILE_INTERVAL_MS + 1_000);
        assert_eq!(keeper.current().unwrap().principal_name, "two");
        // What goes wrong later leaves the token that is still good.
        std::fs::remove_file(&path).unwrap();
        keeper.refresh(now + 3 * FILE_INTERVAL_MS);
        assert_eq!(keeper.current().unwrap().principal_name, "two");
    }

    #[test]
    fn no_first_token_is_an_error_that_says_why_and_holds_no_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let message = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Keeper::of(&kafka(&path)).unwrap_err().to_string()
        };
        assert!(message("").contains("holds no token"));
        let ended = token("ada", 1_000);
        let said = message(&ended);
        assert!(
            said.contains("has ended already") && !said.contains(&ended),
            "{said}"
        );
    }
}
