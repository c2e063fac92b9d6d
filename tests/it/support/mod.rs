//! What tests on lab hosts share: labs that go away by themselves, waits with a name, snapshots of a host.
#![expect(dead_code, reason = "an interface for the tests to come; each test uses its part")]

mod product;
mod reaper;
mod snapshot;
mod test_lab;
mod wait;

pub use product::{junioadm, junioadm_command, junioadm_path, payload};
pub use snapshot::Snapshot;
pub use test_lab::TestLab;
pub use wait::wait_until;
