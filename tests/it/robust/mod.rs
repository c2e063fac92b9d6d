//! What must not hurt: a killed kubelet, an API server or engine that is away, a node that runs short or shuts down.
//!
//! Short forms; `make soak` runs the long ones (`scripts/soak.sh`).

mod eviction;
mod kills;
mod node;
mod outages;
mod serving;
mod shutdown;
