//! Writing: an MP4 without edit list and with its index first, and the H.264 encoder that fills it.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};

use ffmpeg_next::codec::{self, Context, Parameters};
use ffmpeg_next::format::{self, Pixel};
use ffmpeg_next::{Dictionary, Packet, Rational, color, encoder, frame, picture};

use crate::adapters::ffmpeg::job::stage_threads;
use crate::adapters::ffmpeg::open::{failed, url_of, wants_more};
use crate::adapters::ffmpeg::sound::RATE;
use crate::domain::clips::footage::Ratio;
use crate::ports::media_engine::MediaError;

/// Where `output` grows until it is whole: beside it, so that the rename stays on one disk.
pub(super) fn temporary_of(output: &Path) -> PathBuf {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    output.with_file_name(format!(".{name}.part"))
}

/// Forces `temporary` to disk and gives it its final name. Returns its size in bytes.
pub(super) fn publish(temporary: &Path, output: &Path) -> Result<u64, MediaError> {
    let io = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::StorageFull => MediaError::DiskFull,
        _ => MediaError::Failed {
            step: "écriture du fichier".to_owned(),
            detail: error.to_string(),
        },
    };
    let file = File::open(temporary).map_err(io)?;
    file.sync_all().map_err(io)?;
    std::fs::rename(temporary, output).map_err(io)?;
    if let Some(folder) = output.parent().and_then(|folder| File::open(folder).ok()) {
        // Some file systems cannot sync a folder; the file itself is safe already.
        let _ = folder.sync_all();
    }
    Ok(file.metadata().map_err(io)?.len())
}

/// An MP4 being written, with one picture track and one sound track.
pub(super) struct Mp4Writer {
    output: format::context::Output,
    frame_rate: Ratio,
    video_tick: Rational,
    audio_tick: Rational,
    /// Frames of delay between the first decode time and the first picture.
    reorder_delay: i64,
    /// Sound encoded beforehand, written beside the pictures it belongs to.
    waiting_sound: VecDeque<Packet>,
    /// Frames written.
    pictures: u64,
}

impl Mp4Writer {
    /// Starts `path` with a picture track like `video` and a sound track like `audio`.
    pub(super) fn create(
        path: &Path,
        video: &Parameters,
        frame_rate: Ratio,
        audio: &Context,
        reorder_delay: i64,
    ) -> Result<Self, MediaError> {
        let writing = failed("écriture du MP4");
        let mut output = format::output_as(&url_of(path)?, "mp4").map_err(&writing)?;
        {
            let mut stream = output.add_stream(codec::Id::None).map_err(&writing)?;
            stream.set_parameters(video.clone());
            stream.set_time_base((frame_rate.den, frame_rate.num));
            stream.set_avg_frame_rate((frame_rate.num, frame_rate.den));
        }
        output.add_stream_with(audio).map_err(&writing)?.set_time_base((1, RATE as i32));
        let mut options = Dictionary::new();
        // No edit list: platforms refuse it. The index is moved to the front at the end.
        options.set("movflags", "+faststart+negative_cts_offsets");
        options.set("use_editlist", "0");
        let unused = output.write_header_with(options).map_err(&writing)?;
        if let Some((key, _)) = unused.iter().next() {
            return Err(MediaError::Missing { what: format!("option {key} du MP4") });
        }
        drop(unused);
        let tick = |index: usize| {
            output.stream(index).map_or(Rational::new(1, 1), |stream| stream.time_base())
        };
        let (video_tick, audio_tick) = (tick(0), tick(1));
        Ok(Self {
            output,
            frame_rate,
            video_tick,
            audio_tick,
            reorder_delay,
            waiting_sound: VecDeque::new(),
            pictures: 0,
        })
    }

    /// Keeps sound packets, stamped in samples, until the pictures get there.
    pub(super) fn queue_sound(&mut self, packets: impl IntoIterator<Item = Packet>) {
        self.waiting_sound.extend(packets);
    }

    /// Writes one picture stamped in frames, decode time included.
    pub(super) fn picture(&mut self, mut packet: Packet) -> Result<(), MediaError> {
        self.pictures += 1;
        self.sound_until(self.pictures)?;
        packet.set_stream(0);
        packet.set_duration(1);
        packet.set_position(-1);
        packet.rescale_ts((self.frame_rate.den, self.frame_rate.num), self.video_tick);
        packet.write_interleaved(&mut self.output).map_err(failed("écriture du MP4"))
    }

    /// Writes one sound packet stamped in samples.
    pub(super) fn sound(&mut self, mut packet: Packet) -> Result<(), MediaError> {
        packet.set_stream(1);
        packet.set_position(-1);
        packet.rescale_ts((1, RATE as i32), self.audio_tick);
        packet.write_interleaved(&mut self.output).map_err(failed("écriture du MP4"))
    }

    /// Writes the waiting sound that starts before frame number `frames` ends.
    fn sound_until(&mut self, frames: u64) -> Result<(), MediaError> {
        let samples = (frames as f64 * RATE as f64 / self.frame_rate.value()).round() as i64;
        while self.waiting_sound.front().is_some_and(|packet| packet.pts().unwrap_or(0) < samples) {
            if let Some(packet) = self.waiting_sound.pop_front() {
                self.sound(packet)?;
            }
        }
        Ok(())
    }

    /// Frames by which decode times run ahead.
    pub(super) fn reorder_delay(&self) -> i64 {
        self.reorder_delay
    }

    /// Ends the file.
    pub(super) fn finish(mut self) -> Result<(), MediaError> {
        self.output.write_trailer().map_err(failed("écriture du MP4"))
    }
}

/// Colour description of a picture, as carried in the stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Colour {
    pub space: color::Space,
    pub range: color::Range,
    pub primaries: color::Primaries,
    pub transfer: color::TransferCharacteristic,
}

impl Colour {
    /// BT.709, limited range: what high-definition video is.
    pub(super) const BT709: Self = Self {
        space: color::Space::BT709,
        range: color::Range::MPEG,
        primaries: color::Primaries::BT709,
        transfer: color::TransferCharacteristic::BT709,
    };
}

/// Settings of one H.264 encoder. `options` are FFmpeg's names for libx264.
pub(super) struct H264Settings<'a> {
    pub width: u32,
    pub height: u32,
    pub frame_rate: Ratio,
    pub pixel_aspect: Ratio,
    pub colour: Colour,
    pub gop_frames: u32,
    pub b_frames: usize,
    pub options: &'a [(&'a str, &'a str)],
}

/// Encodes pictures stamped in frames to H.264.
pub(super) struct H264Encoder {
    encoder: encoder::Video,
}

impl H264Encoder {
    /// An encoder as a renderer runs it.
    pub(super) fn try_new(settings: &H264Settings) -> Result<Self, MediaError> {
        Self::with_threads(settings, stage_threads())
    }

    /// An encoder that may use `threads` threads.
    pub(super) fn with_threads(
        settings: &H264Settings,
        threads: usize,
    ) -> Result<Self, MediaError> {
        let encoding = failed("encodage de l'image");
        let codec = encoder::find_by_name("libx264")
            .ok_or_else(|| MediaError::Missing { what: "encodeur libx264".to_owned() })?;
        let mut video = Context::new_with_codec(codec).encoder().video().map_err(&encoding)?;
        video.set_width(settings.width);
        video.set_height(settings.height);
        video.set_format(Pixel::YUV420P);
        video.set_time_base((settings.frame_rate.den, settings.frame_rate.num));
        video.set_frame_rate(Some((settings.frame_rate.num, settings.frame_rate.den)));
        video.set_aspect_ratio((settings.pixel_aspect.num, settings.pixel_aspect.den));
        video.set_gop(settings.gop_frames);
        video.set_max_b_frames(settings.b_frames);
        video.set_colorspace(settings.colour.space);
        video.set_color_range(settings.colour.range);
        video.set_color_primaries(settings.colour.primaries);
        video.set_color_transfer_characteristic(settings.colour.transfer);
        video.set_flags(codec::Flags::GLOBAL_HEADER | codec::Flags::CLOSED_GOP);
        video.set_threading(codec::threading::Config { count: threads, ..Default::default() });
        let mut options = Dictionary::new();
        for (key, value) in settings.options {
            options.set(key, value);
        }
        let encoder = video.open_as_with(codec, options).map_err(&encoding)?;
        Ok(Self { encoder })
    }

    /// The header a container stores.
    pub(super) fn parameters(&self) -> Parameters {
        Parameters::from(self)
    }

    /// Encodes one picture as the `index`th.
    pub(super) fn push(
        &mut self,
        picture: &mut frame::Video,
        index: i64,
        hand: &mut dyn FnMut(Packet) -> Result<(), MediaError>,
    ) -> Result<(), MediaError> {
        picture.set_pts(Some(index));
        // A decoded picture remembers its type and would dictate the encoder's.
        picture.set_kind(picture::Type::None);
        self.encoder.send_frame(picture).map_err(failed("encodage de l'image"))?;
        self.collect(hand)
    }

    /// Hands out what is still inside.
    pub(super) fn finish(
        &mut self,
        hand: &mut dyn FnMut(Packet) -> Result<(), MediaError>,
    ) -> Result<(), MediaError> {
        self.encoder.send_eof().map_err(failed("encodage de l'image"))?;
        self.collect(hand)
    }

    fn collect(
        &mut self,
        hand: &mut dyn FnMut(Packet) -> Result<(), MediaError>,
    ) -> Result<(), MediaError> {
        loop {
            let mut packet = Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => hand(packet)?,
                Err(error) if wants_more(error) => return Ok(()),
                Err(error) => return Err(failed("encodage de l'image")(error)),
            }
        }
    }
}

impl AsRef<Context> for H264Encoder {
    fn as_ref(&self) -> &Context {
        &self.encoder
    }
}
