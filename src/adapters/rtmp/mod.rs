//! RTMP: encoders publish to us, we publish to others (Adobe RTMP 1.0, Enhanced RTMP v2 for HEVC, AV1 and Opus).
//!
//! Chunks and AMF0 are our own, two small layers without IO. The crate whose layers were looked at first (rtmp-rs 0.6)
//! reserves the length a message claims, up to 16 MB on each of 65,599 chunk streams, before anybody has shown a key; here
//! memory grows with what has come, streams and bytes are bounded, and who has shown no key gets little of either.

pub mod amf;
pub mod chunks;
mod encoder;
pub mod flv;
mod handshake;
mod knock;
mod publish;
mod server;
mod tags;
mod target;

pub use publish::RtmpPublisher;
pub use server::RtmpIngest;

/// Numbers of message types (RTMP 1.0, 5.4 and 7.1).
mod kind {
    pub(super) const CHUNK_SIZE: u8 = 1;
    pub(super) const ABORT: u8 = 2;
    pub(super) const ACKNOWLEDGEMENT: u8 = 3;
    pub(super) const USER_CONTROL: u8 = 4;
    pub(super) const WINDOW: u8 = 5;
    pub(super) const BANDWIDTH: u8 = 6;
    pub(super) const SOUND: u8 = 8;
    pub(super) const PICTURE: u8 = 9;
    pub(super) const DATA_AMF3: u8 = 15;
    pub(super) const COMMAND_AMF3: u8 = 17;
    pub(super) const DATA: u8 = 18;
    pub(super) const COMMAND: u8 = 20;
}
