//! Pictures as a transport stream has them (ITU-T H.264 and H.265, Annex B) become what an MP4 file holds (ISO/IEC
//! 14496-15): units with a length before each, parameter sets aside.

use bytes::{BufMut, Bytes};

use crate::adapters::ffmpeg::demux::frames::CONFIG_BYTES_MAX;
use crate::domain::live::parameters::{Shape, avc_shape, hevc_shape, unescaped};
use crate::domain::live::track::{Codec, Form, Track};
use crate::ports::ingest::{Leave, PACKET_BYTES_MAX};

/// Parameter sets of one kind at most; encoders send one or two.
const SETS_MAX: usize = 16;

/// The pictures of a stream.
#[derive(Debug)]
pub struct Pictures {
    codec: Codec,
    /// Video, sequence and picture parameter sets that are in force; H.264 has none of the first.
    sets: [Vec<Vec<u8>>; 3],
    told: Option<Track>,
}

/// What an access unit holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Parameters, when they are new.
    pub track: Option<Track>,
    /// The picture; none while no parameters were told, and when there is none.
    pub data: Option<Bytes>,
}

enum Role {
    Set(usize),
    Picture,
    /// A mark or a filler: a file needs neither.
    Nothing,
}

impl Pictures {
    /// Of H.264 or HEVC.
    pub fn new(codec: Codec) -> Self {
        Self { codec, sets: Default::default(), told: None }
    }

    /// Takes an access unit.
    pub fn take(&mut self, unit: &[u8]) -> Result<Taken, Leave> {
        let mut brought: [Vec<Vec<u8>>; 3] = Default::default();
        let mut data = Vec::with_capacity(unit.len() + 64);
        for part in parts(unit) {
            match self.role(part) {
                Role::Set(kind) if brought[kind].len() < SETS_MAX => {
                    if !brought[kind].iter().any(|set| set == part) {
                        brought[kind].push(part.to_vec());
                    }
                }
                Role::Picture => {
                    data.put_u32(part.len() as u32);
                    data.put_slice(part);
                }
                Role::Set(_) | Role::Nothing => {}
            }
            if data.len() > PACKET_BYTES_MAX {
                return Err(Leave::TooMuch { limit: "a picture beyond 16 MB".to_owned() });
            }
        }
        let track = self.learn(brought)?;
        let has_picture = !data.is_empty() && self.told.is_some();
        Ok(Taken { track, data: has_picture.then(|| data.into()) })
    }

    fn role(&self, part: &[u8]) -> Role {
        let Some(first) = part.first() else { return Role::Nothing };
        if self.codec == Codec::Hevc {
            return match first >> 1 & 0x3f {
                kind @ 32..=34 => Role::Set(usize::from(kind) - 32),
                35..=38 => Role::Nothing,
                _ if part.len() < 2 => Role::Nothing,
                _ => Role::Picture,
            };
        }
        match first & 0x1f {
            7 => Role::Set(1),
            8 => Role::Set(2),
            0 | 9..=12 => Role::Nothing,
            _ => Role::Picture,
        }
    }

    /// Those of a kind replace all of that kind: encoders tell them together.
    fn learn(&mut self, brought: [Vec<Vec<u8>>; 3]) -> Result<Option<Track>, Leave> {
        let mut is_new = false;
        for (known, brought) in self.sets.iter_mut().zip(brought) {
            if !brought.is_empty() && *known != brought {
                *known = brought;
                is_new = true;
            }
        }
        let is_whole = !self.sets[1].is_empty() && !self.sets[2].is_empty();
        if !is_new || !is_whole || (self.codec == Codec::Hevc && self.sets[0].is_empty()) {
            return Ok(None);
        }
        let unread = || unfit("pictures whose parameters cannot be read");
        let sequence = &self.sets[1][0];
        let shape = match self.codec {
            Codec::Hevc => hevc_shape(sequence),
            _ => avc_shape(sequence),
        };
        let shape = shape.ok_or_else(unread)?;
        let config = match self.codec {
            Codec::Hevc => self.hevc_config(shape),
            _ => self.avc_config(shape),
        };
        let config = config.filter(|it| it.len() <= CONFIG_BYTES_MAX).ok_or_else(unread)?;
        let form = Form::Picture { width: shape.width, height: shape.height };
        let track = Track { codec: self.codec, config, form };
        if self.told.as_ref() == Some(&track) {
            return Ok(None);
        }
        self.told = Some(track.clone());
        Ok(Some(track))
    }

    /// An `avcC` (ISO/IEC 14496-15, 5.3.3.1).
    fn avc_config(&self, shape: Shape) -> Option<Vec<u8>> {
        let [_, sequences, pictures] = &self.sets;
        let head = sequences[0].get(1..4)?;
        let mut out = vec![1, head[0], head[1], head[2], 0xff, 0xe0 | sequences.len() as u8];
        put_sets(&mut out, sequences)?;
        out.put_u8(pictures.len() as u8);
        put_sets(&mut out, pictures)?;
        if matches!(head[0], 100 | 110 | 122 | 144) {
            out.extend([0xfc | shape.chroma, 0xf8 | shape.luma_depth, 0xf8 | shape.chroma_depth]);
            out.put_u8(0);
        }
        Some(out)
    }

    /// An `hvcC` (ISO/IEC 14496-15, 8.3.3.1).
    fn hevc_config(&self, shape: Shape) -> Option<Vec<u8>> {
        let sequence = unescaped(&self.sets[1][0]);
        let (layers, profile) = (*sequence.get(2)?, sequence.get(3..15)?);
        let mut out = vec![1];
        out.put_slice(profile);
        out.extend([0xf0, 0, 0xfc, 0xfc | shape.chroma]);
        out.extend([0xf8 | shape.luma_depth, 0xf8 | shape.chroma_depth, 0, 0]);
        // How many layers of time, whether they nest, and lengths of four bytes.
        out.put_u8(((layers >> 1 & 7) + 1) << 3 | (layers & 1) << 2 | 3);
        out.put_u8(3);
        for (kind, sets) in (32_u8..).zip(&self.sets) {
            out.put_u8(0x80 | kind);
            out.put_u16(sets.len() as u16);
            put_sets(&mut out, sets)?;
        }
        Some(out)
    }
}

fn put_sets(out: &mut Vec<u8>, sets: &[Vec<u8>]) -> Option<()> {
    for set in sets {
        out.put_u16(u16::try_from(set.len()).ok()?);
        out.put_slice(set);
    }
    Some(())
}

pub(super) fn unfit(what: &str) -> Leave {
    Leave::Unfit { reason: format!("{what}; over SRT, send H.264 or HEVC with AAC") }
}

/// The units between start codes, without the zeros that may follow them.
fn parts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = start_code(bytes).map(|at| &bytes[at + 3..]);
    let each = std::iter::from_fn(move || {
        let here = rest?;
        let next = start_code(here);
        rest = next.map(|at| &here[at + 3..]);
        let part = &here[..next.unwrap_or(here.len())];
        let end = part.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some(&part[..end])
    });
    each.filter(|part| !part.is_empty())
}

fn start_code(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(three) = bytes.get(at..at + 3) {
        match three {
            [0, 0, 1] => return Some(at),
            [_, _, 2..=u8::MAX] => at += 3,
            [_, 1..=u8::MAX, _] => at += 2,
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x264, 1920×1080, High.
    const SEQUENCE: [u8; 25] = [
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00,
        0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60,
    ];

    fn unit(parts: &[&[u8]]) -> Vec<u8> {
        parts.iter().flat_map(|part| [&[0, 0, 0, 1][..], part].concat()).collect()
    }

    #[test]
    fn an_access_unit_becomes_lengths_and_parameters() {
        let mut pictures = Pictures::new(Codec::H264);
        let before = pictures.take(&unit(&[&[0x41, 9, 9]])).unwrap();
        assert_eq!(before, Taken { track: None, data: None }, "nobody could decode it");
        let key = unit(&[&[9, 0xf0], &SEQUENCE, &[0x68, 0xeb, 0xe3], &[0x65, 1, 0, 0, 3, 1]]);
        let taken = pictures.take(&key).unwrap();
        let track = taken.track.expect("parameters");
        assert_eq!(track.form, Form::Picture { width: 1_920, height: 1_080 });
        assert_eq!(track.config[..8], [1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 25]);
        assert_eq!(track.config[33..], [1, 0, 3, 0x68, 0xeb, 0xe3, 0xfd, 0xf8, 0xf8, 0]);
        assert_eq!(&taken.data.unwrap()[..], [0, 0, 0, 6, 0x65, 1, 0, 0, 3, 1]);
        assert_eq!(pictures.take(&key).unwrap().track, None, "told again unchanged");
        let changed = unit(&[&[0x68, 0xeb, 0xe4], &[0x65, 1]]);
        assert!(pictures.take(&changed).unwrap().track.is_some());
    }

    #[test]
    fn units_are_found_between_start_codes_of_three_and_four_bytes() {
        let found: Vec<&[u8]> = parts(&[9, 0, 0, 1, 5, 0, 1, 0, 0, 0, 1, 0, 0, 1, 6, 7]).collect();
        assert_eq!(found, [&[5, 0, 1][..], &[6, 7]]);
        assert_eq!(parts(&[0, 0]).count() + parts(&[0, 0, 1]).count(), 0);
    }

    #[test]
    fn parameters_that_cannot_be_read_are_unfit() {
        let mut pictures = Pictures::new(Codec::H264);
        let left = pictures.take(&unit(&[&[0x67, 1], &[0x68, 1]])).unwrap_err();
        assert!(matches!(left, Leave::Unfit { .. }));
    }
}
