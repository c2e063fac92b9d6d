//! `/containerLogs`: a container's output as plain text, flushed line by line.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;

use super::error::HttpError;
use super::lookup::{self, PathNames};
use super::query::Query;
use super::state::ServerState;
use crate::runtime::{ContainerState, LogLine, LogOptions, RuntimeContainer, RuntimeError, RuntimePod};

/// `metav1.PodLogOptions` as a query.
#[derive(Debug, PartialEq, Eq)]
struct Parameters {
    options: LogOptions,
    previous: bool,
    timestamps: bool,
    limit_bytes: Option<u64>,
}

impl Parameters {
    /// The outer error is a bad query (400), the inner one invalid options (422).
    fn parse(query: &Query, now: Timestamp) -> Result<Self, HttpError> {
        let bad = HttpError::bad_request;
        let invalid = |text: String| HttpError::new(StatusCode::UNPROCESSABLE_ENTITY, text);
        let since_seconds: Option<i64> = query.number("sinceSeconds").map_err(bad)?;
        let since_time: Option<Timestamp> = query
            .get("sinceTime")
            .map(|text| text.parse().map_err(|_| bad(format!("parameter sinceTime={text} is no RFC 3339 time"))))
            .transpose()?;
        // `tail` is the legacy name; `all` means no limit.
        let tail_lines: Option<i64> = match query.get("tail") {
            Some("all") => None,
            Some(_) => query.number("tail").map_err(bad)?,
            None => query.number("tailLines").map_err(bad)?,
        };
        let limit_bytes: Option<i64> = query.number("limitBytes").map_err(bad)?;
        if query.get("stream").is_some_and(|stream| stream != "All") {
            return Err(bad("parameter stream: only All is served".to_owned()));
        }
        if since_seconds.is_some() && since_time.is_some() {
            return Err(invalid("at most one of sinceTime or sinceSeconds may be specified".to_owned()));
        }
        if since_seconds.is_some_and(|n| n < 1)
            || tail_lines.is_some_and(|n| n < 0)
            || limit_bytes.is_some_and(|n| n < 1)
        {
            return Err(invalid("sinceSeconds and limitBytes must be greater than 0, tailLines at least 0".to_owned()));
        }
        let since = match since_seconds {
            Some(seconds) => now.checked_sub(jiff::SignedDuration::from_secs(seconds)).ok(),
            None => since_time,
        };
        Ok(Self {
            options: LogOptions {
                follow: query.boolean("follow").map_err(bad)?,
                tail_lines: tail_lines.and_then(|n| u64::try_from(n).ok()),
                since,
            },
            previous: query.boolean("previous").map_err(bad)?,
            timestamps: query.boolean("timestamps").map_err(bad)?,
            limit_bytes: limit_bytes.and_then(|n| u64::try_from(n).ok()),
        })
    }
}

pub async fn container_logs(
    State(state): State<Arc<ServerState>>,
    Path(names): Path<PathNames>,
    RawQuery(query): RawQuery,
) -> Result<Response, HttpError> {
    let parameters = Parameters::parse(&Query::parse(query.as_deref()), Timestamp::now())?;
    let pod = lookup::pod(&state, &names)?;
    let name = names.get("container").map(String::as_str).unwrap_or_default();
    lookup::exists(&pod, name)?;
    let engine = lookup::engine_pod(&state, &pod).await?;
    let container = if parameters.previous {
        previous(&engine, name).ok_or_else(|| {
            let pod = lookup::pod_name(&pod);
            HttpError::bad_request(format!("previous terminated container \"{name}\" in pod \"{pod}\" not found"))
        })?
    } else {
        current(&engine, name).ok_or_else(|| lookup::waiting(&state, &pod, name))?
    };
    let lines = state.runtime.logs(&container.id, &parameters.options).await.map_err(|error| match error {
        RuntimeError::NotFound { .. } => lookup::waiting(&state, &pod, name),
        error => HttpError::internal(&error),
    })?;
    let body = Body::from_stream(limit(text(lines, parameters.timestamps), parameters.limit_bytes));
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))], body).into_response())
}

/// The newest instance that has started.
fn current<'a>(engine: &'a RuntimePod, name: &str) -> Option<&'a RuntimeContainer> {
    engine.containers.iter().filter(|c| c.name == name && c.state != ContainerState::Created).max_by_key(|c| c.attempt)
}

/// The newest instance but one.
fn previous<'a>(engine: &'a RuntimePod, name: &str) -> Option<&'a RuntimeContainer> {
    let newest = lookup::newest(engine, name)?.attempt;
    engine.containers.iter().filter(|c| c.name == name && c.attempt < newest).max_by_key(|c| c.attempt)
}

/// Lines as bytes; timestamps have nine fixed digits.
fn text(
    lines: BoxStream<'static, Result<LogLine, RuntimeError>>,
    timestamps: bool,
) -> impl futures::Stream<Item = Result<Bytes, RuntimeError>> + Send {
    lines.map(move |line| {
        line.map(|line| {
            if !timestamps {
                return Bytes::from(line.text);
            }
            let mut out = format!("{:.9} ", line.timestamp).into_bytes();
            out.extend_from_slice(&line.text);
            Bytes::from(out)
        })
    })
}

/// Ends after `limit` bytes, in the middle of a line if need be.
fn limit(
    chunks: impl futures::Stream<Item = Result<Bytes, RuntimeError>> + Send + 'static,
    limit: Option<u64>,
) -> BoxStream<'static, Result<Bytes, RuntimeError>> {
    let Some(limit) = limit else { return chunks.boxed() };
    let state = (chunks.boxed(), usize::try_from(limit).unwrap_or(usize::MAX));
    stream::unfold(state, |(mut chunks, left)| async move {
        if left == 0 {
            return None;
        }
        let chunk = chunks.next().await?.map(|mut chunk| chunk.split_to(chunk.len().min(left)));
        let left = chunk.as_ref().map_or(0, |chunk| left - chunk.len());
        Some((chunk, (chunks, left)))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Parameters, StatusCode> {
        Parameters::parse(&Query::parse(Some(query)), Timestamp::UNIX_EPOCH).map_err(|error| error.status)
    }

    #[test]
    fn parameters_are_checked() {
        let all = parse("follow=true&previous=true&timestamps=true&tailLines=5&limitBytes=9").expect("valid");
        assert_eq!(all.options, LogOptions { follow: true, tail_lines: Some(5), since: None });
        assert!(all.previous && all.timestamps);
        assert_eq!(all.limit_bytes, Some(9));
        assert_eq!(parse("tail=all").expect("valid").options.tail_lines, None);
        for (query, status) in [
            ("tailLines=x", StatusCode::BAD_REQUEST),
            ("follow=perhaps", StatusCode::BAD_REQUEST),
            ("sinceTime=yesterday", StatusCode::BAD_REQUEST),
            ("stream=Stdout", StatusCode::BAD_REQUEST),
            ("tailLines=-1", StatusCode::UNPROCESSABLE_ENTITY),
            ("limitBytes=0", StatusCode::UNPROCESSABLE_ENTITY),
            ("sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z", StatusCode::UNPROCESSABLE_ENTITY),
        ] {
            assert_eq!(parse(query), Err(status), "{query}");
        }
    }

    #[tokio::test]
    async fn a_limit_cuts_inside_a_line() {
        let chunks = stream::iter(["abc\n", "def\n", "ghi\n"].map(|line| Ok(Bytes::from(line))));
        let seen: Vec<Bytes> = limit(chunks, Some(6)).map(|chunk| chunk.expect("chunk")).collect().await;
        assert_eq!(seen.concat(), b"abc\nde");
    }
}
