//! The loop both a full re-encode and a reel run: decode, filter, encode, write, at one constant rate.

use std::path::Path;

use ffmpeg_next::codec::Context;
use ffmpeg_next::{Packet, frame};

use crate::adapters::ffmpeg::encode::{H264Encoder, H264Settings, Mp4Writer};
use crate::adapters::ffmpeg::graph::{GRAPH_HZ, PictureGraph};
use crate::adapters::ffmpeg::job::Progress;
use crate::adapters::ffmpeg::open::{Source, Track};
use crate::adapters::ffmpeg::span::read_pictures;
use crate::domain::clips::footage::Ratio;
use crate::ports::media_engine::MediaError;

/// Frames by which libx264 with two B-frames runs ahead in decode time.
pub(super) const REORDER_DELAY: i64 = 2;

/// What to make of a span's pictures.
pub(super) struct Transcode<'a> {
    /// From the first picture, the filters, which end at `rate` and in yuv420p.
    pub spec: &'a dyn Fn(&frame::Video) -> Result<String, MediaError>,
    /// From the first filtered picture, the encoder.
    pub encoder: &'a dyn Fn(&frame::Video) -> Result<H264Encoder, MediaError>,
    pub rate: Ratio,
    /// Frames to write; the last picture stands still if the source ends early.
    pub frames: u64,
}

/// The sound that goes with the pictures, encoded beforehand.
pub(super) struct EncodedSound<'a> {
    pub context: &'a Context,
    pub packets: Vec<Packet>,
}

/// Runs `order` over the pictures of [`start_s`, `end_s`] into `temporary`.
pub(super) fn transcode(
    order: &Transcode,
    source: &mut Source,
    track: &Track,
    (start_s, end_s): (f64, f64),
    sound: EncodedSound,
    temporary: &Path,
    progress: &mut Progress,
) -> Result<(), MediaError> {
    let mut line = Line {
        order,
        temporary,
        sound: Some(sound),
        graph: None,
        output: None,
        written: 0,
        last: None,
    };
    read_pictures(source, track, (start_s, end_s), &mut |picture, time_s| {
        progress.at(time_s / (end_s - start_s));
        line.take(picture, time_s)?;
        Ok(line.written < order.frames)
    })?;
    if line.graph.is_none() {
        let duration_s = source.input.duration() as f64 / 1e6;
        return Err(MediaError::OutOfRange { start_s, end_s, duration_s });
    }
    line.finish()
}

struct Line<'a> {
    order: &'a Transcode<'a>,
    temporary: &'a Path,
    sound: Option<EncodedSound<'a>>,
    graph: Option<PictureGraph>,
    output: Option<(H264Encoder, Mp4Writer)>,
    written: u64,
    last: Option<frame::Video>,
}

impl Line<'_> {
    fn take(&mut self, picture: &mut frame::Video, time_s: f64) -> Result<(), MediaError> {
        if self.graph.as_ref().is_some_and(|graph| !graph.fits(picture)) {
            let detail = "la taille de l'image change en cours de route".to_owned();
            return Err(MediaError::UnreadableAt { at_s: time_s, detail });
        }
        let graph = match &mut self.graph {
            Some(graph) => graph,
            none => none.insert(PictureGraph::try_new(picture, &(self.order.spec)(picture)?)?),
        };
        picture.set_pts(Some((time_s * f64::from(GRAPH_HZ)).round() as i64));
        graph.push(picture)?;
        self.pull()
    }

    fn pull(&mut self) -> Result<(), MediaError> {
        loop {
            let mut picture = frame::Video::empty();
            let Some(graph) = &mut self.graph else { return Ok(()) };
            if !graph.pull(&mut picture)? {
                return Ok(());
            }
            if self.written < self.order.frames {
                self.write(&mut picture)?;
                self.last = Some(picture);
            }
        }
    }

    fn write(&mut self, picture: &mut frame::Video) -> Result<(), MediaError> {
        if self.output.is_none() {
            let encoder = (self.order.encoder)(picture)?;
            let sound = self.sound.take().expect("the output is started once");
            let mut writer = Mp4Writer::create(
                self.temporary,
                &encoder.parameters(),
                self.order.rate,
                sound.context,
                REORDER_DELAY,
            )?;
            writer.queue_sound(sound.packets);
            self.output = Some((encoder, writer));
        }
        let (encoder, writer) = self.output.as_mut().expect("started just above");
        encoder.push(picture, self.written as i64, &mut |packet| writer.picture(packet))?;
        self.written += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<(), MediaError> {
        if let Some(graph) = &mut self.graph {
            graph.finish(self.order.frames as f64 / self.order.rate.value())?;
            self.pull()?;
        }
        if let Some(mut last) = self.last.take() {
            while self.written < self.order.frames {
                self.write(&mut last)?;
            }
        }
        let nothing = || MediaError::Failed {
            step: "préparation de l'image".to_owned(),
            detail: "aucune image".to_owned(),
        };
        let (mut encoder, mut writer) = self.output.ok_or_else(nothing)?;
        encoder.finish(&mut |packet| writer.picture(packet))?;
        writer.finish()
    }
}

/// Settings shared by everything encoded at leisure: High profile, two B-frames, closed groups.
pub(super) fn high_profile<'a>(
    picture: &frame::Video,
    rate: Ratio,
    group_seconds: f64,
    options: &'a [(&'a str, &'a str)],
) -> H264Settings<'a> {
    let aspect = picture.aspect_ratio();
    let (num, den) = (aspect.numerator(), aspect.denominator());
    H264Settings {
        width: picture.width(),
        height: picture.height(),
        frame_rate: rate,
        pixel_aspect: if num > 0 && den > 0 { Ratio::new(num, den) } else { Ratio::new(1, 1) },
        colour: crate::adapters::ffmpeg::encode::Colour {
            space: picture.color_space(),
            range: picture.color_range(),
            primaries: picture.color_primaries(),
            transfer: picture.color_transfer_characteristic(),
        },
        gop_frames: (rate.value() * group_seconds).round().max(1.0) as u32,
        b_frames: REORDER_DELAY as usize,
        options,
    }
}
