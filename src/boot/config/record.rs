//! Settings of the recorder.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::boot::config::Config;
use crate::ports::vault::Secret;

/// Cameras in: the recorder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RecordConfig {
    /// Whether `spark serve` starts the recorder itself.
    pub run: Run,
    /// Address and port where encoders publish over RTMP; port 0 takes a free one.
    pub rtmp: SocketAddr,
    /// How many hours of a villa day the cameras send, for what is said of room: 1 to 24.
    #[serde(deserialize_with = "hours_of_a_day")]
    pub hours_a_day: u8,
    /// Address and port where encoders publish over SRT (UDP); port 0 takes a free one, `off` takes none.
    pub srt: SrtAt,
    /// Encrypts what comes over SRT, 10 to 79 characters; every encoder must have it. Best given as
    /// `SPARK_RECORD_SRT_PASSPHRASE_FILE`.
    pub srt_passphrase: Option<Secret>,
    /// How long SRT holds packets back for those that come late, in milliseconds, 20 to 8,000; an encoder may ask for longer.
    pub srt_latency_ms: u32,
    /// Where recordings lie [default: `dvr` in the data folder].
    pub folder: Option<PathBuf>,
    /// The recorder's socket [default: `recorder/desk.sock` in the data folder].
    pub socket: Option<PathBuf>,
}

/// Where SRT is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum SrtAt {
    Address(SocketAddr),
    Nowhere(Off),
}

/// The word for no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Off {
    Off,
}

impl std::fmt::Display for SrtAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Nowhere(Off::Off) => f.write_str("off"),
        }
    }
}

/// Who starts the recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Run {
    /// `spark serve` does, as a child that outlives its crashes.
    #[default]
    Here,
    /// A unit or a container of its own runs `spark record`.
    Elsewhere,
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self {
            run: Run::default(),
            rtmp: SocketAddr::from(([127, 0, 0, 1], 1935)),
            hours_a_day: 8,
            srt: SrtAt::Address(SocketAddr::from(([127, 0, 0, 1], 9000))),
            srt_passphrase: None,
            srt_latency_ms: 200,
            folder: None,
            socket: None,
        }
    }
}

impl Config {
    /// Where recordings lie.
    pub(crate) fn dvr_folder(&self) -> PathBuf {
        self.record.folder.clone().unwrap_or_else(|| self.data.folder.join("dvr"))
    }

    /// Where the recorder keeps what is its own.
    pub(crate) fn recorder_folder(&self) -> PathBuf {
        self.data.folder.join("recorder")
    }

    /// The recorder's socket.
    pub(crate) fn recorder_socket(&self) -> PathBuf {
        self.record.socket.clone().unwrap_or_else(|| self.recorder_folder().join("desk.sock"))
    }
}

fn hours_of_a_day<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    let hours = u8::deserialize(from)?;
    let is_some = (1..=24).contains(&hours);
    is_some.then_some(hours).ok_or_else(|| serde::de::Error::custom("hours_a_day is 1 to 24"))
}
