//! `init` and `reset` on hosts of their own: what is refused, what is taken back.

mod refusals;
mod reset;
