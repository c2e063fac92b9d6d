//! Where a probe or hook goes: address, port by number or name, URL. Pure.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::http::HttpRequest;

/// The manifest names something that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("invalid port number: {0}")]
    PortNumber(String),
    #[error("couldn't find port: {name} in container {container}")]
    PortName { name: String, container: String },
    #[error("the pod has no address yet")]
    NoAddress,
    #[error("{0:?} is not a valid URL")]
    Url(String),
}

/// The number of a port, which may be given by the name of a container port or as digits.
pub fn resolve_port(port: &IntOrString, container: &Container) -> Result<u16, TargetError> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name));
            match (named, name.parse::<i32>()) {
                (Some(port), _) => port.container_port,
                (None, Ok(number)) => number,
                (None, Err(_)) => {
                    return Err(TargetError::PortName { name: name.clone(), container: container.name.clone() });
                }
            }
        }
    };
    u16::try_from(number).ok().filter(|number| *number > 0).ok_or_else(|| TargetError::PortNumber(number.to_string()))
}

/// The request of an `httpGet`; `pod_ip` is used unless the manifest has a host.
pub fn http_request(
    action: &HTTPGetAction,
    container: &Container,
    pod_ip: Option<&str>,
) -> Result<HttpRequest, TargetError> {
    let port = resolve_port(&action.port, container)?;
    let own = action.host.as_deref().filter(|host| !host.is_empty());
    let host = own.or(pod_ip).ok_or(TargetError::NoAddress)?;
    let authority = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let scheme = match action.scheme.as_deref() {
        Some("HTTPS" | "https") => Scheme::HTTPS,
        _ => Scheme::HTTP,
    };
    let path = action.path.as_deref().unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let bad = || TargetError::Url(format!("{scheme}://{authority}{path}"));
    let mut parts = http::uri::Parts::default();
    parts.authority = Some(authority.parse::<Authority>().map_err(|_| bad())?);
    parts.path_and_query = Some(escape(&path).parse::<PathAndQuery>().map_err(|_| bad())?);
    parts.scheme = Some(scheme.clone());
    let uri = Uri::from_parts(parts).map_err(|_| bad())?;

    let mut headers = HeaderMap::new();
    for header in action.http_headers.iter().flatten() {
        // The API has checked the names; what HTTP does not allow is left out.
        if let (Ok(name), Ok(value)) = (header.name.parse::<HeaderName>(), HeaderValue::from_str(&header.value)) {
            headers.append(name, value);
        }
    }
    Ok(HttpRequest { uri, headers })
}

/// Percent-encodes what may not stand in a request line; a fragment is cut off.
fn escape(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    let mut result = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte <= b' ' || byte >= 0x7f || matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
        {
            result.push_str(&format!("%{byte:02X}"));
        } else {
            result.push(char::from(byte));
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container() -> Container {
        serde_json::from_value(serde_json::json!({"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}))
            .expect("a container")
    }

    #[test]
    fn finds_ports() {
        for (port, expected) in [
            (IntOrString::Int(80), Ok(80)),
            (IntOrString::String("web".into()), Ok(8080)),
            (IntOrString::String("81".into()), Ok(81)),
            (IntOrString::Int(0), Err(TargetError::PortNumber("0".into()))),
            (IntOrString::Int(70_000), Err(TargetError::PortNumber("70000".into()))),
            (
                IntOrString::String("none".into()),
                Err(TargetError::PortName { name: "none".into(), container: "c".into() }),
            ),
        ] {
            assert_eq!(resolve_port(&port, &container()), expected, "{port:?}");
        }
    }

    #[test]
    fn builds_urls() {
        for (action, ip, expected) in [
            (r#"{"port":80}"#, "10.0.0.1", "http://10.0.0.1:80/"),
            (r#"{"port":"web","path":"x?a=b c","scheme":"HTTPS"}"#, "10.0.0.1", "https://10.0.0.1:8080/x?a=b%20c"),
            (r#"{"port":80,"path":"/x"}"#, "fd00::1", "http://[fd00::1]:80/x"),
            (r#"{"port":80,"host":"127.0.0.1"}"#, "10.0.0.1", "http://127.0.0.1:80/"),
        ] {
            let action: HTTPGetAction = serde_json::from_str(action).expect("an action");
            assert_eq!(http_request(&action, &container(), Some(ip)).expect("a request").uri.to_string(), expected);
        }
        let action: HTTPGetAction = serde_json::from_str(r#"{"port":80}"#).expect("an action");
        assert_eq!(http_request(&action, &container(), None), Err(TargetError::NoAddress));
    }
}
