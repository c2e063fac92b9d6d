//! CNI with the real plugins (Debian: containernetworking-plugins, or the bundle's) on sandboxes of the real engine.

mod docker_support;
#[path = "docker_support/speed.rs"]
mod speed;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use docker_support::{Lab, with_lab};
use futures::StreamExt;
use junio_kubelet::network::cni::{Cni, NetworkError, NetworkNotReady};
use junio_kubelet::network::netns;
use junio_kubelet::runtime::{LogOptions, PodRuntime, PortMapping, RuntimeError, SandboxId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PLUGIN_DIRS: &[&str] = &["/opt/cni/bin", "/usr/lib/cni"];

static NEXT: AtomicU8 = AtomicU8::new(0);

/// A bridge network of its own, removed at the end.
struct Network {
    bridge: String,
    conf: PathBuf,
    cache: PathBuf,
    leases: PathBuf,
    subnet: String,
}

impl Network {
    fn new(dir: &Path) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let host = (std::process::id() % 200) as u8;
        let network = Self {
            bridge: format!("jt{}n{number}", std::process::id()),
            conf: dir.join("net.d"),
            cache: dir.join("cache"),
            leases: dir.join("leases"),
            subnet: format!("10.{}.{host}", 210 + number),
        };
        std::fs::create_dir(&network.conf).expect("a directory");
        network
    }

    fn configure(&self) {
        let conf = serde_json::json!({
            "name": "test", "cniVersion": "0.4.0",
            "plugins": [
                {"type": "bridge", "bridge": self.bridge, "isGateway": true, "ipMasq": false, "hairpinMode": true,
                 "ipam": {"type": "host-local", "dataDir": self.leases, "ranges": [[{"subnet": format!("{}.0/24", self.subnet)}]]}},
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        });
        let temporary = self.conf.join("new");
        std::fs::write(&temporary, conf.to_string()).expect("a file");
        std::fs::rename(temporary, self.conf.join("10-test.conflist")).expect("a file");
    }

    fn cni(&self) -> Cni {
        let dirs: Vec<PathBuf> =
            PLUGIN_DIRS.iter().map(PathBuf::from).filter(|dir| dir.join("bridge").is_file()).collect();
        assert!(!dirs.is_empty(), "CNI plugins must be installed in one of {PLUGIN_DIRS:?}");
        Cni::new(self.conf.clone(), dirs, self.cache.clone())
    }

    fn leases(&self) -> usize {
        let files = std::fs::read_dir(self.leases.join("test")).into_iter().flatten().flatten();
        files.filter(|file| file.file_name().to_string_lossy().starts_with("10.")).count()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Absent if no pod was added.
        Command::new("ip").args(["link", "del", &self.bridge]).output().expect("iproute2");
    }
}

/// The answer of a web server; `None` while it is not up yet.
async fn get(stream: io::Result<TcpStream>) -> Option<String> {
    let mut stream = stream.ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    Some(text).filter(|text| !text.is_empty())
}

async fn sandbox(lab: &Lab, name: &str) -> (SandboxId, PathBuf) {
    let id = lab.runtime.create_sandbox(&lab.sandbox_config(name)).await.expect("a sandbox");
    let started = lab.runtime.start_sandbox(&id).await.expect("a running sandbox");
    (id, started.netns)
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_talk_and_addresses_are_freed() {
    with_lab(|lab| async move {
        let network = Network::new(&lab.dir);
        let cni = network.cni();
        assert!(matches!(cni.status(), Err(NetworkNotReady::NoConfig { .. })));
        let mut ready = cni.ready_changed();
        assert!(!*ready.borrow());
        network.configure();
        ready.wait_for(|ready| *ready).await.expect("the watcher lives");
        cni.status().expect("a network");

        let ((first, first_ns), (second, second_ns)) = tokio::join!(sandbox(&lab, "first"), sandbox(&lab, "second"));
        let (pod1, pod2) = (lab.pod("first"), lab.pod("second"));
        let (a, b) = tokio::join!(cni.add(&pod1, &first, &first_ns, &[]), cni.add(&pod2, &second, &second_ns, &[]));
        let (a, b) = (a.expect("a network"), b.expect("a network"));
        assert!(a != b && a.ips[0].to_string().starts_with(&network.subnet), "{a:?} {b:?}");
        assert_eq!(network.leases(), 2);
        assert_eq!(cni.add(&pod1, &first, &first_ns, &[]).await.expect("the same"), a);
        assert_eq!(network.cni().cached(&first), Some(a.clone()), "a restarted kubelet knows");

        lab.start(
            &second,
            &lab.shell("second", "server", "mkdir -p /tmp/w; echo hello > /tmp/w/index.html; httpd -f -p 80 -h /tmp/w"),
        )
        .await;
        // From the host: between pods the engine's FORWARD policy is in the way until kube-proxy or flannel allow them.
        let page = async {
            loop {
                if let Some(text) = get(TcpStream::connect((b.ips[0], 80)).await).await {
                    return text;
                }
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(10), page).await.expect("an answer").ends_with("hello\n"));
        let show = lab.start(&first, &lab.shell("first", "show", "ip -o link show lo; ip -o addr show eth0")).await;
        lab.ended(&show).await;
        let lines: Vec<_> = lab.runtime.logs(&show, &LogOptions::default()).await.expect("a log").collect().await;
        let text: String =
            lines.into_iter().map(|line| String::from_utf8(line.expect("a line").text).expect("text")).collect();
        assert!(text.contains("LOOPBACK,UP") && text.contains(&a.ips[0].to_string()), "{text}");

        cni.del(&first).await.expect("a deletion");
        cni.del(&first).await.expect("a second deletion");
        assert_eq!((network.leases(), cni.cached(&first)), (1, None));
        lab.runtime.stop_sandbox(&second).await.expect("a stop");
        network.cni().del(&second).await.expect("a deletion without a namespace");
        assert_eq!(network.leases(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_crashes_leave_is_cleaned() {
    with_lab(|lab| async move {
        let network = Network::new(&lab.dir);
        network.configure();
        let cni = network.cni();
        let mut ids = Vec::new();
        for name in ["live", "recorded", "lost", "cut"] {
            let (id, netns) = sandbox(&lab, name).await;
            cni.add(&lab.pod(name), &id, &netns, &[]).await.expect("a network");
            ids.push(id);
        }
        let file = |id: &SandboxId| network.cache.join(format!("{}.json", id.0));
        std::fs::remove_file(file(&ids[2])).expect("a record");
        std::fs::write(file(&ids[3]), "").expect("a cut record");
        std::fs::write(network.leases.join("test/10.9.9.9"), "somebody else\r\neth0").expect("a foreign lease");
        assert_eq!(network.leases(), 5);
        let live = HashSet::from([ids[0].clone()]);
        assert!(network.cni().cleanup(&live).await.expect("a cleanup") >= 3);
        assert_eq!(network.leases(), 2, "the live pod's and the foreign one");
        assert!(cni.cached(&ids[0]).is_some());

        // A record without a result, as a crash during ADD leaves it, is deleted before the next attempt.
        let text = std::fs::read_to_string(file(&ids[0])).expect("a record");
        let mut record: serde_json::Value = serde_json::from_str(&text).expect("a record");
        record["result"] = serde_json::Value::Null;
        std::fs::write(file(&ids[0]), record.to_string()).expect("a record");
        assert_eq!(cni.cached(&ids[0]), None);
        let netns = PathBuf::from(record["netns"].as_str().expect("a path"));
        cni.add(&lab.pod("live"), &ids[0], &netns, &[]).await.expect("a network");
        assert_eq!(network.leases(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn host_ports_reach_the_pod() {
    with_lab(|lab| async move {
        let network = Network::new(&lab.dir);
        network.configure();
        let cni = network.cni();
        let (id, netns) = sandbox(&lab, "hostport").await;
        // A free port, asked of the kernel.
        let free =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let mapping =
            PortMapping { host_port: free, container_port: 8080, protocol: "TCP".into(), host_ip: String::new() };
        cni.add(&lab.pod("hostport"), &id, &netns, &[mapping]).await.expect("a network");
        lab.start(&id, &lab.shell("hostport", "server", "while :; do echo hello | nc -l -p 8080; done")).await;
        let greeting = async {
            loop {
                let mut text = String::new();
                if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", free)).await
                    && stream.read_to_string(&mut text).await.is_ok()
                    && !text.is_empty()
                {
                    return text;
                }
            }
        };
        assert_eq!(tokio::time::timeout(Duration::from_secs(10), greeting).await.expect("an answer"), "hello\n");
        cni.del(&id).await.expect("a deletion");
        assert!(TcpStream::connect(("127.0.0.1", free)).await.is_err(), "the port is closed again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_errors_come_with_their_words() {
    with_lab(|lab| async move {
        let network = Network::new(&lab.dir);
        let conf = serde_json::json!({"name": "test", "cniVersion": "0.4.0",
            "plugins": [{"type": "bridge", "bridge": network.bridge, "ipam": {"type": "host-local", "ranges": []}}]});
        std::fs::write(network.conf.join("10.conflist"), conf.to_string()).expect("a file");
        let cni = network.cni();
        let (id, netns) = sandbox(&lab, "error").await;
        let error = cni.add(&lab.pod("error"), &id, &netns, &[]).await.expect_err("no ranges");
        assert!(matches!(&error, NetworkError::Plugin { plugin, message, .. } if plugin == "bridge" && message.contains("range")), "{error:?}");
        assert_eq!(cni.cached(&id), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dialing_reaches_the_pods_loopback() {
    with_lab(|lab| async move {
        let id = lab.running_sandbox("dial").await;
        let pod = lab.runtime.pod(&lab.pod("dial").uid).await.expect("the pod");
        let pid = pod.sandboxes[0].pid.expect("a process");
        netns::loopback_up(format!("/proc/{pid}/ns/net").into()).await.expect("a loopback");
        lab.start(
            &id,
            &lab.shell("dial", "server", "echo hello > /tmp/index.html; httpd -f -p 127.0.0.1:7000 -h /tmp"),
        )
        .await;
        let page = async {
            loop {
                let stream = match lab.runtime.dial(&id, 7000).await {
                    Ok(stream) => Ok(stream),
                    Err(RuntimeError::Io { source, .. }) if source.kind() == io::ErrorKind::ConnectionRefused => {
                        Err(source)
                    }
                    Err(error) => panic!("{error:?}"),
                };
                if let Some(text) = get(stream).await {
                    return text;
                }
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(10), page).await.expect("an answer").ends_with("hello\n"));
        assert!(TcpStream::connect(("127.0.0.1", 7000)).await.is_err(), "not on the host");
    })
    .await;
}
