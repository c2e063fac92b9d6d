//! The text of a pod's `/etc/resolv.conf`. Pure.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;

use super::context::{is_host_network, namespace};

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;

/// Nameservers, search domains and options, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsConfig {
    pub nameservers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

/// A pod's resolver file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolv {
    pub text: String,
    /// The policy asks for cluster DNS, but the kubelet has none: event `MissingClusterDNS`, the node's is used.
    pub missing_cluster_dns: bool,
    /// What was cut to fit the limits of resolvers: event `DNSConfigForming`.
    pub cut: Option<String>,
}

/// Applies the pod's `dnsPolicy` and `dnsConfig`. `host` is the text of the host's file.
#[must_use]
pub fn resolv_conf(pod: &Pod, cluster_dns: &[IpAddr], cluster_domain: &str, host: &str) -> Resolv {
    let host = parse(host);
    let spec = pod.spec.as_ref();
    let policy = spec.and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let wants_cluster = match policy {
        "ClusterFirstWithHostNet" => true,
        "ClusterFirst" => !is_host_network(pod),
        _ => false,
    };
    let missing_cluster_dns = wants_cluster && cluster_dns.is_empty();
    let mut config = if policy == "None" {
        DnsConfig::default()
    } else if wants_cluster && !missing_cluster_dns {
        DnsConfig {
            nameservers: cluster_dns.iter().map(ToString::to_string).collect(),
            searches: cluster_searches(namespace(pod), cluster_domain, host.searches),
            options: vec!["ndots:5".to_owned()],
        }
    } else {
        host
    };
    if let Some(own) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        config.nameservers.extend(own.nameservers.iter().flatten().cloned());
        config.searches.extend(own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            let text = match option.value.as_deref().filter(|value| !value.is_empty()) {
                Some(value) => format!("{name}:{value}"),
                None => name.clone(),
            };
            config.options.retain(|known| known.split(':').next() != Some(name.as_str()));
            config.options.push(text);
        }
    }
    unique(&mut config.nameservers);
    unique(&mut config.searches);
    let cut = limit(&mut config);
    Resolv { text: print(&config), missing_cluster_dns, cut }
}

/// Reads a resolver file; unknown lines are ignored, the last `search` and `options` lines count.
#[must_use]
pub fn parse(text: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => config.nameservers.extend(words.next()),
            Some("search") => config.searches = words.map(trim_dot).collect(),
            Some("options") => config.options = words.collect(),
            _ => {}
        }
    }
    config
}

fn trim_dot(domain: String) -> String {
    if domain == "." { domain } else { domain.trim_end_matches('.').to_owned() }
}

fn cluster_searches(namespace: &str, cluster_domain: &str, host: Vec<String>) -> Vec<String> {
    if cluster_domain.is_empty() {
        return host;
    }
    let own = [format!("{namespace}.svc.{cluster_domain}"), format!("svc.{cluster_domain}"), cluster_domain.to_owned()];
    own.into_iter().chain(host).collect()
}

fn unique(list: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    list.retain(|item| seen.insert(item.clone()));
}

fn limit(config: &mut DnsConfig) -> Option<String> {
    let mut cut = Vec::new();
    if config.nameservers.len() > MAX_NAMESERVERS {
        config.nameservers.truncate(MAX_NAMESERVERS);
        cut.push(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
            config.nameservers.join(" ")
        ));
    }
    let before = config.searches.len();
    config.searches.truncate(MAX_SEARCHES);
    while config.searches.join(" ").len() > MAX_SEARCH_CHARS {
        config.searches.pop();
    }
    if config.searches.len() < before {
        cut.push(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
            config.searches.join(" ")
        ));
    }
    (!cut.is_empty()).then(|| cut.join("; "))
}

fn print(config: &DnsConfig) -> String {
    let mut text = String::new();
    if !config.searches.is_empty() {
        text.push_str(&format!("search {}\n", config.searches.join(" ")));
    }
    for server in &config.nameservers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !config.options.is_empty() {
        text.push_str(&format!("options {}\n", config.options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# comment\nnameserver 192.168.1.1\nsearch example.com lan.\noptions edns0 ndots:1\n";

    fn run(spec: serde_json::Value, dns: &[&str]) -> Resolv {
        let mut spec = spec;
        spec["containers"] = serde_json::json!([]);
        let pod: Pod =
            serde_json::from_value(serde_json::json!({"metadata": {"namespace": "n"}, "spec": spec})).expect("a pod");
        let dns: Vec<IpAddr> = dns.iter().map(|text| text.parse().expect("ip")).collect();
        resolv_conf(&pod, &dns, "cluster.local", HOST)
    }

    #[test]
    fn follows_the_policies() {
        let cluster = "search n.svc.cluster.local svc.cluster.local cluster.local example.com lan\nnameserver 10.96.0.10\noptions ndots:5\n";
        let node = "search example.com lan\nnameserver 192.168.1.1\noptions edns0 ndots:1\n";
        for (spec, expected) in [
            (serde_json::json!({}), cluster),
            (serde_json::json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true}), node),
            (serde_json::json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true}), cluster),
            (serde_json::json!({"dnsPolicy": "Default"}), node),
            (
                serde_json::json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["x.y"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]}}),
                "search x.y\nnameserver 1.1.1.1\noptions ndots:2 rotate\n",
            ),
            (
                serde_json::json!({"dnsConfig": {"nameservers": ["10.96.0.10", "8.8.8.8"], "searches": ["lan", "more"],
                "options": [{"name": "ndots", "value": "2"}]}}),
                "search n.svc.cluster.local svc.cluster.local cluster.local example.com lan more\nnameserver 10.96.0.10\nnameserver 8.8.8.8\noptions ndots:2\n",
            ),
        ] {
            let resolv = run(spec.clone(), &["10.96.0.10"]);
            assert_eq!(resolv.text, expected, "{spec}");
            assert!(!resolv.missing_cluster_dns && resolv.cut.is_none());
        }
    }

    #[test]
    fn says_when_cluster_dns_is_missing() {
        let resolv = run(serde_json::json!({}), &[]);
        assert!(resolv.missing_cluster_dns && resolv.text.contains("192.168.1.1"));
    }

    #[test]
    fn keeps_the_limits() {
        let resolv =
            run(serde_json::json!({"dnsConfig": {"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3"]}}), &["10.96.0.10"]);
        assert_eq!(resolv.text.matches("nameserver").count(), 3);
        assert!(resolv.cut.is_some());
        let many: Vec<String> = (0..40).map(|index| format!("domain-{index}.example")).collect();
        let resolv = run(serde_json::json!({"dnsPolicy": "None", "dnsConfig": {"searches": many}}), &[]);
        assert_eq!(resolv.text.split_whitespace().count(), 33);
    }
}
