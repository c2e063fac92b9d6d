//! Judges a Cluster: hosts that are there once, roles that can be had, embedded documents that `init` and `join` would take.

use std::collections::BTreeMap;

use super::defaults::{self, HostFacts, split_endpoint};
use super::documents::{JoinDocuments, Kind, locate};
use super::error::FieldError;
use super::fleet::{CONTROL_PLANE, Cluster, ETCD, HostSpec, SshSettings, WORKER};
use super::validate::{Problems, is_dns1123_subdomain, validate};
use super::validate_join;

/// What is wrong with a Cluster. `text` is what it was read from, for the lines of what stands in the way of each other;
/// `facts` stand for those that a host will find of itself.
#[must_use]
pub fn validate_fleet(cluster: &Cluster, text: &str, facts: &HostFacts) -> Vec<FieldError> {
    let mut p = Problems::new(Kind::Cluster);
    let name = &cluster.metadata.name;
    p.require(is_dns1123_subdomain(name) && !name.contains('.'), "metadata.name", || {
        format!("{name:?} is not a name of small letters, digits and -")
    });
    ssh(&mut p, &cluster.spec.ssh);
    hosts(&mut p, &cluster.spec.hosts, text);
    embedded(&mut p, cluster, facts);
    p.found
}

fn ssh(p: &mut Problems, ssh: &SshSettings) {
    p.require(!ssh.user.contains(['@', ':', ' ']), "spec.ssh.user", || format!("{:?} is not a user name", ssh.user));
    for (i, jump) in ssh.proxy_jump.iter().enumerate() {
        p.require(address(jump).is_some(), &format!("spec.ssh.proxyJump[{i}]"), || {
            format!("{jump:?} is not [USER@]HOST[:PORT]")
        });
    }
    for (field, value, known) in [
        ("hostKeys", &ssh.host_keys, &["", "strict", "accept-new"][..]),
        ("sudo", &ssh.sudo, &["", "auto", "never", "always"][..]),
    ] {
        p.require(known.contains(&value.as_str()), &format!("spec.ssh.{field}"), || {
            format!("{value:?} is none of {}", known[1..].join(", "))
        });
    }
}

fn hosts(p: &mut Problems, hosts: &[HostSpec], text: &str) {
    let mut addresses: BTreeMap<(String, u16), usize> = BTreeMap::new();
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut local = None;
    let mut control_planes = Vec::new();
    for (i, host) in hosts.iter().enumerate() {
        let at = |field: &str| format!("spec.hosts[{i}].{field}");
        match (host.local, address(&host.ssh)) {
            (true, _) if !host.ssh.is_empty() => p.add(at("ssh"), "local and ssh exclude each other"),
            (true, _) => {
                if let Some(first) = local.replace(i) {
                    p.add(at("local"), same("this machine", first, "local", text));
                }
            }
            (false, None) if host.ssh.is_empty() => {
                p.add(at("ssh"), "ssh: [USER@]HOST[:PORT] or local: true is needed")
            }
            (false, None) => p.add(at("ssh"), format!("{:?} is not [USER@]HOST[:PORT]", host.ssh)),
            (false, Some(address)) => match addresses.get(&address) {
                Some(first) => p.add(at("ssh"), same(&format!("the host {}", host.ssh), *first, "ssh", text)),
                None => drop(addresses.insert(address, i)),
            },
        }
        if !host.node_name.is_empty() {
            p.require(is_dns1123_subdomain(&host.node_name), &at("nodeName"), || {
                format!("{:?} is not a valid node name: small letters, digits, - and . only (RFC 1123)", host.node_name)
            });
            match names.get(host.node_name.as_str()) {
                Some(first) => {
                    p.add(at("nodeName"), same(&format!("the node name {}", host.node_name), *first, "nodeName", text))
                }
                None => drop(names.insert(&host.node_name, i)),
            }
        }
        match host.role.as_str() {
            "" | WORKER => {}
            CONTROL_PLANE => control_planes.push(i),
            ETCD => p.add(
                at("role"),
                "hosts for etcd alone are not built yet; leave the role out and etcd runs on the control plane, \
                 or name an etcd that exists in kubeadm.clusterConfiguration.etcd.external",
            ),
            other => p.add(at("role"), format!("unknown role {other:?}, expected {CONTROL_PLANE} or {WORKER}")),
        }
        marks(p, i, host);
    }
    match control_planes[..] {
        [] if hosts.is_empty() => p.add("spec.hosts", "at least one host is needed"),
        [] => p.add("spec.hosts", format!("no host has the role {CONTROL_PLANE}")),
        [_] => {}
        [first, second, ..] => p.add(
            format!("spec.hosts[{second}].role"),
            format!(
                "a second control plane is not built yet (the first is spec.hosts[{first}]{})",
                line(text, first, "role")
            ),
        ),
    }
}

fn same(what: &str, first: usize, field: &str, text: &str) -> String {
    format!("{what} is in spec.hosts[{first}] already{}", line(text, first, field))
}

fn line(text: &str, host: usize, field: &str) -> String {
    locate(text, Kind::Cluster, &format!("spec.hosts[{host}].{field}"))
        .map_or_else(String::new, |place| format!(", line {}", place.line))
}

/// Labels and taints.
fn marks(p: &mut Problems, i: usize, host: &HostSpec) {
    for (key, value) in &host.labels {
        let path = format!("spec.hosts[{i}].labels.{key}");
        p.require(is_qualified_name(key), &path, || {
            format!("{key:?} is not a label's key, such as zone or example.com/zone")
        });
        p.require(value.is_empty() || is_label_value(value), &path, || {
            format!("{value:?} is not a label's value: letters, digits, -, _ and ., 63 at most")
        });
    }
    for (n, taint) in host.taints.iter().enumerate() {
        let path = format!("spec.hosts[{i}].taints[{n}]");
        p.require(is_qualified_name(&taint.key), &format!("{path}.key"), || {
            format!("{:?} is not a taint's key", taint.key)
        });
        p.require(taint.value.is_empty() || is_label_value(&taint.value), &format!("{path}.value"), || {
            format!("{:?} is not a taint's value", taint.value)
        });
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        p.require(effects.contains(&taint.effect.as_str()), &format!("{path}.effect"), || {
            format!("unknown effect {:?}, expected {}", taint.effect, effects.join(", "))
        });
    }
}

/// What `init` and `join` would find wrong, and what is said per host instead.
fn embedded(p: &mut Problems, cluster: &Cluster, facts: &HostFacts) {
    let kubeadm = &cluster.spec.kubeadm;
    let at = |document: &str, path: &str| format!("spec.kubeadm.{document}.{path}");
    let named = [
        ("initConfiguration", kubeadm.init_configuration.as_ref().map(|init| &init.node_registration.name)),
        ("joinConfiguration", kubeadm.join_configuration.as_ref().map(|join| &join.node_registration.name)),
    ];
    for (document, name) in named {
        p.require(name.is_none_or(String::is_empty), &at(document, "nodeRegistration.name"), || {
            "a host's name is its own: spec.hosts[].nodeName".into()
        });
    }
    let control_plane = cluster.spec.hosts.iter().find(|host| host.is_control_plane()).cloned().unwrap_or_default();
    let mut init = cluster.init_documents(&control_plane);
    defaults::apply(&mut init, facts);
    if init.cluster.networking.pod_subnet.is_empty() {
        init.cluster.networking.pod_subnet = defaults::POD_SUBNET.into();
    }
    for problem in validate(&init) {
        let document = match problem.kind {
            Kind::InitConfiguration => "initConfiguration",
            _ => "clusterConfiguration",
        };
        p.add(at(document, &problem.path), problem.message);
    }
    if let Some(join) = &kubeadm.join_configuration {
        let discovery = &join.discovery;
        let given =
            discovery.bootstrap_token.is_some() || discovery.file.is_some() || discovery.tls_bootstrap_token.is_some();
        p.require(!given, &at("joinConfiguration", "discovery"), || {
            "must be left out: each host gets a token of its own".into()
        });
        p.require(!join.dry_run, &at("joinConfiguration", "dryRun"), || {
            "is said on the command line: --dry-run".into()
        });
        let mut documents = JoinDocuments { join: join.clone() };
        defaults::apply_join(&mut documents, facts);
        for problem in validate_join(&documents, false) {
            p.add(at("joinConfiguration", &problem.path), problem.message);
        }
    }
}

/// Host in small letters and port (22 without one) of `[USER@]HOST[:PORT]`.
fn address(text: &str) -> Option<(String, u16)> {
    let (user, rest) = text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user), rest));
    if user.is_some_and(|user| user.is_empty() || user.contains(char::is_whitespace)) {
        return None;
    }
    let (host, port) = split_endpoint(rest);
    let port = port.map_or(Some(22), |port| port.parse().ok().filter(|port| *port > 0))?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    (!host.is_empty() && !host.starts_with('-') && host.chars().all(allowed)).then(|| (host.to_lowercase(), port))
}

/// `[PREFIX/]NAME` of a label or taint. Source: apimachinery `IsQualifiedName`.
fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_dns1123_subdomain) && is_label_value(name)
}

fn is_label_value(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    (1..=63).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && ends(text.chars().next())
        && ends(text.chars().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(hosts: &str) -> Vec<String> {
        let text = format!(
            "apiVersion: junioadm.io/v1alpha1\nkind: Cluster\nmetadata: {{name: demo}}\nspec:\n  hosts:\n{hosts}"
        );
        let cluster = super::super::load_fleet(&text).expect("well-formed");
        let facts = HostFacts {
            hostname: "h".into(),
            default_address: "192.0.2.1".parse().ok(),
            token: "abcdef.0123456789abcdef".parse().expect("a token"),
        };
        validate_fleet(&cluster, &text, &facts).into_iter().map(|p| format!("{}: {}", p.path, p.message)).collect()
    }

    #[test]
    fn a_host_is_there_once_and_both_lines_are_named() {
        let hosts = "  - {ssh: root@10.0.0.1, role: control-plane}\n  - ssh: 10.0.0.2\n  - ssh: me@10.0.0.2:22\n";
        // The line of the problem itself is shown with it.
        assert_eq!(problems(hosts), ["spec.hosts[2].ssh: the host me@10.0.0.2:22 is in spec.hosts[1] already, line 7"]);
        let names = "  - {ssh: a, role: control-plane}\n  - {ssh: b, nodeName: n}\n  - {ssh: c, nodeName: n}\n";
        assert_eq!(problems(names), ["spec.hosts[2].nodeName: the node name n is in spec.hosts[1] already, line 7"]);
    }

    #[test]
    fn what_cannot_be_had_yet_is_refused_by_name() {
        let refused = |hosts: &str, words: &str| {
            let found = problems(hosts);
            assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
        };
        refused(
            "  - {ssh: a, role: control-plane}\n  - {ssh: b, role: control-plane}\n",
            "second control plane is not built",
        );
        refused("  - {ssh: a, role: control-plane}\n  - {ssh: b, role: etcd}\n", "not built yet");
        refused("  - {ssh: a}\n", "no host has the role control-plane");
        refused("  - {ssh: a, role: control-plane, labels: {a b: c}}\n", "not a label's key");
        refused("  - {ssh: 'a b', role: control-plane}\n", "is not [USER@]HOST[:PORT]");
        refused("  - {local: true, ssh: a, role: control-plane}\n", "exclude each other");
    }

    #[test]
    fn addresses_have_a_user_and_a_port_if_they_want() {
        assert_eq!(address("root@A.example:2222"), Some(("a.example".into(), 2222)));
        assert_eq!(address("[fd00::1]:22"), Some(("fd00::1".into(), 22)));
        assert_eq!(address("a:0"), None);
        assert_eq!(address("@a"), None);
        assert_eq!(address("-oProxyCommand=x"), None);
    }
}
