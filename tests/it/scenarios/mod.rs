//! What people do with a cluster, step by step, as they type it (`SCENARIOS` in docs/TESTING.md). Results are asserted, times are not.

mod s1_single_host;
mod s4_step_by_step;
pub mod user;
