//! Who hands events in, and what they may: bearer tokens and their rights to topics.
//!
//! It must not know which gateway asks.

use std::sync::Arc;

use super::refusal::Refusal;
use crate::config::{Digested, IngestClient};

/// Everybody who may publish.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    /// Those with a token; none means that everybody may publish everything.
    known: Vec<Arc<IngestClient>>,
}

/// Who makes a request.
#[derive(Debug, Clone)]
pub(crate) enum Client {
    /// Nobody is asked who they are.
    Anybody,
    /// It has shown its token.
    Known(Arc<IngestClient>),
}

impl Clients {
    pub(crate) fn new(clients: &[IngestClient]) -> Self {
        Self {
            known: clients.iter().cloned().map(Arc::new).collect(),
        }
    }

    /// Finds out who makes a request by its header `authorization`. The time that it takes does not depend on which
    /// token was shown.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] where a token is needed, and none that is known was shown.
    pub(crate) fn who(&self, authorization: Option<&[u8]>) -> Result<Client, Refusal> {
        if self.known.is_empty() {
            return Ok(Client::Anybody);
        }
        let shown = authorization.ok_or(Refusal::Unauthenticated(
            "a token is needed: send the header `authorization: Bearer TOKEN`",
        ))?;
        let shown = Digested::bearer(shown).ok_or(Refusal::Unauthenticated(
            "the header `authorization` has to be `Bearer TOKEN`",
        ))?;
        // All are compared, whichever it is.
        let found = self.known.iter().fold(None, |found, client| {
            let is_it = client.token.is(&shown);
            if is_it { Some(client) } else { found }
        });
        found
            .map(|client| Client::Known(Arc::clone(client)))
            .ok_or(Refusal::Unauthenticated(
                "nobody has this token; ask the operator for the one of your client",
            ))
    }
}

impl Client {
    /// Whether it may publish to a topic.
    ///
    /// # Errors
    /// [`Refusal::NoRight`].
    pub(crate) fn may_publish_to(&self, topic: &str) -> Result<(), Refusal> {
        match self {
            Self::Anybody => Ok(()),
            Self::Known(client) if client.topics.iter().any(|right| right.covers(topic)) => Ok(()),
            Self::Known(client) => Err(Refusal::NoRight {
                client: client.name.clone(),
                topic: topic.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, TopicRight};

    fn clients() -> Clients {
        let client = |name: &str, token: &str, topics: &[&str]| IngestClient {
            name: name.to_owned(),
            token: Secret::new(token.to_owned()),
            topics: topics.iter().map(|t| TopicRight((*t).to_owned())).collect(),
        };
        Clients::new(&[
            client("web", "token-of-the-web", &["clicks", "web.*"]),
            client("billing", "token-of-billing", &["orders"]),
        ])
    }

    #[test]
    fn a_client_is_known_by_its_token_alone() {
        let clients = clients();
        for shown in ["Bearer token-of-billing", "bearer  token-of-billing "] {
            let client = clients.who(Some(shown.as_bytes())).unwrap();
            assert!(matches!(&client, Client::Known(known) if known.name == "billing"));
            assert!(client.may_publish_to("orders").is_ok());
            let refused = client.may_publish_to("clicks").unwrap_err();
            assert!(
                refused.to_string().contains("client billing may not"),
                "{refused}"
            );
        }
        for shown in [
            None,
            Some("Bearer token-of-billinG"),
            Some("Bearer token-of-billing2"),
            Some("Bearer "),
            Some("Bearer"),
            Some("Basic token-of-billing"),
            Some("token-of-billing"),
            Some(""),
        ] {
            let refused = clients.who(shown.map(str::as_bytes)).unwrap_err();
            let told = refused.to_string();
            assert!(!told.contains("billing"), "{told}");
        }
    }

    #[test]
    fn where_no_client_is_named_everybody_may_publish() {
        let client = Clients::default().who(None).unwrap();
        assert!(client.may_publish_to("orders").is_ok());
    }
}
