//! The machine ring: real hosts (systemd containers with their own Docker Engine), the real binaries, no fakes.
//!
//! Run by `make test`; by hand `cargo test --profile ci -p junioadm --test it -- NAME`. Needs root, Docker Engine on this
//! machine, and for hosts with the product `make build` before. `JUNIO_LAB_KEEP=1` leaves a failed test's lab standing.

mod fleet;
mod init;
mod join;
mod lab;
mod robust;
mod scenarios;
mod ssh;
mod support;
