//! A stream made of nothing: pictures and sound come from two functions and go into an MP4, in this process.

use std::path::Path;

use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame;

use crate::adapters::ffmpeg::encode::{
    Colour, H264Encoder, H264Settings, Mp4Writer, publish, temporary_of,
};
use crate::adapters::ffmpeg::graph::{GRAPH_HZ, PictureGraph, escaped};
use crate::adapters::ffmpeg::sound::{AacEncoder, RATE};
use crate::domain::clips::footage::Ratio;
use crate::domain::clips::picture::{StreamSpec, Yuv420};
use crate::ports::media_engine::MediaError;

/// Bit rate of the sound, bits per second.
const SOUND_BIT_RATE: usize = 160_000;
/// Seconds from one key frame to the next, as streaming platforms ask.
const GROUP_SECONDS: u32 = 2;
/// Largest picture, pixels along a side.
const SIDE_MAX: u32 = 4096;
/// Highest rate, frames per second.
const FPS_MAX: u32 = 120;

/// Writes `spec.frames` pictures and their sound to `out`, an MP4 with H.264 in closed groups of 2 s and AAC.
///
/// `picture` paints frame `n` into planes that hold what some earlier frame left there. `sound` fills interleaved
/// stereo at 48 kHz, −1 to 1, from the given sample on. `words` is an ASS script laid over the picture, with
/// fonts from `fonts_dir`. `progress` hears the share done, 0 to 1, once a second of stream.
pub fn encode_stream(
    out: &Path,
    spec: &StreamSpec,
    words: Option<&Path>,
    fonts_dir: Option<&Path>,
    picture: &mut dyn FnMut(u64, &mut Yuv420<'_>),
    sound: &mut dyn FnMut(u64, &mut [f32]),
    progress: &mut dyn FnMut(f64),
) -> Result<(), MediaError> {
    check_spec(spec)?;
    ffmpeg_next::init().map_err(|error| MediaError::Missing { what: error.to_string() })?;
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Error);
    let rate = Ratio::new(spec.fps as i32, 1);
    let bit_rate = spec.video_bit_rate.to_string();
    let buffer = spec.video_bit_rate.saturating_mul(2).to_string();
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let mut encoder = H264Encoder::with_threads(
        &H264Settings {
            width: spec.width,
            height: spec.height,
            frame_rate: rate,
            pixel_aspect: Ratio::new(1, 1),
            colour: Colour::BT709,
            gop_frames: spec.fps * GROUP_SECONDS,
            b_frames: 0,
            options: &[
                ("preset", "superfast"),
                ("b", &bit_rate),
                ("maxrate", &bit_rate),
                ("bufsize", &buffer),
                ("x264-params", "scenecut=0"),
            ],
        },
        threads,
    )?;
    let mut aac = AacEncoder::try_new(SOUND_BIT_RATE)?;
    let temporary = temporary_of(out);
    let mut writer = Mp4Writer::create(&temporary, &encoder.parameters(), rate, aac.context(), 0)?;
    let mut overlay = words.map(|script| Overlay::new(script, fonts_dir)).transpose()?;
    let mut canvas = frame::Video::new(Pixel::YUV420P, spec.width, spec.height);
    let mut samples: Vec<f32> = Vec::new();
    let (mut left, mut right): (Vec<f32>, Vec<f32>) = (Vec::new(), Vec::new());
    for index in 0..spec.frames {
        // The encoder or the graph may still read the last picture: paint on a copy of it.
        let mut fresh = frame::Video::new(Pixel::YUV420P, spec.width, spec.height);
        for plane in 0..3 {
            fresh.data_mut(plane).copy_from_slice(canvas.data(plane));
        }
        canvas = fresh;
        paint(&mut canvas, spec, index, picture);
        let mut finished = match &mut overlay {
            Some(overlay) => overlay.draw(&mut canvas, index, spec.fps)?,
            None => None,
        };
        let shown = finished.as_mut().unwrap_or(&mut canvas);
        encoder.push(shown, index as i64, &mut |packet| writer.picture(packet))?;
        let sample_at = |frame: u64| frame * RATE as u64 / u64::from(spec.fps);
        let (first, next) = (sample_at(index), sample_at(index + 1));
        samples.clear();
        samples.resize((next - first) as usize * 2, 0.0);
        sound(first, &mut samples);
        left.clear();
        right.clear();
        for pair in samples.chunks_exact(2) {
            left.push(pair[0]);
            right.push(pair[1]);
        }
        aac.push(&left, &right, &mut |packet| writer.sound(packet))?;
        if index % u64::from(spec.fps) == 0 {
            progress(index as f64 / spec.frames as f64);
        }
    }
    encoder.finish(&mut |packet| writer.picture(packet))?;
    aac.finish(&mut |packet| writer.sound(packet))?;
    writer.finish()?;
    publish(&temporary, out)?;
    progress(1.0);
    Ok(())
}

fn check_spec(spec: &StreamSpec) -> Result<(), MediaError> {
    let even = |side: u32| side.is_multiple_of(2) && (16..=SIDE_MAX).contains(&side);
    if even(spec.width) && even(spec.height) && (1..=FPS_MAX).contains(&spec.fps) && spec.frames > 0
    {
        return Ok(());
    }
    let detail = format!(
        "Une image de flux a des côtés pairs, de 16 à {SIDE_MAX} pixels, et de 1 à {FPS_MAX} images par seconde."
    );
    Err(MediaError::BadOrder { detail })
}

/// Lends the planes of `canvas` to `picture`.
fn paint(
    canvas: &mut frame::Video,
    spec: &StreamSpec,
    index: u64,
    picture: &mut dyn FnMut(u64, &mut Yuv420<'_>),
) {
    let strides = [canvas.stride(0), canvas.stride(1), canvas.stride(2)];
    let [y, u, v] = crate::adapters::ffmpeg::ffi::planes_mut(canvas);
    picture(
        index,
        &mut Yuv420 {
            width: spec.width as usize,
            height: spec.height as usize,
            y,
            u,
            v,
            y_stride: strides[0],
            u_stride: strides[1],
            v_stride: strides[2],
        },
    );
}

/// Words drawn over the pictures.
struct Overlay {
    spec: String,
    graph: Option<PictureGraph>,
}

impl Overlay {
    fn new(script: &Path, fonts_dir: Option<&Path>) -> Result<Self, MediaError> {
        let mut spec = format!("ass=filename={}", escaped(script)?);
        if let Some(dir) = fonts_dir {
            spec.push_str(":fontsdir=");
            spec.push_str(&escaped(dir)?);
        }
        Ok(Self { spec: spec + ",format=yuv420p", graph: None })
    }

    /// One picture in, the same with words out.
    fn draw(
        &mut self,
        canvas: &mut frame::Video,
        index: u64,
        fps: u32,
    ) -> Result<Option<frame::Video>, MediaError> {
        let graph = match &mut self.graph {
            Some(graph) => graph,
            none => none.insert(PictureGraph::try_new(canvas, &self.spec)?),
        };
        canvas.set_pts(Some((index * GRAPH_HZ as u64 / u64::from(fps)) as i64));
        // The graph keeps what it is given; the canvas is painted on again.
        let mut given = canvas.clone();
        given.set_pts(canvas.pts());
        graph.push(&given)?;
        let mut drawn = frame::Video::empty();
        Ok(graph.pull(&mut drawn)?.then_some(drawn))
    }
}
