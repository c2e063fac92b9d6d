//! HTTP GET for probes and hooks: one connection per request, no proxy, no certificate checks, little of the body.

use std::io;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::tls::unverified_connector;

/// Nothing beyond this of a body is read.
const MAX_BODY: usize = 10 * 1024;
const MAX_REDIRECTS: usize = 10;

/// A GET of `uri`, which has scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    pub uri: Uri,
    /// May contain `Host`, which then replaces the one of the URI.
    pub headers: HeaderMap,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpReply {
    pub status: StatusCode,
    /// The beginning of the body.
    pub body: String,
    /// The answer pointed to another host, and was not followed.
    pub left_host: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("Get {url:?}: dial tcp {address}: {source}")]
    Connect { url: String, address: String, source: io::Error },
    #[error("Get {url:?}: tls: {source}")]
    Tls { url: String, source: io::Error },
    #[error("Get {url:?}: {source}")]
    Exchange { url: String, source: hyper::Error },
    #[error("Get {url:?}: {problem}")]
    Request { url: String, problem: &'static str },
    #[error("Get {url:?}: stopped after 10 redirects")]
    Redirects { url: String },
}

/// Sends the request and follows redirects within the host. Has no time limit of its own.
pub async fn http_get(request: &HttpRequest, user_agent: &str) -> Result<HttpReply, HttpError> {
    let mut uri = request.uri.clone();
    for _ in 0..MAX_REDIRECTS {
        let response = exchange(&uri, &request.headers, user_agent).await?;
        let status = response.status();
        let target = (status.is_redirection() && status != StatusCode::NOT_MODIFIED)
            .then(|| response.headers().get(LOCATION))
            .flatten()
            .and_then(|location| location.to_str().ok())
            .and_then(|location| resolve(&uri, location));
        match target {
            Some(next) if next.host() == request.uri.host() => uri = next,
            Some(_) => return Ok(HttpReply { status, body: body_of(response).await, left_host: true }),
            None => return Ok(HttpReply { status, body: body_of(response).await, left_host: false }),
        }
    }
    Err(HttpError::Redirects { url: uri.to_string() })
}

async fn exchange(uri: &Uri, headers: &HeaderMap, user_agent: &str) -> Result<Response<Incoming>, HttpError> {
    let bad = |problem| HttpError::Request { url: uri.to_string(), problem };
    let host = uri.host().ok_or_else(|| bad("no host"))?.trim_start_matches('[').trim_end_matches(']');
    let tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let connect = TcpStream::connect((host, port)).await;
    let stream = connect.map_err(|source| HttpError::Connect {
        url: uri.to_string(),
        address: format!("{host}:{port}"),
        source,
    })?;
    if !tls {
        return send(stream, uri, headers, user_agent).await;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| bad("the host is no name for TLS"))?;
    let connector = unverified_connector().ok_or_else(|| bad("no TLS"))?;
    let stream =
        connector.connect(name, stream).await.map_err(|source| HttpError::Tls { url: uri.to_string(), source })?;
    send(stream, uri, headers, user_agent).await
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    uri: &Uri,
    headers: &HeaderMap,
    user_agent: &str,
) -> Result<Response<Incoming>, HttpError> {
    let failed = |source| HttpError::Exchange { url: uri.to_string(), source };
    let bad = |problem| HttpError::Request { url: uri.to_string(), problem };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::get(path).body(Empty::<Bytes>::new()).map_err(|_| bad("the path is not valid"))?;
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let map = request.headers_mut();
    map.insert(HOST, HeaderValue::from_str(authority).map_err(|_| bad("the host is not valid"))?);
    map.insert(USER_AGENT, HeaderValue::from_str(user_agent).map_err(|_| bad("the user agent is not valid"))?);
    map.insert(ACCEPT, HeaderValue::from_static("*/*"));
    map.insert(CONNECTION, HeaderValue::from_static("close"));
    replace_headers(map, headers);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // Ends by itself when request and response are dropped; an error of it is also the response's.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(failed)
}

/// Headers of the manifest replace the defaults; an empty `Accept` or `User-Agent` removes the header. The same name
/// may come several times.
fn replace_headers(map: &mut HeaderMap, own: &HeaderMap) {
    for name in own.keys() {
        map.remove(name);
    }
    for (name, value) in own {
        let removable: [HeaderName; 2] = [ACCEPT, USER_AGENT];
        if !(value.is_empty() && removable.contains(name)) {
            map.append(name.clone(), value.clone());
        }
    }
}

/// The target of a `Location`, absolute or relative to `base`.
fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let target: Uri = location.parse().ok()?;
    if target.host().is_some() && target.scheme().is_some() {
        return Some(target);
    }
    let path = if location.starts_with("//") {
        return format!("{}:{location}", base.scheme_str()?).parse().ok();
    } else if location.starts_with('/') {
        location.to_owned()
    } else {
        let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{directory}/{location}")
    };
    format!("{}://{}{path}", base.scheme_str()?, base.authority()?).parse().ok()
}

/// A body that breaks off is as good as a short one: the status has come.
async fn body_of(response: Response<Incoming>) -> String {
    let mut body = response.into_body();
    let mut data = Vec::new();
    while data.len() < MAX_BODY {
        match body.frame().await {
            Some(Ok(frame)) => data.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data.as_ref())),
            Some(Err(_)) | None => break,
        }
    }
    data.truncate(MAX_BODY);
    String::from_utf8_lossy(&data).into_owned()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each connection with the next text and returns what was asked.
    async fn serve(answers: Vec<String>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let task = tokio::spawn(async move {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.expect("a byte"));
                }
                requests.push(String::from_utf8_lossy(&request).into_owned());
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
            requests
        });
        (port, task)
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
    }

    fn request(port: u16, path: &str, headers: &[(&str, &str)]) -> HttpRequest {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"));
        }
        HttpRequest { uri: format!("http://127.0.0.1:{port}{path}").parse().expect("a URI"), headers: map }
    }

    #[tokio::test]
    async fn sends_what_the_manifest_says() {
        let (port, task) = serve(vec![answer("200 OK", "", "hello")]).await;
        let headers = [("Host", "example.org"), ("X-A", "1"), ("X-A", "2"), ("Accept", "")];
        let reply = http_get(&request(port, "/x?y=z", &headers), "kube-probe/1.36").await.expect("a reply");
        assert_eq!((reply.status.as_u16(), reply.body.as_str(), reply.left_host), (200, "hello", false));
        let sent = task.await.expect("served").remove(0).to_lowercase();
        assert!(sent.starts_with("get /x?y=z http/1.1\r\n"), "{sent}");
        for line in ["host: example.org", "user-agent: kube-probe/1.36", "x-a: 1", "x-a: 2", "connection: close"] {
            assert!(sent.contains(line), "{line} in {sent}");
        }
        assert!(!sent.contains("accept:"));
    }

    #[tokio::test]
    async fn follows_redirects_within_the_host() {
        let (port, task) =
            serve(vec![answer("302 Found", "Location: /next\r\n", ""), answer("500 Bad", "", "no")]).await;
        let reply = http_get(&request(port, "/", &[]), "a").await.expect("a reply");
        assert_eq!((reply.status.as_u16(), reply.left_host), (500, false));
        assert!(task.await.expect("served")[1].starts_with("GET /next "));
    }

    #[tokio::test]
    async fn does_not_leave_the_host() {
        let (port, _task) = serve(vec![answer("302 Found", "Location: http://192.0.2.1/\r\n", "")]).await;
        let reply = http_get(&request(port, "/", &[]), "a").await.expect("a reply");
        assert_eq!((reply.status.as_u16(), reply.left_host), (302, true));
    }

    #[tokio::test]
    async fn says_why_nothing_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let error = http_get(&request(port, "/", &[]), "a").await.expect_err("refused");
        assert!(
            error.to_string().starts_with(&format!("Get \"http://127.0.0.1:{port}/\": dial tcp 127.0.0.1:{port}: ")),
            "{error}"
        );
    }

    #[test]
    fn resolves_locations() {
        let base: Uri = "http://h:1/a/b".parse().expect("a URI");
        for (location, expected) in
            [("/x", "http://h:1/x"), ("y", "http://h:1/a/y"), ("https://o/z", "https://o/z"), ("//o/z", "http://o/z")]
        {
            assert_eq!(resolve(&base, location).expect(location).to_string(), expected);
        }
    }
}
