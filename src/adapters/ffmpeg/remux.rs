//! The same pictures and sounds in another container; nothing is decoded.

use std::path::Path;

use ffmpeg_next::{Dictionary, Packet, codec, format};

use crate::adapters::ffmpeg::encode::{publish, temporary_of};
use crate::adapters::ffmpeg::ffi;
use crate::adapters::ffmpeg::open::{failed, open, url_of};
use crate::adapters::ffmpeg::span::next_packet;
use crate::ports::media_engine::MediaError;

/// Writes the first seconds of a film of the house's own making as FLV (`flv`) or a transport stream (`mpegts`).
pub fn remux(
    source: &Path,
    output: &Path,
    container: &str,
    seconds: f64,
) -> Result<(), MediaError> {
    let writing = failed("copie du film");
    let mut source = open(source)?;
    let tracks = [source.video()?, source.audio.clone().ok_or(MediaError::NoAudioTrack)?];
    let temporary = temporary_of(output);
    let mut to = format::output_as(&url_of(&temporary)?, container).map_err(&writing)?;
    for track in &tracks {
        let mut stream = to.add_stream(codec::Id::None).map_err(&writing)?;
        // Without the tag of its container.
        let parameters = ffi::with_extradata(&track.parameters, &ffi::extradata(&track.parameters));
        stream.set_parameters(parameters.map_err(&writing)?);
        stream.set_time_base(track.time_base);
    }
    drop(to.write_header_with(Dictionary::new()).map_err(&writing)?);
    let mut packet = Packet::empty();
    while next_packet(&mut source, &mut packet)? {
        let Some(place) = tracks.iter().position(|track| track.index == packet.stream()) else {
            continue;
        };
        let track = &tracks[place];
        if source.time_of(track, packet.dts().or(packet.pts()).unwrap_or(0)) >= seconds {
            if place == 0 {
                break;
            }
            continue;
        }
        packet.set_stream(place);
        packet.set_position(-1);
        let tick = to.stream(place).map_or(track.time_base, |stream| stream.time_base());
        packet.rescale_ts(track.time_base, tick);
        packet.write_interleaved(&mut to).map_err(&writing)?;
    }
    to.write_trailer().map_err(&writing)?;
    drop(to);
    publish(&temporary, output).map(drop)
}
