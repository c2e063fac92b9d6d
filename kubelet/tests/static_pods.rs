//! The real binary without an API server on the real Docker Engine: static pods come, change, go, and outlive the kubelet.

#[expect(dead_code, reason = "other tests use more of it")]
mod docker_support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use docker_support::{IMAGE, Lab, with_lab};
use futures::StreamExt;
use junio_kubelet::runtime::{ContainerState, PodRuntime, RuntimeContainer};

/// A running `junio-kubelet`; ends with the test.
struct Kubelet {
    child: Child,
}

impl Kubelet {
    fn start(lab: &Lab) -> Self {
        let dir = &lab.dir;
        std::fs::create_dir_all(dir.join("manifests")).expect("a directory");
        let config = dir.join("config.yaml");
        let text = format!(
            "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\nstaticPodPath: {0}/manifests\npodLogsDir: {0}/logs\n\
             enableServer: false\nhealthzPort: 0\nfailCgroupV1: false\ncgroupsPerQOS: false\n",
            dir.display()
        );
        std::fs::write(&config, text).expect("a file");
        let path = |name: &str| format!("{}/{name}", dir.display());
        let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("kubelet.log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_junio-kubelet"))
            .args([
                "--config",
                &path("config.yaml"),
                "--root-dir",
                &path("root"),
                "--container-log-dir",
                &path("containers"),
            ])
            .args(["--cni-conf-dir", &path("net.d"), "--cni-bin-dir", &path("bin"), "--cni-cache-dir", &path("cache")])
            .args([
                "--engine-owner",
                &lab.owner,
                "--hostname-override",
                "node",
                "--pod-infra-container-image",
                IMAGE,
                "--v",
                "4",
            ])
            .stderr(Stdio::from(log))
            .spawn()
            .expect("the kubelet starts");
        Self { child }
    }

    /// SIGTERM; it must end by itself and well.
    fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("a signal");
        assert!(self.child.wait().expect("an exit").success());
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        // Already ended if the test got so far.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn manifest(script: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web, namespace: test}}\nspec:\n  hostNetwork: true\n  terminationGracePeriodSeconds: 1\n  \
         volumes: [{{name: scratch, emptyDir: {{}}}}]\n  containers:\n  - name: app\n    image: {IMAGE}\n    command: [sh, -c, {script:?}]\n    \
         volumeMounts: [{{name: scratch, mountPath: /scratch}}]\n"
    )
}

/// As an installer does it: written elsewhere, then renamed.
fn write(dir: &Path, text: &str) -> PathBuf {
    let target = dir.join("manifests/web.yaml");
    std::fs::write(dir.join("new.yaml"), text).expect("a file");
    std::fs::rename(dir.join("new.yaml"), &target).expect("a rename");
    target
}

/// Waits, by the engine's events, until the containers are as `wanted` says, and returns them.
async fn until(lab: &Lab, what: &str, wanted: impl Fn(&[RuntimeContainer]) -> bool) -> Vec<RuntimeContainer> {
    let mut events = lab.runtime.events();
    let look = async {
        loop {
            events.next().await.expect("an endless stream");
            let pods = lab.runtime.list_pods().await.expect("the pods");
            let containers: Vec<RuntimeContainer> = pods.into_iter().flat_map(|pod| pod.containers).collect();
            if wanted(&containers) {
                return containers;
            }
        }
    };
    match tokio::time::timeout(Duration::from_secs(30), look).await {
        Ok(containers) => containers,
        Err(_) => panic!("{what}: {}", std::fs::read_to_string(lab.dir.join("kubelet.log")).unwrap_or_default()),
    }
}

fn running(container: &RuntimeContainer) -> bool {
    matches!(container.state, ContainerState::Running { .. })
}

const ONE: &str = "trap 'exit 0' TERM; echo one > /scratch/word; while true; do sleep 0.05; done";

#[tokio::test(flavor = "multi_thread")]
async fn a_static_pod_comes_changes_and_goes() {
    with_lab(|lab| async move {
        let kubelet = Kubelet::start(&lab);
        let file = write(&lab.dir, &manifest(ONE));
        let first = until(&lab, "the pod runs", |list| list.len() == 1 && running(&list[0])).await.remove(0);
        assert_eq!(
            (first.pod.name.as_str(), first.pod.namespace.as_str(), first.name.as_str()),
            ("web-node", "test", "app")
        );

        write(&lab.dir, &manifest(&ONE.replace("one", "two")));
        let second = until(&lab, "the edited pod runs", |list| {
            list.iter().any(|container| running(container) && container.pod.uid != first.pod.uid)
                && !list.iter().any(|container| running(container) && container.pod.uid == first.pod.uid)
        })
        .await;
        let second = second.into_iter().find(running).expect("the new container");
        assert!(!lab.dir.join("root/pods").join(&first.pod.uid).exists(), "nothing of the old pod is left");

        std::fs::remove_file(file).expect("a file");
        until(&lab, "the pod is gone", <[_]>::is_empty).await;
        kubelet.stop();
        assert!(!lab.dir.join("root/pods").join(&second.pod.uid).exists());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_kubelet_takes_its_pods_over() {
    with_lab(|lab| async move {
        let kubelet = Kubelet::start(&lab);
        let file = write(&lab.dir, &manifest(ONE));
        let before = until(&lab, "the pod runs", |list| list.len() == 1 && running(&list[0])).await;
        kubelet.stop();
        let still = lab.runtime.container(&before[0].id).await.expect("the container");
        assert!(running(&still), "an ending kubelet leaves its containers alone");

        // The pod is changed by the next life of the kubelet only after it has seen it: a crash of the process comes first.
        let kubelet = Kubelet::start(&lab);
        let pid = nix::unistd::Pid::from_raw(still.pid.expect("a process"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("a signal");
        let after = until(&lab, "the container is restarted", |list| {
            list.iter().any(|container| running(container) && container.attempt == 1)
        })
        .await;
        assert_eq!(
            after.iter().filter(|container| container.pod.uid == before[0].pod.uid).count(),
            after.len(),
            "it is the same pod"
        );
        assert_eq!(
            after.iter().find(|container| container.attempt == 0).map(|container| &container.id),
            Some(&before[0].id)
        );

        // A manifest that goes while no kubelet runs ends the pod in the next life.
        kubelet.stop();
        std::fs::remove_file(file).expect("a file");
        let kubelet = Kubelet::start(&lab);
        until(&lab, "the orphan is gone", <[_]>::is_empty).await;
        kubelet.stop();
    })
    .await;
}
