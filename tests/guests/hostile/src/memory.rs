//! Attacks on time, memory and the stack, with no help of the host.

use std::hint::black_box;

use millrace_sdk::guest::bindings_capabilities::millrace::plugin as host;

/// Does the deed; says whether it is one of these.
pub(crate) fn attack(deed: &str, n: Option<u64>) -> bool {
    match deed {
        "trap" => panic!("the event said so"),
        "exit" => std::process::exit(0),
        "abort" => std::process::abort(),
        "loop" => endless(),
        "eat-memory" => eat(1 << 20),
        "eat-memory-slowly" => eat(1 << 10),
        "grow-memory" => grow(),
        "copy-memory" => copy(),
        "deep" => {
            black_box(descend(n.unwrap_or(u64::MAX), &|| {}));
        }
        // Every level makes a call of the host, and the last ones make it on the last of the stack.
        "deep-with-calls" => {
            let call = || host::effects::begin(0);
            black_box(descend(n.unwrap_or(u64::MAX), &call));
        }
        _ => return false,
    }
    true
}

fn endless() -> ! {
    loop {
        black_box(());
    }
}

fn eat(bytes: usize) -> ! {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(black_box(vec![1; bytes]));
    }
}

/// Asks for pages by hand until there are none, which is an answer and no trap, and then needs one.
fn grow() {
    #[cfg(target_family = "wasm")]
    while core::arch::wasm32::memory_grow(0, 1) != usize::MAX {}
    eat(1 << 16);
}

/// Bulk copies, which are not interrupted while they run, without end.
fn copy() -> ! {
    let mut bytes = vec![1_u8; 24 << 20];
    loop {
        black_box(&mut bytes).copy_within(..12 << 20, 12 << 20);
    }
}

/// Its frame holds nothing in linear memory, so that the host's stack is what ends.
fn descend(levels: u64, each: &impl Fn()) -> u64 {
    each();
    if levels == 0 {
        1
    } else {
        descend(levels - 1, each)
            .wrapping_mul(31)
            .wrapping_add(levels)
    }
}
