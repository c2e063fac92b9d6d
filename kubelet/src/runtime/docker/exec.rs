//! Interactive sessions: `kubectl exec` and `kubectl attach`.

use std::time::Duration;

use bollard::models::ExecConfig;
use bollard::query_parameters::{ResizeContainerTTYOptionsBuilder, ResizeExecOptionsBuilder};
use futures::FutureExt;
use tokio::sync::mpsc;

use super::client::DockerRuntime;
use super::error::{classify, classify_socket, io};
use super::streams::{self, Streams};
use crate::runtime::{AttachRequest, ContainerId, ExecRequest, RuntimeError, StreamSession, TerminalSize};

/// The engine looks for its detach keys in terminal input and holds back a prefix of them. They cannot be switched
/// off, so: a sequence that nobody types, beginning with a key that hardly anybody uses (the default begins with
/// control-P, the shells' "previous").
const DETACH_KEYS: &str = "ctrl-^,ctrl-^,ctrl-_,ctrl-^,ctrl-_";

/// The engine records an exit code some milliseconds after the stream's end, or much later if the process closed its
/// output early; there is no call that waits for an exec.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const SLOWEST_LOOK: Duration = Duration::from_millis(200);

impl DockerRuntime {
    pub(super) async fn open_exec(
        &self,
        id: &ContainerId,
        request: &ExecRequest,
    ) -> Result<StreamSession, RuntimeError> {
        let exec = self.create_exec(id, request).await?;
        let streams = self.start_exec(&exec, request.tty).await?;
        let resize = request.tty.then(|| self.resizer(Terminal::Exec(exec.clone())));
        let runtime = self.clone();
        Ok(session(streams, Wanted::from(request), resize, async move { runtime.exit_code(&exec).await }))
    }

    pub(super) async fn open_attach(
        &self,
        id: &ContainerId,
        request: &AttachRequest,
    ) -> Result<StreamSession, RuntimeError> {
        // The engine frames output by the container's own setting, whatever the client asks for.
        let tty = self.inspect(&id.0).await?.tty;
        let flag = |wanted: bool| u8::from(wanted);
        let path = format!(
            "/containers/{}/attach?stream=1&logs=0&stdin={}&stdout={}&stderr={}&detachKeys={}",
            id.0,
            flag(request.stdin),
            flag(request.stdout),
            flag(request.stderr && !tty),
            DETACH_KEYS.replace('^', "%5E"),
        );
        let connection = self
            .inner
            .socket
            .hijack(&path, None)
            .await
            .map_err(|error| classify_socket("attach to", "container", &id.0, error))?;
        let wanted = Wanted { tty, ..Wanted::from(request) };
        let resize = tty.then(|| self.resizer(Terminal::Container(id.0.clone())));
        Ok(session(streams::split(connection, tty), wanted, resize, async { Ok(0) }))
    }

    pub(super) async fn create_exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<String, RuntimeError> {
        let config = ExecConfig {
            cmd: Some(request.command.clone()),
            tty: Some(request.tty),
            attach_stdin: Some(request.stdin),
            attach_stdout: Some(request.stdout),
            attach_stderr: Some(request.stderr && !request.tty),
            detach_keys: Some(DETACH_KEYS.to_owned()),
            ..ExecConfig::default()
        };
        let created = self.docker().create_exec(&id.0, config).await;
        Ok(created.map_err(|error| classify("exec in", "container", &id.0, error))?.id)
    }

    pub(super) async fn start_exec(&self, exec: &str, tty: bool) -> Result<Streams, RuntimeError> {
        let body = serde_json::json!({ "Detach": false, "Tty": tty });
        let connection = self
            .inner
            .socket
            .hijack(&format!("/exec/{exec}/start"), Some(body))
            .await
            .map_err(|error| classify_socket("start", "exec", exec, error))?;
        Ok(streams::split(connection, tty))
    }

    /// Waits until the process has ended.
    pub(super) async fn exit_code(&self, exec: &str) -> Result<i32, RuntimeError> {
        let mut pause = FIRST_LOOK;
        loop {
            let answer =
                self.docker().inspect_exec(exec).await.map_err(|error| classify("inspect", "exec", exec, error))?;
            if answer.running != Some(true)
                && let Some(code) = answer.exit_code
            {
                return Ok(i32::try_from(code).unwrap_or(i32::MAX));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SLOWEST_LOOK);
        }
    }

    /// Applies sizes in their order; ends with the session.
    fn resizer(&self, terminal: Terminal) -> mpsc::Sender<TerminalSize> {
        let (sender, mut sizes) = mpsc::channel::<TerminalSize>(8);
        let runtime = self.clone();
        tokio::spawn(async move {
            while let Some(size) = sizes.recv().await {
                let (height, width) = (i32::from(size.height), i32::from(size.width));
                let result = match &terminal {
                    Terminal::Exec(exec) => {
                        let options = ResizeExecOptionsBuilder::default().h(height).w(width).build();
                        runtime.docker().resize_exec(exec, options).await
                    }
                    Terminal::Container(id) => {
                        let options = ResizeContainerTTYOptionsBuilder::default().h(height).w(width).build();
                        runtime.docker().resize_container_tty(id, options).await
                    }
                };
                if let Err(error) = result {
                    tracing::debug!(%error, "terminal was not resized");
                }
            }
        });
        sender
    }
}

enum Terminal {
    Exec(String),
    Container(String),
}

struct Wanted {
    tty: bool,
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl From<&ExecRequest> for Wanted {
    fn from(request: &ExecRequest) -> Self {
        Self { tty: request.tty, stdin: request.stdin, stdout: request.stdout, stderr: request.stderr }
    }
}

impl From<&AttachRequest> for Wanted {
    fn from(request: &AttachRequest) -> Self {
        Self { tty: request.tty, stdin: request.stdin, stdout: request.stdout, stderr: request.stderr }
    }
}

fn session(
    streams: Streams,
    wanted: Wanted,
    resize: Option<mpsc::Sender<TerminalSize>>,
    code: impl Future<Output = Result<i32, RuntimeError>> + Send + 'static,
) -> StreamSession {
    let Streams { stdin, stdout, stderr, pump } = streams;
    // Without stdin the writing half lives as long as the session: closing it could end an attach.
    let (stdin, kept) = if wanted.stdin { (Some(stdin), None) } else { (None, Some(stdin)) };
    StreamSession {
        stdin: stdin.map(|stream| Box::new(stream) as _),
        stdout: wanted.stdout.then(|| Box::new(stdout) as _),
        stderr: (wanted.stderr && !wanted.tty).then(|| Box::new(stderr) as _),
        resize,
        exit: async move {
            let _kept = kept;
            match pump.await {
                Ok(Ok(())) => {}
                Ok(Err(source)) => return Err(io("read", "session output", source)),
                Err(source) => return Err(io("read", "session output", std::io::Error::other(source))),
            }
            code.await
        }
        .boxed(),
    }
}
