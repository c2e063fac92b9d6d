//! Channel numbers and protocol names of remote commands.
//!
//! Source: Kubernetes' remote command protocols (v1 to v5) and KEP-4006.

pub const STDIN: u8 = 0;
pub const STDOUT: u8 = 1;
pub const STDERR: u8 = 2;
pub const ERROR: u8 = 3;
pub const RESIZE: u8 = 4;
/// Version 5: the message `[255, channel]` closes that channel for writing.
pub const CLOSE: u8 = 255;

/// Which streams a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

/// How the error channel is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorStyle {
    /// A `metav1.Status` in JSON, success included (version 4 and 5).
    Status,
    /// Plain text, only on failure.
    Text,
}

/// A WebSocket subprotocol of exec and attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebSocketProtocol {
    pub name: &'static str,
    pub base64: bool,
    pub error: ErrorStyle,
    /// Knows the close message.
    pub half_close: bool,
}

const WEB_SOCKET: [WebSocketProtocol; 6] = [
    WebSocketProtocol { name: "v5.channel.k8s.io", base64: false, error: ErrorStyle::Status, half_close: true },
    WebSocketProtocol { name: "v4.channel.k8s.io", base64: false, error: ErrorStyle::Status, half_close: false },
    WebSocketProtocol { name: "v4.base64.channel.k8s.io", base64: true, error: ErrorStyle::Status, half_close: false },
    WebSocketProtocol { name: "channel.k8s.io", base64: false, error: ErrorStyle::Text, half_close: false },
    WebSocketProtocol { name: "base64.channel.k8s.io", base64: true, error: ErrorStyle::Text, half_close: false },
    WebSocketProtocol { name: "", base64: false, error: ErrorStyle::Text, half_close: false },
];

impl WebSocketProtocol {
    /// The first of the client's protocols that is known; a client that names none gets the oldest one. `None` when all
    /// that it names are unknown.
    #[must_use]
    pub fn choose<'a>(offered: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut any = false;
        for name in offered {
            any = true;
            if let Some(known) = WEB_SOCKET.iter().find(|known| known.name == name) {
                return Some(*known);
            }
        }
        (!any).then_some(WEB_SOCKET[5])
    }
}

/// The newest of a client's SPDY protocol versions that is served, and how its error stream is written. Version 5 exists
/// for WebSocket only.
#[must_use]
pub fn choose_spdy<'a>(offered: impl IntoIterator<Item = &'a str>) -> Option<(&'static str, ErrorStyle)> {
    const SERVED: [(&str, ErrorStyle); 4] = [
        ("v4.channel.k8s.io", ErrorStyle::Status),
        ("v3.channel.k8s.io", ErrorStyle::Text),
        ("v2.channel.k8s.io", ErrorStyle::Text),
        ("channel.k8s.io", ErrorStyle::Text),
    ];
    offered.into_iter().find_map(|name| SERVED.into_iter().find(|(served, _)| *served == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_order_decides() {
        let name = |offered: &[&'static str]| WebSocketProtocol::choose(offered.iter().copied()).map(|p| p.name);
        assert_eq!(name(&["v9.channel.k8s.io", "v4.channel.k8s.io", "v5.channel.k8s.io"]), Some("v4.channel.k8s.io"));
        assert_eq!(name(&[]), Some(""));
        assert_eq!(name(&["chat"]), None);
    }

    #[test]
    fn spdy_stops_at_version_four() {
        let name = |offered: &[&'static str]| choose_spdy(offered.iter().copied()).map(|(name, _)| name);
        assert_eq!(name(&["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io"]), Some("v4.channel.k8s.io"));
        assert_eq!(name(&["v5.channel.k8s.io"]), None);
    }
}
