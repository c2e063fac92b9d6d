//! Lab hosts are real hosts: systemd, sshd, a Docker Engine that runs containers, a disk that survives a reboot.

use junio_lab::{LabError, Suite};

use crate::support::{Snapshot, TestLab, junioadm_path, payload};

/// A container image from the host's own busybox; there is no registry in a lab.
const BUSYBOX: &str = "tar -C / -c bin/busybox | docker import - busybox:lab";

async fn is_a_host_with_docker(purpose: &str, suite: Suite, engine: &str) {
    let lab = TestLab::plain(purpose, suite, 1).await;
    let host = lab.at(1);
    assert_eq!(host.check(&["hostname"]).await.expect("hostname"), host.name());
    assert_eq!(host.check(&["cat", "/proc/1/comm"]).await.expect("PID 1"), "systemd");
    let version = host.check(&["docker", "version", "--format", "{{.Server.Version}}"]).await.expect("docker answers");
    assert!(version.starts_with(engine), "{version}");
    host.check(&["sh", "-c", BUSYBOX]).await.expect("the image is made");
    let run = "docker run --rm --network none --memory 64m busybox:lab /bin/busybox cat /sys/fs/cgroup/memory/memory.limit_in_bytes \
               /sys/fs/cgroup/memory.max 2>/dev/null";
    let limit = host.shell(run).await.expect("the container runs").text();
    assert_eq!(limit, (64 << 20).to_string(), "the inner engine applies limits");
    let driver = host.check(&["docker", "info", "--format", "{{.Driver}}"]).await.expect("docker info");
    assert_eq!(driver, "overlay2");
}

#[tokio::test]
async fn bookworm_is_a_host_with_docker_20() {
    is_a_host_with_docker("bookworm", Suite::Bookworm, "20.10.").await;
}

#[tokio::test]
async fn trixie_is_a_host_with_docker_26() {
    is_a_host_with_docker("trixie", Suite::Trixie, "26.").await;
}

#[tokio::test]
async fn ssh_reaches_a_host_by_its_known_key_and_gives_back_output_and_exit_code() {
    let lab = TestLab::plain("ssh", Suite::Bookworm, 2).await;
    for (number, host) in [(1, "1"), (2, lab.at(2).name())] {
        let words = ["sh", "-c", "echo \"$0 on $(hostname)\"; exit 3", "it's me"].map(str::to_owned);
        let output = lab.ssh(host, &words, false).expect("a host").output().expect("ssh starts");
        let expected = format!("it's me on {}\n", lab.at(number).name());
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(3));
    }
    // another host behind the same address is refused
    std::fs::write(
        lab.known_hosts(),
        std::fs::read_to_string(lab.known_hosts()).expect("known hosts").replace("AAAAC3", "AAAAC4"),
    )
    .expect("the file is writable");
    let output = lab.ssh("1", &["true".to_owned()], false).expect("a host").output().expect("ssh starts");
    assert_eq!(output.status.code(), Some(255), "a host with an unknown key was trusted");
    assert!(matches!(lab.ssh("3", &[], false), Err(LabError::HostNotFound { .. })));
}

#[tokio::test]
async fn a_host_keeps_its_disk_and_identity_over_a_reboot_and_a_power_cut() {
    let lab = TestLab::plain("reboot", Suite::Trixie, 1).await;
    let host = lab.at(1);
    host.check(&["sh", "-c", BUSYBOX]).await.expect("the image is made");
    host.write_file("/root/kept", 0o600, b"kept\n").await.expect("the file is written");
    let identity =
        "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub; docker images -q; cat /etc/hosts /etc/resolv.conf";
    let before = host.shell(identity).await.expect("the host answers").text();

    host.stop().await.expect("the host stops");
    host.start().await.expect("the host starts again");
    assert_eq!(host.shell(identity).await.expect("the host answers").text(), before, "after a reboot");

    host.power_off().await.expect("the plug is pulled");
    host.start().await.expect("the host starts again");
    assert_eq!(host.shell(identity).await.expect("the host answers").text(), before, "after a power cut");
    assert_eq!(host.read_file("/root/kept").await.expect("the file is there"), b"kept\n");
}

#[tokio::test]
async fn a_cut_network_heals_with_the_same_address() {
    let lab = TestLab::plain("cut", Suite::Bookworm, 2).await;
    let ping = ["ping", "-c", "1", "-W", "1", lab.at(2).name()];
    assert!(lab.at(1).run(&ping).await.expect("ping runs").success());
    lab.at(2).cut_network().await.expect("the network is cut");
    assert!(!lab.at(1).run(&ping).await.expect("ping runs").success(), "a host without network answered");
    assert!(lab.at(2).run(&["true"]).await.expect("the engine still reaches it").success());
    lab.at(2).heal_network().await.expect("the network heals");
    assert!(lab.at(1).run(&ping).await.expect("ping runs").success());
}

#[tokio::test]
async fn the_product_is_in_its_places() {
    let lab = TestLab::hosts("product", Suite::Bookworm, 1).await;
    let host = lab.at(1);
    let version = host.check(&["junioadm", "version"]).await.expect("junioadm runs on the host");
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    let files = [
        (junioadm_path().to_owned(), "/usr/local/bin/junioadm", "755"),
        (payload().kubelet, "/usr/local/bin/junio-kubelet", "755"),
        (payload().bundle, "/var/lib/junioadm/bundle.jbundle", "644"),
    ];
    for (source, target, mode) in files {
        let size = std::fs::metadata(&source).expect("the source is there").len();
        let found = host.check(&["stat", "-c", "%a %s %U:%G", target]).await.expect("the file is there");
        assert_eq!(found, format!("{mode} {size} root:root"), "{target}");
    }
}

#[tokio::test]
async fn two_snapshots_of_an_idle_host_are_equal_and_a_trace_is_seen() {
    let lab = TestLab::plain("snapshot", Suite::Trixie, 1).await;
    let host = lab.at(1);
    let before = Snapshot::of(host).await;
    before.difference(&Snapshot::of(host).await).assert_empty("having done nothing");
    let traces = "echo x > /etc/trace; sysctl -qw net.ipv4.ip_local_port_range='20000 30000'; ip link add tr0 type bridge; \
                  iptables -N TRACE-X; docker volume create trace; mount -t tmpfs trace /mnt; chmod 700 /opt; sleep 1000 >/dev/null 2>&1 & \
                  systemd-run --unit trace sleep 1000";
    host.check(&["sh", "-c", traces]).await.expect("traces are left");
    let difference = before.difference(&Snapshot::of(host).await);
    for wanted in [
        "file f 644 0:0 /etc/trace",
        "sysctl net.ipv4.ip_local_port_range",
        "link tr0:",
        "iptables :TRACE-X",
        "volume trace",
        "mount /mnt",
        "file d 700 0:0 /opt",
        "process sleep",
        "unit trace.service",
    ] {
        assert!(difference.added.iter().any(|fact| fact.starts_with(wanted)), "{wanted} was not seen:\n{difference}");
    }
}
