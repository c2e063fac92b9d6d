//! `join`, `token` and the reset of a worker, on hosts of their own.

mod files;
mod refusals;
mod rotation;
mod worker;

use junio_lab::LabHost;

/// Debug logs of refused runs are kept on purpose, and a shell leaves its processes for a moment.
fn expected(fact: &str) -> bool {
    fact.contains("/var/log/junioadm") || fact.contains("/run/junioadm") || fact.starts_with("process ")
}

/// Makes a cluster on `host` whose node has the host's name.
async fn init(host: &LabHost) {
    host.check(&["sh", "-c", "junioadm init 2>&1"]).await.expect("init");
}

/// As [`init`], with a configuration.
async fn init_with(host: &LabHost, config: &str) {
    host.write_file("/srv/init.yaml", 0o600, config.as_bytes()).await.expect("the file is written");
    host.check(&["sh", "-c", "junioadm init --config /srv/init.yaml 2>&1"]).await.expect("init");
}

/// A join command of the cluster on `host`, on one line.
async fn join_command(host: &LabHost) -> String {
    let printed = host.check(&["junioadm", "token", "create", "--print-join-command"]).await.expect("a join command");
    printed.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The word after `flag`.
fn argument(command: &str, flag: &str) -> String {
    command.split_whitespace().skip_while(|word| *word != flag).nth(1).expect(flag).to_owned()
}

/// Runs a line that must be refused with `status`; returns what it says.
async fn refused(host: &LabHost, line: &str, status: i64) -> String {
    let output = host.shell(line).await.expect("the host answers");
    let text = format!("{}\n{}", output.text(), output.error_text());
    assert_eq!(output.status, status, "$ {line}\n{text}");
    text
}
