//! Web servers and registries that do what Debian's does not: redirects, tokens, and mischief.

use std::path::Path;

use millrace::sandbox::digest_of;
use serde_json::json;

use super::scripted::{Answer, Scripted};
use super::{BAD_CONFIGURATION, UNAVAILABLE, assert_says, validate};
use crate::harness::host::{command, command_with};
use crate::harness::process;
use crate::harness::versions::component;

/// A manifest with this component in it.
fn manifest(component: &[u8]) -> Vec<u8> {
    let manifest = json!({
        "schemaVersion": 2,
        "config": {},
        "layers": [{
            "mediaType": "application/wasm",
            "digest": format!("sha256:{}", digest_of(component)),
            "size": component.len(),
        }],
    });
    manifest.to_string().into_bytes()
}

fn pull(from: &str, folder: &Path) -> crate::harness::host::Exit {
    let file = folder.join("pulled.wasm").display().to_string();
    let docker = folder.display().to_string();
    command_with(
        &["plugin", "pull", from, "-o", &file],
        &[("DOCKER_CONFIG", &docker)],
    )
}

#[test]
fn a_file_of_a_web_server_is_pinned_too() {
    let bytes = component("from-web", None);
    let served = bytes.clone();
    let server = Scripted::start(move |own, asked| match asked.line.as_str() {
        "GET /moved.wasm" => Answer::with(302, format!("Location: http://{own}/plugin.wasm")),
        "GET /circle" => Answer::with(302, "Location: /circle".to_owned()),
        "GET /plugin.wasm" => Answer::ok(served.clone()),
        _ => Answer(404, Vec::new(), b"not here".to_vec()),
    });
    let at = |path: &str, digest: &str| format!("http://{}/{path}{digest}", server.address);
    let pin = format!("#sha256:{}", digest_of(&bytes));
    let folder = process::folder("web");
    let refused = validate(&folder, &at("plugin.wasm", ""), "");
    let wanted = format!("`path: {}`", at("plugin.wasm", &pin));
    assert_says(&refused, BAD_CONFIGURATION, &["is not pinned", &wanted]);

    let wrong = format!("#sha256:{}", digest_of(b""));
    let refused = validate(&folder, &at("plugin.wasm", &wrong), "");
    assert_says(
        &refused,
        BAD_CONFIGURATION,
        &["so it is not used", &digest_of(&bytes)],
    );
    let refused = validate(&folder, &at("gone.wasm", &pin), "");
    assert_says(&refused, BAD_CONFIGURATION, &["status 404"]);
    let refused = validate(&folder, &at("circle", &pin), "");
    assert_says(&refused, UNAVAILABLE, &["sent on more than 5 times"]);
    let small = "    limits: { component_size: 10KiB }\n";
    let refused = validate(&folder, &at("plugin.wasm", &pin), small);
    assert_says(&refused, BAD_CONFIGURATION, &["more than the 10240 bytes"]);

    validate(&folder, &at("moved.wasm", &pin), "").expect_code(0);
    let asked = server.asked().len();
    validate(&folder, &at("plugin.wasm", &pin), "").expect_code(0);
    assert_eq!(
        server.asked().len(),
        asked,
        "what has the digest is there already"
    );
}

#[test]
fn a_registry_that_wants_a_token_gets_one_from_where_it_says() {
    let bytes = component("by-token", None);
    let (layer, manifest) = (bytes.clone(), manifest(&bytes));
    let storage = Scripted::start(move |_, _| Answer::ok(layer.clone()));
    let stored_at = storage.address;
    let registry = Scripted::start(move |own, asked| {
        let token = "/token?service=the%20registry&scope=repository:a/orders:pull";
        if asked.line == format!("GET {token}") {
            return Answer::ok(r#"{"token":"a-token"}"#);
        }
        if asked.header("authorization") != Some("Bearer a-token") {
            let challenge = format!("Bearer realm=\"http://{own}/token\",service=\"the registry\"");
            return Answer::with(401, format!("WWW-Authenticate: {challenge}"));
        }
        match asked.line.as_str() {
            "GET /v2/a/orders/manifests/1" => Answer::ok(manifest.clone()),
            _ => Answer::with(307, format!("Location: http://{stored_at}/layer")),
        }
    });
    let folder = process::folder("token");
    let from = format!("oci://{}/a/orders:1", registry.address);
    pull(&from, &folder).expect_code(0);
    assert_eq!(
        std::fs::read(folder.join("pulled.wasm")).expect("it is there"),
        bytes
    );
    let stored = storage.asked();
    assert_eq!(stored.len(), 1);
    assert_eq!(
        stored[0].header("authorization"),
        None,
        "the token is for the registry alone"
    );
    let asked: Vec<String> = registry.asked().into_iter().map(|it| it.line).collect();
    let tokens = asked.iter().filter(|line| line.contains("/token")).count();
    assert_eq!(tokens, 1, "one token is enough: {asked:?}");
}

#[test]
fn a_layer_that_is_not_what_the_manifest_says_is_not_used() {
    let manifest = manifest(&component("promised", None));
    let registry = Scripted::start(move |_, asked| {
        if asked.line.contains("/manifests/") {
            Answer::ok(manifest.clone())
        } else {
            Answer::ok(component("exchange", None))
        }
    });
    let folder = process::folder("exchanged");
    let from = format!("oci://{}/orders:1", registry.address);
    assert_says(&pull(&from, &folder), 1, &["so it is not used"]);
    assert!(!folder.join("pulled.wasm").exists());
    // The digest of a manifest that the registry exchanges shows as well.
    let pinned = format!("{from}@sha256:{}", digest_of(b"another manifest"));
    let refused = validate(&folder, &pinned, "");
    assert_says(&refused, BAD_CONFIGURATION, &["so it is not used"]);
}

#[test]
fn a_registry_in_trouble_may_be_well_later() {
    let registry = Scripted::start(|_, _| {
        let body = r#"{"errors":[{"code":"X","message":"the disk\u001b is full"}]}"#;
        Answer(503, Vec::new(), body.into())
    });
    let folder = process::folder("trouble");
    let digest = digest_of(b"");
    let from = format!("oci://{}/orders@sha256:{digest}", registry.address);
    let refused = validate(&folder, &from, "");
    assert_says(
        &refused,
        UNAVAILABLE,
        &["answered with status 503, the disk is full"],
    );
}

#[test]
fn what_is_not_encrypted_is_asked_of_this_machine_only() {
    let folder = process::folder("plain");
    let digest = digest_of(b"");
    let refused = validate(
        &folder,
        &format!("http://plugins.example/p.wasm#sha256:{digest}"),
        "",
    );
    assert_says(
        &refused,
        BAD_CONFIGURATION,
        &["millrace.yaml:4:11", "is not encrypted"],
    );
    let refused = command(&["plugin", "pull", "ftp://plugins.example/p.wasm"]);
    assert_says(&refused, 1, &["nothing is fetched by `ftp://`"]);
}
