//! `wasi:config/store` in all version strings in use: the interface is the same in each, and a draft
//! version matches only itself.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use super::super::host_state::HostState;

const VERSIONS: [&str; 3] = [
    "wasi:config/store@0.2.0-rc.1",
    "wasi:config/store@0.2.0-draft",
    "wasi:config/store@0.2.0-draft-2024-09-27",
];

/// The interface's error. The host never fails to answer, because settings are in memory.
#[derive(Debug, ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    for version in VERSIONS {
        let mut store = linker.instance(version)?;
        store.func_wrap(
            "get",
            |mut store: StoreContextMut<'_, HostState>, (key,): (String,)| {
                store.data_mut().count_call()?;
                let settings = &store.data().settings;
                let found = settings.iter().find(|(name, _)| *name == key);
                Ok((Ok::<_, Error>(found.map(|(_, value)| value.clone())),))
            },
        )?;
        store.func_wrap(
            "get-all",
            |mut store: StoreContextMut<'_, HostState>, (): ()| {
                store.data_mut().count_call()?;
                Ok((Ok::<_, Error>(store.data().settings.to_vec()),))
            },
        )?;
    }
    Ok(())
}
