//! A user at the shell of a control-plane host: kubectl with the administrator's kubeconfig, a browser outside of the cluster.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use junio_lab::LabHost;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::wait_until;

pub const AGNHOST: &str = "registry.k8s.io/e2e-test-images/agnhost:2.63.0";
pub const NGINX: &str = "registry.k8s.io/e2e-test-images/nginx:1.27-0";
const LOAD: &str = "/root/test-images.tar";
const PATIENCE: Duration = Duration::from_secs(90);

/// Someone who works on `host`.
pub struct User<'a> {
    pub host: &'a LabHost,
}

impl<'a> User<'a> {
    pub fn on(host: &'a LabHost) -> Self {
        Self { host }
    }

    /// Runs a line in a shell with KUBECONFIG set and returns what it prints. The test fails when the line does.
    pub async fn types(&self, line: &str) -> String {
        let output = self.tries(line).await;
        match output {
            Ok(text) => text,
            Err(text) => panic!("$ {line}\n{text}"),
        }
    }

    /// As [`Self::types`], but a failure is an answer: the output and error text.
    pub async fn tries(&self, line: &str) -> Result<String, String> {
        let script = format!("export KUBECONFIG=/etc/kubernetes/admin.conf\n{line}");
        let output = self.host.run(&["bash", "-o", "pipefail", "-c", &script]).await.expect("the host answers");
        if output.success() {
            Ok(output.text())
        } else {
            Err(format!("{}\n{}(exit code {})", output.text(), output.error_text(), output.status))
        }
    }

    /// Repeats a line until it succeeds and its output satisfies `wanted`.
    pub async fn sees(&self, what: &str, line: &str, wanted: impl Fn(&str) -> bool) -> String {
        wait_until(what, PATIENCE, async || match self.tries(line).await {
            Ok(text) if wanted(&text) => Ok(text),
            Ok(text) | Err(text) => Err(format!("$ {line}\n{text}")),
        })
        .await
    }

    /// Loads the images that pods of the tests run; there is no registry to pull them from.
    pub async fn loads_test_images(&self) {
        let content = std::fs::read(test_images()).expect("scripts/test-images.sh has run");
        self.host.write_file(LOAD, 0o600, &content).await.expect("the archive is copied");
        drop(content);
        self.types(&format!("docker load -q -i {LOAD} && rm {LOAD}")).await;
    }

    /// Lets ordinary pods run on the control-plane node.
    pub async fn removes_taints(&self) {
        let line = "kubectl taint nodes --all node-role.kubernetes.io/control-plane-";
        assert!(self.types(line).await.contains("untainted"));
    }
}

fn test_images() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache.expect("HOME is set").join("junioadm/test-images.tar")
}

/// `GET /` from this machine, which is outside of the cluster: the body, once the answer is 200.
pub async fn browses(address: Ipv4Addr, port: u16) -> String {
    wait_until(&format!("an answer from http://{address}:{port}/"), PATIENCE, async || {
        let text = get(address, port).await.map_err(|error| error.to_string())?;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        if head.starts_with("HTTP/1.1 200") || head.starts_with("HTTP/1.0 200") {
            Ok(body.to_owned())
        } else {
            Err(head.to_owned())
        }
    })
    .await
}

async fn get(address: Ipv4Addr, port: u16) -> std::io::Result<String> {
    let asking = async {
        let mut socket = TcpStream::connect((address, port)).await?;
        socket.write_all(format!("GET / HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(Duration::from_secs(5), asking).await.map_err(|_| std::io::ErrorKind::TimedOut)?
}
