//! Hostile plugins: whatever a component does, it costs its own events and nobody else anything.

// Each attack alone, by plugins in a real host on a real Kafka, beside a plugin that is well.
mod attacks;
// What each attack is, and what must come of it.
mod deeds;
// Attacks of `init` and of ticks.
mod off_the_path;
// Components written by hand, that no toolchain would make.
mod structures;
// Real components, damaged.
mod corrupted;
// Loops on every core.
mod loops;
// What attacks left behind, run again.
mod repro;
