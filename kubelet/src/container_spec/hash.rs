//! The fingerprint that decides whether a running container still is the container of the spec.

use k8s_openapi::api::core::v1::Container;
use sha2::{Digest, Sha256};

/// Hash of name and image, 16 hex digits. Nothing else of a running container's spec may change in place except
/// resources, which must not restart it (as upstream's `HashContainer` since 1.31).
#[must_use]
pub fn container_hash(container: &Container) -> String {
    let mut digest = Sha256::new();
    digest.update(container.name.as_bytes());
    digest.update([0]);
    digest.update(container.image.as_deref().unwrap_or_default().as_bytes());
    hex::encode(&digest.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_with_the_image_only() {
        let container = Container { name: "a".into(), image: Some("i:1".into()), ..Container::default() };
        let other_args = Container { args: Some(vec!["x".into()]), ..container.clone() };
        let other_image = Container { image: Some("i:2".into()), ..container.clone() };
        assert_eq!(container_hash(&container), container_hash(&other_args));
        assert_ne!(container_hash(&container), container_hash(&other_image));
        assert_eq!(container_hash(&container).len(), 16);
    }
}
