//! Files to a host, resumable: bytes are appended to `PATH.part`, which takes the file's place when it is whole.
//!
//! The other side is `sh` and `cat`, run as root. SFTP could not become root, and may be switched off.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt};

use super::channel::Stream;
use super::words::plain;
use super::{Connection, SshError};

/// Ends what an earlier, lost connection left writing to the partial file: its bytes must not come after those of this one.
/// It is found by its standard output. Then prints the length of the partial file.
const RECEIVED: &str = r#"
part=$1.part
for process in /proc/[0-9]*; do
    if [ "$process/fd/1" -ef "$part" ]; then
        kill "${process#/proc/}" 2>/dev/null
        while [ "$process/fd/1" -ef "$part" ]; do sleep 0.02; done
    fi
done
if [ -f "$part" ] && [ ! -L "$part" ]; then stat -c %s -- "$part"; else echo 0; fi
"#;

/// `PATH OFFSET LENGTH MODE`: keeps OFFSET bytes of the partial file and appends what comes.
const APPEND: &str = r#"
set -eu
part=$1.part
umask 077
if [ "$2" = 0 ]; then rm -f -- "$part"; : >"$part"; else truncate -s "$2" -- "$part"; fi
cat >>"$part"
size=$(stat -c %s -- "$part")
if [ "$size" != "$3" ]; then echo "$size bytes of $3 arrived" >&2; exit 1; fi
chmod "$4" -- "$part"
sync -- "$part" 2>/dev/null || sync
"#;

/// `PATH [SHA256]`: puts the partial file in its place. Exit code 9: it is not what it should be, and is removed.
const FINISH: &str = r#"
set -eu
part=$1.part
if [ -n "${2-}" ]; then
    sum=$(sha256sum <"$part")
    if [ "${sum%% *}" != "$2" ]; then rm -f -- "$part"; exit 9; fi
fi
mv -f -- "$part" "$1"
sync -- "$(dirname -- "$1")" 2>/dev/null || sync
"#;
const OTHER_CONTENT: i32 = 9;

impl Connection {
    /// How many bytes of `PATH.part` are on the host: where to go on. Ends a transfer that an earlier connection left behind.
    ///
    /// # Errors
    /// As [`Connection::run`].
    pub async fn received(&self, path: &Path) -> Result<u64, SshError> {
        let text = self.script(RECEIVED, path, &[], tokio::io::empty(), |_| ()).await?;
        text.trim().parse().map_err(|_| self.failed(path, format!("its length is said to be {:?}", text.trim())))
    }

    /// Appends what `source` gives to `PATH.part` from `offset` on, until it is `length` bytes long, on disk, and of this mode.
    /// `source` begins at `offset`; what it has beyond `length` is not read. `progress` gets the length reached.
    ///
    /// # Errors
    /// [`SshError::Lost`] when the connection ends: what has arrived stays, and [`Connection::received`] says how much.
    /// [`SshError::Transfer`] when the host cannot take it, with its reason.
    pub async fn send(
        &self,
        source: impl AsyncRead + Unpin,
        length: u64,
        path: &Path,
        mode: u32,
        offset: u64,
        mut progress: impl FnMut(u64),
    ) -> Result<(), SshError> {
        let Some(remaining) = length.checked_sub(offset) else {
            return Err(self.failed(path, format!("{offset} bytes are there and {length} are to be")));
        };
        let arguments = [offset.to_string(), length.to_string(), format!("{mode:o}")];
        let arguments = arguments.each_ref().map(String::as_str);
        self.script(APPEND, path, &arguments, source.take(remaining), |sent| progress(offset + sent)).await?;
        Ok(())
    }

    /// Moves `PATH.part` to its place, if its SHA-256 (hexadecimal) is the one given.
    ///
    /// # Errors
    /// [`SshError::Checksum`] when it is another; the partial file is removed then.
    pub async fn finish(&self, path: &Path, sha256: Option<&str>) -> Result<(), SshError> {
        let arguments: Vec<&str> = sha256.into_iter().collect();
        self.script(FINISH, path, &arguments, tokio::io::empty(), |_| ()).await?;
        Ok(())
    }

    /// Sends a file whole, going on where an earlier attempt stopped. With a checksum a partial file of something else is
    /// noticed at the end; without one only its length is compared.
    ///
    /// # Errors
    /// As [`Connection::send`] and [`Connection::finish`]; [`SshError::Source`] when the file here cannot be read.
    pub async fn send_file(
        &self,
        file: &Path,
        path: &Path,
        mode: u32,
        sha256: Option<&str>,
        progress: impl FnMut(u64),
    ) -> Result<(), SshError> {
        let unreadable = |source| {
            let during = format!("reading {}", file.display());
            SshError::Source { host: self.link.hop.name.clone(), during, source }
        };
        let mut source = File::open(file).await.map_err(unreadable)?;
        let length = source.metadata().await.map_err(unreadable)?.len();
        let mut offset = self.received(path).await?;
        if offset > length {
            offset = 0;
        }
        source.seek(SeekFrom::Start(offset)).await.map_err(unreadable)?;
        self.send(source, length, path, mode, offset, progress).await?;
        self.finish(path, sha256).await
    }

    async fn script(
        &self,
        script: &str,
        path: &Path,
        arguments: &[&str],
        input: impl AsyncRead + Unpin,
        progress: impl FnMut(u64),
    ) -> Result<String, SshError> {
        let Some(target) = path.to_str().filter(|_| path.is_absolute()) else {
            return Err(self.failed(path, "the path is not absolute, or no text".to_owned()));
        };
        let words = [&["sh", "-c", script, "sh", target][..], arguments].concat();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let gather = |stream, bytes: &[u8]| {
            let into = if stream == Stream::Output { &mut stdout } else { &mut stderr };
            into.extend_from_slice(&bytes[..bytes.len().min(4096usize.saturating_sub(into.len()))]);
            Ok(())
        };
        let during = format!("sending {}", path.display());
        match self.execute(&words, &during, input, gather, progress).await? {
            Some(0) => Ok(String::from_utf8_lossy(&stdout).into_owned()),
            Some(OTHER_CONTENT) if script == FINISH => {
                Err(SshError::Checksum { host: self.link.hop.name.clone(), path: path.to_owned() })
            }
            code => {
                let said = plain(&stderr);
                Err(self.failed(path, if said.is_empty() { format!("exit code {code:?}") } else { said }))
            }
        }
    }

    fn failed(&self, path: &Path, reason: String) -> SshError {
        SshError::Transfer { host: self.link.hop.name.clone(), path: PathBuf::from(path), reason }
    }
}
