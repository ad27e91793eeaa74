//! Reading a span of a file: seeking before it, decoding its pictures in order, passing on its sound packets.

use ffmpeg_next::codec::{self, Context};
use ffmpeg_next::{Error, Packet, decoder, frame};

use crate::adapters::ffmpeg::job::stage_threads;
use crate::adapters::ffmpeg::open::{Source, Track, failed, frame_rate};
use crate::adapters::ffmpeg::sound::{Hear, SpanSound};
use crate::ports::media_engine::MediaError;

/// Sound before the span that warms the decoder up, seconds.
pub(super) const PREROLL_S: f64 = 0.3;
/// Read errors in a row a demuxer may recover from.
const READ_ERRORS_MAX: u32 = 64;

/// Opens a decoder for a picture track.
pub(super) fn picture_decoder(track: &Track) -> Result<decoder::Video, MediaError> {
    let decoding = failed("décodage de l'image");
    let mut context = Context::from_parameters(track.parameters.clone()).map_err(&decoding)?;
    context.set_threading(codec::threading::Config {
        kind: codec::threading::Type::Frame,
        count: stage_threads(),
        ..Default::default()
    });
    let mut decoder = context.decoder();
    decoder.set_packet_time_base(track.time_base);
    decoder.video().map_err(&decoding)
}

/// Reads the next packet, skipping what the demuxer cannot make sense of. False at the end of the file.
pub(super) fn next_packet(source: &mut Source, packet: &mut Packet) -> Result<bool, MediaError> {
    let mut errors = 0;
    loop {
        match packet.read(&mut source.input) {
            Ok(()) => return Ok(true),
            Err(Error::Eof) => return Ok(false),
            Err(Error::InvalidData) if errors < READ_ERRORS_MAX => errors += 1,
            Err(error) => return Err(failed("lecture")(error)),
        }
    }
}

/// Decodes the pictures shown within [`start_s`, `end_s`] and hands them over in order with their time counted
/// from `start_s`; the first one is stamped 0 if it was already on screen. Ends early when `show` says false.
pub(super) fn read_pictures(
    source: &mut Source,
    track: &Track,
    (start_s, end_s): (f64, f64),
    show: &mut dyn FnMut(&mut frame::Video, f64) -> Result<bool, MediaError>,
) -> Result<(), MediaError> {
    let mut decoder = picture_decoder(track)?;
    source.seek_before(start_s)?;
    let mut packet = Packet::empty();
    let mut picture = frame::Video::empty();
    let mut on_screen: Option<frame::Video> = None;
    let mut shown = false;
    let half = 0.5 / frame_rate(track).value().max(1.0);
    let mut at_end = false;
    while !at_end {
        if next_packet(source, &mut packet)? {
            if packet.stream() != track.index {
                continue;
            }
            // One broken packet costs its pictures, not the span.
            let _ = decoder.send_packet(&packet);
        } else {
            at_end = true;
            // A decoder that is already drained says so.
            let _ = decoder.send_eof();
        }
        while decoder.receive_frame(&mut picture).is_ok() {
            let Some(ticks) = picture.timestamp().or(picture.pts()) else { continue };
            let time_s = source.time_of(track, ticks);
            if time_s < start_s - half {
                on_screen = Some(std::mem::replace(&mut picture, frame::Video::empty()));
                continue;
            }
            if !shown {
                shown = true;
                if time_s > start_s + half
                    && let Some(mut before) = on_screen.take()
                    && !show(&mut before, 0.0)?
                {
                    return Ok(());
                }
            }
            if time_s >= end_s - half || !show(&mut picture, (time_s - start_s).max(0.0))? {
                return Ok(());
            }
        }
    }
    if !shown && let Some(mut before) = on_screen.take() {
        show(&mut before, 0.0)?;
    }
    Ok(())
}

/// Decodes the sound of [`start_s`, `end_s`] as exactly `samples` of 48 kHz stereo.
pub(super) fn read_sound(
    source: &mut Source,
    track: &Track,
    (start_s, end_s): (f64, f64),
    samples: usize,
    hear: &mut Hear,
) -> Result<(), MediaError> {
    let mut sound = SpanSound::try_new(track, track.ticks(start_s + source.origin_s), samples)?;
    source.seek_before((start_s - PREROLL_S).max(0.0))?;
    let mut packet = Packet::empty();
    while !sound.is_full() && next_packet(source, &mut packet)? {
        if packet.stream() != track.index {
            continue;
        }
        let time_s = source.time_of(track, packet.pts().or(packet.dts()).unwrap_or(0));
        if time_s > end_s + PREROLL_S {
            break;
        }
        if time_s >= start_s - 2.0 * PREROLL_S {
            sound.packet(&packet, hear)?;
        }
    }
    sound.finish(hear)
}
