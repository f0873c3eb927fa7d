//! One round of questions to a registry, before a host runs: whether it answers, and whether it has the schemas that
//! outputs are to be written by. Nothing is registered.

use tokio::runtime::Builder;

use super::client::{Failure, RegistryClient};
use crate::config::{self, WantedSchema};

/// Something that a registry did not answer as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// It could not be asked, so that trying again later may help.
    pub is_away: bool,
    /// What was wrong, for people.
    pub why: String,
}

/// Asks. Each answer may take `settings.timeout`.
///
/// # Errors
/// Everything that is wrong; only that it is away, where it is.
pub fn ask_registry(settings: &config::SchemaRegistry) -> Result<(), Vec<Unanswered>> {
    let alone = |why: String| vec![Unanswered { is_away: true, why }];
    let client = RegistryClient::new(settings).map_err(alone)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| alone(error.to_string()))?;
    runtime.block_on(async {
        client
            .formats()
            .await
            .map_err(|failure| vec![told(failure)])?;
        let mut missing = Vec::new();
        for (topic, encode) in &settings.encode {
            // Asking for it would register it.
            if matches!(encode.schema, WantedSchema::Register { .. }) {
                continue;
            }
            if let Err(failure) = client.target(&encode.schema).await {
                let Unanswered { is_away, why } = told(failure);
                let why = format!("the schema that outputs to {topic} are written by: {why}");
                missing.push(Unanswered { is_away, why });
            }
        }
        match missing.is_empty() {
            true => Ok(()),
            false => Err(missing),
        }
    })
}

fn told(failure: Failure) -> Unanswered {
    let is_away = matches!(failure, Failure::Away(_));
    let (Failure::Missing(why) | Failure::Away(why) | Failure::Unusable(why)) = failure;
    Unanswered { is_away, why }
}
