//! `millrace plugin push`: a component to a registry.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::json;

use crate::cli::Output;
use crate::config::{OciReference, Remote};
use crate::registry::{COMPONENT_BYTES_MAX, Registry};
use crate::sandbox::{ComponentFacts, digest_of};

/// Arguments of `millrace plugin push`.
#[derive(Debug, clap::Args)]
pub(super) struct PushArgs {
    /// The component.
    file: PathBuf,
    /// Where to, as `oci://HOST/REPOSITORY:TAG`; the tag is `latest` where none is written.
    to: String,
    #[command(flatten)]
    how: super::pull::How,
}

pub(super) fn run(args: &PushArgs) -> anyhow::Result<ExitCode> {
    let to = target(&args.to)?;
    let shown = args.file.display();
    let size = std::fs::metadata(&args.file).with_context(|| format!("cannot read {shown}"))?;
    if size.len() > COMPONENT_BYTES_MAX {
        bail!(
            "{shown} has more than the {COMPONENT_BYTES_MAX} bytes that a host can be allowed to load"
        );
    }
    let bytes = std::fs::read(&args.file).with_context(|| format!("cannot read {shown}"))?;
    let facts = ComponentFacts::read(&bytes).map_err(|why| {
        anyhow::anyhow!("{shown}: {why}; push what `millrace plugin build` writes into dist/")
    })?;
    let registry = Registry::new(&args.how.settings(), args.how.plain_http);
    let pinned = registry.push(&to, &bytes, &facts)?;
    match args.how.output {
        Output::Text => println!("{pinned}"),
        Output::Json => println!(
            "{}",
            json!({
                "reference": pinned.to_string(),
                "digest": pinned.digest().map(|digits| format!("sha256:{digits}")),
                "component": format!("sha256:{}", digest_of(&bytes)),
                "bytes": bytes.len(),
            })
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn target(text: &str) -> anyhow::Result<OciReference> {
    match Remote::parse(text) {
        Some(Ok(Remote::Oci(reference))) if reference.digest.is_none() => Ok(reference),
        Some(Ok(Remote::Oci(_))) => bail!(
            "{text}: the digest comes from what is pushed; write a tag, as in `oci://HOST/REPOSITORY:1.0`"
        ),
        Some(Err(message)) => bail!("{text}: {message}"),
        _ => {
            bail!("{text}: components are pushed to registries: write `oci://HOST/REPOSITORY:TAG`")
        }
    }
}
