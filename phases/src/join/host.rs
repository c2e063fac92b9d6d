//! What the joining host is like before anything is changed. Reads only.

use std::path::Path;
use std::sync::Arc;

use junio_api::config::JoinConfiguration;
use junio_api::config::join::Discovery;
use junio_api::{Layout, names, ports};
use junio_bundle::Bundle;
use junio_host::{Facts, facts};
use junio_pki::Kubeconfig;
use junio_pki::parsed::ParsedCertificate;
use junio_pki::token::matches_any_pin;

use super::file_discovery::local_path;
use crate::journal::{Change, Journal};
use crate::options::JoinOptions;
use crate::preflight::{self, JoinInput, Standing, Verdict};

/// Facts and findings about this host.
pub(crate) struct Examined {
    pub(crate) facts: Facts,
    pub(crate) bundle: Option<Arc<Bundle>>,
    pub(crate) findings: Vec<Verdict>,
    pub(crate) checks: usize,
}

/// Looks at everything at once. Parts of the bundle are checked when they are used.
pub(crate) async fn examine(options: &JoinOptions, standing: &Standing) -> Examined {
    let path = options.bundle.clone();
    let bundle = tokio::task::spawn_blocking(move || preflight::check_bundle(&path, &[], false));
    let wanted = [ports::KUBELET, ports::KUBELET_HEALTHZ, ports::VXLAN];
    let (facts, bundle) = tokio::join!(facts::gather(&options.layout, &wanted), bundle);
    let (bundle, verdict) = match bundle {
        Ok(checked) => checked,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let join = &options.documents.join;
    let input = JoinInput { facts: &facts, join, layout: &options.layout, standing, bundle: verdict };
    let (findings, checks) = preflight::evaluate_join(&input);
    Examined { facts, bundle, findings, checks }
}

/// What earlier runs made of this host.
pub(crate) fn standing(layout: &Layout, journal: &Journal, join: &JoinConfiguration) -> Standing {
    if journal.is_empty() {
        return Standing::Fresh;
    }
    let manifest = layout.manifest(names::KUBE_APISERVER);
    if journal.knows(
        |change| matches!(change, Change::File { path, .. } if *path == manifest || *path == layout.admin_conf()),
    ) {
        return Standing::ControlPlane;
    }
    let path = layout.kubelet_conf();
    let Ok(Some(config)) = Kubeconfig::load(&path) else { return Standing::Interrupted };
    let Some((server, ca_pem)) =
        config.current().map(|(cluster, _)| cluster.server.clone()).zip(config.ca_pem(&path).ok().flatten())
    else {
        return Standing::Interrupted;
    };
    // Nothing says which cluster is meant (a phase that is run alone, an https file): then it is the one that is there.
    if same_cluster(&join.discovery, &server, &ca_pem) == Some(false) {
        return Standing::Stranger { server };
    }
    match node_name(layout) {
        Some(name) if name != join.node_registration.name => Standing::OtherName { name },
        _ => Standing::Member,
    }
}

/// Whether the wanted cluster is the one with this server and CA; `None` when that cannot be told from here.
fn same_cluster(wanted: &Discovery, server: &str, ca_pem: &str) -> Option<bool> {
    let is_server = |other: &str| other.trim_start_matches("https://") == server.trim_start_matches("https://");
    if let Some(token) = &wanted.bootstrap_token {
        if token.ca_cert_hashes.is_empty() {
            return Some(is_server(&token.api_server_endpoint));
        }
        return Some(matches_any_pin(ca_pem, &token.ca_cert_hashes).unwrap_or(false));
    }
    let path = local_path(&wanted.file.as_ref()?.kube_config_path);
    let config = Kubeconfig::load(&path).ok()??;
    match config.ca_pem(&path).ok().flatten() {
        Some(other) => Some(other.trim() == ca_pem.trim()),
        None => Some(is_server(&config.current()?.0.server)),
    }
}

/// The node's name in the certificate that the kubelet uses.
fn node_name(layout: &Layout) -> Option<String> {
    let path = layout.kubelet_pki_dir().join("kubelet-client-current.pem");
    let text = std::fs::read_to_string(&path).ok()?;
    let certificate = ParsedCertificate::from_pem(&text, &shown(&path)).ok()?;
    certificate.common_name.strip_prefix(names::NODE_USER_PREFIX).map(str::to_owned)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use junio_api::config::join::BootstrapTokenDiscovery;
    use junio_pki::csr::self_signed_serving;
    use junio_pki::token::ca_pin;

    fn by_token(endpoint: &str, pins: Vec<String>) -> JoinConfiguration {
        let mut join = JoinConfiguration::default();
        join.discovery.bootstrap_token = Some(BootstrapTokenDiscovery {
            api_server_endpoint: endpoint.to_owned(),
            ca_cert_hashes: pins,
            ..BootstrapTokenDiscovery::default()
        });
        join
    }

    #[test]
    fn an_earlier_join_is_told_by_its_ca() {
        let root = tempfile::tempdir().expect("temporary directory");
        let layout = Layout::new(root.path());
        let journal = Journal::open(&layout.journal()).expect("absent is fine");
        let ca = |name: &str| self_signed_serving(&[name.to_owned()], &[]).expect("a certificate").pem.clone();
        let (ours, other) = (ca("a"), ca("b"));
        let pin = |pem: &str| vec![ca_pin(pem).expect("a pin")];
        assert_eq!(standing(&layout, &journal, &by_token("a:6443", pin(&ours))), Standing::Fresh);
        journal.intend("kubelet-start", &[Change::Kubelet { node: "n".to_owned() }]).expect("recorded");
        assert_eq!(standing(&layout, &journal, &by_token("a:6443", pin(&ours))), Standing::Interrupted);
        std::fs::create_dir_all(layout.kubernetes_dir()).expect("made");
        let config = Kubeconfig::for_bootstrapped_kubelet("https://a:6443", &ours, Path::new("/x.pem"));
        config.write(&layout.kubelet_conf()).expect("written");
        assert_eq!(standing(&layout, &journal, &by_token("b:6443", pin(&ours))), Standing::Member);
        assert_eq!(standing(&layout, &journal, &by_token("a:6443", Vec::new())), Standing::Member);
        let stranger = Standing::Stranger { server: "https://a:6443".to_owned() };
        assert_eq!(standing(&layout, &journal, &by_token("a:6443", pin(&other))), stranger);
        assert_eq!(standing(&layout, &journal, &JoinConfiguration::default()), Standing::Member);
        journal
            .intend("control-plane", &[Change::File { path: layout.admin_conf(), previous: None }])
            .expect("recorded");
        assert_eq!(standing(&layout, &journal, &by_token("a:6443", pin(&ours))), Standing::ControlPlane);
    }
}
