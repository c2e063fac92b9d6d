//! The Go programs of our own are formatted, vetted and pass their tests.

use std::path::Path;
use std::process::Command;

fn go(module: &str, program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(Path::new("go").join(module));
    command.env("GOFLAGS", "-mod=readonly -buildvcs=false").env("CGO_ENABLED", "0");
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{program} {arguments:?} in {module}: {text}");
    text
}

#[test]
fn the_choice_of_iptables() {
    go("xtables", "go", &["vet", "./..."]);
    go("xtables", "go", &["test", "./..."]);
}

#[test]
fn flanneld() {
    go("network", "go", &["vet", "./flanneld"]);
    go("network", "go", &["test", "./flanneld"]);
}

#[test]
fn all_go_code_is_formatted() {
    for module in ["kubernetes", "etcd", "coredns", "network", "xtables"] {
        assert_eq!(go(module, "gofmt", &["-l", "."]), "", "gofmt -w in {module} would change these");
    }
}
