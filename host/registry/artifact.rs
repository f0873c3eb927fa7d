//! The layout of a component in a registry, as the CNCF's Wasm working group has it: a configuration that says what the
//! component imports and exports, and one layer that is the component. It must not know how either gets there.

use serde_json::{Map, Value, json};

use crate::sandbox::{ComponentFacts, digest_of};

/// Largest manifest that is read, in bytes; registries themselves take no more.
pub(super) const MANIFEST_BYTES_MAX: u64 = 4 << 20;

pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
const LAYER_TYPE: &str = "application/wasm";

/// What tools wrote before there was a common layout. The layer is the same.
const LAYER_TYPE_BEFORE: &str = "application/vnd.wasm.content.layer.v1+wasm";

/// The layout wants a time. A fixed one makes the same component the same artifact, whoever pushes it and when.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// Sections of a component, and the annotations that they become.
const ANNOTATIONS: [(&str, &str); 6] = [
    ("authors", "org.opencontainers.image.authors"),
    ("description", "org.opencontainers.image.description"),
    ("homepage", "org.opencontainers.image.url"),
    ("licenses", "org.opencontainers.image.licenses"),
    ("revision", "org.opencontainers.image.revision"),
    ("source", "org.opencontainers.image.source"),
];
const VERSION_ANNOTATION: &str = "org.opencontainers.image.version";

/// What is pushed beside the component.
pub(super) struct Artifact {
    pub(super) manifest: Vec<u8>,
    pub(super) config: Vec<u8>,
}

/// The layer of a manifest that is the component.
pub(super) struct Layer {
    /// SHA-256, in hexadecimal.
    pub(super) digest: String,
    pub(super) bytes: u64,
}

impl Artifact {
    pub(super) fn of(component: &[u8], facts: &ComponentFacts) -> Self {
        let digest = format!("sha256:{}", digest_of(component));
        let config = json!({
            "created": CREATED,
            "architecture": "wasm",
            "os": "wasip2",
            "layerDigests": [&digest],
            "component": { "imports": facts.imports, "exports": facts.exports },
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {
                "mediaType": CONFIG_TYPE,
                "digest": format!("sha256:{}", digest_of(&config)),
                "size": config.len(),
            },
            "layers": [{ "mediaType": LAYER_TYPE, "digest": digest, "size": component.len() }],
            "annotations": annotations(facts),
        });
        Self {
            manifest: manifest.to_string().into_bytes(),
            config,
        }
    }
}

fn annotations(facts: &ComponentFacts) -> Map<String, Value> {
    let named = |section: &str| {
        let known = ANNOTATIONS.iter().find(|(name, _)| *name == section);
        known.map(|(_, annotation)| (*annotation).to_owned())
    };
    let described = facts.description.iter();
    let mut annotations: Map<String, Value> = described
        .filter_map(|(name, text)| Some((named(name)?, Value::from(text.as_str()))))
        .collect();
    if let Some(version) = &facts.version {
        annotations.insert(VERSION_ANNOTATION.to_owned(), Value::from(version.as_str()));
    }
    annotations
}

/// Finds the component in a manifest.
///
/// # Errors
/// Says why there is none.
pub(super) fn layer(manifest: &[u8]) -> Result<Layer, String> {
    let manifest: Value = serde_json::from_slice(manifest)
        .map_err(|error| format!("its manifest cannot be read: {error}"))?;
    if manifest["manifests"].is_array() {
        return Err(
            "it is an index of several manifests: name the digest of the one that has the component".to_owned(),
        );
    }
    let layers = manifest["layers"].as_array().map_or(&[][..], Vec::as_slice);
    let is_component = |layer: &&Value| {
        let kind = layer["mediaType"].as_str().unwrap_or_default();
        kind == LAYER_TYPE || kind == LAYER_TYPE_BEFORE
    };
    let mut components = layers.iter().filter(is_component);
    let (Some(layer), None) = (components.next(), components.next()) else {
        return Err(format!(
            "of its {} layers, not exactly one is a component ({LAYER_TYPE}); is it the image of a container?",
            layers.len()
        ));
    };
    let digest = layer["digest"]
        .as_str()
        .and_then(|it| it.strip_prefix("sha256:"));
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    // It becomes the name of a file.
    let digest = digest.filter(|digits| digits.len() == 64 && digits.bytes().all(is_digit));
    match (digest, layer["size"].as_u64()) {
        (Some(digest), Some(bytes)) => Ok(Layer {
            digest: digest.to_owned(),
            bytes,
        }),
        _ => Err("the digest or the size of its layer cannot be read".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ComponentFacts {
        ComponentFacts {
            version: Some("1.2.3".to_owned()),
            imports: vec!["wasi:io/poll@0.2.0".to_owned()],
            exports: vec!["millrace:plugin/event-handler@0.1.0".to_owned()],
            description: vec![("licenses", "Apache-2.0".to_owned())],
            ..ComponentFacts::default()
        }
    }

    #[test]
    fn the_same_component_is_the_same_artifact_and_its_layer_is_found_again() {
        let made = Artifact::of(b"component", &facts());
        assert_eq!(made.manifest, Artifact::of(b"component", &facts()).manifest);
        let found = layer(&made.manifest).unwrap();
        assert_eq!((found.digest, found.bytes), (digest_of(b"component"), 9));
        let manifest: Value = serde_json::from_slice(&made.manifest).unwrap();
        let annotations = json!({
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.version": "1.2.3",
        });
        assert_eq!(manifest["annotations"], annotations);
        let config: Value = serde_json::from_slice(&made.config).unwrap();
        assert_eq!(
            config["component"]["imports"],
            json!(["wasi:io/poll@0.2.0"])
        );
    }

    #[test]
    fn what_has_no_component_is_told_apart() {
        let digest = format!("sha256:{}", digest_of(b""));
        let wasm = json!({ "mediaType": LAYER_TYPE, "digest": digest, "size": 1 });
        for (manifest, part) in [
            (json!({ "manifests": [] }), "an index of several"),
            (
                json!({ "layers": [{ "mediaType": "x" }] }),
                "image of a container",
            ),
            (json!({ "layers": [&wasm, &wasm] }), "of its 2 layers"),
            (json!({}), "of its 0 layers"),
            (
                json!({ "layers": [{ "mediaType": LAYER_TYPE, "digest": "sha256:../..", "size": 1 }] }),
                "the digest",
            ),
            (
                json!({ "layers": [{ "mediaType": LAYER_TYPE, "digest": digest }] }),
                "the size",
            ),
        ] {
            let why = layer(manifest.to_string().as_bytes()).err().unwrap();
            assert!(why.contains(part), "{manifest}: {why}");
        }
        assert!(layer(b"{").err().unwrap().contains("cannot be read"));
        let before =
            json!({ "layers": [{ "mediaType": LAYER_TYPE_BEFORE, "digest": digest, "size": 1 }] });
        assert!(layer(before.to_string().as_bytes()).is_ok());
    }
}
