//! From the plan to texts and objects: the one place that knows the templates' inputs.

use std::path::Path;

use jiff::Timestamp;
use junio_api::config::cluster::{ApiServer, ControlPlaneComponent};
use junio_api::config::defaults::split_endpoint;
use junio_api::config::{BootstrapToken, Kind};
use junio_api::{Layout, cidr, config, names};
use junio_pki::Kubeconfig;
use junio_templates::coredns::CoreDnsOptions;
use junio_templates::flannel::{Backend, FlannelOptions};
use junio_templates::kubelet_files::KubeletFlags;
use junio_templates::patch::Target;
use junio_templates::{ControlPlaneHost, EtcdBackend, EtcdCluster, EtcdOptions, Extra, TemplateError};
use junio_templates::{bootstrap, control_plane, coredns, etcd, flannel, kube_proxy, kubelet_files, upload_config};
use serde_json::{Map, Value};

use crate::error::Cause;
use crate::patches::PatchesError;
use crate::phase_id::PhaseId;
use crate::plan::Plan;
use crate::tokens;

/// kubeadm's number.
const COREDNS_REPLICAS: u32 = 2;

/// A static pod of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Component {
    Etcd,
    ApiServer,
    ControllerManager,
    Scheduler,
}

impl Component {
    const ALL: [Self; 4] = [Self::Etcd, Self::ApiServer, Self::ControllerManager, Self::Scheduler];

    const fn phase(self) -> PhaseId {
        match self {
            Self::Etcd => PhaseId::EtcdLocal,
            Self::ApiServer => PhaseId::ControlPlaneApiserver,
            Self::ControllerManager => PhaseId::ControlPlaneControllerManager,
            Self::Scheduler => PhaseId::ControlPlaneScheduler,
        }
    }

    const fn target(self) -> Target {
        match self {
            Self::Etcd => Target::Etcd,
            Self::ApiServer => Target::ApiServer,
            Self::ControllerManager => Target::ControllerManager,
            Self::Scheduler => Target::Scheduler,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Etcd => names::ETCD,
            Self::ApiServer => names::KUBE_APISERVER,
            Self::ControllerManager => names::KUBE_CONTROLLER_MANAGER,
            Self::Scheduler => names::KUBE_SCHEDULER,
        }
    }
}

/// The text of a static pod's manifest.
pub(crate) fn manifest(plan: &Plan, component: Component, external_ca: bool) -> Result<String, Cause> {
    let host = host(plan);
    let cluster = &plan.documents.cluster;
    let networking = &cluster.networking;
    let text = match component {
        Component::Etcd => {
            let local = cluster.etcd.local.clone().unwrap_or_default();
            let alone = EtcdCluster::default();
            let image = (plan.images.etcd != junio_api::images::Image::Etcd.reference(&host.image_repository))
                .then_some(plan.images.etcd.as_str());
            let options = EtcdOptions { data_dir: &local.data_dir, image, cluster: &alone };
            etcd::etcd(&host, &options, &Extra { args: local.extra_args, envs: local.extra_envs, volumes: Vec::new() })
        }
        Component::ApiServer => control_plane::api_server(
            &host,
            &networking.service_subnet,
            &networking.dns_domain,
            &backend(plan),
            &api_server_extra(&cluster.api_server),
        ),
        Component::ControllerManager => control_plane::controller_manager(
            &host,
            &cluster.cluster_name,
            &networking.service_subnet,
            Some(networking.pod_subnet.as_str()).filter(|subnet| !subnet.is_empty()),
            external_ca,
            &extra(&cluster.controller_manager),
        ),
        Component::Scheduler => control_plane::scheduler(&host, &extra(&cluster.scheduler)),
    };
    let text = text.map_err(Cause::other)?;
    Ok(plan.patches.apply_text(component.target(), text).map_err(PatchesError::from)?)
}

/// Applies every patch to what it is for and forgets the result: a bad one shows before anything is changed.
pub(crate) fn try_patches(plan: &Plan) -> Result<(), Cause> {
    for component in Component::ALL {
        if plan.patches.touch(component.target()) && (component != Component::Etcd || plan.pki.local_etcd) {
            manifest(plan, component, false)?;
        }
    }
    if plan.patches.touch(Target::CoreDns) {
        coredns(plan, None)?;
    }
    Ok(())
}

fn host(plan: &Plan) -> ControlPlaneHost {
    ControlPlaneHost {
        node_name: plan.node_name.clone(),
        advertise_address: plan.advertise_address,
        bind_port: plan.documents.init.local_api_endpoint.bind_port,
        image_repository: plan.documents.cluster.image_repository.clone(),
        kubernetes_dir: "/etc/kubernetes".to_owned(),
        certificates_dir: plan.documents.cluster.certificates_dir.clone(),
        host_ca_dirs: plan.certificate_directories.clone(),
        proxy_env: plan.proxies.clone(),
        health_timeout: plan.timeouts.control_plane,
    }
}

fn backend(plan: &Plan) -> EtcdBackend {
    match plan.documents.cluster.etcd.external.clone() {
        None => EtcdBackend::Local,
        Some(external) => EtcdBackend::External {
            endpoints: external.endpoints,
            ca_file: external.ca_file,
            cert_file: external.cert_file,
            key_file: external.key_file,
        },
    }
}

fn api_server_extra(api_server: &ApiServer) -> Extra {
    Extra {
        args: api_server.extra_args.clone(),
        volumes: api_server.extra_volumes.clone(),
        envs: api_server.extra_envs.clone(),
    }
}

fn extra(component: &ControlPlaneComponent) -> Extra {
    Extra {
        args: component.extra_args.clone(),
        volumes: component.extra_volumes.clone(),
        envs: component.extra_envs.clone(),
    }
}

/// A file of the kubelet.
pub(crate) struct KubeletFile {
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

/// Configuration, instance configuration and flags.
pub(crate) fn kubelet_files(plan: &Plan) -> Result<[KubeletFile; 3], Cause> {
    let config = kubelet_files::config(&plan.kubelet_config, &Value::Object(Map::new())).map_err(Cause::other)?;
    let instance =
        kubelet_files::instance_config(&plan.documents.init.node_registration.cri_socket).map_err(Cause::other)?;
    let flags = kubelet_files::flags_env(&KubeletFlags {
        hostname_override: None,
        register_with_taints: &[],
        extra_args: &plan.kubelet_flags,
    });
    Ok([
        KubeletFile { name: "kubeadm-flags.env", text: flags },
        KubeletFile { name: "instance-config.yaml", text: instance },
        KubeletFile { name: "config.yaml", text: config },
    ])
}

/// The systemd unit.
pub(crate) fn unit(layout: &Layout) -> Result<String, Cause> {
    kubelet_files::unit(layout).map_err(Cause::other)
}

/// The binding that gives `admin.conf` its rights.
pub(crate) fn cluster_admins() -> Result<Vec<Value>, Cause> {
    values(bootstrap::cluster_admins())
}

/// `upload-config/kubeadm`.
pub(crate) fn kubeadm_config(plan: &Plan) -> Result<Vec<Value>, Cause> {
    let text = config::emit::to_yaml(Kind::ClusterConfiguration, &plan.documents.cluster)
        .map_err(|e| Cause::other(TemplateError::from(e)))?;
    values(upload_config::kubeadm_config(&text))
}

/// `upload-config/kubelet`.
pub(crate) fn kubelet_config(plan: &Plan) -> Result<Vec<Value>, Cause> {
    values(upload_config::kubelet_config(&plan.kubelet_config_shared, plan.documents.kubelet.is_none()))
}

/// A bootstrap token, and whether the cluster has it already.
#[derive(Debug, Clone)]
pub(crate) struct KnownToken {
    pub(crate) token: BootstrapToken,
    pub(crate) stored: bool,
}

impl KnownToken {
    pub(crate) fn new(token: BootstrapToken) -> Self {
        Self { token, stored: false }
    }
}

/// Token Secrets, the RBAC of joining hosts, and `cluster-info` signed by every token that may sign: hosts that join need
/// not wait for the signer.
pub(crate) fn bootstrap_objects(
    plan: &Plan,
    tokens: &[KnownToken],
    ca_pem: &str,
    description: Option<&str>,
    now: Timestamp,
) -> Result<Vec<Value>, Cause> {
    let kubeconfig =
        Kubeconfig::cluster_info(&format!("https://{}", plan.endpoint), ca_pem).to_yaml().map_err(Cause::other)?;
    let text = kubeconfig.expose();
    let mut objects = values(bootstrap::bootstrap_rbac())?;
    objects.extend(values(bootstrap::api_server_kubelet_client())?);
    let mut signatures = Vec::new();
    for KnownToken { token, stored } in tokens {
        let mut token = token.clone();
        if let (true, Some(description)) = (token.description.is_empty(), description) {
            description.clone_into(&mut token.description);
        }
        if !stored {
            objects.extend(tokens::secret_object(&token, now).map_err(Cause::other)?);
        }
        if let (Some(value), true) = (&token.token, token.usages.iter().any(|usage| usage == "signing")) {
            signatures.push((
                format!("jws-kubeconfig-{}", value.id()),
                junio_pki::token::sign(value.id(), value.secret(), text),
            ));
        }
    }
    for mut object in values(bootstrap::cluster_info(text))? {
        for (key, signature) in &signatures {
            object["data"][key] = Value::String(signature.clone());
        }
        objects.push(object);
    }
    Ok(objects)
}

/// The CoreDNS add-on. A Corefile that the cluster has already is kept.
pub(crate) fn coredns(plan: &Plan, existing_corefile: Option<&str>) -> Result<Vec<Value>, Cause> {
    let cluster_ips: Vec<String> =
        plan.service_subnets.iter().filter_map(|net| cidr::nth_address(net, 10)).map(|ip| ip.to_string()).collect();
    let (api_host, api_port) = api_address(plan);
    let options = CoreDnsOptions {
        domain: &plan.documents.cluster.networking.dns_domain,
        image_repository: &plan.documents.cluster.image_repository,
        image: Some(&plan.images.coredns),
        replicas: COREDNS_REPLICAS,
        cluster_ips: &cluster_ips,
        api_host,
        api_port,
    };
    let mut objects = values(coredns::coredns(&options, existing_corefile))?;
    for deployment in objects.iter_mut().filter(|object| object["kind"] == "Deployment") {
        *deployment = plan.patches.apply(Target::CoreDns, deployment.take()).map_err(PatchesError::from)?;
    }
    Ok(objects)
}

/// The objects of add-ons as one text, each behind a marker line as kubeadm prints them.
pub(crate) fn addon(plan: &Plan, only: Option<PhaseId>) -> Result<String, Cause> {
    let wants = |phase: PhaseId| only.is_none_or(|only| only.covers(phase));
    let mut objects = Vec::new();
    if wants(PhaseId::AddonCoreDns) {
        objects.extend(coredns(plan, None)?);
    }
    if wants(PhaseId::AddonKubeProxy) {
        objects.extend(kube_proxy(plan)?);
    }
    if wants(PhaseId::AddonFlannel) {
        objects.extend(flannel(plan)?);
    }
    Ok(format!("---\n{}", config::emit::to_multi_yaml(&objects).map_err(|e| Cause::other(TemplateError::from(e)))?))
}

/// The kube-proxy add-on.
pub(crate) fn kube_proxy(plan: &Plan) -> Result<Vec<Value>, Cause> {
    let cluster = &plan.documents.cluster;
    let server = format!("https://{}", plan.endpoint);
    values(kube_proxy::kube_proxy(
        &plan.kube_proxy_config,
        plan.documents.kube_proxy.is_none(),
        &server,
        &cluster.image_repository,
    ))
}

/// The flannel add-on.
pub(crate) fn flannel(plan: &Plan) -> Result<Vec<Value>, Cause> {
    let (api_host, api_port) = api_address(plan);
    let mode = plan.kube_proxy_config.get("mode").and_then(Value::as_str);
    let options = FlannelOptions {
        pod_subnets: &plan.pod_subnets,
        backend: Backend::Vxlan,
        nftables: mode == Some("nftables"),
        image_repository: &plan.documents.cluster.image_repository,
        api_host,
        api_port,
        interface: None,
    };
    values(flannel::flannel(&options))
}

/// Host and port at which nodes reach the API server.
fn api_address(plan: &Plan) -> (&str, u16) {
    let (host, port) = split_endpoint(&plan.endpoint);
    (host, port.and_then(|port| port.parse().ok()).unwrap_or(plan.documents.init.local_api_endpoint.bind_port))
}

fn values(objects: Result<Vec<junio_templates::Object>, TemplateError>) -> Result<Vec<Value>, Cause> {
    Ok(objects.map_err(Cause::other)?.into_iter().map(junio_templates::Object::into_value).collect())
}

/// What the wanted phases would write, as files of one flat directory as in kubeadm's dry run; API objects in one of them.
pub(crate) fn everything(
    plan: &Plan,
    ca_pem: &str,
    external_ca: bool,
    directory: &Path,
    wants: impl Fn(PhaseId) -> bool,
) -> Result<Vec<(std::path::PathBuf, String)>, Cause> {
    let cluster = &plan.documents.cluster;
    let mut files = Vec::new();
    for component in Component::ALL {
        if wants(component.phase()) && (component != Component::Etcd || plan.pki.local_etcd) {
            files.push((directory.join(format!("{}.yaml", component.name())), manifest(plan, component, external_ca)?));
        }
    }
    if wants(PhaseId::KubeletStart) {
        files.extend(kubelet_files(plan)?.map(|file| (directory.join(file.name), file.text)));
    }
    let mut objects = Vec::new();
    let mut add = |wanted: bool, render: &dyn Fn() -> Result<Vec<Value>, Cause>| {
        if wanted {
            objects.extend(render()?);
        }
        Ok::<_, Cause>(())
    };
    add(wants(PhaseId::WaitControlPlane), &cluster_admins)?;
    add(wants(PhaseId::UploadConfigKubeadm), &|| kubeadm_config(plan))?;
    add(wants(PhaseId::UploadConfigKubelet), &|| kubelet_config(plan))?;
    add(wants(PhaseId::BootstrapToken), &|| {
        let tokens: Vec<_> = plan.documents.init.bootstrap_tokens.iter().cloned().map(KnownToken::new).collect();
        bootstrap_objects(plan, &tokens, ca_pem, None, Timestamp::now())
    })?;
    add(!cluster.dns.disabled && wants(PhaseId::AddonCoreDns), &|| coredns(plan, None))?;
    add(!cluster.proxy.disabled && wants(PhaseId::AddonKubeProxy), &|| kube_proxy(plan))?;
    add(plan.overlay && wants(PhaseId::AddonFlannel), &|| flannel(plan))?;
    if !objects.is_empty() {
        let text = config::emit::to_multi_yaml(&objects).map_err(|e| Cause::other(TemplateError::from(e)))?;
        files.push((directory.join("objects.yaml"), text));
    }
    Ok(files)
}
