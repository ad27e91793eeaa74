//! A film as an encoder sends it: FLV (Adobe's Video File Format 10.1, annex E), of which RTMP carries the tags as they are.

use std::sync::Arc;

use bytes::{Buf, Bytes};

/// Largest film, in bytes: it is held in memory, once for all cameras.
const FILM_BYTES_MAX: usize = 256 << 20;
/// Types of tags.
const SOUND: u8 = 8;
const PICTURE: u8 = 9;
const WORDS: u8 = 18;

/// A film; clones share it.
#[derive(Debug, Clone)]
pub struct Film(Arc<Reel>);

#[derive(Debug)]
struct Reel {
    headers: Vec<Tag>,
    tags: Vec<Tag>,
    lasts_ms: u32,
}

/// What RTMP sends as one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    pub ms: u32,
    pub kind: u8,
    pub payload: Bytes,
}

/// What a tag holds, where it is of the codecs that go into a transport stream.
pub(super) enum Content<'a> {
    /// An `avcC` (ISO/IEC 14496-15).
    PictureParameters(&'a [u8]),
    /// An `AudioSpecificConfig` (ISO/IEC 14496-3).
    SoundParameters(&'a [u8]),
    /// H.264, a length before each unit; shown so much later than it is decoded.
    Picture {
        is_key: bool,
        delay_ms: i32,
        units: &'a [u8],
    },
    /// A frame of AAC without a head.
    Sound(&'a [u8]),
    Other,
}

impl Tag {
    pub(super) const fn is_picture(&self) -> bool {
        self.kind == PICTURE
    }

    pub(super) const fn is_sound(&self) -> bool {
        self.kind == SOUND
    }

    pub(super) fn content(&self) -> Content<'_> {
        match (self.kind, &self.payload[..]) {
            (PICTURE, [codec, 0, _, _, _, config @ ..]) if codec & 15 == 7 => {
                Content::PictureParameters(config)
            }
            (PICTURE, [codec, 1, high, middle, low, units @ ..]) if codec & 15 == 7 => {
                // Three bytes with a sign.
                let delay_ms = i32::from_be_bytes([*high, *middle, *low, 0]) >> 8;
                Content::Picture { is_key: self.is_key(), delay_ms, units }
            }
            (SOUND, [codec, 0, config @ ..]) if codec >> 4 == 10 => {
                Content::SoundParameters(config)
            }
            (SOUND, [codec, 1, frame @ ..]) if codec >> 4 == 10 => Content::Sound(frame),
            _ => Content::Other,
        }
    }

    /// A picture that needs no other (frame type 1), parameters aside.
    fn is_key(&self) -> bool {
        self.is_picture() && self.payload.first().is_some_and(|it| it >> 4 & 7 == 1)
    }

    /// Parameters of a decoder, or words about the film: sent before everything else.
    fn is_header(&self) -> bool {
        let second = self.payload.get(1).copied();
        match self.kind {
            WORDS => true,
            // AAC, and AVC: the next byte says whether these are parameters.
            SOUND => self.payload.first().is_some_and(|it| it >> 4 == 10) && second == Some(0),
            _ => self.payload.first().is_some_and(|it| it & 15 == 7) && second == Some(0),
        }
    }
}

/// Why a film cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilmError {
    #[error("it is no FLV: make one with `ffmpeg -i FILM -c copy film.flv`")]
    NotFlv,
    #[error("it ends in the middle of a tag, {at} bytes in")]
    Torn { at: usize },
    #[error("it has no pictures of H.264")]
    NoPicture,
    #[error("its sound is no AAC that a transport stream carries: make it with `-c:a aac`")]
    OtherSound,
    #[error("it has {bytes} bytes; pretend cameras take {FILM_BYTES_MAX} at most")]
    TooLong { bytes: usize },
}

impl Film {
    /// Reads a whole file.
    pub fn of_flv(file: Vec<u8>) -> Result<Self, FilmError> {
        let bytes = file.len();
        if bytes > FILM_BYTES_MAX {
            return Err(FilmError::TooLong { bytes });
        }
        let mut rest = Bytes::from(file);
        if rest.len() < 13 || &rest[..4] != b"FLV\x01" {
            return Err(FilmError::NotFlv);
        }
        let header = (&rest[5..9]).get_u32() as usize;
        if header < 9 || rest.len() < header + 4 {
            return Err(FilmError::NotFlv);
        }
        rest.advance(header + 4);
        let (mut headers, mut tags) = (Vec::new(), Vec::<Tag>::new());
        while !rest.is_empty() {
            let torn = FilmError::Torn { at: bytes - rest.len() };
            if rest.len() < 11 {
                return Err(torn);
            }
            let kind = rest[0] & 31;
            let long = (&rest[0..4]).get_u32() as usize & 0x00ff_ffff;
            let ms = u32::from_be_bytes([rest[7], rest[4], rest[5], rest[6]]);
            if rest.len() < 11 + long + 4 {
                return Err(torn);
            }
            rest.advance(11);
            let payload = rest.split_to(long);
            rest.advance(4);
            let tag = Tag { ms, kind, payload };
            match kind {
                _ if tag.is_header() => headers.push(tag),
                // The end of a sequence is none of a film that goes on.
                PICTURE if tag.payload.get(1) == Some(&2) => {}
                SOUND | PICTURE if !tag.payload.is_empty() => tags.push(tag),
                _ => {}
            }
        }
        let first = tags.iter().map(|tag| tag.ms).min().unwrap_or(0);
        for tag in &mut tags {
            tag.ms -= first;
        }
        // A lap ends where a group of pictures ends, so that the next one follows in time as every group does.
        let keys = tags.iter().enumerate().filter(|(_, tag)| tag.is_key());
        let keys: Vec<(usize, u32)> = keys.map(|(place, tag)| (place, tag.ms)).collect();
        let lap = match (keys.first(), keys.last()) {
            (Some((_, begins)), Some((place, ends))) if ends > begins => {
                Some((*place, ends - begins))
            }
            _ => None,
        };
        if let Some((place, _)) = lap {
            tags.truncate(place);
        }
        let pictures: Vec<u32> = tags.iter().filter(|it| it.is_picture()).map(|it| it.ms).collect();
        let has_parameters = headers.iter().any(Tag::is_picture);
        let (Some(&begins), Some(&ends)) = (pictures.first(), pictures.last()) else {
            return Err(FilmError::NoPicture);
        };
        if !has_parameters || pictures.len() < 2 {
            return Err(FilmError::NoPicture);
        }
        // The last picture lasts as long as the others on average; sound that hangs over would overlap with the next lap.
        let frame = (ends - begins) / (pictures.len() as u32 - 1);
        let lasts_ms = lap.map_or(ends + frame.max(1), |(_, lasts_ms)| lasts_ms);
        tags.retain(|tag| tag.ms < lasts_ms);
        Ok(Self(Arc::new(Reel { headers, tags, lasts_ms })))
    }

    pub fn headers(&self) -> &[Tag] {
        &self.0.headers
    }

    pub fn tags(&self) -> &[Tag] {
        &self.0.tags
    }

    /// Length of one lap, in milliseconds.
    pub fn lasts_ms(&self) -> u32 {
        self.0.lasts_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(kind: u8, ms: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![kind];
        out.extend(&(payload.len() as u32).to_be_bytes()[1..]);
        out.extend(&ms.to_be_bytes()[1..]);
        out.push((ms >> 24) as u8);
        out.extend([0; 3]);
        out.extend(payload);
        out.extend((11 + payload.len() as u32).to_be_bytes());
        out
    }

    fn flv(tags: &[Vec<u8>]) -> Vec<u8> {
        let mut out = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        out.extend(tags.concat());
        out
    }

    #[test]
    fn a_film_is_read_and_lasts_a_frame_longer_than_its_last_picture() {
        let film = Film::of_flv(flv(&[
            tag(18, 0, b"words"),
            tag(9, 0, &[0x17, 0, 0, 0, 0, 1]),
            tag(8, 0, &[0xaf, 0, 0x11, 0x90]),
            tag(9, 1_000, &[0x17, 1, 0, 0, 0, 9]),
            tag(8, 1_010, &[0xaf, 1, 5]),
            tag(9, 1_040, &[0x27, 1, 0, 0, 0, 9]),
            tag(9, 1_080, &[0x27, 1, 0, 0, 0, 9]),
            tag(8, 1_500, &[0xaf, 1, 5]),
            tag(9, 1_080, &[0x17, 2, 0, 0, 0]),
        ]))
        .unwrap();
        assert_eq!((film.headers().len(), film.tags().len(), film.lasts_ms()), (3, 4, 120));
        assert_eq!(film.tags()[0].ms, 0, "times begin at zero");
    }

    #[test]
    fn a_lap_is_whole_groups_of_pictures() {
        let film = Film::of_flv(flv(&[
            tag(9, 0, &[0x17, 0, 0, 0, 0, 1]),
            tag(8, 0, &[0xaf, 0, 0x11, 0x90]),
            tag(9, 1_007, &[0x17, 1, 0, 0, 0, 9]),
            tag(8, 1_000, &[0xaf, 1, 5]),
            tag(9, 1_047, &[0x27, 1, 0, 0, 0, 9]),
            tag(9, 1_087, &[0x17, 1, 0, 0, 0, 9]),
            tag(9, 1_127, &[0x27, 1, 0, 0, 0, 9]),
            tag(8, 1_075, &[0xaf, 1, 5]),
        ]))
        .unwrap();
        let pictures = film.tags().iter().filter(|tag| tag.is_picture()).count();
        assert_eq!((pictures, film.lasts_ms()), (2, 80), "what follows the last key is left out");
    }

    #[test]
    fn what_is_no_film_is_refused_in_words() {
        assert_eq!(Film::of_flv(b"RIFF".to_vec()).unwrap_err(), FilmError::NotFlv);
        let mut torn = flv(&[tag(9, 0, &[0x17, 0, 0, 0, 0, 1])]);
        torn.truncate(torn.len() - 5);
        assert_eq!(Film::of_flv(torn).unwrap_err(), FilmError::Torn { at: 13 });
        let mute = flv(&[tag(8, 0, &[0xaf, 1, 5])]);
        assert_eq!(Film::of_flv(mute).unwrap_err(), FilmError::NoPicture);
    }
}
