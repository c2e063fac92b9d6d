//! The phase `upload-certs`: Secret `kubeadm-certs`, whose data the caller adds, and who may read it.

use serde::Serialize;

use crate::engine::Template;
use crate::error::TemplateError;
use crate::objects::{Object, render_objects};

/// The Secret of the token whose end ends the Secret.
#[derive(Debug, Clone, Serialize)]
pub struct Owner {
    pub name: String,
    pub uid: String,
}

#[derive(Serialize)]
struct KubeadmCerts<'a> {
    owner: &'a Owner,
}

impl Template for KubeadmCerts<'_> {
    const NAME: &'static str = "kubeadm_certs.yaml";
}

#[derive(Serialize)]
struct Rights {}

impl Template for Rights {
    const NAME: &'static str = "kubeadm_certs_rights.yaml";
}

/// The Secret without its data.
pub fn secret(owner: &Owner) -> Result<Object, TemplateError> {
    let mut objects = render_objects(&KubeadmCerts { owner })?;
    objects.pop().ok_or(TemplateError::Render { template: KubeadmCerts::NAME, reason: "no object".to_owned() })
}

/// Role and binding.
pub fn rights() -> Result<Vec<Object>, TemplateError> {
    render_objects(&Rights {})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_goes_with_its_token() {
        let owner = Owner { name: "bootstrap-token-abcdef".to_owned(), uid: "u".to_owned() };
        let secret = secret(&owner).expect("renders").into_value();
        let reference = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "name": "bootstrap-token-abcdef", "uid": "u",
            "controller": true, "blockOwnerDeletion": true,
        });
        assert_eq!(secret["metadata"]["ownerReferences"], serde_json::json!([reference]));
        let rights = rights().expect("renders");
        assert_eq!(rights[0].value()["rules"][0]["resourceNames"], serde_json::json!(["kubeadm-certs"]));
    }
}
