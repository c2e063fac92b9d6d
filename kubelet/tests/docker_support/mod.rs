//! What the tests against the real Docker Engine share: an image made of the static busybox (Debian: busybox-static),
//! an owner of its own per test, and a cleanup that runs whatever happens.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};
use futures::StreamExt;
use junio_kubelet::runtime::docker::{DockerOptions, DockerRuntime};
use junio_kubelet::runtime::{
    ContainerConfig, ContainerId, ContainerState, PodRef, PodRuntime, RuntimeContainer, SandboxConfig, SandboxId,
};
use tokio::sync::OnceCell;

pub const SOCKET: &str = "/var/run/docker.sock";
pub const IMAGE: &str = "junio-test/busybox:1";
const BUSYBOX: &str = "/bin/busybox";
const APPLETS: &[&str] = &[
    "sh", "sleep", "cat", "echo", "true", "false", "printf", "httpd", "nc", "stty", "ps", "hostname", "id", "head",
    "yes", "ls", "ip", "seq", "wget", "kill", "mkdir", "tr", "readlink", "grep",
];

static IMAGE_READY: OnceCell<()> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// One test's view of the engine.
#[derive(Clone)]
pub struct Lab {
    pub runtime: DockerRuntime,
    pub owner: String,
    pub dir: PathBuf,
}

/// Runs `body` with a fresh owner, then removes its containers and files even if it panicked.
pub async fn with_lab<F: Future<Output = ()> + Send + 'static>(body: impl FnOnce(Lab) -> F) {
    IMAGE_READY.get_or_init(build_image).await;
    let owner = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = connect(&owner, dir.path()).await;
    let lab = Lab { runtime, owner: owner.clone(), dir: dir.path().to_path_buf() };
    let outcome = tokio::time::timeout(Duration::from_secs(120), tokio::spawn(body(lab))).await;
    cleanup(&owner).await;
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
        Err(_) => panic!("the test took longer than two minutes"),
    }
}

pub async fn connect(owner: &str, dir: &Path) -> DockerRuntime {
    let options = DockerOptions {
        pause_image: IMAGE.to_owned(),
        container_log_dir: dir.join("containers"),
        owner: owner.to_owned(),
        ..DockerOptions::default()
    };
    DockerRuntime::connect(Path::new(SOCKET), options).await.expect("Docker must run for these tests")
}

impl Lab {
    pub fn sandbox_config(&self, name: &str) -> SandboxConfig {
        SandboxConfig { pod: self.pod(name), hostname: name.to_owned(), ..SandboxConfig::default() }
    }

    pub fn pod(&self, name: &str) -> PodRef {
        PodRef { uid: format!("uid-{name}-{}", self.owner), namespace: "test".into(), name: name.to_owned() }
    }

    /// A container that runs a shell script.
    pub fn shell(&self, pod: &str, name: &str, script: &str) -> ContainerConfig {
        ContainerConfig {
            pod: self.pod(pod),
            name: name.to_owned(),
            image: IMAGE.to_owned(),
            command: vec!["/bin/sh".into(), "-c".into(), script.to_owned()],
            hash: "hash".into(),
            log_path: self.dir.join(format!("pods/test_{pod}/{name}/0.log")),
            ..ContainerConfig::default()
        }
    }

    pub async fn running_sandbox(&self, name: &str) -> SandboxId {
        let id = self.runtime.create_sandbox(&self.sandbox_config(name)).await.expect("a sandbox");
        self.runtime.start_sandbox(&id).await.expect("a running sandbox");
        id
    }

    pub async fn start(&self, sandbox: &SandboxId, config: &ContainerConfig) -> ContainerId {
        let id = self.runtime.create_container(sandbox, config).await.expect("a container");
        self.runtime.start_container(&id).await.expect("a running container");
        id
    }

    /// Waits by event until the container has ended.
    pub async fn ended(&self, id: &ContainerId) -> RuntimeContainer {
        let mut events = self.runtime.events();
        loop {
            events.next().await.expect("an endless stream");
            let container = self.runtime.container(id).await.expect("the container");
            if matches!(container.state, ContainerState::Exited { .. }) {
                return container;
            }
        }
    }
}

/// Kept for the next run; a change of its content needs another tag.
async fn build_image() {
    let docker = Docker::connect_with_unix(SOCKET, 60, bollard::API_DEFAULT_VERSION).expect("Docker must run");
    if docker.inspect_image(IMAGE).await.is_ok() {
        return;
    }
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    for dir in ["bin/", "etc/", "tmp/", "proc/", "sys/", "dev/"] {
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        tar.append_data(&mut header, dir, std::io::empty()).expect("a tar entry");
    }
    let busybox = std::fs::read(BUSYBOX).expect("busybox-static must be installed");
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o755);
    header.set_size(busybox.len() as u64);
    tar.append_data(&mut header, "bin/busybox", busybox.as_slice()).expect("a tar entry");
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    for applet in APPLETS {
        tar.append_link(&mut header, format!("bin/{applet}"), "/bin/busybox").expect("a tar entry");
    }
    let bytes = tar.into_inner().expect("a tar");
    let (repo, tag) = IMAGE.split_once(':').expect("a tag");
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(repo)
        .tag(tag)
        .changes(vec![r#"CMD ["/bin/sleep","2147483"]"#.to_owned(), "ENV PATH=/bin".to_owned()])
        .build();
    let mut steps = Box::pin(docker.create_image(Some(options), Some(bollard::body_full(bytes.into())), None));
    while let Some(step) = steps.next().await {
        step.expect("an import");
    }
}

async fn cleanup(owner: &str) {
    let docker = Docker::connect_with_unix(SOCKET, 60, bollard::API_DEFAULT_VERSION).expect("Docker must run");
    let filters = HashMap::from([("label", vec![format!("io.junioadm.managed={owner}")])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    for container in docker.list_containers(Some(options)).await.expect("a list") {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        if let Some(id) = container.id {
            docker.remove_container(&id, Some(options)).await.ok();
        }
    }
}
