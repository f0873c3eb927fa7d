//! User names and passwords of registries, from the file that `docker login` writes. It must not know how they are
//! sent.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::RegistryError;

/// Larger than the file of anyone with accounts everywhere.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Credentials {
    file: Option<PathBuf>,
}

/// Never shown, not even by mistake.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login of {}", self.user)
    }
}

impl Login {
    /// As the header `Authorization` has it.
    pub(super) fn basic(&self) -> String {
        let pair = format!("{}:{}", self.user, self.password);
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }
}

impl Credentials {
    pub(super) fn of(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// Where they are looked for, for messages.
    pub(super) fn place(&self) -> String {
        let place = self.file.as_ref().map(|path| path.display().to_string());
        place.unwrap_or_else(|| "the file that `registry.credentials` names".to_owned())
    }

    /// The login of a registry. None where there is no file, or nothing in it for this registry.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn of_host(&self, host: &str) -> Result<Option<Login>, RegistryError> {
        let Some(path) = &self.file else {
            return Ok(None);
        };
        let Some(text) = read(path).map_err(|message| failed(path, &message))? else {
            return Ok(None);
        };
        let file: Value =
            serde_json::from_str(&text).map_err(|error| failed(path, &error.to_string()))?;
        find(&file, host).map_err(|message| failed(path, &message))
    }
}

fn failed(path: &Path, message: &str) -> RegistryError {
    RegistryError::Credentials {
        path: path.to_owned(),
        message: message.to_owned(),
    }
}

fn read(path: &Path) -> Result<Option<String>, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path);
    match file.and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn find(file: &Value, host: &str) -> Result<Option<Login>, String> {
    // Old entries are addresses with a path.
    let host_of = |key: &str| {
        let key = key.split_once("://").map_or(key, |(_, rest)| rest);
        key.split('/').next() == Some(host)
    };
    let auths = file["auths"].as_object();
    let found = auths.and_then(|auths| auths.iter().find(|(key, _)| host_of(key)));
    let Some((_, entry)) = found else {
        return helper_instead(file, host);
    };
    let text = |name: &str| entry[name].as_str().filter(|text| !text.is_empty());
    if let (Some(user), Some(password)) = (text("username"), text("password")) {
        return Ok(Some(Login {
            user: user.to_owned(),
            password: password.to_owned(),
        }));
    }
    let Some(auth) = text("auth") else {
        return helper_instead(file, host);
    };
    let decoded = BASE64_STANDARD.decode(auth).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let (user, password) = decoded
        .as_deref()
        .and_then(|pair| pair.split_once(':'))
        .ok_or_else(|| format!("`auths` has no user name and password for {host}"))?;
    Ok(Some(Login {
        user: user.to_owned(),
        password: password.trim_end_matches('\0').to_owned(),
    }))
}

/// A helper is a program; the host starts none. Without a word about it, a login that is there would look missing.
fn helper_instead(file: &Value, host: &str) -> Result<Option<Login>, String> {
    let helper = file["credHelpers"][host].as_str();
    match helper.or(file["credsStore"].as_str()) {
        Some(helper)
            if file["auths"][host].is_object() || file["credHelpers"][host].is_string() =>
        {
            Err(format!(
                "the password for {host} is kept by the credential helper `{helper}`, which the host does not start: \
                 name a file with the password itself as `registry.credentials`"
            ))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn login(user: &str, password: &str) -> Option<Login> {
        Some(Login {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    #[test]
    fn a_login_is_found_by_the_host_with_its_port() {
        let auth = BASE64_STANDARD.encode("me:se:cret");
        let file = json!({ "auths": {
            "one.example:5000": { "auth": auth },
            "https://two.example/v1/": { "username": "you", "password": "word" },
            "broken.example": { "auth": "%%" },
        } });
        assert_eq!(find(&file, "one.example:5000"), Ok(login("me", "se:cret")));
        assert_eq!(find(&file, "two.example"), Ok(login("you", "word")));
        assert_eq!(find(&file, "one.example"), Ok(None));
        assert!(
            find(&file, "broken.example")
                .unwrap_err()
                .contains("no user name")
        );
        assert_eq!(find(&json!({}), "one.example"), Ok(None));
    }

    #[test]
    fn a_helper_that_has_the_password_is_named() {
        let file = json!({ "auths": { "a.example": {} }, "credsStore": "desktop" });
        assert!(find(&file, "a.example").unwrap_err().contains("`desktop`"));
        assert_eq!(find(&file, "b.example"), Ok(None));
        let file = json!({ "credHelpers": { "c.example": "cloud" } });
        assert!(find(&file, "c.example").unwrap_err().contains("`cloud`"));
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = format!("{:?}", login("me", "secret"));
        assert_eq!(shown, "Some(Login of me)");
    }
}
