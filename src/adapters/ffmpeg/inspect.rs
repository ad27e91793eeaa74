//! One pass over a file at demuxing speed: key frames, loudness, and everything that is wrong with it.

use ffmpeg_next::format::{Sample, sample};
use ffmpeg_next::{Error, Packet, frame};

use crate::adapters::ffmpeg::ffi;
use crate::adapters::ffmpeg::h264::{self, Framing, ParameterSets};
use crate::adapters::ffmpeg::job::Progress;
use crate::adapters::ffmpeg::open::{Source, Track, frame_rate, open};
use crate::adapters::ffmpeg::sound::sound_decoder;
use crate::domain::clips::footage::{AudioTrack, Inspection, KeyFrame, KeyFrameIndex, VideoTrack};
use crate::domain::clips::loudness::LoudnessMeter;
use crate::ports::media_engine::{InspectOrder, MediaError};

/// Missing at the end beyond this, in seconds and as a share of the length, makes a file truncated.
const MISSING_SECONDS_MAX: f64 = 2.0;
const MISSING_SHARE_MAX: f64 = 0.005;
/// Broken packets in a row of one track after which the file is unreadable from there on.
const BROKEN_RUN_MAX: u32 = 120;
/// Read errors in a row the demuxer may recover from.
const READ_ERRORS_MAX: u32 = 64;
/// Shortest file worth inspecting, seconds.
const SECONDS_MIN: f64 = 0.2;
/// A hole in the sound is counted as silence up to this length; more is a broken time stamp.
const GAP_SECONDS_MAX: f64 = 12.0 * 3600.0;

/// Reads `order.source` from start to end.
pub(super) fn inspect(
    order: &InspectOrder,
    progress: &mut Progress,
) -> Result<Inspection, MediaError> {
    let size_bytes = std::fs::metadata(&order.source)
        .map_err(|error| MediaError::CannotOpen { detail: error.to_string() })?
        .len();
    let mut source = open(&order.source)?;
    let video = source.video()?;
    let audio = source.audio.clone().ok_or(MediaError::NoAudioTrack)?;
    let announced_s = announced(&source);
    let mut pictures = Pictures::new(&video);
    let mut sound = Sound::try_new(&audio)?;
    let mut end_s = 0.0_f64;
    let mut read_errors = 0;
    let mut packet = Packet::empty();
    loop {
        match packet.read(&mut source.input) {
            Ok(()) => read_errors = 0,
            Err(Error::Eof) => break,
            Err(Error::InvalidData) if read_errors < READ_ERRORS_MAX => {
                read_errors += 1;
                continue;
            }
            // The end of a file cut short reads as a broken packet or as an error of the disk, by container.
            Err(_) if is_cut_short(announced_s, end_s) => break,
            Err(error) => {
                return Err(MediaError::UnreadableAt { at_s: end_s, detail: error.to_string() });
            }
        }
        let track = if packet.stream() == video.index {
            &video
        } else if packet.stream() == audio.index {
            &audio
        } else {
            continue;
        };
        let Some(stamp) = packet.pts().or(packet.dts()) else { continue };
        let time_s = source.time_of(track, stamp);
        let packet_end_s = time_s + track.seconds(packet.duration().max(0));
        if packet.stream() == video.index {
            pictures.take(&packet, time_s)?;
        } else {
            sound.take(&packet, time_s)?;
        }
        if packet_end_s.is_finite() {
            end_s = end_s.max(packet_end_s);
        }
        let read = packet.position() as f64 / size_bytes.max(1) as f64;
        progress.at(if announced_s > 0.0 { end_s / announced_s } else { read });
    }
    if is_cut_short(announced_s, end_s) {
        return Err(MediaError::Truncated { announced_s, present_s: end_s });
    }
    if pictures.frames == 0 || pictures.keys.is_empty() || end_s < SECONDS_MIN {
        return Err(MediaError::UnreadableAt { at_s: 0.0, detail: "aucune image".to_owned() });
    }
    sound.finish(end_s)?;
    let header = ffi::picture_header(&video.parameters);
    let (sample_rate_hz, channels) = ffi::sound_header(&audio.parameters);
    pictures.keys.sort_by(|a, b| a.time_s.total_cmp(&b.time_s));
    Ok(Inspection {
        container: source.input.format().name().to_owned(),
        duration_s: end_s,
        size_bytes,
        video: VideoTrack {
            codec: video.codec_name(),
            width: header.width,
            height: header.height,
            frame_rate: frame_rate(&video),
            variable_rate: pictures.is_variable(frame_rate(&video).value()),
            pixel_format: pixel_name(header.pixel_format),
            pixel_aspect: header.pixel_aspect,
            rotation_degrees: video.rotation_degrees,
            open_gop: pictures.open_gop,
            frames: pictures.frames,
        },
        audio: AudioTrack { codec: audio.codec_name(), sample_rate_hz, channels },
        key_frames: KeyFrameIndex(pictures.keys),
        loudness: sound.meter.map(|meter| meter.series()).unwrap_or_default(),
    })
}

/// The name FFmpeg gives a pixel format.
pub(super) fn pixel_name(format: ffmpeg_next::format::Pixel) -> String {
    format
        .descriptor()
        .map_or_else(|| "inconnu".to_owned(), |descriptor| descriptor.name().to_owned())
}

/// Length the header announces, seconds; 0 when it does not say.
fn announced(source: &Source) -> f64 {
    let whole = source.input.duration();
    let tracks = [&source.video, &source.audio];
    let longest = tracks
        .iter()
        .filter_map(|track| track.as_ref())
        .filter(|track| track.duration > 0)
        .map(|track| track.seconds(track.duration))
        .fold(0.0, f64::max);
    if longest > 0.0 {
        longest
    } else if whole > 0 {
        whole as f64 / 1e6
    } else {
        0.0
    }
}

fn is_cut_short(announced_s: f64, end_s: f64) -> bool {
    announced_s - end_s > MISSING_SECONDS_MAX.max(announced_s * MISSING_SHARE_MAX)
}

/// What the picture packets tell.
struct Pictures {
    keys: Vec<KeyFrame>,
    frames: u64,
    open_gop: bool,
    key_time_s: f64,
    first_s: f64,
    last_s: f64,
    /// Distances between neighbours in decode order, counted by length in 0.1 ms.
    uneven: u64,
    last_dts_s: Option<f64>,
    seconds_per_tick: f64,
    tick_s: f64,
    length_size: Option<usize>,
    broken_run: u32,
    broken_since_s: f64,
}

impl Pictures {
    fn new(track: &Track) -> Self {
        let sets = ParameterSets::parse(&ffi::extradata(&track.parameters));
        let length_size =
            match sets.filter(|_| track.parameters.id() == ffmpeg_next::codec::Id::H264) {
                Some(ParameterSets { framing: Framing::Lengths(size), .. }) => Some(size),
                _ => None,
            };
        Self {
            keys: Vec::new(),
            frames: 0,
            open_gop: false,
            key_time_s: f64::NEG_INFINITY,
            first_s: f64::INFINITY,
            last_s: f64::NEG_INFINITY,
            uneven: 0,
            last_dts_s: None,
            seconds_per_tick: track.seconds(1),
            tick_s: 1.0 / frame_rate(track).value().max(1.0),
            length_size,
            broken_run: 0,
            broken_since_s: 0.0,
        }
    }

    fn take(&mut self, packet: &Packet, time_s: f64) -> Result<(), MediaError> {
        let whole = match (self.length_size, packet.data()) {
            (Some(size), Some(data)) => h264::lengths_add_up(data, size),
            (None, Some(_)) => !packet.is_corrupt(),
            (_, None) => false,
        };
        if whole {
            self.broken_run = 0;
        } else {
            if self.broken_run == 0 {
                self.broken_since_s = time_s;
            }
            self.broken_run += 1;
            if self.broken_run > BROKEN_RUN_MAX {
                let detail = "les images sont abîmées".to_owned();
                return Err(MediaError::UnreadableAt { at_s: self.broken_since_s, detail });
            }
        }
        self.frames += 1;
        self.first_s = self.first_s.min(time_s);
        self.last_s = self.last_s.max(time_s);
        if let Some(dts) = packet.dts() {
            let dts_s = dts as f64 * self.seconds_per_tick;
            if let Some(before) = self.last_dts_s {
                // Containers that count milliseconds round; a third of a frame is no rounding.
                self.uneven +=
                    u64::from(((dts_s - before) - self.tick_s).abs() > self.tick_s / 3.0);
            }
            self.last_dts_s = Some(dts_s);
        }
        if packet.is_key() {
            self.key_time_s = time_s;
            let position = u64::try_from(packet.position()).ok();
            self.keys.push(KeyFrame { time_s, position });
        } else if time_s < self.key_time_s {
            self.open_gop = true;
        }
        Ok(())
    }

    /// More than one uneven step in a hundred, or an average that is not the stated rate.
    fn is_variable(&self, rate: f64) -> bool {
        let span = self.last_s - self.first_s;
        let counted = if span > 0.0 { (self.frames - 1) as f64 / span } else { rate };
        self.uneven * 100 > self.frames || (counted - rate).abs() > rate * 0.01
    }
}

/// What the sound packets tell.
struct Sound {
    decoder: ffmpeg_next::decoder::Audio,
    meter: Option<LoudnessMeter>,
    rate: u32,
    channels: usize,
    frame: frame::Audio,
    planes: Vec<Vec<f32>>,
    /// Samples the meter has had.
    heard: i64,
    broken_run: u32,
    broken_since_s: f64,
}

impl Sound {
    fn try_new(track: &Track) -> Result<Self, MediaError> {
        Ok(Self {
            decoder: sound_decoder(track)?,
            meter: None,
            rate: 0,
            channels: 0,
            frame: frame::Audio::empty(),
            planes: Vec::new(),
            heard: 0,
            broken_run: 0,
            broken_since_s: 0.0,
        })
    }

    fn take(&mut self, packet: &Packet, time_s: f64) -> Result<(), MediaError> {
        if self.decoder.send_packet(packet).is_err() {
            if self.broken_run == 0 {
                self.broken_since_s = time_s;
            }
            self.broken_run += 1;
            if self.broken_run > BROKEN_RUN_MAX {
                let detail = "le son est abîmé".to_owned();
                return Err(MediaError::UnreadableAt { at_s: self.broken_since_s, detail });
            }
            return Ok(());
        }
        self.broken_run = 0;
        let mut at_s = time_s;
        while self.decoder.receive_frame(&mut self.frame).is_ok() {
            self.hear(at_s)?;
            at_s += self.frame.samples() as f64 / f64::from(self.frame.rate().max(1));
        }
        Ok(())
    }

    fn hear(&mut self, at_s: f64) -> Result<(), MediaError> {
        let (rate, channels) = (self.frame.rate(), usize::from(self.frame.channels()));
        if rate == 0 || channels == 0 || channels > 64 {
            return Ok(());
        }
        if self.meter.is_none() {
            (self.rate, self.channels) = (rate, channels);
            self.meter = Some(LoudnessMeter::new(rate, channels));
        }
        if (self.rate, self.channels) != (rate, channels) {
            let detail = "le format du son change en cours de route".to_owned();
            return Err(MediaError::UnreadableAt { at_s, detail });
        }
        self.pad_to(at_s);
        samples_of(&self.frame, &mut self.planes)?;
        let planes: Vec<&[f32]> = self.planes.iter().map(Vec::as_slice).collect();
        if let Some(meter) = &mut self.meter {
            meter.push(&planes);
        }
        self.heard += self.frame.samples() as i64;
        Ok(())
    }

    /// A hole in the recording is silence: the series stays in step with the picture.
    fn pad_to(&mut self, at_s: f64) {
        let behind = (at_s * f64::from(self.rate)) as i64 - self.heard;
        let tolerated = i64::from(self.rate) / 10;
        let Some(meter) = &mut self.meter else { return };
        if behind > tolerated && (behind as f64) < GAP_SECONDS_MAX * f64::from(self.rate) {
            meter.push_silence(behind as usize);
            self.heard += behind;
        }
    }

    fn finish(&mut self, end_s: f64) -> Result<(), MediaError> {
        // An already drained decoder says so; nothing is lost.
        let _ = self.decoder.send_eof();
        let mut at_s = self.heard as f64 / f64::from(self.rate.max(1));
        while self.decoder.receive_frame(&mut self.frame).is_ok() {
            self.hear(at_s)?;
            at_s += self.frame.samples() as f64 / f64::from(self.frame.rate().max(1));
        }
        self.pad_to(end_s);
        Ok(())
    }
}

/// Copies a decoded frame of any sample format into one `Vec<f32>` per channel, full scale ±1.
pub(super) fn samples_of(
    frame: &frame::Audio,
    planes: &mut Vec<Vec<f32>>,
) -> Result<(), MediaError> {
    let channels = usize::from(frame.channels());
    let len = frame.samples();
    planes.resize(channels, Vec::new());
    for plane in planes.iter_mut() {
        plane.clear();
        plane.reserve(len);
    }
    // Reads channel `c` as numbers of `size` bytes.
    let mut copy = |size: usize, number: &dyn Fn(&[u8]) -> f32| {
        for (channel, plane) in planes.iter_mut().enumerate() {
            let (data, step, first) = if frame.is_planar() {
                (frame.data(channel), size, 0)
            } else {
                (frame.data(0), size * channels, size * channel)
            };
            plane.extend(
                (0..len)
                    .filter_map(|i| data.get(first + i * step..first + i * step + size))
                    .map(number),
            );
            plane.resize(len, 0.0);
        }
    };
    match frame.format() {
        Sample::F32(sample::Type::Planar) => {
            for (channel, plane) in planes.iter_mut().enumerate() {
                plane.extend_from_slice(&frame.plane::<f32>(channel)[..len]);
            }
        }
        Sample::F32(sample::Type::Packed) => {
            copy(4, &|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        }
        Sample::I16(_) => copy(2, &|b| f32::from(i16::from_ne_bytes([b[0], b[1]])) / 32_768.0),
        Sample::I32(_) => {
            copy(4, &|b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]) as f32 / 2_147_483_648.0);
        }
        Sample::U8(_) => copy(1, &|b| (f32::from(b[0]) - 128.0) / 128.0),
        Sample::F64(_) => copy(8, &|b| {
            f64::from_ne_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32
        }),
        other => {
            let detail = format!("format {} inconnu", other.name());
            return Err(MediaError::Failed { step: "décodage du son".to_owned(), detail });
        }
    }
    Ok(())
}
