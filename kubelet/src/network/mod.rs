//! Pod networks: CNI plugins, and work inside a pod's network namespace.

pub mod cni;
pub mod netns;
