//! AAC as a transport stream has it: frames with headers of their own (ISO/IEC 13818-7, 6.2).

use crate::domain::live::parameters;
use crate::domain::live::track::{Codec, Form, Track};

/// Samples of an AAC frame.
pub const AAC_SAMPLES: u32 = 1_024;

/// A frame without its header, and the parameters the header told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AacFrame<'a> {
    pub track: Track,
    pub data: &'a [u8],
}

/// Why no frame is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoFrame {
    /// The bytes are no frame, or not all of one.
    Broken,
    /// One that an MP4 file of ours cannot hold.
    Unfit(&'static str),
}

/// The first frame of some bytes, and what is behind it.
pub fn first_frame(bytes: &[u8]) -> Result<(AacFrame<'_>, &[u8]), NoFrame> {
    let Some(&[sync, second, third, fourth, fifth, sixth, last]) = bytes.first_chunk() else {
        return Err(NoFrame::Broken);
    };
    if sync != 0xff || second & 0xf6 != 0xf0 {
        return Err(NoFrame::Broken);
    }
    let head = if second & 1 == 1 { 7 } else { 9 };
    let length = usize::from(fourth & 3) << 11 | usize::from(fifth) << 3 | usize::from(sixth >> 5);
    let (Some(data), Some(rest)) = (bytes.get(head..length), bytes.get(length..)) else {
        return Err(NoFrame::Broken);
    };
    if last & 3 != 0 {
        return Err(NoFrame::Unfit("AAC with several blocks a frame"));
    }
    let (profile, rate) = (third >> 6, third >> 2 & 0x0f);
    let channels = (third & 1) << 2 | fourth >> 6;
    if channels == 0 {
        return Err(NoFrame::Unfit("AAC that tells its channels apart"));
    }
    let config = vec![(profile + 1) << 3 | rate >> 1, (rate & 1) << 7 | channels << 3];
    let Some((rate, channels)) = parameters::aac(&config) else { return Err(NoFrame::Broken) };
    if data.is_empty() {
        return Err(NoFrame::Broken);
    }
    let form = Form::Sound { rate, channels };
    Ok((AacFrame { track: Track { codec: Codec::Aac, config, form }, data }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_loses_its_header_and_tells_its_parameters() {
        // 48 kHz, stereo, LC: nine bytes in all, then the next.
        let bytes = [0xff, 0xf1, 0x4c, 0x80, 0x01, 0x3f, 0xfc, 7, 8, 0xff];
        let (frame, rest) = first_frame(&bytes).unwrap();
        assert_eq!((frame.data, rest), (&[7, 8][..], &[0xff][..]));
        assert_eq!(frame.track.config, [0x11, 0x90]);
        assert_eq!(frame.track.form, Form::Sound { rate: 48_000, channels: 2 });
        assert_eq!(first_frame(&bytes[..8]), Err(NoFrame::Broken));
        let mut several = bytes;
        several[6] |= 1;
        assert!(matches!(first_frame(&several), Err(NoFrame::Unfit(_))));
        assert_eq!(first_frame(b"ID3 and more"), Err(NoFrame::Broken));
    }
}
