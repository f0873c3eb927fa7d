//! Questions to the registry over HTTP, and what its answers mean. It must not know when they are asked, or what
//! becomes of them.

use std::collections::HashSet;
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::uri::Scheme;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::{self, RegistryLogin, SchemaFormat, WantedSchema};
use crate::{tls, web};

/// Of an answer, in bytes. A schema of this size is no schema that anybody wrote.
const ANSWER_BYTES_MAX: usize = 2 << 20;

/// Schemas that one may refer to, directly and through others.
const REFERENCES_MAX: usize = 100;

/// Bytes of a schema and all that it refers to.
const TEXTS_BYTES_MAX: usize = 8 << 20;

/// Longest reason of a server's own in a message, in characters.
const REASON_CHARS_MAX: usize = 300;

/// What an answer may be made of.
const MEDIA_TYPES: &str = "application/vnd.schemaregistry.v1+json, application/json";

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The registry does not have it, or does not take it: others may well be answered.
    Missing(String),
    /// The registry could not be asked.
    Away(String),
    /// The registry has it, and this host cannot use it.
    Unusable(String),
}

/// A schema with everything that it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registered {
    pub(super) format: SchemaFormat,
    pub(super) schema: String,
    /// The texts by the names that they are referred to by.
    pub(super) references: Vec<(String, String)>,
}

/// A schema as the registry tells it.
#[derive(Debug, Deserialize)]
struct Told {
    schema: String,
    /// Avro where it is not said.
    #[serde(rename = "schemaType")]
    format: Option<String>,
    /// Not every registry writes an empty list.
    references: Option<Vec<Reference>>,
    id: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

#[derive(Debug, Deserialize)]
struct TakenIn {
    id: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    error_code: i64,
    message: String,
}

/// Asks one registry.
pub(super) struct RegistryClient {
    base: Uri,
    authorization: Option<HeaderValue>,
    trusted: Option<std::path::PathBuf>,
    timeout: Duration,
    /// Made with the first encrypted connection.
    tls: OnceLock<Result<TlsConnector, String>>,
}

impl std::fmt::Debug for RegistryClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RegistryClient({})", self.base)
    }
}

impl RegistryClient {
    /// # Errors
    /// The login cannot be sent in a header.
    pub(super) fn new(settings: &config::SchemaRegistry) -> Result<Self, String> {
        let authorization = settings.login.as_ref().map(|login| {
            let text = match login {
                RegistryLogin::Basic { user, password } => {
                    let pair = format!("{user}:{}", password.reveal());
                    format!("Basic {}", STANDARD.encode(pair))
                }
                RegistryLogin::Bearer(token) => format!("Bearer {}", token.reveal()),
            };
            let mut value = HeaderValue::from_str(&text)
                .map_err(|_| "the token for the schema registry cannot be sent in a header")?;
            value.set_sensitive(true);
            Ok::<_, &str>(value)
        });
        let base: Uri = settings
            .url
            .trim_end_matches('/')
            .parse()
            .map_err(|_| format!("{} is no address", settings.url))?;
        Ok(Self {
            base,
            authorization: authorization.transpose()?,
            trusted: settings.ca.clone(),
            timeout: settings.timeout,
            tls: OnceLock::new(),
        })
    }

    /// The formats that the registry knows: a question whose answer is small.
    pub(super) async fn formats(&self) -> Result<Vec<String>, Failure> {
        self.get("/schemas/types").await
    }

    /// The schema of a number.
    pub(super) async fn schema(&self, id: u32) -> Result<Registered, Failure> {
        let told: Told = self.get(&format!("/schemas/ids/{id}")).await?;
        self.complete(told).await
    }

    /// The schema to write by, and its number.
    pub(super) async fn target(&self, wanted: &WantedSchema) -> Result<(u32, Registered), Failure> {
        let (subject, version) = match wanted {
            WantedSchema::Id(id) => return Ok((*id, self.schema(*id).await?)),
            WantedSchema::Latest(subject) => (subject, "latest".to_owned()),
            WantedSchema::Version(subject, version) => (subject, version.to_string()),
            WantedSchema::Register {
                subject,
                format,
                schema,
            } => {
                let id = self.register(subject, *format, schema).await?;
                return Ok((id, self.schema(id).await?));
            }
        };
        let path = format!("/subjects/{}/versions/{version}", escaped(subject));
        let told: Told = self.get(&path).await?;
        let id = told
            .id
            .ok_or_else(|| self.no_answer(&path, "it says no id"))?;
        Ok((id, self.complete(told).await?))
    }

    /// Registers a schema where it is not registered yet. Its number is the same either way.
    async fn register(
        &self,
        subject: &str,
        format: SchemaFormat,
        schema: &str,
    ) -> Result<u32, Failure> {
        let path = format!("/subjects/{}/versions", escaped(subject));
        let mut body = serde_json::json!({ "schema": schema });
        // Avro is what older registries take every schema for, and they refuse to be told.
        if format != SchemaFormat::Avro {
            body["schemaType"] = word_of(format).into();
        }
        let body = Bytes::from(body.to_string());
        let taken_in: TakenIn = self.ask(Method::POST, &path, body).await?;
        Ok(taken_in.id)
    }

    /// Fetches what a schema refers to, and what that refers to.
    async fn complete(&self, told: Told) -> Result<Registered, Failure> {
        let word = told.format.as_deref().unwrap_or("AVRO");
        let format = format_of(word).ok_or_else(|| {
            let known = "AVRO, PROTOBUF and JSON";
            Failure::Unusable(format!("its type is {word}, and {known} are known here"))
        })?;
        let (mut references, mut texts_bytes) = (Vec::new(), told.schema.len());
        let mut known = HashSet::new();
        let mut open = told.references.unwrap_or_default();
        while let Some(Reference {
            name,
            subject,
            version,
        }) = open.pop()
        {
            if !known.insert((name.clone(), subject.clone(), version)) {
                continue;
            }
            if known.len() > REFERENCES_MAX {
                let message = format!("it refers to more than {REFERENCES_MAX} schemas");
                return Err(Failure::Unusable(message));
            }
            let path = format!("/subjects/{}/versions/{version}", escaped(&subject));
            let referred: Told = self.get(&path).await?;
            texts_bytes += referred.schema.len();
            if texts_bytes > TEXTS_BYTES_MAX {
                let message =
                    format!("it has more than {TEXTS_BYTES_MAX} bytes with what it refers to");
                return Err(Failure::Unusable(message));
            }
            open.extend(referred.references.unwrap_or_default());
            references.push((name, referred.schema));
        }
        Ok(Registered {
            format,
            schema: told.schema,
            references,
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, Failure> {
        let asked = timeout(self.timeout, self.exchange(method, path, body)).await;
        let (status, answer) = asked.unwrap_or_else(|_| {
            let seconds = self.timeout.as_secs_f64();
            Err(self.no_answer(path, &format!("nothing came within {seconds} s")))
        })?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&answer).map_err(|error| {
                self.no_answer(
                    path,
                    &format!("the answer is not one of a schema registry: {error}"),
                )
            });
        }
        let problem: Problem = serde_json::from_slice(&answer).unwrap_or_default();
        let reason: String = problem
            .message
            .chars()
            .filter(|char| !char.is_control())
            .take(REASON_CHARS_MAX)
            .collect();
        match (status, problem.error_code) {
            // Without a registry's own number, it may be a page of something else that stands at this address.
            (StatusCode::NOT_FOUND, 40_400..=40_499)
            | (StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY, _) => {
                Err(Failure::Missing(reason))
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                let advice = "check `schema_registry.basic` or `schema_registry.bearer`";
                Err(self.no_answer(path, &format!("it answers {status} {reason}: {advice}")))
            }
            _ => Err(self.no_answer(path, &format!("it answers {status} {reason}"))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let away = |reason: String| self.no_answer(path, &reason);
        let uri: Uri = format!("{}{path}", self.base.to_string().trim_end_matches('/'))
            .parse()
            .map_err(|_| away("it is no address".to_owned()))?;
        let mut request = Request::builder().method(method).uri(&uri);
        request = request.header(ACCEPT, MEDIA_TYPES);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/vnd.schemaregistry.v1+json");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(body)
            .map_err(|error| away(error.to_string()))?;
        let stream = web::connect(&uri).await;
        let stream = stream.map_err(|error| away(error.to_string()))?;
        let response = if uri.scheme() == Some(&Scheme::HTTPS) {
            let connector = self
                .tls
                .get_or_init(|| tls::client::connector_to(self.trusted.as_deref()));
            let connector = connector.clone().map_err(away)?;
            let name = tls::client::server_name(uri.host().unwrap_or_default());
            let name = name.map_err(|error| away(error.to_string()))?;
            let stream = connector.connect(name, stream).await.map_err(|error| {
                let trust = if tls::client::is_about_certificate(&error) {
                    "its certificate is not trusted: "
                } else {
                    ""
                };
                away(format!("{trust}{error}"))
            })?;
            web::exchange(stream, request).await
        } else {
            web::exchange(stream, request).await
        };
        let response = response.map_err(|error| away(error.to_string()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
        let body = body.await.map_err(|error| away(error.to_string()))?;
        Ok((status, body.to_bytes()))
    }

    fn no_answer(&self, path: &str, reason: &str) -> Failure {
        Failure::Away(format!(
            "{}{path}: {reason}",
            self.base.to_string().trim_end_matches('/')
        ))
    }
}

/// A format as the API has it.
fn format_of(word: &str) -> Option<SchemaFormat> {
    let all = [
        SchemaFormat::Avro,
        SchemaFormat::Protobuf,
        SchemaFormat::JsonSchema,
    ];
    all.into_iter().find(|format| word_of(*format) == word)
}

fn word_of(format: SchemaFormat) -> &'static str {
    match format {
        SchemaFormat::Avro => "AVRO",
        SchemaFormat::Protobuf => "PROTOBUF",
        SchemaFormat::JsonSchema => "JSON",
    }
}

/// A subject as a part of a path. Names of topics need nothing, but subjects may be named in any way.
fn escaped(subject: &str) -> String {
    let mut path = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::Secret;

    /// Asks for schema 7 of a server that answers with these words. Says what came of it, and what was asked.
    fn asked(
        login: Option<RegistryLogin>,
        answer: String,
    ) -> (Result<Registered, Failure>, String) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let settings = config::SchemaRegistry {
                url: format!("http://{}/api/", listener.local_addr().unwrap()),
                login,
                ca: None,
                timeout: Duration::from_millis(300),
                refresh: Duration::from_secs(1),
                encode: [].into(),
            };
            let client = RegistryClient::new(&settings).unwrap();
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut question = vec![0; 4_096];
                let read = stream.read(&mut question).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                // Kept open: an answer ends where it says that it does.
                (
                    stream,
                    String::from_utf8_lossy(&question[..read]).into_owned(),
                )
            };
            let (schema, (_stream, question)) = tokio::join!(client.schema(7), serve);
            (schema, question)
        })
    }

    fn with(status: &str, body: &str) -> String {
        let bytes = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {bytes}\r\n\r\n{body}")
    }

    #[test]
    fn a_question_says_who_asks_and_nothing_prints_the_password() {
        let secret = || Secret::new("hunter2".to_owned());
        let user = "millrace".to_owned();
        let password = secret();
        let basic = RegistryLogin::Basic { user, password };
        // The words in base64, as RFC 7617 has it.
        for (login, told) in [
            (
                Some(basic),
                "authorization: Basic bWlsbHJhY2U6aHVudGVyMg==\r\n",
            ),
            (
                Some(RegistryLogin::Bearer(secret())),
                "authorization: Bearer hunter2\r\n",
            ),
            (None, "GET /api/schemas/ids/7 HTTP/1.1\r\n"),
        ] {
            let asks = login.is_some();
            let (schema, question) = asked(login, with("200 OK", r#"{"schema":"\"int\""}"#));
            assert_eq!(
                schema.unwrap().format,
                SchemaFormat::Avro,
                "where it is not said"
            );
            assert!(question.contains(told), "{question}");
            assert_eq!(question.contains("authorization"), asks);
        }
        let login = Some(RegistryLogin::Bearer(secret()));
        let (refused, _) = asked(login, with("401 Unauthorized", ""));
        let refused = format!("{refused:?}");
        assert!(refused.contains("check `schema_registry.basic`") && !refused.contains("hunter2"));
    }

    #[test]
    fn only_a_registrys_own_word_means_that_a_schema_is_missing() {
        let missing = with(
            "404 Not Found",
            r#"{"error_code":40403,"message":"Schema not found"}"#,
        );
        assert_eq!(
            asked(None, missing).0,
            Err(Failure::Missing("Schema not found".to_owned()))
        );
        let endless = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n{}",
            "x".repeat(3 << 20)
        );
        for (answer, told) in [
            (
                with("404 Not Found", "<html>no such page</html>"),
                "404 Not Found",
            ),
            (
                with(
                    "500 Oh",
                    r#"{"error_code":50001,"message":"store\n is down"}"#,
                ),
                "500 Internal Server Error store is down",
            ),
            (
                with("200 OK", "<html>welcome</html>"),
                "not one of a schema registry",
            ),
            (with("302 Found", ""), "302 Found"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned(),
                "nothing came within 0.3 s",
            ),
            ("nonsense".to_owned(), "/api/schemas/ids/7: "),
            (endless, "length limit exceeded"),
        ] {
            match asked(None, answer).0 {
                Err(Failure::Away(why)) => assert!(why.contains(told), "{why}"),
                other => panic!("{told}: {other:?}"),
            }
        }
        let other = with("200 OK", r#"{"schema":"x","schemaType":"THRIFT"}"#);
        assert!(
            matches!(asked(None, other).0, Err(Failure::Unusable(why)) if why.contains("THRIFT"))
        );
    }

    #[test]
    fn a_subject_is_one_part_of_a_path_whatever_it_is_called() {
        assert_eq!(escaped("orders-value"), "orders-value");
        assert_eq!(escaped("a/b c?é"), "a%2Fb%20c%3F%C3%A9");
    }
}
