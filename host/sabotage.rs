//! Breaks one promise on purpose, in a binary that only `make fault` builds: a fault suite is believed when it
//! has been seen to turn red. Nothing of this is in a build without the feature `sabotage`.

use std::sync::OnceLock;

static CHOSEN: OnceLock<String> = OnceLock::new();

/// The variable of the environment that says what is broken.
const VARIABLE: &str = "MILLRACE_SABOTAGE";

/// Chooses what is broken, once in the life of the process; nothing is when nothing is named.
pub fn choose(environment: impl IntoIterator<Item = (String, String)>) {
    let mut environment = environment.into_iter();
    if let Some((_, name)) = environment.find(|(name, _)| name == VARIABLE) {
        CHOSEN.get_or_init(|| name);
    }
}

/// Whether this is broken.
#[must_use]
pub fn does(name: &str) -> bool {
    CHOSEN.get().is_some_and(|chosen| chosen == name)
}
