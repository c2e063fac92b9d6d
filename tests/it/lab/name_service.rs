//! A lab host's name service: the lab's hosts, and at once a clear no for everything else.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use junio_lab::Suite;

use crate::support::TestLab;

const A: u16 = 1;
const AAAA: u16 = 28;

/// Asks for `name` (RFC 1035) and returns the response code and the addresses in the answer.
fn ask(server: Ipv4Addr, name: &str, record: u16) -> (u8, Vec<Ipv4Addr>) {
    let mut query = vec![0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).expect("a short label"));
        query.extend_from_slice(label.as_bytes());
    }
    query.push(0);
    query.extend_from_slice(&record.to_be_bytes());
    query.extend_from_slice(&[0, 1]);
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
    socket.send_to(&query, (server, 53)).expect("the query is sent");
    let mut buffer = [0; 512];
    let (length, _) = socket.recv_from(&mut buffer).expect("an answer");
    let reply = &buffer[..length];
    assert_eq!(&reply[..2], &[0x12, 0x34], "the answer to another query");
    let answers = usize::from(reply[7]);
    let addresses = reply[query.len()..].chunks(16).take(answers).map(|record| {
        let bytes: [u8; 4] = record[12..16].try_into().expect("four bytes");
        Ipv4Addr::from(bytes)
    });
    (reply[3] & 0x0f, addresses.collect())
}

#[tokio::test]
async fn hosts_are_known_and_the_rest_is_denied_at_once() {
    let lab = TestLab::plain("names", Suite::Trixie, 2).await;
    let server = lab.at(1).address();
    assert_eq!(ask(server, lab.at(2).name(), A), (0, vec![lab.at(2).address()]));
    assert_eq!(ask(server, &lab.at(2).name().to_uppercase(), A), (0, vec![lab.at(2).address()]));
    assert_eq!(ask(server, lab.at(2).name(), AAAA), (0, vec![]), "known, but without such a record");
    assert_eq!(ask(server, "registry.k8s.io", A), (3, vec![]), "NXDOMAIN");
    // through the host's own libc, and over TCP
    let host = lab.at(1);
    let found = host.check(&["getent", "ahostsv4", lab.at(2).name()]).await.expect("the name is known");
    assert!(found.starts_with(&lab.at(2).address().to_string()), "{found}");
    let unknown = host.run(&["timeout", "5", "getent", "hosts", "nowhere.example"]).await.expect("getent runs");
    assert_eq!(unknown.status, 2, "getent's word for an unknown name");
    let over_tcp = "printf '\\000\\021\\022\\064\\001\\000\\000\\001\\000\\000\\000\\000\\000\\000\\000\\000\\001\\000\\001' | \
                    timeout 5 busybox nc $(hostname -i) 53 | od -An -tx1 -N 6";
    let reply = host.shell(over_tcp).await.expect("nc runs").text();
    assert_eq!(
        reply.split_whitespace().collect::<Vec<_>>(),
        ["00", "11", "12", "34", "85", "83"],
        "TCP, NXDOMAIN for the root"
    );
}
