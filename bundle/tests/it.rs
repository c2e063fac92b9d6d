//! The bundle as a file and in Docker. The Docker tests use the engine at /run/docker.sock, with images of some bytes.

#[path = "it/damage.rs"]
mod damage;
#[path = "it/docker.rs"]
mod docker;
#[path = "it/extract.rs"]
mod extract;
#[path = "it/go.rs"]
mod go;
#[path = "it/partial.rs"]
mod partial;
#[path = "it/sample.rs"]
mod sample;
