//! One rule per lab in the machine's firewall: nothing leaves the lab's bridge, neither outwards nor to another lab. It is
//! refused at once rather than lost, so that what asks for the outside fails without a time-out.
//!
//! `DOCKER-USER` is the chain that Docker leaves to its users and keeps over restarts. The rule carries the lab's name as a
//! comment, so that it is found again even if all else about the lab is lost.

use tokio::process::Command;

use crate::address::LabSubnet;
use crate::{LabError, LabName};

const CHAIN: &str = "DOCKER-USER";

fn comment(name: &LabName) -> String {
    format!("junioadm-lab:{name}")
}

/// Adds the rule. The machine itself still reaches the hosts: only forwarded packets pass this chain.
pub(crate) async fn isolate(name: &LabName, subnet: LabSubnet) -> Result<(), LabError> {
    let bridge = subnet.bridge();
    let comment = comment(name);
    iptables(&["-I", CHAIN, "-i", &bridge, "!", "-o", &bridge, "-m", "comment", "--comment", &comment, "-j", "REJECT"])
        .await?;
    Ok(())
}

/// Removes every rule of this lab; none is no error.
pub(crate) async fn release(name: &LabName) -> Result<(), LabError> {
    for rule in rules().await? {
        if rule_lab(&rule).as_deref() == Some(name.as_str()) {
            let mut arguments = vec!["-D"];
            // the comment comes back in quotes, which no shell takes away here
            arguments.extend(rule.split_whitespace().skip(1).map(|word| word.trim_matches('"')));
            iptables(&arguments).await?;
        }
    }
    Ok(())
}

/// Labs that have a rule.
pub(crate) async fn isolated_labs() -> Result<Vec<LabName>, LabError> {
    Ok(rules().await?.iter().filter_map(|rule| rule_lab(rule)?.parse().ok()).collect())
}

/// The chain's rules as `iptables -S` prints them; none if the chain is not there (no engine ever ran).
async fn rules() -> Result<Vec<String>, LabError> {
    match iptables(&["-S", CHAIN]).await {
        Ok(text) => Ok(text.lines().filter(|line| line.starts_with("-A ")).map(str::to_owned).collect()),
        Err(LabError::Tool { stderr, .. }) if stderr.contains("No chain") || stderr.contains("does not exist") => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// The lab whose comment a rule carries. Older iptables print the comment in quotes.
fn rule_lab(rule: &str) -> Option<String> {
    let (_, rest) = rule.split_once("--comment ")?;
    let comment = rest.split_whitespace().next()?.trim_matches('"');
    comment.strip_prefix("junioadm-lab:").map(str::to_owned)
}

async fn iptables(arguments: &[&str]) -> Result<String, LabError> {
    let output = match Command::new("iptables").arg("--wait").args(arguments).output().await {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(LabError::ToolMissing { program: "iptables" });
        }
        Err(error) => return Err(LabError::file("run", "iptables")(error)),
    };
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(LabError::Tool { command: format!("iptables {}", arguments.join(" ")), stderr })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_its_lab_with_and_without_quotes() {
        let plain = "-A DOCKER-USER -i junio-lab0 ! -o junio-lab0 -m comment --comment junioadm-lab:demo -j DROP";
        let quoted = plain.replace("junioadm-lab:demo", "\"junioadm-lab:demo\"");
        assert_eq!(rule_lab(plain).as_deref(), Some("demo"));
        assert_eq!(rule_lab(&quoted).as_deref(), Some("demo"));
        assert_eq!(rule_lab("-A DOCKER-USER -j RETURN"), None);
        assert_eq!(rule_lab("-A DOCKER-USER -m comment --comment other:demo -j DROP"), None);
    }
}
