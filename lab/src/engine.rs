//! The connection to the machine's Docker Engine, and the labels by which a lab's objects are found again.

use std::collections::HashMap;

use bollard::Docker;

use crate::{LabError, LabName};

/// On every container, volume, network and image of a lab: the lab's name (images: the suite).
pub(crate) const LABEL_LAB: &str = "io.junioadm.lab";
/// On a host's container: the host's name.
pub(crate) const LABEL_HOST: &str = "io.junioadm.lab.host";
/// On a host's container: its number, counted from 1.
pub(crate) const LABEL_NUMBER: &str = "io.junioadm.lab.number";
/// On a host's container: its IPv4 address.
pub(crate) const LABEL_ADDRESS: &str = "io.junioadm.lab.address";
/// On a host's container: the Debian suite.
pub(crate) const LABEL_SUITE: &str = "io.junioadm.lab.suite";
/// What runs as a host's process 1.
pub(crate) const LABEL_FIRST_PROCESS: &str = "io.junioadm.lab.first-process";
/// On the image of lab hosts.
pub(crate) const LABEL_IMAGE: &str = "io.junioadm.lab.image";

/// Connects and agrees on an API version, so that an engine that does not answer is told apart from a call that fails.
pub(crate) async fn connect() -> Result<Docker, LabError> {
    let unreachable = |source| LabError::EngineUnreachable { source };
    let docker = Docker::connect_with_defaults().map_err(unreachable)?;
    docker.negotiate_version().await.map_err(unreachable)
}

/// A filter on what belongs to `lab`, or to any lab.
pub(crate) fn belongs_to(lab: Option<&LabName>) -> HashMap<String, Vec<String>> {
    let label = lab.map_or_else(|| LABEL_LAB.to_owned(), |name| format!("{LABEL_LAB}={name}"));
    HashMap::from([("label".to_owned(), vec![label])])
}

/// True for an answer that says that the object is not there (any more).
pub(crate) fn is_absent(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })
}
