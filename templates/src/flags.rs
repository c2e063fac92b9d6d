//! Command lines of components: our defaults and the user's `extraArgs`.

use junio_api::config::Arg;
use junio_api::config::common::{EnvVar, HostPathMount};

/// The user's additions to one component.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    pub args: Vec<Arg>,
    pub volumes: Vec<HostPathMount>,
    pub envs: Vec<EnvVar>,
}

impl Extra {
    /// The value of the last argument of this name.
    #[must_use]
    pub fn arg(&self, name: &str) -> Option<&str> {
        self.args.iter().rev().find(|arg| arg.name == name).map(|arg| arg.value.as_str())
    }
}

/// `PROGRAM --name=value ...`: defaults sorted by name, then the extra arguments in the user's order. One extra argument
/// removes all defaults of its name. Source: kubeadm v1.36.3 `app/util/arguments.go`.
#[must_use]
pub fn command_line(program: &str, defaults: Vec<(&str, String)>, extra: &[Arg]) -> Vec<String> {
    let mut kept: Vec<_> =
        defaults.into_iter().filter(|(name, _)| !extra.iter().any(|arg| arg.name == *name)).collect();
    kept.sort_by(|a, b| a.0.cmp(b.0));
    let mut command = vec![program.to_owned()];
    command.extend(kept.into_iter().map(|(name, value)| format!("--{name}={value}")));
    command.extend(extra.iter().map(|arg| format!("--{}={}", arg.name, arg.value)));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_argument_replaces_every_default_of_its_name_and_keeps_its_place() {
        let defaults = vec![("b", "1".to_owned()), ("a", "2".to_owned()), ("b", "3".to_owned())];
        let extra = [Arg::new("z", "9"), Arg::new("b", "4"), Arg::new("b", "5")];
        assert_eq!(command_line("p", defaults, &extra), ["p", "--a=2", "--z=9", "--b=4", "--b=5"]);
    }
}
