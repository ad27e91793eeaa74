//! Opening local media that nobody vouches for: listed protocols and containers only, and errors in words.

use std::path::Path;

use ffmpeg_next::codec::Parameters;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Dictionary, Error, Rational, Stream, format, media, packet};

use crate::adapters::ffmpeg::ffi;
use crate::domain::clips::footage::Ratio;
use crate::ports::media_engine::MediaError;

/// Protocols libav may use; anything else (http, concat, subfile, …) is refused, also from inside a playlist.
const PROTOCOLS: &str = "file,pipe";
/// Demuxers libav may use. Playlists (hls, concat, dash) are left out: they name other files.
const CONTAINERS: &str =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,flv,avi,mpeg,asf,ogg,mxf,wav,mp3,aac,flac";
/// Bytes libav may read to find out what is inside.
const PROBE_BYTES_MAX: &str = "10000000";
/// libav's "invalid argument".
const EINVAL: i32 = rustix::io::Errno::INVAL.raw_os_error();
/// Streams a file may announce; more is an attack or a mistake.
const STREAMS_MAX: &str = "64";

/// One track of an open file.
#[derive(Clone)]
pub(super) struct Track {
    pub index: usize,
    pub time_base: Rational,
    pub start: i64,
    pub duration: i64,
    pub parameters: Parameters,
    pub average_rate: Rational,
    pub guessed_rate: Rational,
    /// Clockwise turn of the display matrix, 0, 90, 180 or 270.
    pub rotation_degrees: u32,
}

impl Track {
    fn of(stream: &Stream) -> Self {
        Self {
            index: stream.index(),
            time_base: stream.time_base(),
            start: stream.start_time(),
            duration: stream.duration(),
            parameters: stream.parameters(),
            average_rate: stream.avg_frame_rate(),
            guessed_rate: stream.rate(),
            rotation_degrees: rotation(stream),
        }
    }

    /// Seconds of `ticks` of this track's time base.
    pub(super) fn seconds(&self, ticks: i64) -> f64 {
        ticks as f64 * f64::from(self.time_base.numerator())
            / f64::from(self.time_base.denominator())
    }

    /// The nearest tick of this track's time base.
    pub(super) fn ticks(&self, seconds: f64) -> i64 {
        (seconds * f64::from(self.time_base.denominator()) / f64::from(self.time_base.numerator()))
            .round() as i64
    }

    /// FFmpeg's short name of the codec.
    pub(super) fn codec_name(&self) -> String {
        self.parameters.id().name().to_owned()
    }
}

/// An open file with the tracks we care about.
pub(super) struct Source {
    pub input: Input,
    pub video: Option<Track>,
    pub audio: Option<Track>,
    /// Seconds on libav's clock that a player shows as 0.
    pub origin_s: f64,
}

impl Source {
    /// Seconds from the start of the file of a time stamp of `track`.
    pub(super) fn time_of(&self, track: &Track, ticks: i64) -> f64 {
        track.seconds(ticks) - self.origin_s
    }

    /// The video track, or the error that says there is none.
    pub(super) fn video(&self) -> Result<Track, MediaError> {
        self.video.clone().ok_or(MediaError::NoVideoTrack)
    }

    /// Moves to a key frame at or before `time_s`; the very start when it is near.
    pub(super) fn seek_before(&mut self, time_s: f64) -> Result<(), MediaError> {
        let wanted = ((time_s.max(0.0) + self.origin_s) * 1e6) as i64;
        self.input
            .seek(wanted, ..wanted)
            .or_else(|_| self.input.seek(wanted, ..))
            .map_err(failed("positionnement"))
    }
}

/// `file:` and the absolute path, so that no name can be taken for another protocol.
pub(super) fn url_of(path: &Path) -> Result<String, MediaError> {
    let cannot = |detail: &str| MediaError::CannotOpen { detail: detail.to_owned() };
    let absolute = std::path::absolute(path).map_err(|error| cannot(&error.to_string()))?;
    let text = absolute.to_str().ok_or_else(|| cannot("son nom n'est pas de l'UTF-8"))?;
    if text.contains('\0') {
        return Err(cannot("son nom contient un octet nul"));
    }
    Ok(format!("file:{text}"))
}

/// Opens `path` and finds its tracks.
pub(super) fn open(path: &Path) -> Result<Source, MediaError> {
    std::fs::File::open(path)
        .and_then(|file| file.metadata())
        .map_err(|error| MediaError::CannotOpen { detail: error.to_string() })
        .and_then(|meta| if meta.is_file() { Ok(()) } else { Err(MediaError::NotMedia) })?;
    let mut options = Dictionary::new();
    options.set("protocol_whitelist", PROTOCOLS);
    options.set("format_whitelist", CONTAINERS);
    options.set("probesize", PROBE_BYTES_MAX);
    options.set("max_streams", STREAMS_MAX);
    let input = format::input_with_dictionary(&url_of(path)?, options)
        .map_err(|error| cannot_read(path, error))?;
    let video = best(&input, media::Type::Video);
    let audio = best(&input, media::Type::Audio);
    let starts = [&video, &audio];
    let origin_s = starts
        .iter()
        .filter_map(|track| track.as_ref())
        .filter(|track| track.start != i64::MIN)
        .map(|track| track.seconds(track.start))
        .fold(f64::INFINITY, f64::min);
    let origin_s = if origin_s.is_finite() { origin_s } else { 0.0 };
    Ok(Source { input, video, audio, origin_s })
}

/// Pixels of a picture of the file's video.
pub(super) fn picture_px(path: &Path) -> Result<u64, MediaError> {
    let header = ffi::picture_header(&open(path)?.video()?.parameters);
    Ok(u64::from(header.width) * u64::from(header.height))
}

fn best(input: &Input, kind: media::Type) -> Option<Track> {
    let stream = input.streams().best(kind)?;
    // A cover picture inside a sound file is no video.
    if stream.disposition().contains(format::stream::Disposition::ATTACHED_PIC) {
        return None;
    }
    Some(Track::of(&stream))
}

/// An MP4 whose `moov` never came opens as "invalid data", as a text file does: the first box tells them apart.
fn cannot_read(path: &Path, error: Error) -> MediaError {
    match error {
        // "Invalid argument" is libav's word for a container that is not on the list.
        Error::InvalidData
        | Error::Eof
        | Error::DemuxerNotFound
        | Error::Other { errno: EINVAL } => {
            let mut head = [0_u8; 8];
            let read = std::fs::File::open(path)
                .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head));
            if read.is_ok() && &head[4..] == b"ftyp" {
                MediaError::IndexMissing
            } else {
                MediaError::NotMedia
            }
        }
        other => failed("ouverture")(other),
    }
}

fn rotation(stream: &Stream) -> u32 {
    stream
        .side_data()
        .find(|data| data.kind() == packet::side_data::Type::DisplayMatrix)
        .map_or(0, |data| rotation_of_matrix(data.data()))
}

/// The clockwise turn of a display matrix (nine 32-bit numbers, 16.16 fixed point), to the nearest quarter.
fn rotation_of_matrix(bytes: &[u8]) -> u32 {
    let cell = |index: usize| {
        bytes
            .get(index * 4..index * 4 + 4)
            .and_then(|four| four.try_into().ok())
            .map_or(0.0, |four| f64::from(i32::from_ne_bytes(four)))
    };
    let (a, b) = (cell(0), cell(1));
    if a == 0.0 && b == 0.0 {
        return 0;
    }
    let degrees = b.atan2(a).to_degrees();
    ((degrees / 90.0).round() as i32).rem_euclid(4) as u32 * 90
}

/// Turns libav's error into ours, naming the step that failed.
pub(super) fn failed(step: &'static str) -> impl Fn(Error) -> MediaError {
    move |error| match error {
        Error::Other { errno } if errno == rustix::io::Errno::NOSPC.raw_os_error() => {
            MediaError::DiskFull
        }
        Error::Other { errno } if errno == rustix::io::Errno::NOMEM.raw_os_error() => {
            MediaError::OutOfMemory {
                limit_mb: crate::adapters::ffmpeg::job::MEMORY_BYTES_MAX >> 20,
            }
        }
        other => MediaError::Failed { step: step.to_owned(), detail: other.to_string() },
    }
}

/// True for "nothing more right now", which is no error.
pub(super) fn wants_more(error: Error) -> bool {
    matches!(error, Error::Eof)
        || matches!(error, Error::Other { errno } if errno == rustix::io::Errno::AGAIN.raw_os_error())
}

/// The rate of a track: the container's guess when it agrees with the average, else the average made round.
pub(super) fn frame_rate(track: &Track) -> Ratio {
    const USUAL: [(i32, i32); 11] = [
        (24_000, 1001),
        (24, 1),
        (25, 1),
        (30_000, 1001),
        (30, 1),
        (48, 1),
        (50, 1),
        (60_000, 1001),
        (60, 1),
        (120, 1),
        (15, 1),
    ];
    let average = Ratio::new(track.average_rate.numerator(), track.average_rate.denominator());
    let guessed = Ratio::new(track.guessed_rate.numerator(), track.guessed_rate.denominator());
    let near = |a: Ratio, b: Ratio, share: f64| (a.value() - b.value()).abs() <= share * b.value();
    if average.value() <= 0.0 {
        return if guessed.value() > 0.0 && guessed.value() <= 240.0 {
            guessed
        } else {
            Ratio::new(30, 1)
        };
    }
    // Millisecond containers average to 30.003 or so; 29.97 is 0.1 % away from 30.
    let usual = USUAL
        .iter()
        .map(|(num, den)| Ratio::new(*num, *den))
        .filter(|rate| near(average, *rate, 0.002))
        .min_by(|a, b| {
            (a.value() - average.value()).abs().total_cmp(&(b.value() - average.value()).abs())
        });
    if let Some(rate) = usual {
        // Both say the same up to rounding: believe the guess if it is a usual rate too.
        let told = USUAL.iter().any(|(num, den)| guessed == Ratio::new(*num, *den))
            && near(average, guessed, 0.002);
        return if told { guessed } else { rate };
    }
    // An encoder that drops pictures brings the average below the rate it keeps.
    let is_usual = USUAL.iter().any(|(num, den)| guessed == Ratio::new(*num, *den));
    let has_dropped = is_usual && average.value() < guessed.value() && near(average, guessed, 0.05);
    if has_dropped || near(average, guessed, 0.01) { guessed } else { average }
}
