//! What RTMP messages of picture and sound hold (Adobe FLV 10.1, Annex E; Enhanced RTMP v2). No IO, no clock.

use bytes::{Buf, Bytes};

use crate::adapters::rtmp::amf::Value;
use crate::domain::live::parameters;
use crate::domain::live::track::{Codec, Form, Track};
use crate::ports::ingest::About;

/// Longest name of an encoder that is kept, in characters.
const SOFTWARE_CHARS_MAX: usize = 200;
/// Rate that Opus counts in, whatever it was made from.
const OPUS_RATE: u32 = 48_000;
/// Samples of an AAC frame.
const AAC_SAMPLES: u32 = 1_024;

/// What a message holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Held {
    Track(Track),
    /// A picture: shown `offset_ms` after it is decoded.
    Picture {
        is_key: bool,
        offset_ms: i32,
        data: Bytes,
    },
    Sound {
        samples: u32,
        data: Bytes,
    },
    /// Nothing to record: an end of sequence, colours, a command to a player.
    Nothing,
    /// Nothing that we can record, and why.
    Unfit(String),
}

/// What the encoder told of the picture besides: some codecs say no size that is easily read.
pub type Size = Option<(u32, u32)>;

/// A message of type 9.
pub fn picture(mut tag: Bytes, told: Size) -> Held {
    let Some(first) = tag.first().copied() else { return Held::Nothing };
    tag.advance(1);
    if first & 0x80 != 0 {
        return enhanced_picture(first, tag, told);
    }
    let frame = first >> 4;
    if frame == 5 {
        return Held::Nothing;
    }
    let codec = match first & 0x0f {
        7 => Codec::H264,
        12 => Codec::Hevc,
        2 => return unfit("Sorenson H.263 pictures"),
        4 | 5 => return unfit("VP6 pictures"),
        other => return unfit(&format!("pictures of type {other}")),
    };
    if tag.len() < 4 {
        return Held::Nothing;
    }
    let (step, offset_ms) = (tag[0], signed(&tag[1..4]));
    tag.advance(4);
    match step {
        0 => picture_track(codec, &tag, told),
        1 => coded(frame == 1, offset_ms, tag),
        _ => Held::Nothing,
    }
}

fn enhanced_picture(first: u8, mut tag: Bytes, told: Size) -> Held {
    let (frame, step) = (first >> 4 & 7, first & 0x0f);
    if frame == 5 {
        return Held::Nothing;
    }
    if step == 6 {
        return unfit("several tracks of pictures in one stream");
    }
    if step == 7 {
        return unfit("pictures with extended headers");
    }
    if tag.len() < 4 {
        return Held::Nothing;
    }
    let name = tag.split_to(4);
    let codec = match &name[..] {
        b"avc1" => Codec::H264,
        b"hvc1" => Codec::Hevc,
        b"av01" => Codec::Av1,
        other => return unfit(&format!("`{}` pictures", String::from_utf8_lossy(other))),
    };
    match step {
        0 => picture_track(codec, &tag, told),
        1 if codec == Codec::Av1 => coded(frame == 1, 0, tag),
        1 if tag.len() >= 3 => {
            let offset_ms = signed(&tag[..3]);
            tag.advance(3);
            coded(frame == 1, offset_ms, tag)
        }
        3 => coded(frame == 1, 0, tag),
        _ => Held::Nothing,
    }
}

fn coded(is_key: bool, offset_ms: i32, data: Bytes) -> Held {
    if data.is_empty() { Held::Nothing } else { Held::Picture { is_key, offset_ms, data } }
}

fn picture_track(codec: Codec, config: &Bytes, told: Size) -> Held {
    let size = match codec {
        Codec::H264 => parameters::avc_size(config),
        Codec::Hevc => parameters::hevc_size(config),
        _ => None,
    };
    match size.or(told) {
        Some((width, height)) => {
            let form = Form::Picture { width, height };
            Held::Track(Track { codec, config: config.to_vec(), form })
        }
        None => unfit("pictures whose size nobody tells"),
    }
}

/// A message of type 8.
pub fn sound(mut tag: Bytes) -> Held {
    let Some(first) = tag.first().copied() else { return Held::Nothing };
    tag.advance(1);
    match first >> 4 {
        10 => {}
        9 => return enhanced_sound(first & 0x0f, tag),
        2 | 14 => return unfit("MP3 sound"),
        0 | 3 => return unfit("PCM sound"),
        4..=6 => return unfit("Nellymoser sound"),
        11 => return unfit("Speex sound"),
        other => return unfit(&format!("sound of type {other}")),
    }
    if tag.is_empty() {
        return Held::Nothing;
    }
    match tag.get_u8() {
        0 => aac_track(&tag),
        _ if tag.is_empty() => Held::Nothing,
        _ => Held::Sound { samples: AAC_SAMPLES, data: tag },
    }
}

fn enhanced_sound(step: u8, mut tag: Bytes) -> Held {
    if step == 5 {
        return unfit("several tracks of sound in one stream");
    }
    if step == 7 {
        return unfit("sound with extended headers");
    }
    if tag.len() < 4 {
        return Held::Nothing;
    }
    let name = tag.split_to(4);
    match (&name[..], step) {
        (b"mp4a", 0) => aac_track(&tag),
        (b"mp4a", 1) if !tag.is_empty() => Held::Sound { samples: AAC_SAMPLES, data: tag },
        (b"Opus", 0) => opus_track(&tag),
        (b"Opus", 1) => match opus_samples(&tag) {
            Some(samples) => Held::Sound { samples, data: tag },
            None => Held::Nothing,
        },
        (b"mp4a" | b"Opus", _) => Held::Nothing,
        (other, _) => unfit(&format!("`{}` sound", String::from_utf8_lossy(other))),
    }
}

fn aac_track(config: &Bytes) -> Held {
    match parameters::aac(config) {
        Some((rate, channels)) => {
            let form = Form::Sound { rate, channels };
            Held::Track(Track { codec: Codec::Aac, config: config.to_vec(), form })
        }
        None => unfit("AAC whose parameters cannot be read"),
    }
}

/// An `OpusHead` (RFC 7845, 5.1) becomes the payload of a `dOps` box: the same fields, the other way round.
fn opus_track(head: &Bytes) -> Held {
    let Some(head) = head.strip_prefix(b"OpusHead").filter(|head| head.len() >= 11) else {
        return unfit("Opus whose parameters cannot be read");
    };
    let channels = head[1];
    let mut config = vec![0, channels];
    config.extend([head[3], head[2]]);
    config.extend([head[7], head[6], head[5], head[4]]);
    config.extend([head[9], head[8]]);
    config.extend(&head[10..]);
    if channels == 0 || channels > 8 {
        return unfit("Opus with more channels than eight");
    }
    let form = Form::Sound { rate: OPUS_RATE, channels };
    Held::Track(Track { codec: Codec::Opus, config, form })
}

/// Samples of an Opus packet at 48 kHz, as its first byte tells (RFC 6716, 3.1).
fn opus_samples(packet: &[u8]) -> Option<u32> {
    let first = *packet.first()?;
    let frame = match first >> 3 {
        kind @ 0..12 => [480, 960, 1_920, 2_880][usize::from(kind % 4)],
        kind @ 12..16 => [480, 960][usize::from(kind % 2)],
        kind => [120, 240, 480, 960][usize::from(kind % 4)],
    };
    let frames = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    // At most 120 ms.
    (1..=5_760).contains(&(frame * frames)).then_some(frame * frames)
}

/// What `onMetaData` says.
pub fn about(data: &Value) -> (About, Size) {
    let number = |name: &str| data.get(name).and_then(Value::as_number);
    let software = data.get("encoder").and_then(Value::as_text);
    let software = software.map(|name| name.chars().take(SOFTWARE_CHARS_MAX).collect());
    let rates = [number("videodatarate"), number("audiodatarate")];
    let kbits = rates.iter().flatten().sum::<f64>();
    let about = About {
        software,
        fps: number("framerate").filter(|fps| *fps > 0.0),
        kbits: (kbits > 0.0).then_some(kbits),
    };
    let size = number("width").zip(number("height"));
    (about, size.and_then(|(width, height)| parameters::sized(width as u32, height as u32)))
}

fn unfit(what: &str) -> Held {
    Held::Unfit(format!("{what}; send H.264, HEVC or AV1 with AAC or Opus"))
}

/// Three bytes with a sign.
fn signed(bytes: &[u8]) -> i32 {
    i32::from_be_bytes([bytes[0], bytes[1], bytes[2], 0]) >> 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_that_comes_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let bytes = Bytes::from(bytes);
            let _ = picture(bytes.clone(), None);
            let _ = sound(bytes);
        }
    }

    #[test]
    fn pictures_come_with_their_offset_and_key() {
        let tag = Bytes::from_static(&[0x17, 1, 0, 0, 66, 0xaa]);
        let held = Held::Picture { is_key: true, offset_ms: 66, data: Bytes::from_static(&[0xaa]) };
        assert_eq!(picture(tag, None), held);
        let tag = Bytes::from_static(&[0x27, 1, 0xff, 0xff, 0xff, 0xaa]);
        assert!(matches!(picture(tag, None), Held::Picture { is_key: false, offset_ms: -1, .. }));
        // Enhanced: HEVC with an offset, without one, AV1.
        let tag = Bytes::from_static(b"\x91hvc1\x00\x00\x21\xaa");
        assert!(matches!(picture(tag, None), Held::Picture { is_key: true, offset_ms: 33, .. }));
        let tag = Bytes::from_static(b"\xa3hvc1\xaa");
        assert!(matches!(picture(tag, None), Held::Picture { is_key: false, offset_ms: 0, .. }));
        let tag = Bytes::from_static(b"\x91av01\xaa\xbb");
        assert!(matches!(picture(tag, None), Held::Picture { data, .. } if data.len() == 2));
        let av1 = picture(Bytes::from_static(b"\x90av01\x81"), Some((1_280, 720)));
        assert!(matches!(av1, Held::Track(Track { codec: Codec::Av1, .. })));
    }

    #[test]
    fn what_cannot_be_recorded_is_told_by_name() {
        let told = |held| if let Held::Unfit(why) = held { why } else { format!("{held:?}") };
        assert!(told(sound(Bytes::from_static(&[0x2f, 1]))).starts_with("MP3"));
        assert!(told(picture(Bytes::from_static(&[0x14, 1]), None)).starts_with("VP6"));
        assert!(told(picture(Bytes::from_static(b"\x91vp09\xaa"), None)).starts_with("`vp09`"));
        assert!(told(picture(Bytes::from_static(b"\x96\x01avc1"), None)).starts_with("several"));
    }

    #[test]
    fn opus_says_its_length_and_its_head_turns_round() {
        assert_eq!(opus_samples(&[0xfc]), Some(960));
        assert_eq!(opus_samples(&[0xfd]), Some(1_920));
        assert_eq!(opus_samples(&[0x03, 3]), Some(1_440));
        assert_eq!(opus_samples(&[0x1b, 0x3f]), None);
        let mut head = b"\x90OpusOpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00".to_vec();
        let Held::Track(track) = sound(head.clone().into()) else { panic!("no track") };
        assert_eq!(track.config, [0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0]);
        head.truncate(12);
        assert!(matches!(sound(head.into()), Held::Unfit(_)));
    }
}
