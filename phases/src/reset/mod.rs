//! `reset`: what `init` made on this host goes away, and nothing else. Works on a half-finished `init`, and twice in a row.

mod cleanup;
mod known;
mod run;

pub use run::reset;
