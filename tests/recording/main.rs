//! Cameras in: what encoders send reaches the disk whole, over every fault. The DVR and its twin, the recorder over twins,
//! the door over real sockets, the process over real encoders and real kills.

mod align;
mod breaks;
mod cameras;
mod door;
mod dvr;
mod keeping;
mod lossy;
#[path = "../process/mod.rs"]
mod process;
mod recorder;
mod relay;
mod small_disk;
mod srt;
#[path = "../support/mod.rs"]
mod support;
mod takes;

use bytes::Bytes;
use spark::domain::ids::{CameraId, RecordingId};
use spark::domain::live::track::{Codec, Form, Kind, TICKS_PER_S, Track};
use uuid::Uuid;

fn camera(n: u128) -> CameraId {
    CameraId::from_uuid(Uuid::from_u128(n))
}

fn recording(n: u128) -> RecordingId {
    RecordingId::from_uuid(Uuid::from_u128(n))
}

/// Parameters of a picture this wide.
fn picture(width: u32) -> Track {
    let form = Form::Picture { width, height: 720 };
    Track { codec: Codec::H264, config: vec![1, 0x64, 0, 0x28, 0xff, 0xe0, 0], form }
}

fn sound() -> Track {
    let form = Form::Sound { rate: 48_000, channels: 2 };
    Track { codec: Codec::Aac, config: vec![0x11, 0x90], form }
}

/// When the n-th packet of a track is decoded, in ticks, as RTMP would say it.
fn dts(kind: Kind, n: i64) -> i64 {
    let ms = match kind {
        Kind::Picture => n * 1_000 / 30,
        Kind::Sound => n * 1_024 * 1_000 / 48_000,
    };
    ms * TICKS_PER_S / 1_000
}

/// Bytes that tell which packet they are of.
fn data(kind: Kind, n: i64) -> Bytes {
    let tag = if kind == Kind::Picture { b'p' } else { b's' };
    let mut bytes = vec![tag; 200 + (n as usize * 37) % 900];
    bytes[1..9].copy_from_slice(&n.to_be_bytes());
    bytes.into()
}
