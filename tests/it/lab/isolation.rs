//! Labs of different names do not meet, and none reaches the outside; hosts of one lab do meet.

use std::time::Duration;

use junio_lab::{LabHost, Suite};

use crate::support::TestLab;

/// Whether `from` gets an answer from sshd at `address`.
async fn reaches(from: &LabHost, address: &str) -> bool {
    let script = format!("timeout 3 sh -c 'exec 3<>/dev/tcp/{address}/22 && head -c 3 <&3'");
    let script = script.replace("sh -c", "bash -c");
    from.shell(&script).await.expect("the host answers").text() == "SSH"
}

#[tokio::test]
async fn hosts_meet_within_a_lab_and_nowhere_else() {
    let (one, two) =
        tokio::join!(TestLab::plain("apart1", Suite::Bookworm, 2), TestLab::plain("apart2", Suite::Trixie, 1));
    assert_ne!(one.at(1).address(), two.at(1).address());
    let own = one.at(2).address().to_string();
    assert!(reaches(one.at(1), &own).await, "{} does not reach its own lab", one.at(1).name());
    let other = two.at(1).address().to_string();
    assert!(!reaches(one.at(1), &other).await, "{} reaches another lab", one.at(1).name());
    assert!(!reaches(two.at(1), &own).await, "{} reaches another lab", two.at(1).name());
    // the machine reaches both
    for host in [one.at(1), two.at(1)] {
        let address = (host.address(), 22).into();
        std::net::TcpStream::connect_timeout(&address, Duration::from_secs(3)).expect("the machine reaches the host");
    }
}

#[tokio::test]
async fn the_outside_is_refused_at_once() {
    let lab = TestLab::plain("outside", Suite::Bookworm, 1).await;
    // RFC 5737: addresses for documentation. Refused (curl: 7), not lost in a time-out (28).
    let output = lab.at(1).run(&["curl", "-sS", "-m", "5", "http://198.51.100.1/"]).await.expect("curl runs");
    assert_eq!(output.status, 7, "{}", output.error_text());
}
