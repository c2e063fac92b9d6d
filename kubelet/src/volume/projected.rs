//! The files of projected volumes: several sources in one directory, later ones over earlier ones.

use k8s_openapi::api::core::v1::{Pod, ProjectedVolumeSource, ServiceAccountTokenProjection, VolumeProjection};

use super::atomic_writer::{FileProjection, Payload};
use super::downward::downward_payload;
use super::error::VolumeError;
use super::ownership::FsGroup;
use super::payload::{DEFAULT_MODE, config_map_keys, mode_of, optional, project, secret_keys};
use crate::container_spec::{SpecContext, all_containers, namespace, run_as_user};
use crate::objects::TokenRequestSpec;

const DEFAULT_EXPIRATION: i64 = 3600;
const PRIVATE: u32 = 0o600;

/// Gathers all sources.
pub(super) async fn projected_payload(
    ctx: &SpecContext,
    pod: &Pod,
    volume: &str,
    source: &ProjectedVolumeSource,
) -> Result<Payload, VolumeError> {
    let default_mode = mode_of(source.default_mode, DEFAULT_MODE);
    let mut payload = Payload::new();
    for projection in source.sources.iter().flatten() {
        payload.extend(one_source(ctx, pod, volume, projection, default_mode).await?);
    }
    Ok(payload)
}

async fn one_source(
    ctx: &SpecContext,
    pod: &Pod,
    volume: &str,
    projection: &VolumeProjection,
    mode: u32,
) -> Result<Payload, VolumeError> {
    let namespace = namespace(pod);
    if let Some(source) = &projection.config_map {
        let map = optional(ctx.objects.config_map(namespace, &source.name).await, source.optional)?;
        let keys = map.map(|map| config_map_keys(&map)).unwrap_or_default();
        return project(keys, source.items.as_deref(), mode, source.optional == Some(true), "config");
    }
    if let Some(source) = &projection.secret {
        let secret = optional(ctx.objects.secret(namespace, &source.name).await, source.optional)?;
        let keys = secret.map(|secret| secret_keys(&secret)).unwrap_or_default();
        return project(keys, source.items.as_deref(), mode, source.optional == Some(true), "secret");
    }
    if let Some(source) = &projection.downward_api {
        return downward_payload(source.items.as_deref().unwrap_or_default(), pod, &ctx.node, mode);
    }
    if let Some(source) = &projection.service_account_token {
        return token_payload(ctx, pod, source, mode).await;
    }
    let kind = if projection.cluster_trust_bundle.is_some() {
        "projected clusterTrustBundle"
    } else {
        "projected podCertificate"
    };
    Err(VolumeError::Unsupported { name: volume.to_owned(), kind })
}

/// A token is readable by its one user, or by the group, which the ownership pass adds.
async fn token_payload(
    ctx: &SpecContext,
    pod: &Pod,
    source: &ServiceAccountTokenProjection,
    default_mode: u32,
) -> Result<Payload, VolumeError> {
    let spec = TokenRequestSpec {
        audience: source.audience.clone().filter(|audience| !audience.is_empty()),
        expiration_seconds: source.expiration_seconds.unwrap_or(DEFAULT_EXPIRATION),
    };
    let token = ctx.tokens.token(pod, &spec).await?;
    let uid = common_user(pod);
    let mode = if uid.is_some() || FsGroup::of(pod).is_some() { PRIVATE } else { default_mode };
    let file = FileProjection { data: token.expose().clone().into_bytes(), mode, uid };
    Ok(Payload::from([(source.path.clone(), file)]))
}

/// The user that all containers run as, if it is one and the manifest says so.
fn common_user(pod: &Pod) -> Option<u32> {
    let mut users = all_containers(pod).map(|container| run_as_user(pod, &container.container()));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container_spec::tests_support::context;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": "b"}}, "spec": spec
        }))
        .expect("a pod")
    }

    #[test]
    fn finds_the_common_user() {
        let container = |user: Option<i64>| serde_json::json!({"name": "c", "securityContext": {"runAsUser": user}});
        for (containers, common, expected) in [
            (vec![container(Some(5)), container(Some(5))], None, Some(5)),
            (vec![container(Some(5)), container(Some(6))], None, None),
            (vec![container(Some(5)), container(None)], None, None),
            (vec![container(Some(5)), container(None)], Some(5), Some(5)),
            (vec![container(None)], None, None),
        ] {
            let pod = pod(serde_json::json!({"containers": containers, "securityContext": {"runAsUser": common}}));
            assert_eq!(common_user(&pod), expected);
        }
    }

    #[tokio::test]
    async fn later_sources_win() {
        let (_dir, ctx) = context();
        ctx.objects.insert_config_map(
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "m", "namespace": "n"}, "data": {"x": "map", "y": "map"}, "binaryData": {"z": "AAE="}
            }))
            .expect("a config map"),
        );
        let source: ProjectedVolumeSource = serde_json::from_value(serde_json::json!({
            "defaultMode": 0o440, "sources": [
                {"configMap": {"name": "m"}},
                {"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "metadata.name"}},
                                            {"path": "labels", "mode": 0o400, "fieldRef": {"fieldPath": "metadata.labels"}}]}}]
        }))
        .expect("a source");
        let pod = pod(serde_json::json!({"containers": []}));
        let payload = projected_payload(&ctx, &pod, "v", &source).await.expect("files");
        let text = |path: &str| String::from_utf8_lossy(&payload[path].data).into_owned();
        assert_eq!((text("x"), text("y"), text("labels")), ("p".to_owned(), "map".to_owned(), "a=\"b\"".to_owned()));
        assert_eq!(payload["z"].data, [0, 1]);
        assert_eq!((payload["x"].mode, payload["labels"].mode), (0o440, 0o400));
        let bundle: ProjectedVolumeSource = serde_json::from_value(serde_json::json!({
            "sources": [{"clusterTrustBundle": {"path": "ca"}}]
        }))
        .expect("a source");
        assert!(matches!(projected_payload(&ctx, &pod, "v", &bundle).await, Err(VolumeError::Unsupported { .. })));
    }
}
