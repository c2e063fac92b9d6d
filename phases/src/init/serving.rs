//! Where a component of the control plane serves, read from its manifest as it lies on the disk: extra arguments and patches
//! may have moved it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use junio_api::yaml;
use k8s_openapi::api::core::v1::{Container, Pod};

use crate::context::Context;
use crate::error::Cause;

/// `https://ADDRESS:PORT` of component `name`, with `default_port` where its arguments name none. Fails when its manifest is
/// missing or is no Pod.
pub(crate) fn url(ctx: &Context<'_>, name: &str, default_port: u16) -> Result<String, Cause> {
    let path = ctx.changes.host.layout().manifest(name);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Cause::Config(format!("{} cannot be read: {error}", path.display())))?;
    let pod: Pod = yaml::from_str(&text)
        .map_err(|error| Cause::Config(format!("{} is no Pod: {}", path.display(), error.message)))?;
    let containers = pod.spec.map(|spec| spec.containers).unwrap_or_default();
    let words = containers.first().map(words).unwrap_or_default();
    let address = argument(&words, "bind-address").and_then(|text| text.parse().ok());
    let port = argument(&words, "secure-port").and_then(|text| text.parse().ok()).unwrap_or(default_port);
    Ok(match reachable(address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))) {
        IpAddr::V4(address) => format!("https://{address}:{port}"),
        IpAddr::V6(address) => format!("https://[{address}]:{port}"),
    })
}

fn words(container: &Container) -> Vec<&str> {
    let words = container.command.iter().flatten().chain(container.args.iter().flatten());
    words.map(String::as_str).collect()
}

/// The last value of `--name=VALUE` or `--name VALUE`, which is the one that counts.
fn argument<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    let value = |at: usize| {
        let rest = words[at].strip_prefix("--")?.strip_prefix(name)?;
        if rest.is_empty() { words.get(at + 1).copied() } else { rest.strip_prefix('=') }
    };
    (0..words.len()).rev().find_map(value)
}

/// Where a server that listens on all addresses can be asked.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_argument_counts_in_both_forms() {
        let words = ["kube-scheduler", "--secure-port=10259", "--bind-address", "::", "--secure-port=10300"];
        assert_eq!(argument(&words, "secure-port"), Some("10300"));
        assert_eq!(argument(&words, "bind-address"), Some("::"));
        assert_eq!(argument(&words, "secure"), None);
        assert_eq!(argument(&["--secure-port"], "secure-port"), None);
    }

    #[test]
    fn all_addresses_are_asked_on_loopback() {
        assert_eq!(reachable("::".parse().expect("address")), IpAddr::V6(Ipv6Addr::LOCALHOST));
        assert_eq!(reachable("0.0.0.0".parse().expect("address")), IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(reachable("10.0.0.4".parse().expect("address")).to_string(), "10.0.0.4");
    }
}
