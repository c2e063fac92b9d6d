//! Judgements about host keys.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use russh::keys::{Certificate, PublicKey};

use super::*;

// public halves of keys made for this test
const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHeLC1lWiCYrXsf/85O/pkbUFZ6OGIt49PX3nw8iRoXE";

fn key(line: &str) -> PublicKey {
    PublicKey::from_openssh(line).expect("a key")
}

fn judge(text: &str, name: HostName, shown: &str) -> Verdict {
    let mut known = KnownHosts { name, lines: Vec::new(), portless: Vec::new() };
    known.add(Path::new("known"), text.as_bytes());
    known.judge(&key(shown))
}

fn web() -> HostName {
    HostName::new("Web.example", 22)
}

fn at(line: usize) -> Place {
    Place { file: PathBuf::from("known"), line }
}

#[test]
fn a_key_is_known_by_name_pattern_or_hash() {
    assert_eq!(judge(&format!("# x\n\nweb.example {ONE} me\n"), web(), ONE), Verdict::Known(at(3)));
    assert_eq!(judge(&format!("other,WEB.example\t{ONE}"), web(), ONE), Verdict::Known(at(1)));
    assert_eq!(judge(&format!("*.example {ONE}\r\n"), web(), ONE), Verdict::Known(at(1)));
    assert_eq!(judge(&format!("*.example,!web.* {ONE}"), web(), ONE), Verdict::Unknown);
    assert_eq!(judge(&format!("web {ONE}"), web(), ONE), Verdict::Unknown);
    let hashed = line::write("web.example", &key(ONE), Some(b"12345678901234567890")).expect("a line");
    assert!(hashed.starts_with("|1|") && !hashed.contains("web"), "{hashed}");
    assert_eq!(judge(&hashed, web(), ONE), Verdict::Known(at(1)));
    assert_eq!(judge(&hashed, HostName::new("web.example.org", 22), ONE), Verdict::Unknown);
}

#[test]
fn another_port_is_another_name_but_no_stranger() {
    let other = HostName::new("web.example", 2222);
    assert_eq!(judge(&format!("[web.example]:2222 {ONE}"), other.clone(), ONE), Verdict::Known(at(1)));
    assert_eq!(judge(&format!("[web.example]:2222 {ONE}"), web(), ONE), Verdict::Unknown);
    assert_eq!(judge(&format!("web.example {ONE}"), other.clone(), ONE), Verdict::Known(at(1)));
    // another service of the host may have another key
    assert_eq!(judge(&format!("web.example {ONE}"), other.clone(), TWO), Verdict::Unknown);
    assert_eq!(judge(&format!("@revoked web.example {ONE}\nweb.example {ONE}"), other, ONE), Verdict::Revoked(at(1)));
}

#[test]
fn a_known_host_with_another_key_has_changed() {
    let text = format!("web.example {ONE}");
    let Verdict::Changed(known) = judge(&text, web(), TWO) else { panic!("{:?}", judge(&text, web(), TWO)) };
    assert_eq!(known, [(at(1), format!("ssh-ed25519 {}", fingerprint(&key(ONE))))]);
    assert_eq!(judge(&format!("{text}\nweb.example {TWO}"), web(), TWO), Verdict::Known(at(2)));
}

#[test]
fn revoked_wins_wherever_it_stands() {
    assert_eq!(judge(&format!("web.example {ONE}\n@revoked * {ONE}"), web(), ONE), Verdict::Revoked(at(2)));
    assert_eq!(judge(&format!("@revoked * {TWO}\nweb.example {ONE}"), web(), ONE), Verdict::Known(at(2)));
}

#[test]
fn a_list_of_revoked_keys_counts_for_every_host_or_stops_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("revoked");
    let with = |content: &[u8]| {
        std::fs::write(&file, content).expect("written");
        let mut known = KnownHosts { name: web(), lines: Vec::new(), portless: Vec::new() };
        known.add(Path::new("known"), format!("web.example {ONE}").as_bytes());
        known.revoke(&file).map(|()| known.judge(&key(ONE)))
    };
    assert_eq!(
        with(format!("# old\n{TWO}\n{ONE} x\n").as_bytes()).expect("read"),
        Verdict::Revoked(Place { file: file.clone(), line: 3 })
    );
    assert_eq!(with(TWO.as_bytes()).expect("read"), Verdict::Known(at(1)));
    for damaged in [&b"SSHKRL\n\0rest"[..], b"not a key", b"\xff\xfe"] {
        assert!(with(damaged).is_err(), "{damaged:?}");
    }
}

#[test]
fn lines_that_are_none_say_nothing() {
    for text in [
        format!("@unknown web.example {ONE}"),
        format!("@cert-authority web.example {ONE}"),
        "web.example ssh-ed25519 AAAA".to_owned(),
        "web.example ssh-ed25519".to_owned(),
        "web.example 1024 35 1234567890".to_owned(),
        ONE.replace("ssh-ed25519", "web.example ssh-rsa"),
        format!("|1|not base64|x {ONE}"),
        format!("|2|a|b {ONE}"),
    ] {
        assert_eq!(judge(&text, web(), ONE), Verdict::Unknown, "{text}");
    }
}

#[test]
fn a_missing_file_says_nothing_and_an_unreadable_one_stops_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = [directory.path().join("missing")];
    assert_eq!(KnownHosts::load(&files, web()).expect("nothing there").judge(&key(ONE)), Verdict::Unknown);
    let files = [directory.path().to_owned()];
    assert_eq!(KnownHosts::load(&files, web()).expect_err("a directory").0, directory.path());
}

#[test]
fn a_pin_is_found_again_and_another_key_is_not_added() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("deep/known_hosts");
    for (name, hashed) in [(web(), false), (HostName::new("10.0.0.1", 2222), true)] {
        assert!(matches!(
            pin(&file, &name, &key(ONE), hashed),
            Ok(Pin::Done { verdict: Verdict::Known(_), added: true })
        ));
        assert!(matches!(
            pin(&file, &name, &key(ONE), hashed),
            Ok(Pin::Done { verdict: Verdict::Known(_), added: false })
        ));
        assert!(matches!(
            pin(&file, &name, &key(TWO), hashed),
            Ok(Pin::Done { verdict: Verdict::Changed(_), added: false })
        ));
    }
    let text = std::fs::read_to_string(&file).expect("written");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.starts_with(&format!("web.example {ONE}\n|1|")), "{text}");
    // a last line without an end keeps to itself
    std::fs::write(&file, format!("other {TWO}")).expect("written");
    assert_eq!(
        pin(&file, &web(), &key(ONE), false).expect("written"),
        Pin::Done { verdict: Verdict::Known(Place { file: file.clone(), line: 2 }), added: true }
    );
    assert_eq!(std::fs::read_to_string(&file).expect("text"), format!("other {TWO}\nweb.example {ONE}\n"));
}

/// A certificate for ONE, made by ssh-keygen, and the authority that signed it.
fn certificate(kind: &str, arguments: &[&str]) -> (Certificate, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let run = |arguments: &[&str]| {
        let mut command = Command::new("ssh-keygen");
        let output =
            command.args(arguments).current_dir(directory.path()).stdin(Stdio::null()).output().expect("ssh-keygen");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["-q", "-t", kind, "-N", "", "-C", "", "-f", "ca"]);
    std::fs::write(directory.path().join("host.pub"), format!("{ONE}\n")).expect("written");
    run(&[&["-q", "-s", "ca", "-I", "test"][..], arguments, &["host.pub"]].concat());
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).expect(name);
    (Certificate::from_openssh(&read("host-cert.pub")).expect("a certificate"), read("ca.pub").trim().to_owned())
}

#[test]
fn a_certificate_is_good_for_its_names_and_time_from_a_trusted_authority() {
    // seconds since 1970 within the times given below
    const THEN: u64 = 1_900_000_000;
    let judge = |text: &str, certificate: &Certificate, now: u64| {
        let mut known = KnownHosts { name: web(), lines: Vec::new(), portless: Vec::new() };
        known.add(Path::new("known"), text.as_bytes());
        known.judge_certificate(certificate, now)
    };
    let bad = |verdict: Verdict, reason: &str| {
        assert!(matches!(&verdict, Verdict::BadCertificate(why) if why.contains(reason)), "{reason}: {verdict:?}");
    };
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let (good, ca) = certificate(kind, &["-h", "-n", "db,*.example", "-V", "20300101:20310101"]);
        let trusting = format!("@cert-authority *.example {ca}");
        assert_eq!(judge(&trusting, &good, THEN), Verdict::Known(at(1)), "{kind}");
        bad(judge(&trusting, &good, 1_800_000_000), "not valid before");
        bad(judge(&trusting, &good, 2_000_000_000), "was valid until");
        assert_eq!(judge(&format!("{trusting}\n@revoked * {ca}"), &good, THEN), Verdict::Revoked(at(2)));
        assert_eq!(judge(&format!("{trusting}\n@revoked * {ONE}"), &good, THEN), Verdict::Revoked(at(2)));
        // of an authority that is trusted for others, or of none: the key in it is judged
        assert_eq!(judge(&format!("@cert-authority *.org {ca}"), &good, THEN), Verdict::Unknown);
        assert_eq!(judge(&format!("web.example {ONE}"), &good, THEN), Verdict::Known(at(1)));
        assert!(matches!(judge(&format!("web.example {TWO}"), &good, THEN), Verdict::Changed(_)));
    }
    let refused = |arguments: &[&str], reason: &str| {
        let (certificate, ca) = certificate("ed25519", arguments);
        bad(judge(&format!("@cert-authority * {ca}"), &certificate, THEN), reason);
    };
    refused(&["-h", "-n", "db.example"], "it is for db.example");
    refused(&["-h"], "for no host");
    refused(&["-n", "web.example"], "a user's");
    // a certificate whose content was changed after it was signed
    let (good, ca) = certificate("ed25519", &["-h", "-n", "web.example"]);
    let mut bytes = good.to_bytes().expect("bytes");
    let at = bytes.windows(4).position(|window| window == b"test").expect("the key id");
    bytes[at] = b'T';
    let forged = Certificate::from_bytes(&bytes).expect("still a certificate");
    bad(judge(&format!("@cert-authority * {ca}"), &forged, THEN), "signature");
}

proptest! {
    #[test]
    fn no_bytes_stop_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut known = KnownHosts { name: web(), lines: Vec::new(), portless: Vec::new() };
        known.add(Path::new("known"), &bytes);
        prop_assert_eq!(known.judge(&key(ONE)), Verdict::Unknown);
    }

    /// Lines that nearly are some, by which nobody must become known.
    #[test]
    fn a_damaged_line_never_makes_a_host_known(position in 0usize..80, byte in any::<u8>()) {
        let mut line = format!("web.example {ONE}").into_bytes();
        let position = position.min(line.len() - 1);
        // within the key: what is changed there is another key or none
        prop_assume!(position >= 12 && line[position] != byte && !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        line[position] = byte;
        let mut known = KnownHosts { name: web(), lines: Vec::new(), portless: Vec::new() };
        known.add(Path::new("known"), &line);
        prop_assert!(!matches!(known.judge(&key(ONE)), Verdict::Known(_)), "{}", String::from_utf8_lossy(&line));
    }

    #[test]
    fn a_written_line_is_read_back(host in "[a-z0-9.-]{1,20}", port in 1u16.., salt in proptest::option::of(proptest::collection::vec(any::<u8>(), 20))) {
        let name = HostName::new(&host, port);
        let text = line::write(&name.to_string(), &key(ONE), salt.as_deref()).expect("a line");
        prop_assert_eq!(judge(&text, name, ONE), Verdict::Known(at(1)));
    }
}
