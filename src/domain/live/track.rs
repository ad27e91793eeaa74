//! What an encoder sends: the tracks of a feed, as it describes them itself.

use serde::{Deserialize, Serialize};

/// Ticks a second of the clock that decode and display times count in, for pictures and sound alike.
pub const TICKS_PER_S: i64 = 90_000;

/// The two tracks a feed can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Picture,
    Sound,
}

/// How a track is encoded: what an MP4 file of ours can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    H264,
    Hevc,
    Av1,
    Aac,
    Opus,
}

impl Codec {
    /// The track it belongs to.
    pub const fn kind(self) -> Kind {
        match self {
            Self::H264 | Self::Hevc | Self::Av1 => Kind::Picture,
            Self::Aac | Self::Opus => Kind::Sound,
        }
    }
}

/// What a track looks or sounds like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Form {
    /// Pixels, as shown.
    Picture { width: u32, height: u32 },
    /// Samples a second of each channel.
    Sound { rate: u32, channels: u8 },
}

/// The parameters of a track; everything sent after them obeys them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    pub codec: Codec,
    /// The decoder's configuration, as the payload of the MP4 box for it: `avcC`, `hvcC`, `av1C`, `dOps` (Opus), and for AAC
    /// the AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1) that goes into `esds`.
    pub config: Vec<u8>,
    pub form: Form,
}

impl Track {
    pub const fn kind(&self) -> Kind {
        self.codec.kind()
    }
}
