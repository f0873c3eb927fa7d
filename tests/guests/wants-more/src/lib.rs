//! Imports an interface that no host has.

use millrace_sdk::{Event, Failure};

wit_bindgen::generate!({
    inline: "
        package elsewhere:moon@1.0.0;

        interface gravity {
            pull: func() -> u32;
        }

        world wants-more {
            import gravity;
        }
    ",
    generate_all,
});

fn handle(_: &Event<'_>) -> Result<(), Failure> {
    elsewhere::moon::gravity::pull();
    Ok(())
}

millrace_sdk::plugin!(handle: handle);
