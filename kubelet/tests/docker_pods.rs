//! Sandboxes and containers on the real Docker Engine.

mod docker_support;

use std::path::Path;
use std::time::{Duration, Instant};

use docker_support::{Lab, connect, with_lab};
use futures::StreamExt;
use junio_kubelet::runtime::{
    ContainerState, ExecOutcome, Mount, PidMode, PodRuntime, Resources, RuntimeError, RuntimeEvent, SandboxConfig,
    Seccomp,
};

async fn output_of(lab: &Lab, id: &junio_kubelet::runtime::ContainerId, script: &str) -> String {
    let command = ["/bin/sh", "-c", script].map(str::to_owned);
    match lab.runtime.exec_sync(id, &command, Duration::from_secs(10)).await.expect("an exec") {
        ExecOutcome::Exited { code: 0, output } => String::from_utf8(output).expect("text").trim().to_owned(),
        other => panic!("{script}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_has_an_empty_network_namespace_of_its_own() {
    with_lab(|lab| async move {
        let id = lab.runtime.create_sandbox(&lab.sandbox_config("own")).await.expect("a sandbox");
        let again = lab.runtime.create_sandbox(&lab.sandbox_config("own")).await.expect("the same sandbox");
        assert_eq!(id, again);
        let started = lab.runtime.start_sandbox(&id).await.expect("a running sandbox");
        let ours = std::fs::read_link("/proc/self/ns/net").expect("a link");
        assert_ne!(std::fs::read_link(&started.netns).expect("a link"), ours);
        let app = lab.start(&id, &lab.shell("own", "app", "sleep 1000")).await;
        assert_eq!(
            output_of(&lab, &app, "ip -o link | grep -c ' lo:'; ip -o link | grep -c eth || true").await,
            "1\n0"
        );
        assert_eq!(output_of(&lab, &app, "hostname").await, "own");
        lab.runtime.stop_sandbox(&id).await.expect("a stop");
        lab.runtime.stop_sandbox(&id).await.expect("a second stop");
        let pod = lab.runtime.pod(&lab.pod("own").uid).await.expect("the pod");
        assert!(!pod.sandboxes[0].ready);
        assert!(
            matches!(pod.containers[0].state, ContainerState::Exited { exit_code: 137, .. }),
            "{:?}",
            pod.containers[0]
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn host_network_pods_see_the_hosts_network_and_name() {
    with_lab(|lab| async move {
        let config = SandboxConfig { host_network: true, host_pid: true, ..lab.sandbox_config("host") };
        let id = lab.runtime.create_sandbox(&config).await.expect("a sandbox");
        let started = lab.runtime.start_sandbox(&id).await.expect("a running sandbox");
        let ours = std::fs::read_link("/proc/self/ns/net").expect("a link");
        assert_eq!(std::fs::read_link(&started.netns).expect("a link"), ours);
        let mut app = lab.shell("host", "app", "sleep 1000");
        (app.host_network, app.pid_mode) = (true, PidMode::Host);
        let app = lab.start(&id, &app).await;
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
        assert_eq!(output_of(&lab, &app, "hostname").await, name.trim());
        assert!(lab.runtime.pod(&config.pod.uid).await.expect("the pod").sandboxes[0].host_network);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_created_before_their_sandbox_runs() {
    with_lab(|lab| async move {
        let id = lab.runtime.create_sandbox(&lab.sandbox_config("early")).await.expect("a sandbox");
        let mut config = lab.shell("early", "app", "sleep 1000");
        config.pid_mode = PidMode::Sandbox;
        let app = lab.runtime.create_container(&id, &config).await.expect("a container");
        assert_eq!(lab.runtime.create_container(&id, &config).await.expect("the same one"), app);
        let early = lab.runtime.start_container(&app).await.expect_err("its sandbox does not run");
        assert!(matches!(early, RuntimeError::Refused { .. }), "{early:?}");
        lab.runtime.start_sandbox(&id).await.expect("a running sandbox");
        lab.runtime.start_container(&app).await.expect("a running container");
        assert!(output_of(&lab, &app, "ps").await.contains("sleep 2147483"), "one PID namespace with the sandbox");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_known_after_a_restart() {
    with_lab(|lab| async move {
        let sandbox = lab.running_sandbox("adopt").await;
        let mut config = lab.shell("adopt", "app", "sleep 1000");
        config.attempt = 4;
        config.annotations.insert("io.kubernetes.container.ports".into(), r#"[{"a":"b, c"}]"#.into());
        let app = lab.start(&sandbox, &config).await;
        let failed = lab.start(&sandbox, &lab.shell("adopt", "failed", "exit 3")).await;
        lab.ended(&failed).await;

        let successor = connect(&lab.owner, &lab.dir).await;
        let pods = successor.list_pods().await.expect("a list");
        assert_eq!(pods.len(), 1);
        let pod = &pods[0];
        assert_eq!(pod.pod, lab.pod("adopt"));
        assert!(pod.sandboxes[0].ready && pod.sandboxes[0].pid.is_some());
        let found = pod.containers.iter().find(|container| container.id == app).expect("the container");
        assert_eq!((found.attempt, found.hash.as_str(), found.name.as_str()), (4, "hash", "app"));
        assert_eq!(found.annotations, config.annotations);
        assert_eq!(found.sandbox, sandbox);
        assert!(matches!(found.state, ContainerState::Running { .. }) && found.pid.is_some());
        assert!(found.image_id.starts_with("sha256:"));
        let dead = pod.containers.iter().find(|container| container.id == failed).expect("the container");
        assert!(
            matches!(dead.state, ContainerState::Exited { exit_code: 3, started_at: Some(_), .. }),
            "{:?}",
            dead.state
        );
        // Again, now from what was learned.
        assert_eq!(successor.pod(&pod.pod.uid).await.expect("the pod").containers.len(), 2);
        assert!(successor.pod("nobody").await.expect("an answer").sandboxes.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_is_polite_first_and_fast() {
    with_lab(|lab| async move {
        let sandbox = lab.running_sandbox("stop").await;
        let polite = lab.start(&sandbox, &lab.shell("stop", "polite", "trap 'exit 7' TERM; sleep 1000 & wait")).await;
        let deaf = lab.start(&sandbox, &lab.shell("stop", "deaf", "trap '' TERM; while :; do sleep 1; done")).await;
        // The trap must be set before the signal comes.
        output_of(&lab, &polite, "until ps | grep -q '[s]leep 1000'; do :; done").await;
        output_of(&lab, &deaf, "until ps | grep -q '[s]leep 1$'; do :; done").await;

        let begin = Instant::now();
        lab.runtime.stop_container(&polite, Duration::from_secs(30)).await.expect("a stop");
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        let state = lab.runtime.container(&polite).await.expect("the container").state;
        assert!(matches!(state, ContainerState::Exited { exit_code: 7, .. }), "{state:?}");

        let begin = Instant::now();
        lab.runtime.stop_container(&deaf, Duration::from_secs(1)).await.expect("a stop");
        assert!((1.0..6.0).contains(&begin.elapsed().as_secs_f64()), "{:?}", begin.elapsed());
        let state = lab.runtime.container(&deaf).await.expect("the container").state;
        assert!(matches!(state, ContainerState::Exited { exit_code: 137, .. }), "{state:?}");

        for id in [&polite, &deaf] {
            lab.runtime.stop_container(id, Duration::ZERO).await.expect("a stop of the dead");
            lab.runtime.remove_container(id).await.expect("a removal");
            lab.runtime.remove_container(id).await.expect("a second removal");
            lab.runtime.stop_container(id, Duration::ZERO).await.expect("a stop of the gone");
            assert!(matches!(lab.runtime.container(id).await, Err(RuntimeError::NotFound { .. })));
        }
        lab.runtime.stop_sandbox(&sandbox).await.expect("a stop");
        lab.runtime.remove_sandbox(&sandbox).await.expect("a removal");
        assert!(lab.runtime.list_pods().await.expect("a list").is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_name_pod_and_container() {
    with_lab(|lab| async move {
        let mut events = lab.runtime.events();
        assert_eq!(events.next().await, Some(RuntimeEvent::Resync));
        let sandbox = lab.running_sandbox("events").await;
        let app = lab.start(&sandbox, &lab.shell("events", "app", "exit 0")).await;
        lab.ended(&app).await;
        lab.runtime.remove_container(&app).await.expect("a removal");
        let uid = lab.pod("events").uid;
        // The end may be told twice: by its pidfd and by the engine.
        let mut seen: Vec<RuntimeEvent> = Vec::new();
        while !matches!(seen.last(), Some(RuntimeEvent::Removed { .. })) {
            seen.push(events.next().await.expect("an endless stream"));
            seen.dedup();
        }
        assert_eq!(seen.len(), 4, "{seen:?}");
        let event = |container: &str| (uid.clone(), container.to_owned());
        let (pod_uid, container) = event("POD");
        assert_eq!(seen[0], RuntimeEvent::Started { pod_uid, container });
        let (pod_uid, container) = event("app");
        assert_eq!(seen[1], RuntimeEvent::Started { pod_uid: pod_uid.clone(), container: container.clone() });
        assert_eq!(seen[2], RuntimeEvent::Died { pod_uid: pod_uid.clone(), container: container.clone() });
        assert_eq!(seen[3], RuntimeEvent::Removed { pod_uid, container });
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_not_there_is_reported_once() {
    with_lab(|lab| async move {
        // A socket that goes away under the stream: a relay to the engine that is closed.
        let path = lab.dir.join("docker.sock");
        let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
        let relay = tokio::spawn(async move {
            let mut relays = tokio::task::JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                relays.spawn(async move {
                    let mut engine = tokio::net::UnixStream::connect(docker_support::SOCKET).await.expect("the engine");
                    tokio::io::copy_bidirectional(&mut client, &mut engine).await.ok();
                });
            }
        });
        let options = junio_kubelet::runtime::docker::DockerOptions { owner: lab.owner.clone(), ..Default::default() };
        let runtime = junio_kubelet::runtime::docker::DockerRuntime::connect(&path, options).await.expect("the relay");
        let mut events = runtime.events();
        assert_eq!(events.next().await, Some(RuntimeEvent::Resync));
        relay.abort();
        std::fs::remove_file(&path).expect("the socket");
        assert!(matches!(events.next().await, Some(RuntimeEvent::Down(cause)) if cause.contains("connect to")));
        assert!(matches!(runtime.version().await, Err(RuntimeError::Unreachable(_))));
        std::os::unix::fs::symlink(docker_support::SOCKET, &path).expect("a link");
        assert_eq!(events.next().await, Some(RuntimeEvent::Resync));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_gets_what_its_config_says() {
    with_lab(|lab| async move {
        let sandbox = lab.running_sandbox("config").await;
        let source = lab.dir.join("volume: odd, name");
        std::fs::create_dir(&source).expect("a directory");
        std::fs::write(source.join("file"), "content").expect("a file");
        let mut config = lab.shell("config", "app", "sleep 1000");
        config.env = vec![("A".into(), "b=c d".into())];
        config.working_dir = Some("/tmp".into());
        config.user = Some("1000:2000".into());
        config.supplemental_groups = vec![3000];
        config.capabilities_drop = vec!["ALL".into()];
        config.read_only_root = true;
        config.no_new_privileges = true;
        config.seccomp = Seccomp::RuntimeDefault;
        config.resources = Resources { memory: 64 << 20, cpu_shares: 512, oom_score_adj: 900, ..Resources::default() };
        config.mounts =
            vec![Mount { host_path: source, container_path: "/vol".into(), read_only: true, ..Mount::default() }];
        let app = lab.start(&sandbox, &config).await;
        assert_eq!(
            output_of(&lab, &app, "echo $A; id -u; id -G; readlink /proc/1/cwd; cat /vol/file").await,
            "b=c d\n1000\n2000 3000\n/tmp\ncontent"
        );
        let status = output_of(&lab, &app, "cat /proc/1/status").await;
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
                .expect("a field")
        };
        assert_eq!(
            (field("CapBnd:"), field("NoNewPrivs:"), field("Seccomp:")),
            ("0".repeat(16), "1".into(), "2".into())
        );
        assert_eq!(output_of(&lab, &app, "cat /proc/1/oom_score_adj").await, "900");
        assert_eq!(
            output_of(&lab, &app, "(echo x > /vol/new || echo x > /etc/new) 2>/dev/null || echo readonly").await,
            "readonly"
        );
        let stats = lab.runtime.stats(&app).await.expect("figures").expect("of a running container");
        assert!(stats.cpu_usage_nanos > 0 && stats.memory_usage_bytes > 0, "{stats:?}");

        let plain = lab.start(&sandbox, &lab.shell("config", "plain", "sleep 1000")).await;
        assert!(output_of(&lab, &plain, "cat /proc/1/status").await.contains("Seccomp:\t0"), "unset is unconfined");
        lab.runtime.stop_container(&plain, Duration::ZERO).await.expect("a stop");
        assert_eq!(lab.runtime.stats(&plain).await.expect("an answer"), None);

        let mut privileged = lab.shell("config", "privileged", "sleep 1000");
        privileged.privileged = true;
        let privileged = lab.start(&sandbox, &privileged).await;
        output_of(&lab, &privileged, "echo 1 > /proc/sys/net/ipv4/conf/lo/forwarding").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_say_what_failed() {
    with_lab(|lab| async move {
        let sandbox = lab.running_sandbox("fail").await;
        let mut config = lab.shell("fail", "absent", "true");
        config.image = "junio-test/absent:1".into();
        let error = lab.runtime.create_container(&sandbox, &config).await.expect_err("no image");
        assert!(matches!(&error, RuntimeError::ImageAbsent { reference } if reference == &config.image), "{error:?}");

        let mut config = lab.shell("fail", "nocmd", "true");
        config.command = vec!["/does/not/exist".into()];
        let id = lab.runtime.create_container(&sandbox, &config).await.expect("a container");
        let error = lab.runtime.start_container(&id).await.expect_err("no such file");
        assert!(
            matches!(&error, RuntimeError::Refused { message, .. } if message.contains("no such file")),
            "{error:?}"
        );
        let state = lab.runtime.container(&id).await.expect("the container").state;
        assert!(
            matches!(&state, ContainerState::Exited { exit_code: 127, error, .. } if error.contains("no such file")),
            "{state:?}"
        );

        let handler = SandboxConfig { runtime_handler: Some("test-handler".into()), ..lab.sandbox_config("handler") };
        let error = lab.runtime.create_sandbox(&handler).await.expect_err("no such runtime");
        assert!(
            matches!(&error, RuntimeError::Refused { message, .. } if message.contains("test-handler")),
            "{error:?}"
        );

        assert_eq!(lab.runtime.image("junio-test/absent:1").await.expect("an answer"), None);
        let image = lab.runtime.image(docker_support::IMAGE).await.expect("an answer").expect("the image");
        assert!(lab.runtime.images().await.expect("a list").iter().any(|other| other.id == image.id));
        let absent = connect(&lab.owner, &lab.dir).await.pull_image("127.0.0.1:1/none:1", None).await;
        assert!(matches!(absent, Err(RuntimeError::Refused { .. })), "{absent:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_links_come_and_go() {
    with_lab(|lab| async move {
        let sandbox = lab.running_sandbox("links").await;
        let config = lab.shell("links", "app", "echo hello");
        let app = lab.start(&sandbox, &config).await;
        lab.ended(&app).await;
        let engine = std::fs::read_link(&config.log_path).expect("a link");
        assert!(engine.is_file(), "{}", engine.display());
        let by_container = lab.dir.join("containers").join(format!("links_test_app-{}.log", app.0));
        assert!(std::fs::read_to_string(&by_container).expect("a log").contains("hello"));
        lab.runtime.remove_container(&app).await.expect("a removal");
        assert!(std::fs::symlink_metadata(&by_container).is_err());
        assert!(!Path::new(&config.log_path).parent().expect("a directory").exists());
    })
    .await;
}
