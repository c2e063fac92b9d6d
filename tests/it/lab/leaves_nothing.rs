//! After `down` nothing of a lab is on the machine, however far the lab had come.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use junio_lab::{LabError, LabName, NoProgress, OutputStream, Progress, Suite, UpOptions};
use tokio_util::sync::CancellationToken;

use crate::support::{TestLab, junioadm, junioadm_command, wait_until};

/// What a lab has on the machine, by ids that no other lab gets.
#[derive(Debug)]
struct Traces {
    lab: LabName,
    containers: Vec<String>,
    volumes: Vec<String>,
    networks: Vec<String>,
}

fn docker(arguments: &[&str]) -> Vec<String> {
    let output = Command::new("docker").args(arguments).output().expect("docker runs");
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn text_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("the program runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Traces {
    fn of(lab: &LabName) -> Self {
        let filter = format!("label=io.junioadm.lab={lab}");
        let containers = docker(&["ps", "-aq", "--no-trunc", "--filter", &filter]);
        let mut inspect = vec!["inspect", "--format", "{{range .Mounts}}{{.Name}}\n{{end}}"];
        inspect.extend(containers.iter().map(String::as_str));
        let volumes = if containers.is_empty() { Vec::new() } else { docker(&inspect) };
        Self {
            lab: lab.clone(),
            volumes: volumes.into_iter().filter(|name| !name.is_empty()).collect(),
            networks: docker(&["network", "ls", "-q", "--no-trunc", "--filter", &filter]),
            containers,
        }
    }

    fn assert_gone(&self) {
        let now = Self::of(&self.lab);
        assert!(now.containers.is_empty() && now.networks.is_empty(), "left: {now:?}");
        let volumes = docker(&["volume", "ls", "-q"]);
        assert!(self.volumes.iter().all(|volume| !volumes.contains(volume)), "volumes left of {self:?}");
        assert!(
            !text_of("iptables-save", &[]).contains(&format!("junioadm-lab:{}\"", self.lab)),
            "a firewall rule is left"
        );
        // Docker names a bridge's peer links and cgroups by ids
        let links = text_of("ip", &["-o", "link"]);
        for network in &self.networks {
            assert!(!links.contains(&network[..12]), "a link is left: {links}");
        }
        for container in &self.containers {
            let found = text_of("find", &["/sys/fs/cgroup", "-maxdepth", "4", "-name", &format!("*{container}*")]);
            assert!(found.is_empty(), "cgroups are left: {found}");
        }
        let home = std::env::var("XDG_STATE_HOME")
            .unwrap_or_else(|_| format!("{}/.local/state", std::env::var("HOME").expect("HOME")));
        let state = Path::new(&home).join("junioadm/lab").join(self.lab.as_str());
        assert!(!state.exists(), "{} is left", state.display());
    }
}

#[tokio::test]
async fn up_list_and_down_by_command() {
    let name: LabName = format!("t{}-cli", std::process::id()).parse().expect("a name");
    let up = junioadm(&["lab", "up", name.as_str(), "--workers", "1", "--suite", "trixie", "--hosts-only"]);
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let traces = Traces::of(&name);
    assert_eq!((traces.containers.len(), traces.networks.len(), traces.volumes.len()), (2, 1, 4), "{traces:?}");
    let listed = String::from_utf8_lossy(&junioadm(&["lab", "list"]).stdout).into_owned();
    assert!(listed.contains(&format!("{name}-2")), "{listed}");
    let host = format!("{name}-2");
    let ssh = junioadm(&["lab", "ssh", name.as_str(), &host, "--", "sh", "-c", "hostname; exit 4"]);
    assert_eq!(String::from_utf8_lossy(&ssh.stdout).trim(), host);
    assert_eq!(ssh.status.code(), Some(4), "the command's exit code comes through");
    let down = junioadm(&["lab", "down", name.as_str()]);
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    traces.assert_gone();
    let again = junioadm(&["lab", "down", name.as_str()]);
    assert_eq!(again.status.code(), Some(2), "a lab that is not there is the caller's error");
    assert!(String::from_utf8_lossy(&again.stderr).contains("JUNIO-LAB-NOT-FOUND"));
}

/// Cancels when the lab tells of a step that starts with `at`.
struct CancelAt(&'static str, CancellationToken);

impl Progress for CancelAt {
    fn step(&self, text: &str) {
        if text.starts_with(self.0) {
            self.1.cancel();
        }
    }

    fn output(&self, _host: &str, _stream: OutputStream, _bytes: &[u8]) {}
}

#[tokio::test]
async fn an_interrupted_up_leaves_nothing() {
    let name: LabName = format!("t{}-int", std::process::id()).parse().expect("a name");
    let options = UpOptions { hosts_only: true, control_planes: 2, ..UpOptions::new(name.clone(), None) };
    let cancel = CancellationToken::new();
    let ended = junio_lab::up(&options, &CancelAt("starting", cancel.clone()), &cancel).await;
    assert!(matches!(ended, Err(LabError::Interrupted)), "{ended:?}");
    Traces { lab: name.clone(), containers: vec![], volumes: vec![], networks: vec![] }.assert_gone();
    assert!(matches!(junio_lab::down(&name, &NoProgress).await, Err(LabError::NotFound { .. })));
}

#[tokio::test]
async fn a_killed_up_is_listed_as_incomplete_and_goes_down() {
    let name: LabName = format!("t{}-killed", std::process::id()).parse().expect("a name");
    let mut up = junioadm_command(&["lab", "up", name.as_str(), "--workers", "1", "--hosts-only"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("junioadm starts");
    // both containers run, their systems boot: the engine has nothing left to do for `up`, which waits for the hosts
    let filter = format!("label=io.junioadm.lab={name}");
    wait_until("two running containers", Duration::from_secs(60), async || {
        let running = docker(&["ps", "-q", "--filter", &filter]).len();
        if running == 2 { Ok(()) } else { Err(format!("{running} run")) }
    })
    .await;
    up.kill().expect("it is killed");
    up.wait().expect("it has ended");
    let listed = junio_lab::list().await.expect("labs are listed");
    let lab = listed.iter().find(|lab| lab.name == name.as_str()).expect("the lab is listed");
    assert!(!lab.complete, "{lab:?}");
    let traces = Traces::of(&name);
    junio_lab::down(&name, &NoProgress).await.expect("it goes down");
    traces.assert_gone();
}

#[tokio::test]
async fn a_lab_is_taken_up_again_and_never_reshaped() {
    let lab = TestLab::plain("again", Suite::Bookworm, 1).await;
    lab.at(1).write_file("/root/mark", 0o600, b"x").await.expect("a mark");
    lab.at(1).stop().await.expect("the host stops");
    let options = UpOptions { hosts_only: true, ..UpOptions::new(lab.name().clone(), None) };
    let cancel = CancellationToken::new();
    let again = junio_lab::up(&options, &NoProgress, &cancel).await.expect("the same shape is taken up");
    assert_eq!(again.hosts()[0].read_file("/root/mark").await.expect("the mark is there"), b"x");
    let other = UpOptions { suite: Suite::Trixie, ..options };
    let refused = junio_lab::up(&other, &NoProgress, &cancel).await;
    assert!(matches!(refused, Err(LabError::Exists { .. })), "{refused:?}");
}
