//! What an API server's answer, or the lack of one, means to a host that knows nothing of the cluster yet.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::client::brief;
use crate::error::Cause;
use crate::phase_id::PhaseId;
use crate::run::Run;
use crate::wait::{Look, Wait};

/// Between two tries over the network.
const LOOK: Duration = Duration::from_millis(200);
/// One request.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The server answered with this HTTP status.
    Status { code: u16, text: String },
    /// TLS failed because of the server's certificate.
    Certificate(String),
    /// Nobody answered.
    Silence(String),
}

impl NoAnswer {
    pub(crate) fn of(error: &kube::Error) -> Self {
        if let kube::Error::Api(status) = error {
            return Self::Status { code: status.code, text: brief(error) };
        }
        let text = brief(error);
        match text.split_once("invalid peer certificate: ") {
            Some((_, reason)) => Self::Certificate(certificate_reason(reason)),
            None => Self::Silence(text),
        }
    }

    /// Another try may end better.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Status { code, .. } => *code == 429 || *code >= 500,
            Self::Certificate(_) => false,
            Self::Silence(_) => true,
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Status { code, text } => format!("{text} ({code})"),
            Self::Certificate(text) | Self::Silence(text) => text.clone(),
        }
    }
}

/// rustls' words, with the usual cause where it is the time.
fn certificate_reason(reason: &str) -> String {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    if reason.contains("not valid yet") || reason.contains("NotValidYet") {
        format!("it is not valid yet; the clock of this host says {now}, does that of the control plane agree?")
    } else if reason.contains("expired") || reason.contains("Expired") {
        format!("it has expired; the clock of this host says {now}, does that of the control plane agree?")
    } else {
        reason.to_owned()
    }
}

/// One request with its end.
pub(crate) async fn ask<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, NoAnswer> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(NoAnswer::of(&error)),
        Err(_) => Err(NoAnswer::Silence(format!("no answer within {}s", PATIENCE.as_secs()))),
    }
}

/// Asks until there is an answer, an error that `fatal` turns into a cause, or the end of `patience`, which `late` words.
pub(crate) async fn ask_until<T, F>(
    run: &Run<'_>,
    what: String,
    patience: Duration,
    mut request: impl FnMut() -> F + Send,
    fatal: impl Fn(&NoAnswer) -> Option<Cause> + Send + Sync,
    late: impl Fn(NoAnswer) -> Cause + Send + Sync,
) -> Result<T, Cause>
where
    F: Future<Output = Result<T, NoAnswer>> + Send,
    T: Send,
{
    // The usual case needs no word.
    let first = match request().await {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    if let Some(cause) = fatal(&first) {
        return Err(cause);
    }
    let last = Mutex::new(Some(first));
    let wait = Wait { run, phase: PhaseId::Discovery, what, deadline: patience, interval: LOOK };
    let looked = wait
        .until(|| {
            let asked = request();
            let (last, fatal) = (&last, &fatal);
            async move {
                match asked.await {
                    Ok(answer) => Ok(Look::Ready(answer)),
                    Err(error) => {
                        if let Some(cause) = fatal(&error) {
                            return Err(cause);
                        }
                        let text = error.text();
                        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        Ok(Look::Blocked(text))
                    }
                }
            }
        })
        .await;
    match looked {
        Err(Cause::Timeout { .. }) => {
            let last = last.into_inner().unwrap_or_else(PoisonError::into_inner);
            Err(late(last.unwrap_or_else(|| NoAnswer::Silence("there was no time to ask".to_owned()))))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_named_as_the_cause() {
        let early = certificate_reason("certificate not valid yet: verification time 1 (UNIX)");
        assert!(early.contains("clock of this host"), "{early}");
        assert_eq!(certificate_reason("UnknownIssuer"), "UnknownIssuer");
    }

    #[test]
    fn refusals_are_final_and_silence_is_not() {
        assert!(!NoAnswer::Status { code: 401, text: String::new() }.is_transient());
        assert!(NoAnswer::Status { code: 503, text: String::new() }.is_transient());
        assert!(NoAnswer::Silence(String::new()).is_transient());
        assert!(!NoAnswer::Certificate(String::new()).is_transient());
    }
}
