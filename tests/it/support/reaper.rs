//! A safety net under the tests' labs: a test process that is killed, or that shares a lab until its end, runs no destructor.
//!
//! A small process waits for the end of this one and then takes the lab down with `junioadm lab down`. Labs that even this
//! left (a machine that went down) are recognised by the process id in their name and taken away by the next run.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use junio_lab::{LabName, NoProgress};
use tokio::sync::OnceCell;

use super::product::junioadm_path;

/// Takes `name` down when this process has ended, however it ends.
#[expect(clippy::zombie_processes, reason = "it outlives this process by design, and process 1 reaps it")]
pub fn watch(name: &LabName) {
    let script = "tail --pid=\"$1\" -f /dev/null; exec \"$2\" lab down \"$3\"";
    Command::new("sh")
        .args(["-c", script, "reaper", &std::process::id().to_string()])
        .arg(junioadm_path())
        .arg(name.as_str())
        .process_group(0) // ^C for the tests is not meant for it
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the reaper starts");
}

/// The name of a lab of this process.
pub fn name(purpose: &str) -> LabName {
    format!("t{}-{purpose}", std::process::id()).parse().expect("purposes are short words")
}

/// Takes away what test processes left that are no more. Once per process.
pub async fn remove_stale() {
    static DONE: OnceCell<()> = OnceCell::const_new();
    DONE.get_or_init(|| async {
        for lab in junio_lab::list().await.expect("labs can be listed") {
            let pid = lab.name.strip_prefix('t').and_then(|rest| rest.split_once('-')).map(|(pid, _)| pid);
            let Some(pid) = pid.filter(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit())) else {
                continue;
            };
            if !Path::new("/proc").join(pid).exists() {
                let name = lab.name.parse().expect("a listed lab has a valid name");
                // its own reaper may be at it at this moment
                let _ = junio_lab::down(&name, &NoProgress).await;
            }
        }
    })
    .await;
}
