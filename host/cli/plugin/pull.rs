//! `millrace plugin pull`: a component from a registry or a web server into a file.
#![allow(clippy::print_stdout, reason = "its answer goes to standard output")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use serde_json::json;

use crate::cli::Output;
use crate::config::{self, Remote};
use crate::registry::{COMPONENT_BYTES_MAX, Registry};

/// Arguments of `millrace plugin pull`.
#[derive(Debug, clap::Args)]
pub(super) struct PullArgs {
    /// Where from: `oci://HOST/REPOSITORY[:TAG][@sha256:DIGITS]` or `https://HOST/FILE[#sha256:DIGITS]`.
    from: String,
    /// The file to write, replaced in one step; named after what is fetched where this is absent.
    #[arg(short = 'o', long = "file", value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// How a registry is asked.
#[derive(Debug, clap::Args)]
pub(super) struct How {
    /// Ask other machines too without encryption; passwords are sent so as well.
    #[arg(long)]
    pub(super) plain_http: bool,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    pub(super) output: Output,
}

impl How {
    pub(super) fn settings(&self) -> config::Registry {
        config::Registry::of_environment(config::process_environment())
    }
}

pub(super) fn run(args: &PullArgs) -> anyhow::Result<ExitCode> {
    let shown = &args.from;
    let from = Remote::parse(shown)
        .ok_or_else(|| anyhow!("{shown} is a file, and needs no fetching"))?
        .map_err(|message| anyhow!("{shown}: {message}"))?;
    let file = match &args.file {
        Some(file) => file.clone(),
        None => named_after(&from)
            .ok_or_else(|| anyhow!("{shown} ends in no name for a file: name one with -o"))?,
    };
    let registry = Registry::new(&args.how.settings(), args.how.plain_http);
    let pulled = registry.pull(&from, COMPONENT_BYTES_MAX)?;
    write(&file, &pulled.bytes).with_context(|| format!("cannot write {}", file.display()))?;
    match args.how.output {
        Output::Text => println!(
            "{}: {} bytes, sha256:{}\npath: {}",
            file.display(),
            pulled.bytes.len(),
            pulled.digest,
            pulled.pinned
        ),
        Output::Json => println!(
            "{}",
            json!({
                "file": file,
                "reference": pulled.pinned.to_string(),
                "component": format!("sha256:{}", pulled.digest),
                "bytes": pulled.bytes.len(),
            })
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// The last part of the name, which is no way to another folder.
fn named_after(remote: &Remote) -> Option<PathBuf> {
    let (name, ending) = match remote {
        Remote::Oci(reference) => (reference.repository.as_str(), ".wasm"),
        Remote::Web(reference) => {
            let path = reference.url.split('?').next().unwrap_or_default();
            (path, "")
        }
    };
    let name = name
        .rsplit('/')
        .next()
        .filter(|name| !matches!(*name, "" | "." | ".."))?;
    Some(PathBuf::from(format!("{name}{ending}")))
}

/// A host may be watching the file.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let unfinished = path.with_extension(format!("{}.new", std::process::id()));
    let written = std::fs::File::create(&unfinished)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| std::fs::rename(&unfinished, path));
    Ok(written.inspect_err(|_| drop(std::fs::remove_file(&unfinished)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_after_what_is_fetched_and_stays_in_its_folder() {
        for (from, name) in [
            ("oci://h/team/orders:1.0", Some("orders.wasm")),
            ("https://h/a/orders.wasm?v=1", Some("orders.wasm")),
            ("https://h/a/", None),
            ("https://h/a/..", None),
        ] {
            let remote = Remote::parse(from).unwrap().unwrap();
            assert_eq!(named_after(&remote), name.map(PathBuf::from), "{from}");
        }
    }
}
