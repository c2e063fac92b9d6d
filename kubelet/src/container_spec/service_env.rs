//! Environment variables that tell a container where the services of its namespace are. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;

/// Variables for a pod of `namespace`: its services if `links`, and always the API server's (`kubernetes` in `default`).
#[must_use]
pub fn service_environment(services: &[Arc<Service>], namespace: &str, links: bool) -> BTreeMap<String, String> {
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        let metadata = &service.metadata;
        let name = metadata.name.as_deref().unwrap_or_default();
        let home = metadata.namespace.as_deref().unwrap_or_default();
        if cluster_ip(service).is_none() {
            continue;
        }
        if home == namespace && links {
            chosen.insert(name, service);
        } else if home == "default" && name == "kubernetes" {
            chosen.entry(name).or_insert(service);
        }
    }
    let mut result = BTreeMap::new();
    for (name, service) in chosen {
        add_service(&mut result, name, service);
    }
    result
}

fn add_service(result: &mut BTreeMap<String, String>, name: &str, service: &Service) {
    let Some(ip) = cluster_ip(service) else { return };
    let prefix = variable_name(name);
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    result.insert(format!("{prefix}_SERVICE_HOST"), ip.to_owned());
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    for (index, port) in ports.iter().enumerate() {
        let number = port.port;
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let lower = protocol.to_ascii_lowercase();
        let url = format!("{lower}://{host}:{number}");
        if index == 0 {
            result.insert(format!("{prefix}_SERVICE_PORT"), number.to_string());
            result.insert(format!("{prefix}_PORT"), url.clone());
        }
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            result.insert(format!("{prefix}_SERVICE_PORT_{}", variable_name(port_name)), number.to_string());
        }
        let link = format!("{prefix}_PORT_{number}_{}", protocol.to_ascii_uppercase());
        result.insert(format!("{link}_PROTO"), lower);
        result.insert(format!("{link}_PORT"), number.to_string());
        result.insert(format!("{link}_ADDR"), ip.to_owned());
        result.insert(link, url);
    }
}

fn cluster_ip(service: &Service) -> Option<&str> {
    let ip = service.spec.as_ref()?.cluster_ip.as_deref()?;
    (!ip.is_empty() && ip != "None").then_some(ip)
}

fn variable_name(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(namespace: &str, name: &str, ip: &str) -> Arc<Service> {
        Arc::new(
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"clusterIP": ip, "ports": [{"name": "web-ui", "port": 80, "protocol": "TCP"},
                                                     {"name": "dns", "port": 53, "protocol": "UDP"}]}
            }))
            .expect("a service"),
        )
    }

    #[test]
    fn describes_a_service_in_both_styles() {
        let services = [service("n", "my-app", "10.96.0.9")];
        let variables = service_environment(&services, "n", true);
        for (name, value) in [
            ("MY_APP_SERVICE_HOST", "10.96.0.9"),
            ("MY_APP_SERVICE_PORT", "80"),
            ("MY_APP_SERVICE_PORT_WEB_UI", "80"),
            ("MY_APP_SERVICE_PORT_DNS", "53"),
            ("MY_APP_PORT", "tcp://10.96.0.9:80"),
            ("MY_APP_PORT_80_TCP", "tcp://10.96.0.9:80"),
            ("MY_APP_PORT_80_TCP_PROTO", "tcp"),
            ("MY_APP_PORT_80_TCP_PORT", "80"),
            ("MY_APP_PORT_80_TCP_ADDR", "10.96.0.9"),
            ("MY_APP_PORT_53_UDP", "udp://10.96.0.9:53"),
        ] {
            assert_eq!(variables.get(name).map(String::as_str), Some(value), "{name}");
        }
    }

    #[test]
    fn chooses_by_namespace() {
        let services = [
            service("default", "kubernetes", "10.96.0.1"),
            service("default", "other", "10.96.0.2"),
            service("n", "headless", "None"),
            service("n", "mine", "10.96.0.3"),
        ];
        let hosts = |namespace, links| {
            service_environment(&services, namespace, links)
                .into_iter()
                .filter(|(name, _)| name.ends_with("_SERVICE_HOST"))
                .map(|(_, value)| value)
                .collect::<Vec<_>>()
        };
        assert_eq!(hosts("n", true), ["10.96.0.1", "10.96.0.3"]);
        assert_eq!(hosts("n", false), ["10.96.0.1"]);
        assert_eq!(hosts("default", true), ["10.96.0.1", "10.96.0.2"]);
    }

    #[test]
    fn puts_brackets_around_ipv6_in_urls() {
        let variables = service_environment(&[service("n", "v6", "fd00::9")], "n", true);
        assert_eq!(variables["V6_PORT"], "tcp://[fd00::9]:80");
        assert_eq!(variables["V6_SERVICE_HOST"], "fd00::9");
    }
}
