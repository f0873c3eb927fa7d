//! Python: `componentize-py` puts the interpreter and the author's modules, already imported, into one component.

use std::ffi::OsString;

use super::componentize::{self, Made, WORLD};
use super::tool::Tool;
use super::{BuildError, Work};

const COMPONENTIZE: Tool = Tool {
    program: "componentize-py",
    beside: &[".venv/bin"],
    version: &["--version"],
    least: Some([0, 25]),
    install: "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt   (in the plugin's folder)",
};

/// The exports of the contract: the interface, what the component's module calls it, and what makes it.
const EXPORTS: [(&str, &str); 3] = [
    (
        "millrace:plugin/event-handler",
        "EventHandler = exports.handler(plugin)\n",
    ),
    ("millrace:plugin/timer", "Timer = exports.timer(plugin)\n"),
    (
        "millrace:plugin/lifecycle",
        "Lifecycle = exports.lifecycle(plugin)\n",
    ),
];

/// The module that the component is made of.
const ENTRY: &str = "millrace_entry";

pub(super) fn build(work: &Work<'_>) -> Result<Made, BuildError> {
    let componentize = COMPONENTIZE.find(work)?;
    let world = componentize::world(work)?;
    let between = work.between()?;
    let mut entry =
        "# Written by `millrace plugin build`.\nimport plugin\nfrom millrace import exports\n\n"
            .to_owned();
    entry.extend(world.marks(&EXPORTS));
    super::write(
        None,
        &between.join(ENTRY).with_extension("py"),
        entry.as_bytes(),
    )?;
    let component = between.join("component.wasm");
    let mut arguments: Vec<OsString> = ["-d", "wit", "-w", WORLD, "componentize"]
        .map(OsString::from)
        .into();
    // The author's modules, what was installed beside them, the SDK, and the entry.
    for path in ["src", "vendor", super::BETWEEN] {
        arguments.extend(["-p".into(), path.into()]);
    }
    arguments.extend([ENTRY.into(), "-o".into(), component.clone().into()]);
    work.run(&componentize, &arguments, &[])?;
    Ok(Made::file(component))
}
