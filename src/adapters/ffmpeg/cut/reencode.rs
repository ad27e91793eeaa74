//! The fallback: every picture decoded, brought to a constant rate, and encoded again.

use std::path::Path;

use ffmpeg_next::Packet;

use crate::adapters::ffmpeg::cut::{Counts, SOUND_BIT_RATE, Span, Tracks};
use crate::adapters::ffmpeg::encode::H264Encoder;
use crate::adapters::ffmpeg::graph::upright;
use crate::adapters::ffmpeg::job::Progress;
use crate::adapters::ffmpeg::open::Source;
use crate::adapters::ffmpeg::sound::AacEncoder;
use crate::adapters::ffmpeg::span::read_sound;
use crate::adapters::ffmpeg::transcode::{EncodedSound, Transcode, high_profile, transcode};
use crate::domain::clips::footage::Ratio;
use crate::ports::media_engine::MediaError;

/// Highest rate a clip is encoded at; more is a container's fantasy.
const RATE_MAX: f64 = 60.0;
/// Seconds from one key frame to the next.
const GROUP_SECONDS: f64 = 2.0;

/// Encodes `span` into `temporary`; also says at which rate.
pub(super) fn cut(
    source: &mut Source,
    tracks: &Tracks,
    span: &Span,
    temporary: &Path,
    progress: &mut Progress,
) -> Result<(Counts, Ratio), MediaError> {
    let rate = if span.rate.value() > RATE_MAX { Ratio::new(60, 1) } else { span.rate };
    let span = Span { rate, ..*span };
    let spec = format!(
        "{}fps=fps={}/{}:start_time=0,scale=w=trunc(iw/2)*2:h=trunc(ih/2)*2:flags=bicubic,format=yuv420p",
        upright(tracks.video.rotation_degrees),
        rate.num,
        rate.den
    );
    let frames = span.frames();
    let (aac, packets) = encode_sound(source, tracks, &span, frames)?;
    let order = Transcode {
        spec: &|_| Ok(spec.clone()),
        encoder: &|picture| {
            let options = [("preset", "veryfast"), ("crf", "18"), ("profile", "high")];
            H264Encoder::try_new(&high_profile(picture, rate, GROUP_SECONDS, &options))
        },
        rate,
        frames,
    };
    let sound = EncodedSound { context: aac.context(), packets };
    transcode(
        &order,
        source,
        tracks.video,
        (span.start_s, span.end_s),
        sound,
        temporary,
        progress,
    )?;
    Ok((Counts { copied: 0, encoded: frames, missing: 0 }, rate))
}

/// Encodes the sound of the span before its pictures, so that both can be written side by side.
fn encode_sound(
    source: &mut Source,
    tracks: &Tracks,
    span: &Span,
    frames: u64,
) -> Result<(AacEncoder, Vec<Packet>), MediaError> {
    let mut aac = AacEncoder::try_new(SOUND_BIT_RATE)?;
    let mut packets = Vec::new();
    let mut keep = |packet| {
        packets.push(packet);
        Ok(())
    };
    read_sound(
        source,
        tracks.audio,
        (span.start_s, span.end_s),
        span.samples_of(frames),
        &mut |left, right| aac.push(left, right, &mut keep),
    )?;
    aac.finish(&mut keep)?;
    Ok((aac, packets))
}
