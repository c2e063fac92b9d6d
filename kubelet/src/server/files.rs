//! `/logs/`: the files of `/var/log`. Links are followed as long as they stay there or lead to the engine's own logs: a pod
//! may have made them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Redirect, Response};
use tokio_util::io::ReaderStream;

use super::error::HttpError;
use super::state::ServerState;

const ROOT: &str = "/var/log";

/// The root of the tree.
pub async fn root(state: State<Arc<ServerState>>) -> Result<Response, HttpError> {
    file(state, UrlPath(String::new())).await
}

/// A file's content, or a directory's list in HTML.
pub async fn file(
    State(state): State<Arc<ServerState>>,
    UrlPath(path): UrlPath<String>,
) -> Result<Response, HttpError> {
    let engine = state.options.engine_dir.join("containers");
    let Some(found) = resolve(Path::new(ROOT), &engine, &path).await else {
        return Err(HttpError::not_found("404 page not found"));
    };
    let data = tokio::fs::metadata(&found).await.map_err(|error| HttpError::internal(&error))?;
    if data.is_dir() {
        // Names in a list are relative to the address.
        if !path.is_empty() && !path.ends_with('/') {
            let name = path.rsplit('/').next().unwrap_or_default();
            return Ok(Redirect::permanent(&format!("{name}/")).into_response());
        }
        return Ok(Html(list(&found).await.map_err(|error| HttpError::internal(&error))?).into_response());
    }
    if !data.is_file() {
        return Err(HttpError::not_found("404 page not found"));
    }
    let file = tokio::fs::File::open(&found).await.map_err(|error| HttpError::internal(&error))?;
    let body = Body::from_stream(ReaderStream::new(tokio::io::AsyncReadExt::take(file, data.len())));
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response())
}

/// Where the path leads; `None` when there is nothing, or it is elsewhere.
async fn resolve(root: &Path, engine: &Path, path: &str) -> Option<PathBuf> {
    if path.split('/').any(|part| part == "..") {
        return None;
    }
    let found = tokio::fs::canonicalize(root.join(path.trim_start_matches('/'))).await.ok()?;
    let root = tokio::fs::canonicalize(root).await.ok()?;
    let of_engine = found.starts_with(engine) && found.to_string_lossy().contains("-json.log");
    (found.starts_with(root) || of_engine).then_some(found)
}

async fn list(directory: &Path) -> std::io::Result<String> {
    let mut names = Vec::new();
    let mut entries = tokio::fs::read_dir(directory).await?;
    while let Some(entry) = entries.next_entry().await? {
        let mut name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().await?.is_dir() {
            name.push('/');
        }
        names.push(name);
    }
    names.sort();
    let lines: String = names.iter().map(|name| format!("<a href=\"{0}\">{0}</a>\n", escape(name))).collect();
    Ok(format!("<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n{lines}</pre>\n"))
}

fn escape(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[tokio::test]
    async fn links_lead_to_logs_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let base = directory.path().canonicalize().expect("it is there");
        let (root, engine) = (base.join("log"), base.join("engine/containers"));
        for dir in [&root.join("pods/p"), &engine.join("id")] {
            std::fs::create_dir_all(dir).expect("made");
        }
        for file in
            [root.join("a.log"), engine.join("id/id-json.log"), engine.join("id/config.v2.json"), base.join("secret")]
        {
            std::fs::write(file, "x").expect("written");
        }
        symlink(engine.join("id/id-json.log"), root.join("pods/p/0.log")).expect("linked");
        symlink(engine.join("id/config.v2.json"), root.join("pods/p/config")).expect("linked");
        symlink(base.join("secret"), root.join("pods/p/secret")).expect("linked");
        for (path, there) in [
            ("", true),
            ("a.log", true),
            ("pods/", true),
            ("pods/p/0.log", true),
            ("pods/p/config", false),
            ("pods/p/secret", false),
            ("../secret", false),
            ("pods/../../secret", false),
            ("//etc/passwd", false),
            ("none", false),
        ] {
            assert_eq!(resolve(&root, &engine, path).await.is_some(), there, "{path}");
        }
        let text = list(&root).await.expect("listed");
        assert!(text.contains("<a href=\"a.log\">a.log</a>\n<a href=\"pods/\">pods/</a>"), "{text}");
        assert_eq!(escape("<a\">"), "&lt;a&#34;&gt;");
    }
}
