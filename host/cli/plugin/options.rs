//! Options that the commands about one component share.

use std::path::{Path, PathBuf};

use crate::authoring::subject::Wishes;

/// Which component, and what it may use.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ComponentArgs {
    /// The component; left out, that of the plugin in whose folder the command runs.
    #[arg(value_name = "X.WASM")]
    pub(super) component: Option<PathBuf>,
    /// Grants it something beyond what a plugin.yaml beside or above it does, as in `--grant output:orders`. May be
    /// repeated.
    #[arg(long = "grant", value_name = "GRANT")]
    pub(super) grants: Vec<String>,
    /// Sets one of the plugin's own settings. May be repeated.
    #[arg(long = "config", value_name = "NAME=VALUE", value_parser = setting)]
    pub(super) settings: Vec<(String, String)>,
    /// Where events come from that do not say; the first topic of plugin.yaml when left out.
    #[arg(long)]
    pub(super) topic: Option<String>,
}

impl ComponentArgs {
    pub(super) fn wishes(&self, fuel: bool) -> Wishes<'_> {
        Wishes {
            component: self.component.as_deref(),
            folder: None,
            grants: &self.grants,
            settings: &self.settings,
            topic: self.topic.as_deref(),
            fuel,
        }
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("write NAME=VALUE, as in window=60s")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Whether a name stands for standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}
