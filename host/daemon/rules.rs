//! The rules of the configuration, and what the routes of a group ask for before their plugins are called.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::DaemonError;
use crate::admin::Health;
use crate::config::{self, Config};
use crate::schema::confluent::{Encoder, Encoders, SchemaRegistry};
use crate::schema::{Preparation, Rules};

/// Rules by name.
pub(super) type AllRules = BTreeMap<String, Arc<Rules>>;

/// Reads every set of rules, but for those that are there and configured the same.
pub(super) fn load(config: &Config, there: &AllRules) -> Result<AllRules, DaemonError> {
    let mut all = AllRules::new();
    for (name, validation) in &config.validation {
        let before = there.get(name);
        if let Some(same) = before.filter(|rules| rules.validation() == validation) {
            all.insert(name.clone(), Arc::clone(same));
            continue;
        }
        let rules = Rules::load(name, validation)?;
        let rules = match before {
            Some(before) => rules.counting_on(before),
            None => rules,
        };
        tracing::info!(rules = %name, files = rules.serving().files(),
            types = rules.serving().types().count(), "schemas loaded");
        all.insert(name.clone(), Arc::new(rules));
    }
    Ok(all)
}

/// What the routes of a group ask for, by topic.
pub(super) fn preparations(
    group: &config::Group,
    rules: &AllRules,
    registry: Option<&Arc<SchemaRegistry>>,
) -> BTreeMap<String, Preparation> {
    let asking = group.routes.iter().filter_map(|(topic, route)| {
        let rules = route.validate.as_ref().and_then(|name| rules.get(name));
        Some((topic.clone(), Preparation::of(route, rules, registry)?))
    });
    asking.collect()
}

/// Starts to ask the schema registry, where there is one, and for what outputs are written by.
pub(super) fn schema_registry(
    config: &Config,
) -> Result<(Option<Arc<SchemaRegistry>>, Encoders), DaemonError> {
    let Some(settings) = &config.schema_registry else {
        return Ok((None, Encoders::new()));
    };
    let registry = SchemaRegistry::start(settings);
    let registry = Arc::new(registry.map_err(DaemonError::Host)?);
    let encoders = settings.encode.iter().map(|(topic, encode)| {
        let encoder = Encoder::new(&registry, encode.clone());
        (topic.clone(), encoder)
    });
    let encoders = encoders.collect();
    Ok((Some(registry), encoders))
}

/// A registry that is away is no reason to restart the host: what needs no new schema goes on, and the rest waits.
pub(super) fn health(registry: &SchemaRegistry) -> Health {
    let trouble = registry.trouble();
    Health {
        part: "schema registry".to_owned(),
        state: trouble.map_or_else(|| "ok".to_owned(), |trouble| format!("waiting: {trouble}")),
        ready: true,
    }
}
