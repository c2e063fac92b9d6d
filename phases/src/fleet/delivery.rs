//! What a host lacks of junioadm and of the bundle, and how it gets there.

use std::path::Path;

use junio_api::Layout;
use junio_api::images::{DEFAULT_REPOSITORY, Image};
use junio_bundle::{BOOTSTRAP_ROLES, Bundle, BundleError, BundledFile, Part, frame_name};

use super::error::HostFailure;
use super::inventory::{Inventory, incoming};
use super::machine::{Machine, PROGRAM};
use crate::init::images::destination;

/// What a host becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    ControlPlane,
    Worker,
}

impl Role {
    fn images(self) -> Vec<String> {
        let images = match self {
            Self::ControlPlane => &Image::ALL[..],
            Self::Worker => &[Image::Pause, Image::Proxy, Image::Flannel, Image::CoreDns],
        };
        images.iter().map(|image| image.reference(DEFAULT_REPOSITORY)).collect()
    }

    fn wants(self, file: &BundledFile) -> bool {
        destination(&file.name, &Layout::default()).is_some()
            || (self == Self::ControlPlane && file.name == BOOTSTRAP_ROLES)
    }
}

/// The bundle, opened and checked once for all hosts.
#[derive(Debug)]
pub(crate) struct Cargo {
    pub(crate) bundle: Bundle,
    pub(crate) head: Vec<u8>,
}

impl Cargo {
    /// Blocks: reads the bundle once. A damaged part is found now, not on the tenth host.
    pub(crate) fn open(bundle: &Path) -> Result<Self, HostFailure> {
        let bundle = Bundle::open(bundle)?;
        bundle.verify_stored()?;
        Ok(Self { head: bundle.head()?, bundle })
    }
}

/// What goes to one host beside junioadm itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Frames that the host does not have.
    pub(crate) parts: Vec<Part>,
    /// Frames are there that its bundle file does not hold, or it has none, or that of another version.
    pub(crate) assemble: bool,
    /// Images or programs are not in their places.
    pub(crate) unprepared: bool,
}

impl Delivery {
    /// Pure: what `inventory` lacks for `role`.
    pub(crate) fn plan(bundle: &Bundle, role: Role, inventory: &Inventory) -> Result<Self, BundleError> {
        let layout = Layout::default();
        let needed = bundle.needed_parts(&role.images(), &inventory.images, &|file| {
            // the roles are read out of the bundle file at each `init`
            let read = file.name == BOOTSTRAP_ROLES;
            role.wants(file) && (read || !inventory.has_file(&layout, file))
        })?;
        let held = inventory.bundle.as_ref().filter(|held| held.digest == bundle.digest());
        let in_bundle = |part: &Part| held.is_some_and(|held| held.frames.contains(&part.stored_sha256));
        Ok(Self {
            unprepared: needed.iter().any(|part| !is_roles(bundle, part)),
            assemble: held.is_none() || needed.iter().any(|part| !in_bundle(part)),
            parts: needed.into_iter().filter(|part| !inventory.has_frame(&part.stored_sha256)).cloned().collect(),
        })
    }

    pub(crate) fn bytes(&self, cargo: &Cargo) -> u64 {
        let head = if self.assemble { cargo.head.len() as u64 } else { 0 };
        self.parts.iter().map(|part| part.stored_size).sum::<u64>() + head
    }
}

fn is_roles(bundle: &Bundle, part: &Part) -> bool {
    bundle.manifest().file(BOOTSTRAP_ROLES).is_some_and(|file| file.part == part.sha256)
}

/// Sends it. Run again after an interruption it goes on where that one stopped.
pub(crate) async fn deliver(machine: &Machine<'_>, cargo: &Cargo, delivery: &Delivery) -> Result<(), HostFailure> {
    if !delivery.assemble {
        return Ok(());
    }
    let total = delivery.bytes(cargo);
    let directory = incoming(&Layout::default());
    if !delivery.parts.is_empty() {
        machine.check(&["mkdir", "-p", "-m", "0700", &shown(&directory)], None).await?;
    }
    let mut before = 0;
    for part in &delivery.parts {
        let path = directory.join(frame_name(part));
        let progress = |done: u64| machine.sending("bundle", before + done, total);
        machine.send_part(&cargo.bundle, part, &path, progress).await?;
        before += part.stored_size;
    }
    machine.check(&[PROGRAM, "agent", "assemble"], Some(&cargo.head)).await?;
    machine.count(cargo.head.len() as u64);
    machine.sending("bundle", total, total);
    Ok(())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
