//! The two wire protocols that carry the streams of exec, attach and port-forward.

pub mod channels;
pub mod remote;
pub mod spdy;
pub mod spdy_frame;
pub mod websocket;
