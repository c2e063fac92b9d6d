//! Docker Engine as a `PodRuntime`.
