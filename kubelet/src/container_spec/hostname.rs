//! What a pod is called on the network. Pure.

use k8s_openapi::api::core::v1::Pod;

use super::context::{name, namespace};
use super::error::SpecError;

const MAX_LABEL: usize = 63;
const MAX_HOSTNAME: usize = 64;

/// Hostname and, if the pod has a subdomain, its domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodName {
    /// What `hostname` prints: the short name, or the full one with `setHostnameAsFQDN`.
    pub hostname: String,
    /// The first label.
    pub short: String,
    /// `SUBDOMAIN.NAMESPACE.svc.CLUSTER-DOMAIN`, or empty.
    pub domain: String,
}

/// The pod's own names. They do not apply to hostNetwork pods, which have the node's.
pub fn pod_name(pod: &Pod, cluster_domain: &str) -> Result<PodName, SpecError> {
    let spec = pod.spec.as_ref().ok_or(SpecError::NoSpec)?;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(hostname) = given(&spec.hostname_override) {
        return Ok(PodName { short: hostname.clone(), hostname, domain: String::new() });
    }
    let short = given(&spec.hostname).unwrap_or_else(|| truncate(name(pod)));
    let domain = match given(&spec.subdomain) {
        Some(subdomain) => format!("{subdomain}.{}.svc.{cluster_domain}", namespace(pod)),
        None => String::new(),
    };
    let mut hostname = short.clone();
    if spec.set_hostname_as_fqdn == Some(true) && !domain.is_empty() {
        hostname = format!("{short}.{domain}");
        if hostname.len() > MAX_HOSTNAME {
            return Err(SpecError::HostnameTooLong { name: hostname });
        }
    }
    Ok(PodName { hostname, short, domain })
}

fn truncate(name: &str) -> String {
    let end = name.char_indices().map(|(index, _)| index).take_while(|index| *index <= MAX_LABEL).last().unwrap_or(0);
    let cut = if name.len() > MAX_LABEL { &name[..end] } else { name };
    cut.trim_end_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(spec: serde_json::Value) -> Result<PodName, SpecError> {
        let mut spec = spec;
        spec["containers"] = serde_json::json!([]);
        let pod: Pod =
            serde_json::from_value(serde_json::json!({"metadata": {"name": "web-0", "namespace": "n"}, "spec": spec}))
                .expect("a pod");
        pod_name(&pod, "cluster.local")
    }

    #[test]
    fn prefers_what_is_given() {
        for (spec, hostname, domain) in [
            (serde_json::json!({}), "web-0", ""),
            (serde_json::json!({"hostname": "h"}), "h", ""),
            (serde_json::json!({"hostname": "h", "subdomain": "s"}), "h", "s.n.svc.cluster.local"),
            (
                serde_json::json!({"subdomain": "s", "setHostnameAsFQDN": true}),
                "web-0.s.n.svc.cluster.local",
                "s.n.svc.cluster.local",
            ),
            (serde_json::json!({"setHostnameAsFQDN": true}), "web-0", ""),
            (serde_json::json!({"hostname": "h", "subdomain": "s", "hostnameOverride": "o.example"}), "o.example", ""),
        ] {
            let names = names(spec.clone()).expect("names");
            assert_eq!((names.hostname.as_str(), names.domain.as_str()), (hostname, domain), "{spec}");
        }
        let long = serde_json::json!({"hostname": "h".repeat(50), "subdomain": "s", "setHostnameAsFQDN": true});
        assert!(names(long).is_err());
    }

    #[test]
    fn cuts_long_names() {
        assert_eq!(truncate(&"a".repeat(70)).len(), 63);
        assert_eq!(truncate(&format!("{}-bcd", "a".repeat(62))), "a".repeat(62));
        assert_eq!(truncate("short"), "short");
    }
}
