//! Commands and files on one connection, and what a lost connection leaves.

use std::path::Path;
use std::time::Duration;

use junio_api::Secret;
use junio_api::duration::GoDuration;
use junio_host::ssh::{Connection, Settings, SshError, Stream};
use junio_lab::{LabHost, Suite};
use tokio::io::AsyncWriteExt;

use super::{connect, settings};
use crate::support::{TestLab, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);
const FILE: &str = "/var/lib/sent";

#[tokio::test]
async fn commands_and_files_share_a_connection_and_survive_its_loss() {
    let lab = TestLab::plain("sshsend", Suite::Bookworm, 1).await;
    let host = lab.at(1);
    let settings = settings(&lab);
    let connection = connect("root", host, &settings).await.expect("let in");
    commands(&connection).await;
    files(&connection, host).await;
    connection.close().await;
    let short = Settings { command_timeout: Some(GoDuration::from_secs(1)), ..settings.clone() };
    let connection = connect("root", host, &short).await.expect("let in");
    let late = connection.run(&["sleep", "1234"], None).await.expect_err("too long");
    assert!(matches!(&late, SshError::CommandTimeout { command, .. } if command == "sleep"), "{late}");
    wait_until("the end of the command", PATIENCE, async || {
        let left = host.shell("pgrep -fx 'sleep 1234'").await.map_err(|error| error.to_string())?;
        if left.success() { Err(left.text()) } else { Ok(()) }
    })
    .await;
    assert!(connection.run(&["true"], None).await.expect("the connection lives").success());
    for cut in [Cut::Sshd, Cut::Network] {
        loss(cut, host, &settings).await;
    }
}

async fn commands(connection: &Connection) {
    let output =
        connection.run(&["sh", "-c", "printf '%s|' \"$@\"; echo e >&2; exit 3", "sh", "it's", "$HOME", ""], None).await;
    let output = output.expect("runs");
    assert_eq!(
        (output.code, output.stdout_text().as_str(), output.stderr_text().as_str()),
        (Some(3), "it's|$HOME||", "e")
    );
    let killed = connection.run(&["sh", "-c", "kill -9 $$"], None).await.expect("runs");
    assert_eq!(killed.code, None);
    // a command that does not read its input ends all the same, and so does one that leaves something behind
    let large = vec![b'x'; 16 << 20];
    let output = connection.run(&["sh", "-c", "exit 4"], Some(&large)).await.expect("ends");
    assert_eq!(output.code, Some(4));
    let output = connection.run(&["sh", "-c", "sleep 60 & exit 5"], None).await.expect("ends");
    assert_eq!(output.code, Some(5));
    let back = connection.run(&["cat"], Some(&large)).await.expect("echoes");
    assert!(back.stdout == large, "{} bytes came back", back.stdout.len());
    let secret = Secret::new(b"token\nanother\n".to_vec());
    let mut lines = Vec::new();
    let ended = connection
        .run_streaming(&["sh", "-c", "cat; echo oops >&2; printf last; exit 7"], Some(&secret), |stream, line| {
            lines.push((stream, line.to_owned()));
        })
        .await
        .expect("runs");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(7), "oops"));
    lines.sort_by_key(|(stream, _)| *stream == Stream::Error);
    let texts: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(texts, ["token", "another", "last", "oops"]);
    // more at once than sshd allows on a connection
    let many = (0..20).map(|number| async move {
        let number = number.to_string();
        let output = connection.run(&["sh", "-c", "sleep 0.1; echo $1", "sh", &number], None).await.expect("runs");
        assert_eq!(output.stdout_text(), number);
    });
    futures::future::join_all(many).await;
}

async fn files(connection: &Connection, host: &LabHost) {
    let local = tempfile::NamedTempFile::new().expect("a file");
    let content: Vec<u8> = (0..5_000_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(local.path(), &content).expect("written");
    let sum = |path: &str| format!("sha256sum < {path} | cut -d' ' -f1");
    let expected = local_sum(local.path());
    let remote = Path::new(FILE);
    let mut reached = 0;
    connection.send_file(local.path(), remote, 0o750, Some(&expected), |length| reached = length).await.expect("sent");
    assert_eq!(reached, 5_000_000);
    assert_eq!(host.check(&["sh", "-c", &sum(FILE)]).await.expect("there"), expected);
    assert_eq!(host.check(&["stat", "-c", "%a %U", FILE]).await.expect("there"), "750 root");
    // a partial file of something else is noticed, and the file in place stays
    host.check(&["sh", "-c", &format!("head -c 1000 /dev/zero > {FILE}.part")]).await.expect("made");
    let error =
        connection.send_file(local.path(), remote, 0o600, Some(&expected), |_| ()).await.expect_err("another content");
    assert!(matches!(error, SshError::Checksum { .. }), "{error}");
    assert_eq!(
        host.check(&["sh", "-c", &format!("{}; ls {FILE}*", sum(FILE))]).await.expect("there"),
        format!("{expected}\n{FILE}")
    );
    // a disk that is full: the host's own words
    host.check(&["sh", "-c", "mkdir /mnt/small && mount -t tmpfs -o size=1m none /mnt/small"]).await.expect("mounted");
    let error =
        connection.send_file(local.path(), Path::new("/mnt/small/file"), 0o600, None, |_| ()).await.expect_err("full");
    assert!(matches!(&error, SshError::Transfer { reason, .. } if reason.contains("No space left")), "{error}");
}

fn local_sum(file: &Path) -> String {
    let output = std::process::Command::new("sha256sum").arg(file).output().expect("sha256sum");
    String::from_utf8_lossy(&output.stdout).split_whitespace().next().expect("a sum").to_owned()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    Sshd,
    Network,
}

/// The connection ends in the middle of a file; a new one goes on from where it stopped.
async fn loss(cut: Cut, host: &LabHost, settings: &Settings) {
    let remote = Path::new("/var/lib/resumed");
    let content: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
    let connection = connect("root", host, settings).await.expect("let in");
    let (mut writer, reader) = tokio::io::duplex(1 << 20);
    let sending = connection.send(reader, 3_000_000, remote, 0o644, 0, |_| ());
    let cutting = async {
        // half of it, and then nothing more while the other side waits
        writer.write_all(&content[..1_500_000]).await.expect("taken");
        wait_until("half of the file", PATIENCE, async || {
            let length =
                host.check(&["stat", "-c", "%s", "/var/lib/resumed.part"]).await.map_err(|error| error.to_string())?;
            if length == "1500000" { Ok(()) } else { Err(length) }
        })
        .await;
        match cut {
            Cut::Sshd => drop(host.shell("pkill -9 -f 'sshd: root@notty'").await.expect("the engine answers")),
            Cut::Network => host.cut_network().await.expect("cut"),
        }
    };
    let (sent, ()) =
        tokio::time::timeout(PATIENCE, async { tokio::join!(sending, cutting) }).await.expect("the loss is noticed");
    let error = sent.expect_err("cut");
    assert!(
        matches!(&error, SshError::Lost { during, .. } if during == "sending /var/lib/resumed"),
        "{cut:?}: {error}"
    );
    let again = connection.run(&["true"], None).await.expect_err("it is lost for good");
    assert!(matches!(again, SshError::Lost { .. }), "{again}");
    if cut == Cut::Network {
        let writers = host.shell("pgrep -x cat").await.expect("the engine answers");
        assert!(
            writers.success(),
            "the other side does not know yet that we are gone: that is what resuming must bear"
        );
        host.heal_network().await.expect("healed");
        // this machine has to learn again where the address is
        wait_until("the healed host", PATIENCE, async || {
            let reached = tokio::net::TcpStream::connect((host.address(), 22)).await;
            reached.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }
    let connection = connect("root", host, settings).await.expect("let in again");
    let there = connection.received(remote).await.expect("it says how much");
    assert_eq!(there, 1_500_000, "{cut:?}");
    assert!(!host.shell("pgrep -x cat").await.expect("the engine answers").success(), "the old writer lives");
    let rest = &content[1_500_000..];
    connection.send(rest, 3_000_000, remote, 0o644, there, |_| ()).await.expect("the rest");
    connection.finish(remote, None).await.expect("whole");
    assert!(connection.run(&["cat", "/var/lib/resumed"], None).await.expect("read").stdout == content, "{cut:?}");
    host.check(&["rm", "/var/lib/resumed"]).await.expect("removed");
}
