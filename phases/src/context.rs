//! What the phases of one `init` share.

use std::sync::Arc;

use junio_bundle::Bundle;
use junio_host::{Docker, ServiceManager, ServiceSpec};
use junio_pki::KeyPool;

use crate::changes::Changes;
use crate::options::InitOptions;
use crate::phase_id::PhaseId;
use crate::plan::Plan;
use crate::run::Run;

/// Name of the kubelet's service.
pub(crate) const KUBELET_SERVICE: &str = "junio-kubelet";

/// Borrowed by every phase; holds no outputs of phases, those are passed as arguments.
pub(crate) struct Context<'a> {
    pub(crate) run: &'a Run<'a>,
    pub(crate) changes: Changes<'a>,
    pub(crate) plan: &'a Plan,
    pub(crate) options: &'a InitOptions,
    /// Keys are generated in the background from the first moment on.
    pub(crate) keys: Arc<KeyPool>,
    pub(crate) bundle: Option<Arc<Bundle>>,
    /// `None` only where preflight's Docker errors are ignored.
    pub(crate) docker: Option<Docker>,
    /// An earlier run made changes here: objects are compared so that the report can say what was reused.
    pub(crate) again: bool,
}

impl Context<'_> {
    /// Whether this phase is to run: asked for, or not excluded.
    pub(crate) fn wants(&self, phase: PhaseId) -> bool {
        let excluded = self.options.skip.iter().any(|skip| skip.covers(phase));
        let asked = self.options.only.is_none_or(|only| only.covers(phase));
        asked && !excluded
    }

    /// Tells that a phase of a whole run is left out; a run of one phase alone does not speak of the others.
    pub(crate) fn leave_out(&self, phase: PhaseId) {
        if self.options.only.is_none() {
            self.run.skipped(phase);
        }
    }

    pub(crate) fn services(&self) -> ServiceManager {
        ServiceManager::of(&self.plan.init_system)
    }

    /// The kubelet's process. Its contract is files: see the unit, which says the same.
    pub(crate) fn kubelet_service(&self) -> ServiceSpec {
        kubelet_service(self.changes.host.layout())
    }
}

/// How the kubelet is started where systemd does not do it.
pub(crate) fn kubelet_service(layout: &junio_api::Layout) -> ServiceSpec {
    let flag = |name: &str, path: std::path::PathBuf| [format!("--{name}"), path.display().to_string()];
    let mut args = Vec::new();
    args.extend(flag("config", layout.kubelet_config()));
    args.extend(flag("kubeconfig", layout.kubelet_conf()));
    args.extend(flag("bootstrap-kubeconfig", layout.bootstrap_kubelet_conf()));
    args.push("$KUBELET_KUBEADM_ARGS".to_owned());
    ServiceSpec {
        name: KUBELET_SERVICE.to_owned(),
        program: layout.kubelet_bin(),
        args,
        environment_file: layout.kubelet_flags_env(),
        log: layout.junioadm_log_dir().join("junio-kubelet.log"),
    }
}
