//! The other way round: tracks and packets as messages of picture and sound (Adobe FLV 10.1, Annex E; Enhanced RTMP v2).

use bytes::{BufMut, Bytes, BytesMut};

use crate::adapters::rtmp::amf::Value;
use crate::domain::live::track::{Codec, Form, Kind, TICKS_PER_S, Track};
use crate::ports::ingest::Packet;

const TICKS_PER_MS: i64 = TICKS_PER_S / 1_000;
/// A picture of AVC, and the first byte of every message of AAC: 44 kHz, 16 bits, stereo, whatever it really is.
const AVC: u8 = 7;
const AAC: u8 = 0xaf;

/// The time of a packet on the wire.
pub(super) const fn milliseconds(dts: i64) -> u32 {
    dts.div_euclid(TICKS_PER_MS) as u32
}

/// A track's parameters.
pub(super) fn track(track: &Track) -> Bytes {
    let mut out = BytesMut::with_capacity(track.config.len() + 24);
    match track.codec {
        Codec::H264 => out.put_slice(&[0x10 | AVC, 0, 0, 0, 0]),
        Codec::Hevc => out.put_slice(b"\x90hvc1"),
        Codec::Av1 => out.put_slice(b"\x90av01"),
        Codec::Aac => out.put_slice(&[AAC, 0]),
        Codec::Opus => {
            out.put_slice(b"\x90OpusOpusHead\x01");
            put_opus_head(&mut out, &track.config);
            return out.freeze();
        }
    }
    out.put_slice(&track.config);
    out.freeze()
}

/// A `dOps` box becomes an `OpusHead` again: the same fields, the other way round.
fn put_opus_head(out: &mut BytesMut, config: &[u8]) {
    let field = |at: usize| config.get(at).copied().unwrap_or_default();
    out.put_slice(&[field(1), field(3), field(2)]);
    out.put_slice(&[field(7), field(6), field(5), field(4), field(9), field(8)]);
    out.put_slice(config.get(10..).unwrap_or(&[0]));
}

/// A packet of a track of this codec.
pub(super) fn packet(codec: Codec, packet: &Packet) -> Bytes {
    let mut out = BytesMut::with_capacity(packet.data.len() + 8);
    let frame = if packet.is_key { 0x10 } else { 0x20 };
    // Both times are cut the same way, so that the picture is shown within a millisecond of its time.
    let shown_after = packet.pts.div_euclid(TICKS_PER_MS) - packet.dts.div_euclid(TICKS_PER_MS);
    let shown_after = shown_after.clamp(-0x80_0000, 0x7f_ffff);
    match codec {
        Codec::H264 => {
            out.put_slice(&[frame | AVC, 1]);
            out.put_int(shown_after, 3);
        }
        Codec::Hevc => {
            out.put_u8(0x80 | frame | 1);
            out.put_slice(b"hvc1");
            out.put_int(shown_after, 3);
        }
        Codec::Av1 => {
            out.put_u8(0x80 | frame | 1);
            out.put_slice(b"av01");
        }
        Codec::Aac => out.put_slice(&[AAC, 1]),
        Codec::Opus => out.put_slice(b"\x91Opus"),
    }
    out.put_slice(&packet.data);
    out.freeze()
}

/// What is told of tracks before they come.
pub(super) fn metadata(tracks: &[Track]) -> [Value; 3] {
    let mut fields = Vec::new();
    let mut tell = |name: &str, value: f64| fields.push((name.to_owned(), Value::Number(value)));
    for track in tracks {
        match track.form {
            Form::Picture { width, height } => {
                tell("width", width.into());
                tell("height", height.into());
                tell("videocodecid", number(track.codec));
            }
            Form::Sound { rate, channels } => {
                tell("audiosamplerate", rate.into());
                tell("audiochannels", channels.into());
                tell("audiocodecid", number(track.codec));
            }
        }
    }
    fields.push(("encoder".to_owned(), Value::text(concat!("SPARK ", env!("CARGO_PKG_VERSION")))));
    [Value::text("@setDataFrame"), Value::text("onMetaData"), Value::Object(fields)]
}

/// The old number of a codec, or its name as one.
fn number(codec: Codec) -> f64 {
    let named = |name: [u8; 4]| f64::from(u32::from_be_bytes(name));
    match codec {
        Codec::H264 => AVC.into(),
        Codec::Aac => 10.0,
        Codec::Hevc => named(*b"hvc1"),
        Codec::Av1 => named(*b"av01"),
        Codec::Opus => named(*b"Opus"),
    }
}

/// The message type that carries a track.
pub(super) const fn message_kind(kind: Kind) -> u8 {
    match kind {
        Kind::Picture => super::kind::PICTURE,
        Kind::Sound => super::kind::SOUND,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::adapters::rtmp::flv::{self, Held};

    #[test]
    fn what_is_written_is_read_again() {
        let forms = [
            (Codec::Hevc, Form::Picture { width: 1_280, height: 720 }),
            (Codec::Av1, Form::Picture { width: 1_280, height: 720 }),
            (Codec::Aac, Form::Sound { rate: 48_000, channels: 2 }),
            (Codec::Opus, Form::Sound { rate: 48_000, channels: 2 }),
            (Codec::H264, Form::Picture { width: 1_280, height: 720 }),
        ];
        for (codec, form) in forms {
            let config = match codec {
                Codec::Aac => vec![0x11, 0x90],
                Codec::Opus => vec![0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0],
                _ => vec![1, 2, 3, 4],
            };
            let told = Track { codec, config, form };
            let size = Some((1_280, 720));
            let kind = codec.kind();
            let read = |tag: Bytes| match kind {
                Kind::Picture => flv::picture(tag, size),
                Kind::Sound => flv::sound(tag),
            };
            assert_eq!(read(track(&told)), Held::Track(told.clone()), "{codec:?}");
            for (is_key, after) in [(true, 0), (false, 66), (false, -33)] {
                // A packet of Opus says its length in its first byte.
                let data = Bytes::from_static(&[0xfc, 1, 2, 3]);
                let dts = 1_000 * TICKS_PER_MS;
                let pts = dts + after * TICKS_PER_MS;
                let sent =
                    Packet { kind, dts, pts, samples: 0, is_key, data, arrived: Instant::now() };
                match read(packet(codec, &sent)) {
                    Held::Picture { is_key: key, offset_ms, data } => {
                        assert_eq!((key, &data), (is_key, &sent.data), "{codec:?}");
                        let wanted = if codec == Codec::Av1 { 0 } else { after as i32 };
                        assert_eq!(offset_ms, wanted, "{codec:?}");
                    }
                    Held::Sound { data, .. } => assert_eq!(data, sent.data, "{codec:?}"),
                    other => panic!("{codec:?}: {other:?}"),
                }
            }
        }
    }
}
