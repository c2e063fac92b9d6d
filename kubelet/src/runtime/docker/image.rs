//! Images of the engine.

use std::path::PathBuf;

use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::query_parameters::{CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder};
use futures::StreamExt;

use super::client::DockerRuntime;
use super::error::{NOT_FOUND, classify, gone_is_done};
use crate::runtime::{RegistryAuth, RuntimeError, RuntimeImage};

impl DockerRuntime {
    /// `user` is not part of the engine's list and stays empty.
    pub(super) async fn list_images(&self) -> Result<Vec<RuntimeImage>, RuntimeError> {
        let options = ListImagesOptionsBuilder::default().all(false).build();
        let images = self
            .docker()
            .list_images(Some(options))
            .await
            .map_err(|error| classify("list", "engine", "images", error))?;
        Ok(images
            .into_iter()
            .map(|image| RuntimeImage {
                id: image.id,
                tags: real(image.repo_tags),
                digests: real(image.repo_digests),
                size: u64::try_from(image.size).unwrap_or_default(),
                user: String::new(),
            })
            .collect())
    }

    pub(super) async fn find_image(&self, reference: &str) -> Result<Option<RuntimeImage>, RuntimeError> {
        let image = match self.docker().inspect_image(reference).await {
            Ok(image) => image,
            Err(Error::DockerResponseServerError { status_code: NOT_FOUND, .. }) => return Ok(None),
            Err(error) => return Err(classify("inspect", "image", reference, error)),
        };
        Ok(Some(RuntimeImage {
            id: image.id.unwrap_or_default(),
            tags: real(image.repo_tags.unwrap_or_default()),
            digests: real(image.repo_digests.unwrap_or_default()),
            size: image.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
            user: image.config.and_then(|config| config.user).unwrap_or_default(),
        }))
    }

    pub(super) async fn fetch_image(
        &self,
        reference: &str,
        auth: Option<&RegistryAuth>,
    ) -> Result<String, RuntimeError> {
        let reference = with_tag(reference);
        let options = CreateImageOptionsBuilder::default().from_image(&reference).build();
        let credentials = auth.map(|auth| DockerCredentials {
            username: Some(auth.username.clone()),
            password: Some(auth.password.expose().clone()),
            serveraddress: Some(auth.server.clone()).filter(|server| !server.is_empty()),
            ..DockerCredentials::default()
        });
        let mut progress = Box::pin(self.docker().create_image(Some(options), None, credentials));
        while let Some(step) = progress.next().await {
            step.map_err(|error| classify("pull", "image", &reference, error))?;
        }
        match self.find_image(&reference).await? {
            Some(image) => Ok(image.id),
            None => Err(RuntimeError::ImageAbsent { reference }),
        }
    }

    /// Known for the storage driver overlay2, which keeps each layer as a directory.
    pub(super) async fn layers_of(&self, id: &str) -> Result<Vec<PathBuf>, RuntimeError> {
        let image = self.docker().inspect_image(id).await.map_err(|error| classify("inspect", "image", id, error))?;
        let storage = image.graph_driver.unwrap_or_default();
        if storage.name != "overlay2" {
            return Err(RuntimeError::Refused {
                operation: "use as a volume",
                object: id.to_owned(),
                message: format!("the engine's storage driver is {:?}; image volumes need overlay2", storage.name),
            });
        }
        let of = |name: &str| storage.data.get(name).map(String::as_str).unwrap_or_default();
        Ok(layers(of("UpperDir"), of("LowerDir")))
    }

    /// All its names first, which removes the image with the last one; refused while a container uses it.
    pub(super) async fn delete_image(&self, id: &str) -> Result<(), RuntimeError> {
        loop {
            let Some(image) = self.find_image(id).await? else { return Ok(()) };
            let name = image.tags.first().or(image.digests.first()).cloned().unwrap_or(image.id);
            let options = RemoveImageOptionsBuilder::default().force(false).build();
            let result = self.docker().remove_image(&name, Some(options), None).await;
            gone_is_done(result.map(|_| ()).map_err(|error| classify("remove", "image", &name, error)))?;
        }
    }
}

/// An image's top layer is the driver's upper directory; the others are joined by colons.
fn layers(upper: &str, lower: &str) -> Vec<PathBuf> {
    std::iter::once(upper).chain(lower.split(':')).filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

/// An engine pulls every tag of a repository when none is named.
fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains(':') || last.contains('@') { reference.to_owned() } else { format!("{reference}:latest") }
}

fn real(names: Vec<String>) -> Vec<String> {
    names.into_iter().filter(|name| !name.contains("<none>")).collect()
}

#[cfg(test)]
mod tests {
    use super::{PathBuf, layers, with_tag};

    #[test]
    fn layers_are_listed_topmost_first() {
        assert_eq!(layers("/c/diff", "/b/diff:/a/diff"), ["/c/diff", "/b/diff", "/a/diff"].map(PathBuf::from));
        assert_eq!(layers("/a/diff", ""), [PathBuf::from("/a/diff")]);
    }

    #[test]
    fn a_port_is_not_a_tag() {
        assert_eq!(with_tag("busybox"), "busybox:latest");
        assert_eq!(with_tag("host:5000/a/b"), "host:5000/a/b:latest");
        assert_eq!(with_tag("host:5000/a/b:1"), "host:5000/a/b:1");
        assert_eq!(with_tag("a@sha256:00"), "a@sha256:00");
    }
}
