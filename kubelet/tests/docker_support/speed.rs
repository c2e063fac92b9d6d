//! How long a pod's start and end take on this engine, step by step. Run by hand:
//! `cargo test -p junio-kubelet --test docker_network -- --ignored --nocapture`. Bounds: `facts/limits.md` A and C.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::StreamExt;
use junio_kubelet::network::cni::Cni;
use junio_kubelet::runtime::PodRuntime;

use crate::docker_support::{Lab, with_lab};

const RUNS: usize = 15;
const STEPS: [&str; 7] = [
    "create sandbox",
    "start sandbox + cni",
    "start app",
    "whole start",
    "stop app",
    "cni del + stop sandbox",
    "remove",
];

async fn one(lab: &Lab, cni: &Cni, number: usize) -> [Duration; STEPS.len()] {
    let name = format!("speed-{number}");
    let config = lab.sandbox_config(&name);
    let begin = Instant::now();
    let sandbox = lab.runtime.create_sandbox(&config).await.expect("a sandbox");
    let created = begin.elapsed();
    let network = async {
        let started = lab.runtime.start_sandbox(&sandbox).await.expect("a running sandbox");
        cni.add(&config.pod, &sandbox, &started.netns, &[]).await.expect("a network");
    };
    let app_config = lab.shell(&name, "app", "trap 'exit 0' TERM; sleep 1000 & wait");
    let (app, ()) = tokio::join!(lab.runtime.create_container(&sandbox, &app_config), network);
    let app = app.expect("a container");
    let networked = begin.elapsed();
    lab.runtime.start_container(&app).await.expect("a start");
    let whole = begin.elapsed();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begin = Instant::now();
    lab.runtime.stop_container(&app, Duration::from_secs(5)).await.expect("a stop");
    let stopped = begin.elapsed();
    let (deleted, halted) = tokio::join!(cni.del(&sandbox), lab.runtime.stop_sandbox(&sandbox));
    deleted.expect("a deletion");
    halted.expect("a stop");
    let halted = begin.elapsed();
    lab.runtime.remove_container(&app).await.expect("a removal");
    lab.runtime.remove_sandbox(&sandbox).await.expect("a removal");
    [created, networked - created, whole - networked, whole, stopped, halted - stopped, begin.elapsed() - halted]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn pod_start_and_end() {
    with_lab(|lab| async move {
        let conf = lab.dir.join("net.d");
        std::fs::create_dir(&conf).expect("a directory");
        let network = serde_json::json!({"name": "speed", "cniVersion": "0.4.0", "type": "bridge", "bridge": "jtspeed",
            "isGateway": true, "ipam": {"type": "host-local", "dataDir": lab.dir.join("leases"), "subnet": "10.209.0.0/24"}});
        std::fs::write(conf.join("1.conf"), network.to_string()).expect("a file");
        let dirs = ["/opt/cni/bin", "/usr/lib/cni"].map(PathBuf::from).into_iter().filter(|dir| dir.is_dir()).collect();
        let cni = Cni::new(conf, dirs, lab.dir.join("cache"));
        let mut events = lab.runtime.events();
        events.next().await;
        let mut runs = Vec::new();
        for number in 0..RUNS {
            runs.push(one(&lab, &cni, number).await);
        }
        let mut out = std::io::stderr();
        for (step, name) in STEPS.iter().enumerate() {
            let mut times: Vec<Duration> = runs.iter().map(|run| run[step]).collect();
            times.sort();
            let (low, middle, high) = (times[0], times[RUNS / 2], times[RUNS - 1]);
            writeln!(out, "{name:24} min {low:8.1?} p50 {middle:8.1?} max {high:8.1?}").expect("stderr");
        }
        let begin = Instant::now();
        lab.runtime.list_pods().await.expect("a list");
        writeln!(out, "list of nothing {:?}", begin.elapsed()).expect("stderr");
        std::process::Command::new("ip").args(["link", "del", "jtspeed"]).output().expect("iproute2");
        let starts = runs.iter().filter(|run| run[3] > Duration::from_secs(2)).count();
        assert!(starts * 2 < RUNS, "most starts took more than two seconds");
    })
    .await;
}
