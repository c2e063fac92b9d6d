//! Packet filter rules of Kubernetes, flannel and CNI: finding and removing exactly those.

use crate::command::Command;
use crate::error::HostError;
use crate::facts::in_path;
use crate::host::Host;

/// Chains with these prefixes are made by kube-proxy, the kubelet, flannel and the CNI plugins.
const PREFIXES: [&str; 5] = ["KUBE-", "FLANNEL-", "CNI-", "CNI", "JUNIO-"];
/// nftables tables of kube-proxy (nftables mode) and flannel.
const TABLES: [&str; 3] = ["kube-proxy", "flannel-ipv4", "flannel-ipv6"];
/// The names that iptables gives to its tables in nftables.
const IPTABLES: [&str; 5] = ["filter", "mangle", "nat", "raw", "security"];
/// Both backends may hold rules, whichever `iptables` stands for.
const BACKENDS: [&str; 4] = ["iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy"];
const GENERIC: [&str; 2] = ["iptables", "ip6tables"];

/// Removes them and says what was removed.
pub async fn clean(host: &dyn Host) -> Result<Vec<String>, HostError> {
    let mut removed = Vec::new();
    let present: Vec<&str> = BACKENDS.into_iter().filter(|program| in_path(program)).collect();
    let programs =
        if present.is_empty() { GENERIC.into_iter().filter(|program| in_path(program)).collect() } else { present };
    for program in programs {
        let saved = host.run(&Command::new(format!("{program}-save"), Vec::<String>::new())).await?;
        if !saved.success() {
            continue;
        }
        let (script, chains) = removal(&saved.stdout_text());
        if chains.is_empty() {
            continue;
        }
        host.run_ok(&Command::new(format!("{program}-restore"), ["--noflush"]).stdin(script)).await?;
        removed.extend(chains.into_iter().map(|chain| format!("{program} chain {chain}")));
    }
    if in_path("nft") {
        let tables = host.run(&Command::new("nft", ["list", "tables"])).await?;
        for (family, name) in our_tables(&tables.stdout_text()) {
            host.run_ok(&Command::new("nft", ["delete", "table", &family, &name])).await?;
            removed.push(format!("nftables table {family} {name}"));
        }
    }
    Ok(removed)
}

/// The tables of nftables as `FAMILY NAME`; `None` where there is no `nft` to ask.
pub async fn tables(host: &dyn Host) -> Result<Option<Vec<String>>, HostError> {
    if !in_path("nft") {
        return Ok(None);
    }
    let listing = host.run_ok(&Command::new("nft", ["list", "tables"])).await?.stdout_text();
    Ok(Some(listing.lines().filter_map(|line| line.strip_prefix("table ")).map(str::to_owned).collect()))
}

/// Removes the tables of `iptables` that are not in `before` and hold nothing: kube-proxy opens one just by looking. Says
/// which.
pub async fn remove_empty_tables(host: &dyn Host, before: &[String]) -> Result<Vec<String>, HostError> {
    let mut removed = Vec::new();
    for table in tables(host).await?.unwrap_or_default() {
        let Some((family, name)) = table.split_once(' ') else { continue };
        let of_iptables = ["ip", "ip6"].contains(&family) && IPTABLES.contains(&name);
        if !of_iptables || before.contains(&table) {
            continue;
        }
        let content = host.run_ok(&Command::new("nft", ["list", "table", family, name])).await?.stdout_text();
        if is_empty_table(&content) {
            host.run_ok(&Command::new("nft", ["delete", "table", family, name])).await?;
            removed.push(format!("nftables table {table}"));
        }
    }
    Ok(removed)
}

/// Built-in chains that accept everything, and no rule.
fn is_empty_table(listing: &str) -> bool {
    let mut base_chain = true;
    for line in listing.lines().map(str::trim) {
        if line.starts_with("chain ") {
            // A chain without a hook is somebody's own.
            if !std::mem::replace(&mut base_chain, false) {
                return false;
            }
        } else if line.starts_with("type ") && line.ends_with("policy accept;") {
            base_chain = true;
        } else if !(line.is_empty() || line == "}" || line.starts_with("table ") || line.starts_with('#')) {
            return false;
        }
    }
    base_chain
}

fn is_ours(chain: &str) -> bool {
    PREFIXES.iter().any(|prefix| chain.starts_with(prefix))
}

/// Input for `iptables-restore --noflush` that removes our chains and every rule that jumps to them, and the chains' names.
fn removal(saved: &str) -> (String, Vec<String>) {
    let mut script = String::new();
    let mut removed = Vec::new();
    let mut table = String::new();
    let (mut rules, mut chains): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            (table, rules, chains) = (name.to_owned(), Vec::new(), Vec::new());
        } else if let Some(chain) = line.strip_prefix(':').and_then(|rest| rest.split_whitespace().next()) {
            if is_ours(chain) {
                chains.push(chain.to_owned());
            }
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let mut words = rule.split_whitespace();
            let own_chain = words.next().is_some_and(is_ours);
            let target = words.skip_while(|word| *word != "-j" && *word != "-g").nth(1);
            if !own_chain && target.is_some_and(is_ours) {
                rules.push(format!("-D {rule}"));
            }
        } else if line == "COMMIT" && !(chains.is_empty() && rules.is_empty()) {
            script.push_str(&format!("*{table}\n"));
            // Declaring a chain flushes it, so that no rule of ours refers to another chain of ours any more.
            chains.iter().for_each(|chain| script.push_str(&format!(":{chain} - [0:0]\n")));
            rules.iter().for_each(|rule| script.push_str(&format!("{rule}\n")));
            chains.iter().for_each(|chain| script.push_str(&format!("-X {chain}\n")));
            script.push_str("COMMIT\n");
            removed.extend(chains.iter().map(|chain| format!("{table}/{chain}")));
        }
    }
    (script, removed)
}

fn our_tables(listing: &str) -> Vec<(String, String)> {
    listing
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        })
        .filter(|(_, name)| TABLES.contains(&name.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_chains_and_the_jumps_to_them_are_removed() {
        let saved = "# Generated\n*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n:KUBE-SERVICES - [0:0]\n:FLANNEL-POSTRTG - [0:0]\n\
            -A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
            -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-X\nCOMMIT\n\
            *filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\nCOMMIT\n";
        let (script, chains) = removal(saved);
        assert_eq!(
            script,
            "*nat\n:KUBE-SERVICES - [0:0]\n:FLANNEL-POSTRTG - [0:0]\n\
             -D PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
             -X KUBE-SERVICES\n-X FLANNEL-POSTRTG\nCOMMIT\n"
        );
        assert_eq!(chains, ["nat/KUBE-SERVICES", "nat/FLANNEL-POSTRTG"]);
    }

    #[test]
    fn a_table_with_built_in_chains_alone_is_empty() {
        let chain = |name: &str, content: &str| format!("\tchain {name} {{\n{content}\t}}\n");
        let base = "\t\ttype filter hook forward priority mangle; policy accept;\n";
        let table = |chains: &[String]| format!("table ip mangle {{\n{}}}\n", chains.join("\n"));
        assert!(is_empty_table(&table(&[chain("FORWARD", base), chain("INPUT", base)])));
        assert!(is_empty_table("table ip mangle {\n}\n"));
        let rule = format!("{base}\t\tip saddr 10.0.0.1 counter packets 0 bytes 0 drop\n");
        assert!(!is_empty_table(&table(&[chain("FORWARD", &rule)])), "a rule");
        assert!(!is_empty_table(&table(&[chain("THEIRS", ""), chain("INPUT", base)])), "a chain of somebody");
        assert!(!is_empty_table(&table(&[chain("INPUT", base), chain("THEIRS", "")])), "a chain of somebody, last");
        let dropping = base.replace("accept", "drop");
        assert!(!is_empty_table(&table(&[chain("FORWARD", &dropping)])), "a policy");
    }

    #[test]
    fn foreign_tables_stay() {
        let listing = "table ip nat\ntable ip kube-proxy\ntable ip6 kube-proxy\ntable inet flannel-ipv4\n";
        let names: Vec<String> =
            our_tables(listing).into_iter().map(|(family, name)| format!("{family} {name}")).collect();
        assert_eq!(names, ["ip kube-proxy", "ip6 kube-proxy", "inet flannel-ipv4"]);
    }
}
