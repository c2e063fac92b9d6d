//! The text of a pod's `/etc/hosts`. Pure.

use std::fmt::Write;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::HostAlias;

use super::hostname::PodName;

const MANAGED: &str = "# Kubernetes-managed hosts file.\n";
const MANAGED_HOST: &str = "# Kubernetes-managed hosts file (host network).\n";
const LOCAL: &str = "127.0.0.1\tlocalhost\n\
::1\tlocalhost ip6-localhost ip6-loopback\n\
fe00::0\tip6-localnet\n\
fe00::0\tip6-mcastprefix\n\
fe00::1\tip6-allnodes\n\
fe00::2\tip6-allrouters\n";

/// The file of a pod with its own network.
#[must_use]
pub fn pod_hosts(ips: &[IpAddr], name: &PodName, aliases: &[HostAlias]) -> String {
    let mut text = format!("{MANAGED}{LOCAL}");
    for ip in ips {
        // Writing to a String cannot fail.
        let _ = if name.domain.is_empty() {
            writeln!(text, "{ip}\t{}", name.short)
        } else {
            writeln!(text, "{ip}\t{}.{}\t{}", name.short, name.domain, name.short)
        };
    }
    text.push_str(&alias_lines(aliases));
    text
}

/// The file of a hostNetwork pod: the node's own, with a header.
#[must_use]
pub fn node_hosts(node_file: &str, aliases: &[HostAlias]) -> String {
    format!("{MANAGED_HOST}{node_file}{}", alias_lines(aliases))
}

fn alias_lines(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let mut text = "\n# Entries added by HostAliases.\n".to_owned();
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        let _ = writeln!(text, "{}\t{names}", alias.ip);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(domain: &str) -> PodName {
        PodName { hostname: "web".to_owned(), short: "web".to_owned(), domain: domain.to_owned() }
    }

    #[test]
    fn lists_the_pod_and_its_aliases() {
        let aliases = [HostAlias { ip: "1.2.3.4".into(), hostnames: Some(vec!["a".into(), "b".into()]) }];
        let text = pod_hosts(&["10.0.0.5".parse().expect("ip")], &name("s.n.svc.d"), &aliases);
        assert_eq!(
            text,
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n\
             10.0.0.5\tweb.s.n.svc.d\tweb\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"
        );
    }

    #[test]
    fn without_domain_or_aliases_is_short() {
        let text = pod_hosts(&["10.0.0.5".parse().expect("ip"), "fd00::5".parse().expect("ip")], &name(""), &[]);
        assert!(text.ends_with("ip6-allrouters\n10.0.0.5\tweb\nfd00::5\tweb\n"));
    }

    #[test]
    fn the_host_network_has_the_node_file() {
        assert_eq!(node_hosts("127.0.0.1 x\n", &[]), "# Kubernetes-managed hosts file (host network).\n127.0.0.1 x\n");
    }
}
