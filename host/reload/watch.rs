//! Watching the files of plugins, and trying what is new. How a change is seen is in [`crate::watched`]. It must not
//! know what a component is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use super::schemas::Folders;
use super::{Plugin, ReloadError, Reloader};
use crate::watched::{LOOK_EVERY, Stamp, WatchedFile};

/// Looks after the files until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    // The thread ends when nobody can send any more. It is not waited for, because it may be compiling.
    _stop: Sender<()>,
}

impl Watcher {
    /// Starts to watch the plugins that are to be watched, and the folders of all rules, as they are looked after.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(reloader: Arc<Reloader>) -> Result<Self, std::io::Error> {
        // Nothing is ever sent.
        let (stop, stopped) = bounded::<()>(0);
        thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || {
                let (mut files, mut folders) = (Files::default(), Folders::default());
                while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                    files.look(&reloader);
                    folders.look(reloader.rules());
                }
            })?;
        Ok(Self { _stop: stop })
    }
}

/// Files by plugin, and whether it is a candidate.
#[derive(Debug, Default)]
struct Files(BTreeMap<(String, bool), (Arc<Plugin>, WatchedFile)>);

impl Files {
    fn look(&mut self, reloader: &Reloader) {
        let cared_for = reloader.cared_for();
        for (name, plugin) in cared_for.plugins.iter().chain(&cared_for.candidates) {
            if !plugin.config.reload.watch {
                continue;
            }
            let new = || (Arc::clone(plugin), WatchedFile::default());
            let of = (name.clone(), plugin.is_candidate);
            let (watched, file) = self.0.entry(of).or_insert_with(new);
            if !Arc::ptr_eq(watched, plugin) {
                // It is configured otherwise, and was loaded from its file when that was taken up.
                (*watched, *file) = new();
            }
            let now = Stamp::of(&plugin.config.path);
            if !file.is_due(now) {
                continue;
            }
            if file.tried.is_none() && plugin.is_as_at_the_start() {
                file.tried = now;
                continue;
            }
            // A refusal has been told; the same bytes are not tried again.
            match reloader.try_version(name, plugin) {
                Err(ReloadError::Changing { .. }) => {}
                Ok(_) | Err(_) => file.tried = now,
            }
        }
    }
}
