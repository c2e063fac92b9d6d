//! Exec, attach and logs on the real Docker Engine.

mod docker_support;

use std::time::Duration;

use docker_support::{Lab, with_lab};
use futures::{StreamExt, TryStreamExt};
use junio_kubelet::runtime::{
    AttachRequest, ContainerId, ExecOutcome, ExecRequest, LogLine, LogOptions, PodRuntime, TerminalSize,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

async fn sleeper(lab: &Lab, pod: &str) -> ContainerId {
    let sandbox = lab.running_sandbox(pod).await;
    lab.start(&sandbox, &lab.shell(pod, "app", "sleep 1000")).await
}

async fn logs(lab: &Lab, id: &ContainerId, options: LogOptions) -> Vec<LogLine> {
    lab.runtime.logs(id, &options).await.expect("a log").try_collect().await.expect("lines")
}

fn texts(lines: &[LogLine]) -> Vec<String> {
    lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_sync_gives_code_and_output() {
    with_lab(|lab| async move {
        let app = sleeper(&lab, "execsync").await;
        let run = |script: &'static str, seconds| {
            let (lab, app) = (lab.clone(), app.clone());
            async move {
                lab.runtime
                    .exec_sync(&app, &words(&["/bin/sh", "-c", script]), Duration::from_secs_f64(seconds))
                    .await
                    .expect("an exec")
            }
        };
        match run("echo out; echo err >&2; exit 5", 10.0).await {
            ExecOutcome::Exited { code: 5, output } => {
                let text = String::from_utf8(output).expect("text");
                assert!(text.contains("out\n") && text.contains("err\n"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        match run("yes | head -c 100000", 10.0).await {
            ExecOutcome::Exited { code: 0, output } => assert_eq!(output.len(), 16 * 1024),
            other => panic!("{other:?}"),
        }
        // Long enough for a busy machine to start the command at all, which half a second was not.
        match run("echo begun; sleep 777 & sleep 777", 4.0).await {
            ExecOutcome::TimedOut { output } => assert_eq!(output, b"begun\n"),
            other => panic!("{other:?}"),
        }
        match run("while ps | grep -q '[s]leep 777'; do :; done; echo gone", 10.0).await {
            ExecOutcome::Exited { code: 0, output } => assert_eq!(output, b"gone\n"),
            other => panic!("the timed out process and its children must be gone: {other:?}"),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_streams_are_separate_and_half_close() {
    with_lab(|lab| async move {
        let app = sleeper(&lab, "exec").await;
        let request = ExecRequest {
            command: words(&["/bin/sh", "-c", "cat; echo end >&2; exit 3"]),
            stdin: true,
            stdout: true,
            stderr: true,
            tty: false,
        };
        let mut session = lab.runtime.exec(&app, &request).await.expect("a session");
        let mut stdin = session.stdin.take().expect("stdin");
        let input: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
        let sent = input.clone();
        let writer = tokio::spawn(async move {
            stdin.write_all(&sent).await.expect("a write");
            stdin.shutdown().await.expect("a half-close");
            stdin
        });
        let (mut stdout, mut stderr) = (session.stdout.take().expect("stdout"), session.stderr.take().expect("stderr"));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (read_out, read_err, code) =
            tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err), session.exit);
        read_out.expect("output");
        read_err.expect("output");
        assert_eq!(code.expect("a code"), 3);
        assert!(out == input, "{} of {} bytes came back", out.len(), input.len());
        assert_eq!(err, b"end\n");
        writer.await.expect("the writer");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_passes_every_byte_and_its_size() {
    with_lab(|lab| async move {
        let app = sleeper(&lab, "tty").await;
        let script = "until [ \"$(stty size 2>/dev/null)\" = '33 99' ]; do :; done; stty raw; \
                      printf '\\001\\000\\000\\000\\000\\000\\000\\002hi'; sleep 0.3; printf '\\002\\001\\000x'";
        let request = ExecRequest {
            command: words(&["/bin/sh", "-c", script]),
            tty: true,
            stdin: true,
            stdout: true,
            stderr: true,
        };
        let mut session = lab.runtime.exec(&app, &request).await.expect("a session");
        assert!(session.stderr.is_none());
        session
            .resize
            .take()
            .expect("a terminal")
            .send(TerminalSize { width: 99, height: 33 })
            .await
            .expect("a resize");
        let mut out = Vec::new();
        let mut stdout = session.stdout.take().expect("stdout");
        let (read, code) = tokio::join!(stdout.read_to_end(&mut out), session.exit);
        read.expect("output");
        assert_eq!(code.expect("a code"), 0);
        assert_eq!(out, b"\x01\0\0\0\0\0\0\x02hi\x02\x01\0x");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_joins_the_main_process() {
    with_lab(|lab| async move {
        let sandbox = lab.running_sandbox("attach").await;
        let mut config =
            lab.shell("attach", "app", "while read line; do echo \"got $line\"; echo err >&2; done; exit 4");
        (config.stdin, config.stdin_once) = (true, true);
        let app = lab.start(&sandbox, &config).await;
        let request = AttachRequest { stdin: true, stdout: true, stderr: true, tty: false };
        let mut session = lab.runtime.attach(&app, &request).await.expect("a session");
        let mut stdin = session.stdin.take().expect("stdin");
        stdin.write_all(b"one\n").await.expect("a write");
        let mut stdout = session.stdout.take().expect("stdout");
        let mut first = [0; 8];
        stdout.read_exact(&mut first).await.expect("an answer");
        assert_eq!(&first, b"got one\n");
        stdin.shutdown().await.expect("a half-close");
        let mut err = Vec::new();
        let mut stderr = session.stderr.take().expect("stderr");
        let (read, code) = tokio::join!(stderr.read_to_end(&mut err), session.exit);
        read.expect("output");
        assert_eq!(code.expect("an end"), 0);
        assert_eq!(err, b"err\n");
        let state = lab.ended(&app).await.state;
        assert!(format!("{state:?}").contains("exit_code: 4"), "{state:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_to_a_terminal_is_raw() {
    with_lab(|lab| async move {
        let sandbox = lab.running_sandbox("attachtty").await;
        let mut config = lab.shell(
            "attachtty",
            "app",
            "stty raw -echo; head -c 1 >/dev/null; printf '\\001\\000\\000\\000\\000\\000\\000\\005abc'",
        );
        (config.stdin, config.tty) = (true, true);
        let app = lab.start(&sandbox, &config).await;
        let request = AttachRequest { stdin: true, stdout: true, stderr: true, tty: true };
        let mut session = lab.runtime.attach(&app, &request).await.expect("a session");
        assert!(session.stderr.is_none() && session.resize.is_some());
        session.stdin.as_mut().expect("stdin").write_all(b"\n").await.expect("a write");
        let mut out = Vec::new();
        session.stdout.take().expect("stdout").read_to_end(&mut out).await.expect("output");
        let expected = b"\x01\0\0\0\0\0\0\x05abc";
        assert!(out.ends_with(expected), "{out:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_a_dead_container() {
    with_lab(|lab| async move {
        let sandbox = lab.running_sandbox("logs").await;
        let script =
            "echo one; sleep 0.2; echo two >&2; sleep 0.2; yes | tr -d '\\n' | head -c 40000; echo; printf last";
        let app = lab.start(&sandbox, &lab.shell("logs", "app", script)).await;
        lab.ended(&app).await;
        let all = logs(&lab, &app, LogOptions::default()).await;
        let text = texts(&all);
        assert_eq!((text[0].as_str(), text[1].as_str()), ("one\n", "two\n"));
        assert_eq!((all[0].stderr, all[1].stderr), (false, true));
        assert!(all[0].timestamp < all[1].timestamp);
        assert_eq!(text[2].len(), 16 * 1024);
        assert!(!text[2].ends_with('\n'), "a piece of a long line has no newline");
        assert!(text[2..].concat() == format!("{}\nlast", "y".repeat(40000)), "{} pieces", text.len());
        let tail = logs(&lab, &app, LogOptions { tail_lines: Some(1), ..LogOptions::default() }).await;
        assert_eq!(texts(&tail), ["last"]);
        let since = LogOptions { since: Some(all[1].timestamp), tail_lines: Some(100), follow: true };
        assert_eq!(texts(&logs(&lab, &app, since).await), text[1..]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_comes_at_once_and_ends_with_the_container() {
    with_lab(|lab| async move {
        let sandbox = lab.running_sandbox("follow").await;
        let mut config =
            lab.shell("follow", "app", "echo first; read line; echo \"second $line\"; sleep 0.3; seq 1 2000");
        config.stdin = true;
        let app = lab.start(&sandbox, &config).await;
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let mut lines = lab.runtime.logs(&app, &options).await.expect("a log");
        assert_eq!(lines.next().await.expect("a line").expect("a line").text, b"first\n");
        let request = AttachRequest { stdin: true, ..AttachRequest::default() };
        let mut session = lab.runtime.attach(&app, &request).await.expect("a session");
        session.stdin.as_mut().expect("stdin").write_all(b"x\n").await.expect("a write");
        assert_eq!(lines.next().await.expect("a line").expect("a line").text, b"second x\n");
        let rest: Vec<LogLine> = lines.try_collect().await.expect("lines");
        assert_eq!(rest.len(), 2000);
        assert_eq!(rest[1999].text, b"2000\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_a_terminal_keep_their_times() {
    with_lab(|lab| async move {
        let sandbox = lab.running_sandbox("ttylogs").await;
        let mut config = lab.shell("ttylogs", "app", "echo one; printf '\\001\\000\\000z\\n'");
        config.tty = true;
        let app = lab.start(&sandbox, &config).await;
        lab.ended(&app).await;
        let all = logs(&lab, &app, LogOptions::default()).await;
        assert_eq!(texts(&all), ["one\r\n", "\u{1}\0\0z\r\n"]);
        assert!(all.iter().all(|line| !line.stderr && line.timestamp > jiff::Timestamp::UNIX_EPOCH));
    })
    .await;
}
